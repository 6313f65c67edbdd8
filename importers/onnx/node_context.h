// What a translation rule sees of one ONNX node: its operands, attributes, opset, and the builder to express it with.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "importers/onnx/translator.h"

namespace pith::importers {

class NodeContext {
 public:
  NodeContext(Translator& translator, const SourceNode& node, const Scope& scope, int64_t opset, std::vector<Operand> inputs)
      : translator(translator), builder(translator.builder), node(node), scope(scope), opset(opset),
        inputs(std::move(inputs)), outputs(node.outputs.size()) {}

  // ---- operands ----
  bool has_input(size_t i) const { return i < inputs.size() && inputs[i].kind != Operand::Kind::kOmitted; }
  bool wants_output(size_t i) const { return i < node.outputs.size() && !node.outputs[i].empty(); }
  Result<ir::ValueId> input(size_t i) const;      // a tensor; an error when omitted or a sequence
  Result<ir::ValueId> optional(size_t i) const;   // kNoValue when omitted
  Result<std::vector<ir::ValueId>> all_inputs() const;
  const ir::Tensor* content(size_t i) const;      // of a constant tensor input, otherwise nullptr
  // The contents of an input that must be constant; `what` is ONNX's name of it.
  Result<ir::Tensor> constant(size_t i, const char* what) const;
  Result<std::vector<int64_t>> constant_integers(size_t i, const char* what) const;
  Result<int64_t> constant_integer(size_t i, const char* what) const;
  Result<std::vector<double>> constant_reals(size_t i, const char* what) const;
  Result<double> constant_real(size_t i, const char* what) const;
  int32_t element_type(size_t i) const { return i < inputs.size() ? inputs[i].element_type : int32_t{kUndefined}; }

  void set(size_t i, ir::ValueId id, int32_t element_type = kUndefined);
  void set(size_t i, Operand operand) { if (i < outputs.size()) outputs[i] = std::move(operand); }
  // Adds a node and makes its result output 0 / its results the outputs.
  Result<void> emit(ir::Op op, std::vector<ir::ValueId> operands, Attributes attributes = {});
  Result<void> emit_all(ir::Op op, std::vector<ir::ValueId> operands, Attributes attributes, size_t outputs);
  // Its optional outputs, up to `most_outputs`, are made only where the model names them.
  Result<void> emit_wanted(ir::Op op, std::vector<ir::ValueId> operands, Attributes attributes, size_t most_outputs);

  // ---- attributes: a wrong type is remembered in `problem`, unread attributes are refused after the rule ----
  bool has(const std::string& name) const { return node.attributes.count(name) != 0; }
  int64_t integer(const std::string& name, int64_t otherwise);
  double real(const std::string& name, double otherwise);
  std::string text(const std::string& name, const std::string& otherwise);
  std::vector<int64_t> integers(const std::string& name);
  std::vector<double> reals(const std::string& name);
  std::vector<std::string> texts(const std::string& name);
  const SourceTensor* tensor(const std::string& name);
  std::shared_ptr<const SourceGraph> graph(const std::string& name);
  void ignore(std::initializer_list<const char*> names) { for (const char* n : names) read_.insert(n); }
  // Copies attributes that are present: "axis:i epsilon:f mode:s perm:I scales:F".
  Attributes copy(const char* names_and_types);
  // What is wrong with the attributes, "" when nothing.
  std::string attribute_problem() const;

  Translator& translator;
  Builder& builder;
  const SourceNode& node;
  const Scope& scope;
  const int64_t opset;
  std::vector<Operand> inputs, outputs;

 private:
  template <typename T>
  const T* attribute(const std::string& name, const char* kind);
  std::set<std::string> read_;
  std::string problem_;
};

Error unsupported(const std::string& reason);  // "what; what could be done"

// ---- the table of rules ----
struct Rule {
  Result<void> (*translate)(NodeContext&) = nullptr;  // nullptr: the operator means exactly `op` ...
  ir::Op op = ir::Op::kIdentity;
  const char* attributes = "";                         // ... with these attributes (as for NodeContext::copy)
};
using Rules = std::map<std::string, Rule>;  // "Conv"; "com.microsoft.FusedConv"
const Rules& rules();

void add_elementwise_rules(Rules& rules);
void add_convolution_rules(Rules& rules);
void add_normalization_rules(Rules& rules);
void add_movement_rules(Rules& rules);
void add_resize_rules(Rules& rules);
void add_indexing_rules(Rules& rules);
void add_reduction_rules(Rules& rules);
void add_quantization_rules(Rules& rules);
void add_recurrent_rules(Rules& rules);
void add_attention_rules(Rules& rules);
void add_control_rules(Rules& rules);
void add_sequence_rules(Rules& rules);
void add_microsoft_rules(Rules& rules);
void add_microsoft_quantized_rules(Rules& rules);

}  // namespace pith::importers
