// Normalisations over what belongs to one sample, and the soft maximum.
#include "ir/geometry.h"
#include "train/node.h"

namespace pith::train {
namespace {

using ir::Op;
using Values = Network::Values;

at::Tensor per_channel(const at::Tensor& t, int64_t rank) {
  std::vector<int64_t> shape(static_cast<size_t>(rank), 1);
  if (rank > 1) shape[1] = t.numel();
  return t.reshape(shape);
}

Built build_softmax(const NodeView& n) {
  const int64_t axis = ir::wrap_axis(n.node.integer("axis", -1), n.shape(0).size());
  if (axis == n.input_axis(0)) return n.fail("it mixes the samples");
  n.set_axis(n.input_axis(0));
  const bool logarithm = n.node.op == Op::kLogSoftmax;
  return std::optional<Network::Step>([=](const Values& in) -> Values { return {logarithm ? at::log_softmax(in[0], axis) : at::softmax(in[0], axis)}; });
}

Built build_layer_norm(const NodeView& n) {
  const size_t rank = n.shape(0).size();
  const int64_t first = ir::wrap_axis(n.node.integer("axis", -1), rank);
  if (n.input_axis(0) >= first) return n.fail("it mixes the samples");
  for (size_t i = 1; i < n.node.outputs.size(); ++i) {
    if (n.node.outputs[i] != ir::kNoValue) return n.fail("its statistics are wanted");
  }
  if (n.node.has("spread")) return n.fail("it is spread for 8-bit activations; retrain what it was made from");
  n.set_axis(n.input_axis(0));
  const double epsilon = n.node.real("epsilon", 1e-5);
  const bool centred = n.node.op == Op::kLayerNormalization;
  std::vector<int64_t> axes;
  for (size_t d = static_cast<size_t>(first); d < rank; ++d) axes.push_back(static_cast<int64_t>(d));
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    const at::Tensor x = centred ? in[0] - at::mean(in[0], axes, true) : in[0];
    const at::Tensor y = x * at::rsqrt(at::mean(x.square(), axes, true) + epsilon) * in[1];
    return {in.size() > 2 && in[2].defined() ? y + in[2] : y};
  });
}

Built build_batch_norm(const NodeView& n) {
  const int64_t rank = static_cast<int64_t>(n.shape(0).size());
  if (n.input_axis(0) != 0) return n.fail("the samples aren't along its first axis");
  n.set_axis(0);
  const double epsilon = n.node.real("epsilon", 1e-5);
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    const at::Tensor factor = in[1] * at::rsqrt(in[4] + epsilon);
    return {in[0] * per_channel(factor, rank) + per_channel(in[2] - in[3] * factor, rank)};
  });
}

Built build_instance_norm(const NodeView& n) {
  const int64_t rank = static_cast<int64_t>(n.shape(0).size());
  if (n.input_axis(0) != 0) return n.fail("the samples aren't along its first axis");
  n.set_axis(0);
  const double epsilon = n.node.real("epsilon", 1e-5);
  std::vector<int64_t> axes;
  for (int64_t d = 2; d < rank; ++d) axes.push_back(d);
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    const at::Tensor x = in[0] - at::mean(in[0], axes, true);
    return {x * at::rsqrt(at::mean(x.square(), axes, true) + epsilon) * per_channel(in[1], rank) + per_channel(in[2], rank)};
  });
}

Built build_lp_norm(const NodeView& n) {
  const int64_t axis = ir::wrap_axis(n.node.integer("axis", -1), n.shape(0).size());
  if (axis == n.input_axis(0)) return n.fail("it mixes the samples");
  n.set_axis(n.input_axis(0));
  const bool squares = n.node.integer("p", 2) == 2;
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    const std::vector<int64_t> axes{axis};
    const at::Tensor norm = squares ? at::sqrt(at::sum(in[0].square(), axes, true)) : at::sum(in[0].abs(), axes, true);
    return {in[0] / norm.clamp_min(1e-20)};
  });
}

}  // namespace

Built build_normal(const NodeView& n) {
  switch (n.node.op) {
    case Op::kSoftmax: case Op::kLogSoftmax: return build_softmax(n);
    case Op::kLayerNormalization: case Op::kRMSNormalization: return build_layer_norm(n);
    case Op::kBatchNormalization: return build_batch_norm(n);
    case Op::kInstanceNormalization: return build_instance_norm(n);
    case Op::kLpNormalization: return build_lp_norm(n);
    default: return std::optional<Network::Step>();
  }
}

}  // namespace pith::train
