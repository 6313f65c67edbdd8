// Graph: a network as a value.
//
// A Graph is a list of values (tensors with a static type) and a list of nodes in topological order. Operators speak
// ONNX's language at its newest opset: same names, same semantics, NCHW, with what ONNX passes as constant inputs
// (axes, pads, scales ...) turned into attributes by the importer. A few whole operators of our own come from fusion.
// Everything is copyable; constants share their bytes.
//
// Numbers: a value may carry `quant`, and then its tensor holds integers with that meaning (see Quant). A node whose
// quantised operands have an integer form (ops.inc says which) computes exactly what numerics/ defines; any other node
// dequantises its inputs, computes in float and quantises its outputs. So quantisation is an annotation, and the
// interpreter's integer semantics are total.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "ir/tensor.h"
#include "numerics/scale.h"
#include "numerics/unary.h"

namespace pith::ir {

enum class Op : uint8_t {
#define PITH_OP(name, ...) k##name,
#include "ir/ops.inc"
#undef PITH_OP
};
inline constexpr int kOpCount = 0
#define PITH_OP(name, ...) +1
#include "ir/ops.inc"
#undef PITH_OP
    ;
const char* op_name(Op op);
std::optional<Op> op_from_name(std::string_view name);

// The rest of an operator's row in ops.inc.
enum class IntegerForm : uint8_t { kExact, kTable, kMove, kFloat };
struct OpTraits {
  int least_inputs, most_inputs, most_outputs;  // -1 = any number
  const char* family;
  IntegerForm integer_form;
  int since_opset;
  const char* note;
};
const OpTraits& op_traits(Op op);

using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;  // an omitted optional input

// What integers mean.
// Activations: 8 bits (u8), value = (q - zero_point) * 2^(scale_code/16), one scale for the tensor.
// Constants (weights): signed integers of `bits` bits in an i8 tensor, symmetric, one scale code per index of `axis`
// (scale_codes.size() is 1 or that dimension). Biases: i32, scale = product of the node's input and weight scales.
// A constant stored as u8 is an activation known beforehand. Where weights of a single scale meet an operator between
// activations (Add, Concat ...), they count as the codes q + 128 with zero point 128.
struct Quant {
  int bits = 8;
  numerics::Affine affine;           // activations
  int axis = 0;                      // constants
  std::vector<int16_t> scale_codes;  // constants; empty for activations and biases
  friend bool operator==(const Quant&, const Quant&) = default;
};

struct Value {
  std::string name;
  DType dtype = DType::kF32;  // of the real-valued meaning; a quantised activation keeps kF32 here and stores u8
  Shape shape;
  std::optional<Tensor> constant;  // weights, tables; stored as i8 / i32 when quantised
  std::optional<Quant> quant;
  bool is_constant() const { return constant.has_value(); }
};

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;

// A function applied to a node's result before it is stored. For quantised nodes: Relu and Clip clamp the requantised
// result; any other function is a 256-entry table from `pre` (the result's own 8-bit meaning) to the output's. A node
// without an integer form computes its activation in float, and `pre` says nothing.
struct Activation {
  numerics::Unary function = numerics::Unary::kIdentity;
  double a = 0, b = 0;
  std::optional<numerics::Affine> pre;
  friend bool operator==(const Activation&, const Activation&) = default;
};

struct Node {
  Op op = Op::kIdentity;
  std::string name;
  std::vector<ValueId> inputs;   // kNoValue for omitted optional ones
  std::vector<ValueId> outputs;  // kNoValue for unused optional ones
  std::map<std::string, Attribute> attributes;
  Activation activation;

  int64_t integer(const std::string& key, int64_t otherwise) const;
  double real(const std::string& key, double otherwise) const;
  std::string text(const std::string& key, const std::string& otherwise) const;
  std::vector<int64_t> integers(const std::string& key, std::vector<int64_t> otherwise = {}) const;
  std::vector<double> reals(const std::string& key, std::vector<double> otherwise = {}) const;
  bool has(const std::string& key) const { return attributes.count(key) != 0; }
};

// The function that a node of the family `unary` computes, with its parameters; nothing for other nodes, and for a Clip
// whose bounds are inputs.
std::optional<Activation> unary_function(const Node& node);

struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;      // topologically ordered
  std::vector<ValueId> inputs;  // not constants
  std::vector<ValueId> outputs;
  // state[i] = (input, output): the output of one run is the input of the next (recurrent state, KV cache); an element of
  // `inputs` and one of `outputs`, of the same type
  std::vector<std::pair<ValueId, ValueId>> state;
  std::map<std::string, std::string> metadata;  // "preprocess", "labels" (newline-separated), "head", "license" ...

  ValueId add_value(Value v) { return values.push_back(std::move(v)), static_cast<ValueId>(values.size() - 1); }
  ValueId add_constant(std::string name, Tensor t);
  Value& value(ValueId id) { return values[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return values[static_cast<size_t>(id)]; }
};

// ---- free functions -------------------------------------------------------------------------------------------

// Checks everything a Graph promises: ids in range, topological order, each value produced once, constants match their
// types, operand counts, attributes well-formed, inferred shapes equal stated ones, quantisation consistent. The error
// names the node and what is wrong. Runs after every pass.
Result<void> verify(const Graph& graph);

// Output types of one node from its input types (and constant inputs' contents where ONNX lets shapes depend on them).
// Sets dtype and shape of the node's output values. Errors (kUsage) name the node and the offending shapes.
Result<void> infer_shapes(Graph& graph, const Node& node);
Result<void> infer_shapes(Graph& graph);  // all nodes in order

// The text form: stable, diffable, one line per value and node; constants above 64 elements are written as a
// base64 blob when `with_data`, as a content hash otherwise. parse_text(to_text(g, true)) == g.
std::string to_text(const Graph& graph, bool with_data);
Result<Graph> parse_text(std::string_view text);

// For every value, the nodes that read it; and the node that makes it (-1 for inputs and constants).
std::vector<std::vector<int>> consumers(const Graph& graph);
std::vector<int> producers(const Graph& graph);

// Drops nodes whose results nobody needs, then values that nobody names; ids are renumbered.
void remove_dead(Graph& graph);

// Fewer forms of the same thing, while weights are float: Gemm without factors, batch normalisation as convolution.
Result<void> canonicalize(Graph& graph);

// Multiply-accumulates of a node (convolutions, matrix products, recurrent layers; 0 for the rest), but for those of blocks of
// weights that are zero (blocks.h), which nobody need execute; those too; and all parameters.
int64_t mac_count(const Graph& graph, const Node& node);
int64_t dense_mac_count(const Graph& graph, const Node& node);
int64_t parameter_count(const Graph& graph);  // elements of constants that were trained weights (float or quantised)

}  // namespace pith::ir
