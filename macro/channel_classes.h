// Which channels of which tensors are one: they can only be removed together.
//
// Why: a channel is made by a product and read by others, and on its way passes functions, pooling, additions, depthwise
// filters, concatenations, splits, enlargements and flattening. Method: union of (value, channel) pairs over all nodes
// that pass channels on one by one; what a node mixes or might not keep at zero is fixed.
#pragma once

#include <functional>
#include <vector>

#include "ir/graph.h"

namespace pith {

// How a node treats its operands' channels.
enum class ChannelRole { kProduct, kDepthwise, kPass, kJoin, kFlatten, kConcat, kSplit, kRigid };
ChannelRole channel_role(const ir::Graph& graph, const ir::Node& node);

struct ChannelClasses {
  int count = 0;
  std::vector<std::vector<int>> of;  // by value, by index of its channel axis; empty for constants and ranks under 2
  std::vector<bool> fixed;           // by class
};
ChannelClasses channel_classes(const ir::Graph& graph);

// The axis along which a computed value of rank 2 or more has its channels.
inline size_t channel_axis_of(const ir::Shape& s) { return s.size() >= 3 ? 1 : s.size() - 1; }
// The axis of a product's weights along which its outputs, or inputs, lie.
int weight_axis(const ir::Node& node, bool outputs);
// A MatMul or Gemm whose second operand is a constant matrix.
bool reads_matrix(const ir::Graph& graph, const ir::Node& node);

}  // namespace pith
