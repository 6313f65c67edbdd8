// Pooling and reductions. Windows are laid out before: what they need beyond the picture is padded on, what they don't
// reach is cut off.
#include "ir/pool.h"
#include "train/node.h"

namespace pith::train {
namespace {

using ir::Op;
using Values = Network::Values;

// The picture as far as the windows reach.
at::Tensor reached(const at::Tensor& x, const std::array<ir::Window, 2>& w, double with) {
  std::array<int64_t, 2> after{};
  bool same = true;
  for (size_t d = 0; d < 2; ++d) {
    after[d] = (w[d].output - 1) * w[d].stride + (w[d].kernel - 1) * w[d].dilation + 1 - w[d].input - w[d].pad_begin;
    same = same && after[d] == 0 && w[d].pad_begin == 0;
  }
  return same ? x : at::constant_pad_nd(x, {w[1].pad_begin, after[1], w[0].pad_begin, after[0]}, with);
}

Built build_window_pool(const NodeView& n) {
  if (n.node.outputs.size() > 1 && n.node.outputs[1] != ir::kNoValue) return n.fail("its indices are wanted");
  if (n.input_axis(0) != 0) return n.fail("the samples aren't along its first axis");
  const auto w = ir::pool_windows(n.node, n.shape(0));
  const bool flat = n.shape(0).size() == 3;
  n.set_axis(0);
  const std::vector<int64_t> kernel{w[0].kernel, w[1].kernel}, stride{w[0].stride, w[1].stride}, dilation{w[0].dilation, w[1].dilation};
  if (n.node.op == Op::kMaxPool) {
    return std::optional<Network::Step>([=](const Values& in) -> Values {
      at::Tensor y = at::max_pool2d(reached(flat ? in[0].unsqueeze(2) : in[0], w, -1e30), kernel, stride, {0, 0}, dilation);
      return {flat ? y.squeeze(2) : y};
    });
  }
  if (w[0].dilation != 1 || w[1].dilation != 1) return n.fail("dilated averages");
  const std::vector<int32_t> counts = ir::pool_counts(n.node, w);
  std::vector<float> share;
  for (int32_t c : counts) share.push_back(static_cast<float>(kernel[0] * kernel[1]) / static_cast<float>(c));
  const at::Tensor factor = placed(at::tensor(share).view({w[0].output, w[1].output}));
  const bool even = std::all_of(share.begin(), share.end(), [](float s) { return s == 1; });
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    at::Tensor y = at::avg_pool2d(reached(flat ? in[0].unsqueeze(2) : in[0], w, 0), kernel, stride);
    if (!even) y = y * factor;
    return {flat ? y.squeeze(2) : y};
  });
}

Built build_reduction(const NodeView& n) {
  const size_t rank = n.shape(0).size();
  std::vector<int64_t> axes;
  bool keep = true;
  if (n.node.op == Op::kGlobalAveragePool || n.node.op == Op::kGlobalMaxPool) {
    for (size_t d = 2; d < rank; ++d) axes.push_back(static_cast<int64_t>(d));
  } else {
    const std::vector<bool> reduced = ir::reduced_axes(n.node, rank);
    for (size_t d = 0; d < rank; ++d) {
      if (reduced[d]) axes.push_back(static_cast<int64_t>(d));
    }
    keep = n.node.integer("keepdims", 1) != 0;
  }
  int axis = n.input_axis(0);
  for (int64_t a : axes) {
    if (a == n.input_axis(0)) return n.fail("it mixes the samples");
    if (!keep && axis >= 0 && a < n.input_axis(0)) --axis;
  }
  n.set_axis(axis);
  if (axes.empty()) return std::optional<Network::Step>([](const Values& in) -> Values { return {in[0]}; });
  const Op op = n.node.op;
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    switch (op) {
      case Op::kReduceMax: case Op::kGlobalMaxPool: return {at::amax(in[0], axes, keep)};
      case Op::kReduceMin: return {at::amin(in[0], axes, keep)};
      case Op::kReduceSum: return {at::sum(in[0], axes, keep)};
      case Op::kReduceL1: return {at::sum(in[0].abs(), axes, keep)};
      case Op::kReduceL2: return {at::sqrt(at::sum(in[0].square(), axes, keep))};
      case Op::kReduceSumSquare: return {at::sum(in[0].square(), axes, keep)};
      case Op::kReduceLogSumExp: return {at::logsumexp(in[0], axes, keep)};
      default: return {at::mean(in[0], axes, keep)};
    }
  });
}

}  // namespace

Built build_pool(const NodeView& n) {
  switch (n.node.op) {
    case Op::kMaxPool: case Op::kAveragePool: return build_window_pool(n);
    case Op::kGlobalAveragePool: case Op::kGlobalMaxPool: case Op::kReduceMean: case Op::kReduceMax: case Op::kReduceMin: case Op::kReduceSum:
    case Op::kReduceL1: case Op::kReduceL2: case Op::kReduceSumSquare: case Op::kReduceLogSumExp:
      return build_reduction(n);
    default: return std::optional<Network::Step>();
  }
}

}  // namespace pith::train
