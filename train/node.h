// What the op families share while a Network is built: a node with its static shapes and batch axes. Internal to train/.
#pragma once

#include <fmt/format.h>

#include "train/network.h"

namespace pith::train {

struct NodeView {
  const ir::Graph& graph;
  const ir::Node& node;
  std::vector<int>& axis;  // batch axes of all values; a family sets its outputs'

  bool has(size_t i) const { return i < node.inputs.size() && node.inputs[i] != ir::kNoValue; }
  const ir::Value& input(size_t i) const { return graph.value(node.inputs[i]); }
  const ir::Shape& shape(size_t i) const { return input(i).shape; }
  const ir::Shape& output_shape(size_t i = 0) const { return graph.value(node.outputs[i]).shape; }
  int input_axis(size_t i) const { return axis[static_cast<size_t>(node.inputs[i])]; }
  // Samples lie along an axis that has more than one place each: batch * shape[axis] of them, a sample's together.
  bool folded(size_t i) const { return input_axis(i) >= 0 && shape(i)[static_cast<size_t>(input_axis(i))] != 1; }
  void set_axis(int a) const {
    for (ir::ValueId id : node.outputs) {
      if (id != ir::kNoValue) axis[static_cast<size_t>(id)] = a;
    }
  }
  Error fail(const std::string& why) const {
    return error(ErrorCode::kUnsupported, fmt::format("node '{}' ({}): {}; retraining can't pass through it", node.name, ir::op_name(node.op), why));
  }
};

// Each returns nothing where the operator isn't its own.
using Built = Result<std::optional<Network::Step>>;
Built build_product(const NodeView& n);
Built build_elementwise(const NodeView& n);
Built build_pool(const NodeView& n);
Built build_normal(const NodeView& n);
Built build_move(const NodeView& n);
Built build_sequence(const NodeView& n);

// The batch axis of a broadcast result of all operands; an error where two operands disagree.
Result<int> broadcast_axis(const NodeView& n);

// f(x) of numerics/unary.inc with libtorch's operators; undefined for functions without a useful gradient.
at::Tensor apply_function(const ir::Activation& f, const at::Tensor& x);
bool has_function(numerics::Unary f);

}  // namespace pith::train
