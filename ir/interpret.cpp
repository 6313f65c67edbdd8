// The interpreter's frame: values come and go, nodes run one after the other.
//
// A node whose quantised operands have an integer form runs in integers (integer.h); any other node sees real values:
// its quantised operands are dequantised before and its quantised results quantised after.
#include "ir/interpret.h"

#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/infer.h"
#include "ir/integer.h"
#include "ir/loops.h"
#include "ir/verify.h"

namespace pith::ir {
namespace {

using Eval = Result<void> (*)(Evaluation&);
constexpr Eval kEval[] = {
#define PITH_OP(name, least, most, outputs, family, ...) eval_##family,
#include "ir/ops.inc"
#undef PITH_OP
};

Result<void> check_tensor(const Value& v, const Tensor& t) {
  if (t.shape() != v.shape || t.dtype() != stored_dtype(v)) {
    return usage_error(fmt::format("{} is {} {}, the tensor given is {} {}", value_label(v),
                                   dtype_name(stored_dtype(v)), to_string(v.shape), dtype_name(t.dtype()),
                                   to_string(t.shape())));
  }
  return {};
}

// The real values of a node's operand. A bias has its scale from the node's other operands.
Tensor real_operand(const Graph& graph, const Node& node, size_t i, const Tensor& t) {
  const Value& v = graph.value(node.inputs[i]);
  return is_bias(v) ? dequantized_bias(graph, node, t) : dequantized(v, t);
}

Result<std::vector<Tensor>> run_real(const Graph& graph, const Node& node, const std::vector<const Tensor*>& inputs,
                                     const std::vector<Type>& types) {
  std::vector<Tensor> real(inputs.size());
  std::vector<const Tensor*> operands = inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == nullptr || !graph.value(node.inputs[i]).quant) continue;
    real[i] = real_operand(graph, node, i, *inputs[i]);
    operands[i] = &real[i];
  }
  PITH_TRY(std::vector<Tensor> outputs, evaluate(node, operands, types));
  if (node.activation.function != numerics::Unary::kIdentity && outputs[0].dtype() == DType::kF32) {
    auto y = outputs[0].mut<float>();
    apply_function(node.activation, y.data(), y.data(), y.size());
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (node.outputs[i] != kNoValue) outputs[i] = quantized(graph.value(node.outputs[i]), outputs[i]);
  }
  return outputs;
}

// How often each value is still to be read; outputs are read once more, by the caller.
std::vector<int> count_reads(const Graph& graph) {
  std::vector<int> reads(graph.values.size(), 0);
  for (const Node& node : graph.nodes) {
    for (ValueId id : node.inputs) {
      if (id != kNoValue) ++reads[static_cast<size_t>(id)];
    }
  }
  for (ValueId id : graph.outputs) ++reads[static_cast<size_t>(id)];
  return reads;
}

Result<Tensor> accept_input(const Value& v, const Tensor& given) {
  const bool quantise = v.quant && given.dtype() == DType::kF32 && given.shape() == v.shape;
  const Tensor t = quantise ? quantized(v, given) : given;
  PITH_CHECK_OK(check_tensor(v, t));
  return t;
}

}  // namespace

Result<std::vector<Tensor>> evaluate(const Node& node, const std::vector<const Tensor*>& inputs,
                                     const std::vector<Type>& types) {
  const bool last = is_channels_last(node) && inputs[0]->shape().size() > 2;
  Evaluation e{node, inputs, {}};
  Tensor first_input;
  if (last) {
    first_input = to_channels_first(*inputs[0]);
    e.inputs[0] = &first_input;
  }
  for (const Type& t : types) e.outputs.emplace_back(t.dtype, last ? channels_first(t.shape) : t.shape);
  PITH_CHECK_OK(kEval[static_cast<size_t>(node.op)](e));
  if (last) e.outputs[0] = to_channels_last(e.outputs[0]);
  return std::move(e.outputs);
}

Result<std::vector<Tensor>> interpret_node(const Graph& graph, const Node& node,
                                           const std::vector<const Tensor*>& inputs) {
  PITH_TRY(const std::vector<Type> types, infer_types(graph, node));
  if (inputs.size() != node.inputs.size()) {
    return usage_error(
        fmt::format("{}: {} tensors are given for {} inputs", node_label(node), inputs.size(), node.inputs.size()));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if ((inputs[i] == nullptr) != (node.inputs[i] == kNoValue)) {
      return usage_error(fmt::format("{}: tensor {} doesn't fit the node's inputs", node_label(node), i));
    }
    if (inputs[i] != nullptr) PITH_CHECK_OK(check_tensor(graph.value(node.inputs[i]), *inputs[i]));
  }
  if (has_integer_form(graph, node)) return run_integer(graph, node, inputs, types);
  return run_real(graph, node, inputs, types);
}

Result<std::vector<Tensor>> interpret(const Graph& graph, const std::vector<Tensor>& inputs,
                                      const InterpretOptions& options) {
  if (inputs.size() != graph.inputs.size()) {
    return usage_error(fmt::format("the network has {} inputs, {} are given", graph.inputs.size(), inputs.size()));
  }
  std::vector<Tensor> live(graph.values.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueId id = graph.inputs[i];
    PITH_TRY(live[static_cast<size_t>(id)], accept_input(graph.value(id), inputs[i]));
    if (options.observe) options.observe(id, live[static_cast<size_t>(id)]);
  }
  const auto tensor_of = [&](ValueId id) -> const Tensor* {
    if (id == kNoValue) return nullptr;
    const Value& v = graph.value(id);
    return v.constant ? &*v.constant : &live[static_cast<size_t>(id)];
  };
  std::vector<int> reads = count_reads(graph);
  for (const Node& node : graph.nodes) {
    std::vector<const Tensor*> operands;
    for (ValueId id : node.inputs) operands.push_back(tensor_of(id));
    PITH_TRY(std::vector<Tensor> results, interpret_node(graph, node, operands));
    for (ValueId id : node.inputs) {
      if (id != kNoValue && --reads[static_cast<size_t>(id)] == 0) live[static_cast<size_t>(id)] = Tensor();
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId id = node.outputs[i];
      if (id == kNoValue) continue;
      if (options.observe) options.observe(id, results[i]);
      if (reads[static_cast<size_t>(id)] > 0) live[static_cast<size_t>(id)] = std::move(results[i]);
    }
  }
  std::vector<Tensor> outputs;
  for (ValueId id : graph.outputs) outputs.push_back(*tensor_of(id));
  return outputs;
}

}  // namespace pith::ir
