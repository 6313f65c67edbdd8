// Quantised values: what their integers mean, and the execution of nodes in integers.
#pragma once

#include "ir/graph.h"
#include "ir/infer.h"

namespace pith::ir {

// The type that a value's tensor is stored in: its dtype, or the integers of its quantisation.
DType stored_dtype(const Value& v);
// A quantised activation, or a constant stored as one (u8).
bool is_activation(const Value& v);
// Quantised weights: a constant of signed integers.
bool is_weights(const Value& v);
// A quantised bias: an i32 constant, whose scale is that of its node's accumulators.
bool is_bias(const Value& v);

// The scale code of weights at index `i` of their axis.
inline int weight_code(const Quant& q, int64_t i) {
  return q.scale_codes[q.scale_codes.size() == 1 ? 0 : static_cast<size_t>(i)];
}

// The axis of a product's weights that has one scale per output channel, or -1 where only a single scale will do; and
// how many output channels there are.
int product_axis(const Node& node, const Shape& weights);
int64_t product_channels(const Node& node, const Shape& weights);

// The bias operand of a node in real values.
Tensor dequantized_bias(const Graph& graph, const Node& node, const Tensor& bias);

// Whether the node runs in integers (graph.h): its operands and result are quantised so that its operator's integer
// form applies, and its activation clamps or states `pre`. If so, its outputs as codes; `types` are its inferred types.
bool has_integer_operands(const Graph& graph, const Node& node);
bool has_integer_form(const Graph& graph, const Node& node);
Result<std::vector<Tensor>> run_integer(const Graph& graph, const Node& node, const std::vector<const Tensor*>& inputs,
                                        const std::vector<Type>& types);

}  // namespace pith::ir
