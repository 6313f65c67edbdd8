// Operators that move data. A reshape keeps the batch axis in its place among the elements: as many come before it in the
// new shape as in the old one.
#include <numeric>

#include "ir/geometry.h"
#include "ir/resize.h"
#include "train/node.h"

namespace pith::train {
namespace {

using ir::Op;
using ir::Shape;
using Values = Network::Values;

at::Tensor indices(const std::vector<int64_t>& v) { return placed(at::tensor(v, at::kLong)); }

Built build_reshape(const NodeView& n) {
  const Shape& from = n.shape(0);
  Shape to = n.output_shape();
  const int axis = n.input_axis(0);
  if (axis >= 0) {
    const auto before = [](const Shape& s, int upto) { return std::accumulate(s.begin(), s.begin() + upto, int64_t{1}, std::multiplies<>()); };
    const int64_t wanted = before(from, axis);
    int found = -1;
    for (int d = 0; d < static_cast<int>(to.size()) && found < 0; ++d) {
      if (to[static_cast<size_t>(d)] == 1 && before(to, d) == wanted) found = d;
    }
    for (int d = 0; d < static_cast<int>(to.size()) && found < 0; ++d) {  // a sample's rows stay together
      if (before(to, d) == wanted) found = d;
    }
    if (found < 0) return n.fail("it drops the samples' axis");
    to[static_cast<size_t>(found)] = -1;
    n.set_axis(found);
  } else {
    n.set_axis(-1);
  }
  return std::optional<Network::Step>([to](const Values& in) -> Values { return {in[0].reshape(to)}; });
}

Built build_transpose(const NodeView& n) {
  const size_t rank = n.shape(0).size();
  std::vector<int64_t> reversed(rank);
  for (size_t i = 0; i < rank; ++i) reversed[i] = static_cast<int64_t>(rank - 1 - i);
  std::vector<int64_t> perm = n.node.integers("perm", reversed);
  for (int64_t& p : perm) p = ir::wrap_axis(p, rank);
  int axis = -1;
  for (size_t i = 0; i < rank; ++i) {
    if (n.input_axis(0) >= 0 && perm[i] == n.input_axis(0)) axis = static_cast<int>(i);
  }
  n.set_axis(axis);
  return std::optional<Network::Step>([perm](const Values& in) -> Values { return {in[0].permute(perm)}; });
}

Built build_concat(const NodeView& n) {
  const int64_t along = ir::wrap_axis(n.node.integer("axis", 0), n.output_shape().size());
  int axis = -1;
  for (size_t i = 0; i < n.node.inputs.size(); ++i) {
    const int mine = n.input_axis(i);
    if (mine >= 0 && ((axis >= 0 && axis != mine) || mine == along)) return n.fail("it mixes the samples");
    axis = std::max(axis, mine);
  }
  for (size_t i = 0; i < n.node.inputs.size(); ++i) {
    if (n.folded(i)) return n.fail("the samples lie along an axis of several places each");
  }
  n.set_axis(axis);
  return std::optional<Network::Step>([along, axis](const Values& in) -> Values {
    Values parts = in;
    int64_t batch = 1;
    for (const at::Tensor& p : in) batch = axis >= 0 ? std::max(batch, p.size(axis)) : 1;
    for (at::Tensor& p : parts) {
      if (axis < 0 || p.size(axis) == batch) continue;
      std::vector<int64_t> shape = p.sizes().vec();
      shape[static_cast<size_t>(axis)] = batch;
      p = p.expand(shape);
    }
    return {at::cat(parts, along)};
  });
}

Built build_split(const NodeView& n) {
  const int64_t along = ir::wrap_axis(n.node.integer("axis", 0), n.shape(0).size());
  if (along == n.input_axis(0)) return n.fail("it mixes the samples");
  const auto sizes = ir::split_sizes(n.node, n.shape(0)[static_cast<size_t>(along)]);
  if (!sizes.ok()) return n.fail(sizes.error().message);
  n.set_axis(n.input_axis(0));
  return std::optional<Network::Step>([along, sizes = sizes.value()](const Values& in) -> Values { return at::split_with_sizes(in[0], sizes, along); });
}

Built build_slice(const NodeView& n) {
  const auto slice = ir::slice_axes(n.node, n.shape(0));
  if (!slice.ok()) return n.fail(slice.error().message);
  n.set_axis(n.input_axis(0));
  std::vector<std::pair<int64_t, at::Tensor>> picks;
  for (size_t d = 0; d < slice->size(); ++d) {
    const ir::SliceAxis& s = slice.value()[d];
    if (s.start == 0 && s.step == 1 && s.count == n.shape(0)[d]) continue;
    if (static_cast<int>(d) == n.input_axis(0)) return n.fail("it mixes the samples");
    std::vector<int64_t> at;
    for (int64_t i = 0; i < s.count; ++i) at.push_back(s.start + i * s.step);
    picks.emplace_back(static_cast<int64_t>(d), indices(at));
  }
  return std::optional<Network::Step>([picks](const Values& in) -> Values {
    at::Tensor y = in[0];
    for (const auto& [d, at] : picks) y = y.index_select(d, at);
    return {y};
  });
}

Built build_pad(const NodeView& n) {
  if (n.node.text("mode", "constant") != "constant") return n.fail("padding by repetition");
  const auto pads = ir::pad_axes(n.node, n.shape(0));
  if (!pads.ok()) return n.fail(pads.error().message);
  std::vector<int64_t> amounts;
  for (size_t d = pads->size(); d-- > 0;) {
    const ir::PadAxis& p = pads.value()[d];
    if (static_cast<int>(d) == n.input_axis(0) && (p.before != 0 || p.after != 0)) return n.fail("it mixes the samples");
    amounts.insert(amounts.end(), {p.before, p.after});
  }
  n.set_axis(n.input_axis(0));
  const double with = n.node.real("value", 0);
  return std::optional<Network::Step>([amounts, with](const Values& in) -> Values { return {at::constant_pad_nd(in[0], amounts, with)}; });
}

Built build_depth_space(const NodeView& n) {
  if (n.input_axis(0) != 0) return n.fail("the samples aren't along its first axis");
  n.set_axis(0);
  const int64_t b = n.node.integer("blocksize", 1);
  const Shape& x = n.shape(0);
  const bool to_space = n.node.op == Op::kDepthToSpace, crd = n.node.text("mode", "DCR") == "CRD";
  const int64_t c = x[1], h = x[2], w = x[3];
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    if (!to_space) return {in[0].reshape({-1, c, h / b, b, w / b, b}).permute({0, 3, 5, 1, 2, 4}).reshape({-1, c * b * b, h / b, w / b})};
    const at::Tensor y = crd ? in[0].reshape({-1, c / (b * b), b, b, h, w}).permute({0, 1, 4, 2, 5, 3}) : in[0].reshape({-1, b, b, c / (b * b), h, w}).permute({0, 3, 4, 1, 5, 2});
    return {y.reshape({-1, c / (b * b), h * b, w * b})};
  });
}

Built build_shuffle(const NodeView& n) {
  if (n.input_axis(0) != 0) return n.fail("the samples aren't along its first axis");
  n.set_axis(0);
  const int64_t group = n.node.integer("group", 1), channels = n.shape(0)[1];
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    const auto size = in[0].sizes().vec();
    return {in[0].reshape({size[0], group, channels / group, -1}).transpose(1, 2).reshape(size)};
  });
}

Built build_resize(const NodeView& n) {
  const auto axes = ir::resize_axes(n.node, n.shape(0));
  if (!axes.ok()) return n.fail(axes.error().message);
  struct Along {
    int64_t axis, taps;
    std::vector<at::Tensor> index, weight;
  };
  std::vector<Along> plans;
  for (size_t d = 0; d < axes->size(); ++d) {
    if (axes.value()[d].input == axes.value()[d].output && axes.value()[d].scale == 1) continue;
    if (static_cast<int>(d) == n.input_axis(0)) return n.fail("it mixes the samples");
    const ir::ResizePlan plan = ir::resize_plan(n.node, axes.value()[d]);
    if (!plan.outside.empty()) return n.fail("it crops");
    Along along{static_cast<int64_t>(d), plan.taps, {}, {}};
    Shape weight_shape(n.shape(0).size(), 1);
    weight_shape[d] = axes.value()[d].output;
    for (int64_t t = 0; t < plan.taps; ++t) {
      std::vector<int64_t> index;
      std::vector<float> weight;
      for (size_t o = static_cast<size_t>(t); o < plan.index.size(); o += static_cast<size_t>(plan.taps)) index.push_back(plan.index[o]), weight.push_back(plan.weight[o]);
      along.index.push_back(indices(index));
      along.weight.push_back(placed(at::tensor(weight).reshape(weight_shape)));
    }
    plans.push_back(std::move(along));
  }
  n.set_axis(n.input_axis(0));
  return std::optional<Network::Step>([plans](const Values& in) -> Values {
    at::Tensor y = in[0];
    for (const Along& p : plans) {
      const at::Tensor x = y;
      y = x.index_select(p.axis, p.index[0]);
      if (p.taps > 1) y = y * p.weight[0];
      for (size_t t = 1; t < p.index.size(); ++t) y = y + x.index_select(p.axis, p.index[t]) * p.weight[t];
    }
    return {y};
  });
}

Built build_repeat(const NodeView& n) {
  const Shape& x = n.shape(0);
  const Shape& y = n.output_shape();
  const int axis = n.input_axis(0);
  const int grown = static_cast<int>(y.size() - x.size());
  std::vector<int64_t> repeats;
  for (size_t d = 0; d < y.size(); ++d) {
    const int64_t before = static_cast<int>(d) < grown ? 1 : x[d - static_cast<size_t>(grown)];
    repeats.push_back(before == 0 ? 1 : y[d] / before);
  }
  if (axis >= 0 && repeats[static_cast<size_t>(axis + grown)] != 1) return n.fail("it repeats a sample");
  n.set_axis(axis < 0 ? -1 : axis + grown);
  return std::optional<Network::Step>([repeats](const Values& in) -> Values { return {in[0].repeat(repeats)}; });
}

Built build_gather(const NodeView& n) {
  if (n.node.op != Op::kGather || !n.input(1).is_constant()) return n.fail("its indices depend on the sample");
  const int64_t along = ir::wrap_axis(n.node.integer("axis", 0), n.shape(0).size());
  const Shape wanted = n.shape(1);
  const int axis = n.input_axis(0);
  if (axis == along) return n.fail("it mixes the samples");
  n.set_axis(axis < 0 ? -1 : axis < along ? axis : axis + static_cast<int>(wanted.size()) - 1);
  std::vector<int64_t> at;
  for (int64_t i = 0; i < n.input(1).constant->count(); ++i) {
    const auto index = static_cast<int64_t>(n.input(1).constant->at(i));
    at.push_back(index < 0 ? index + n.shape(0)[static_cast<size_t>(along)] : index);
  }
  return std::optional<Network::Step>([along, wanted, index = indices(at)](const Values& in) -> Values {
    const at::Tensor y = in[0].index_select(along, index);
    std::vector<int64_t> shape = y.sizes().vec();
    shape.erase(shape.begin() + along);
    shape.insert(shape.begin() + along, wanted.begin(), wanted.end());
    return {y.reshape(shape)};
  });
}

}  // namespace

Built build_move(const NodeView& n) {
  switch (n.node.op) {
    case Op::kReshape: case Op::kFlatten: case Op::kSqueeze: case Op::kUnsqueeze: return build_reshape(n);
    case Op::kTranspose: return build_transpose(n);
    case Op::kConcat: return build_concat(n);
    case Op::kSplit: return build_split(n);
    case Op::kSlice: return build_slice(n);
    case Op::kPad: return build_pad(n);
    case Op::kExpand: case Op::kTile: return build_repeat(n);
    case Op::kDepthToSpace: case Op::kSpaceToDepth: return build_depth_space(n);
    case Op::kChannelShuffle: return build_shuffle(n);
    case Op::kResize: return build_resize(n);
    case Op::kGather: return build_gather(n);
    default: return std::optional<Network::Step>();
  }
}

}  // namespace pith::train
