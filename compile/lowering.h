// The state of lowering a Graph to a Program, shared by the lower_*.cpp files (one per family of operators).
//
// Method: every value is a View, a strided window on the memory of one tensor. Transpose, Slice, Split, Reshape, Expand,
// DepthToSpace and their like only make new views; a Copy is emitted when a consumer needs a dense layout that the view
// doesn't have. Convolutions want N,H,W,C; everything else takes what comes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "program/program.h"
#include "program/schema.h"

namespace pith {

using Dims = std::vector<int32_t>;
using Order = std::vector<int>;  // logical dimensions, outermost first in memory

struct View {
  int32_t tensor = kNone;
  int64_t offset = 0;  // elements
  ir::Shape dims;      // logical
  std::vector<int64_t> strides;
};

int64_t element_count(const Dims& dims);
Order identity_order(size_t rank);
Order channels_last_order(size_t rank);  // 0, 2, 3 ..., 1
Dims ordered_dims(const ir::Shape& dims, const Order& order);
bool dense_in(const View& view, const Order& order);

// The view with other dimensions, when it needs no copy.
std::optional<View> reshaped_view(const View& view, const ir::Shape& dims);

class Lowering {
 public:
  explicit Lowering(const ir::Graph& g) : graph(g), views_(g.values.size()) {}
  Result<Program> run();

  // ---- for the families; each lowers one node or says why it can't (kUnsupported) ----
  Result<void> lower_conv(const ir::Node& n);
  Result<void> lower_conv_transpose(const ir::Node& n);
  Result<void> lower_dense(const ir::Node& n);  // Gemm, MatMul
  Result<void> lower_pool(const ir::Node& n);
  Result<void> lower_global_pool(const ir::Node& n);
  Result<void> lower_unary(const ir::Node& n);
  Result<void> lower_cast(const ir::Node& n);
  Result<void> lower_binary(const ir::Node& n);
  Result<void> lower_variadic(const ir::Node& n);
  Result<void> lower_where(const ir::Node& n);
  Result<void> lower_reduce(const ir::Node& n);
  Result<void> lower_along_axis(const ir::Node& n);  // Softmax ..., ArgMax, CumSum, TopK
  Result<void> lower_norm(const ir::Node& n);
  Result<void> lower_view(const ir::Node& n);        // everything that only moves
  Result<void> lower_concat(const ir::Node& n);
  Result<void> lower_pad(const ir::Node& n);
  Result<void> lower_resize(const ir::Node& n);
  Result<void> lower_gather(const ir::Node& n);
  Result<void> lower_trilu(const ir::Node& n);
  Result<void> lower_recurrent(const ir::Node& n);
  Result<void> lower_attention(const ir::Node& n);
  Result<void> lower_misc(const ir::Node& n);  // GridSample, OneHot, ReverseSequence, NonMaxSuppression, RotaryEmbedding, LRN

  // ---- values ----
  const ir::Value& value(ir::ValueId id) const { return graph.value(id); }
  bool present(const ir::Node& n, size_t i) const { return i < n.inputs.size() && n.inputs[i] != ir::kNoValue; }
  bool is_u8(ir::ValueId id) const { return value(id).quant.has_value() && !value(id).is_constant(); }
  numerics::Affine affine(ir::ValueId id) const { return value(id).quant ? value(id).quant->affine : numerics::Affine{}; }
  int dtype(ir::ValueId id) const;  // of the arena tensor that holds the value
  // Does the node run in integers: it has an exact form, its activations are quantised, and so is its result?
  bool exact(const ir::Node& n) const;

  // A value's view, as it is stored, or converted to f32 when it is stored as u8 (converted once). Constants are
  // not views; a node that can't take a constant operand materialises it with `constant_view`.
  View view(ir::ValueId id);
  View real_view(ir::ValueId id);
  // An operand id with exactly the dimensions of `order` applied to the view; copies when the view isn't dense in it.
  int32_t dense(const View& v, const Order& order);
  int32_t dense_as(const View& v, const Order& order, const Dims& dims);  // the same elements as other dimensions
  Order natural_order(const View& v) const;  // the order in which it is dense, or the identity

  // ---- constants ----
  int32_t real_constant(const ir::Tensor& t, const Dims& dims, const std::string& name);
  // The same values in the same order, still as integers of one scale where they are quantised so.
  int32_t float_constant(ir::ValueId id, const Dims& dims);
  int32_t shared_constant(ProgramConstant k);  // one that is there already, if it is large and the same
  int32_t integer_constant(const std::vector<int32_t>& values, const Dims& dims, const std::string& name);
  // Weights with rows outermost: `permutation` maps the constant's dimensions to the file's, `dims` are the file's.
  int32_t weight_constant(ir::ValueId id, const std::vector<int>& permutation, const Dims& dims);
  ir::Tensor real_values(ir::ValueId id) const;  // a constant's values in f32

  // ---- results ----
  int32_t new_tensor(int dtype, const Dims& dims, numerics::Affine affine, const std::string& name);
  // The tensor that a node's result is computed into: u8 when `exact`, else f32 (or i32), laid out in `order`.
  int32_t result_tensor(const ir::Node& n, size_t output, const Order& order, bool exact);
  // Declares that `tensor` (laid out in `order`) holds the node's output, converting to u8 where it must be stored so.
  void define(const ir::Node& n, size_t output, int32_t tensor, const Order& order);
  void define_view(ir::ValueId id, View v) { views_[static_cast<size_t>(id)] = std::move(v); }

  ProgramOp& emit(int opcode, std::vector<int32_t> inputs, std::vector<int32_t> outputs, std::vector<int32_t> ints = {},
                  std::vector<float> reals = {});
  void set_activation(ProgramOp& op, const ir::Node& n, bool exact) const;
  // Copies a view's elements to a window of `target`; both sides' loops are merged to at most six.
  Result<void> emit_copy(const View& from, const View& to);

  Error unsupported(const ir::Node& n, const std::string& why) const;

  const ir::Graph& graph;
  Program program;

 private:
  Result<void> lower_node(const ir::Node& n);
  Result<void> make_inputs();
  Result<void> make_outputs();
  void drop_unused_aliases();
  std::vector<std::optional<View>> views_;
  std::map<ir::ValueId, View> real_views_;
  std::map<std::pair<int32_t, Dims>, int32_t> aliases_;
  std::string current_;  // the node being lowered, for tensor names
  std::optional<Error> deferred_;
};

}  // namespace pith
