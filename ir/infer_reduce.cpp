// Types of pooling, normalisation, reduction and selection along axes.
#include <algorithm>

#include "ir/geometry.h"
#include "ir/infer.h"
#include "numerics/norm.h"

namespace pith::ir {
namespace {

constexpr std::initializer_list<DType> kNumbers = {DType::kF32, DType::kU8, DType::kI8, DType::kI32, DType::kI64};

Result<void> need_channel_vectors(const Inference& node, size_t first, size_t last, int64_t channels) {
  for (size_t i = first; i <= last; ++i) {
    PITH_CHECK_OK(node.need_float(i));
    if (node.shape(i) != Shape{channels}) return node.fail(fmt::format("input {} must have {} elements", i, channels));
  }
  return {};
}

}  // namespace

Result<void> infer_pool(Inference& node) {
  const Op op = node.node.op;
  if (op == Op::kMaxPool) {
    PITH_CHECK_OK(node.need_dtype(0, {DType::kF32, DType::kU8, DType::kI8}));
  } else {
    PITH_CHECK_OK(node.need_float(0));
  }
  const Shape& x = node.shape(0);
  if (x.size() != 3 && x.size() != 4) {
    return node.fail(fmt::format("{}-D pooling; 1-D and 2-D are supported", node.rank(0) - 2));
  }
  if (op == Op::kLpPool) PITH_CHECK_OK(node.ranged("p", 2, 1, 64));
  if (op == Op::kMaxPool) PITH_CHECK_OK(node.ranged("storage_order", 0, 0, 1));
  if (!node.node.has("kernel_shape")) return node.fail("attribute kernel_shape is missing");
  const auto w = windows(node.node, spatial(x), node.node.integers("kernel_shape"));
  if (!w.ok()) return node.fail(w.error().message);
  Shape y{x[0], x[1]};
  for (const Window& window : w.value()) y.push_back(window.output);
  node.output(node.dtype(0), y);
  if (op == Op::kMaxPool) node.output(DType::kI64, y);
  return {};
}

Result<void> infer_global_pool(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.need_rank(0, 2, 8));
  Shape y(node.shape(0).size(), 1);
  y[0] = node.shape(0)[0];
  y[1] = node.shape(0)[1];
  node.output(DType::kF32, std::move(y));
  return {};
}

Result<void> infer_batch_norm(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.need_rank(0, 1, 8));
  PITH_CHECK_OK(need_channel_vectors(node, 1, 4, node.rank(0) > 1 ? node.shape(0)[1] : 1));
  node.output(DType::kF32, node.shape(0));
  return {};
}

Result<void> infer_instance_norm(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.need_rank(0, 3, 8));
  PITH_CHECK_OK(need_channel_vectors(node, 1, 2, node.shape(0)[1]));
  node.output(DType::kF32, node.shape(0));
  return {};
}

Result<void> infer_group_norm(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.need_rank(0, 2, 8));
  PITH_TRY(const int64_t groups, node.ranged("num_groups", 0, 1, kLargestCount));
  const int64_t channels = node.shape(0)[1];
  if (channels % groups != 0) return node.fail(fmt::format("{} channels in {} groups", channels, groups));
  PITH_CHECK_OK(need_channel_vectors(node, 1, 2, node.shape(1) == Shape{groups} ? groups : channels));
  node.output(DType::kF32, node.shape(0));
  return {};
}

Result<void> infer_layer_norm(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_TRY(const int64_t axis, node.axis_of(node.node.integer("axis", -1), node.rank(0)));
  const Shape& x = node.shape(0);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (!node.has(i)) continue;
    PITH_CHECK_OK(node.need_float(i));
    const auto wider = broadcast(x, node.shape(i));
    if (!wider.ok() || wider.value() != x) return node.fail(fmt::format("input {} must broadcast to the first", i));
  }
  const std::vector<int64_t> spread = node.node.integers("spread");
  const int64_t row = element_count({x.begin() + static_cast<std::ptrdiff_t>(axis), x.end()});
  if (!spread.empty() && static_cast<int64_t>(spread.size()) != row) return node.fail("`spread` needs one exponent for each element of a row");
  if (std::any_of(spread.begin(), spread.end(), [](int64_t s) { return s < 0 || s > numerics::kSpreadMost; })) return node.fail(fmt::format("`spread` must lie within 0 and {}", numerics::kSpreadMost));
  node.output(DType::kF32, x);
  if (node.node.op == Op::kLayerNormalization) {
    Shape statistics = x;
    for (size_t i = static_cast<size_t>(axis); i < x.size(); ++i) statistics[i] = 1;
    node.output(DType::kF32, statistics);
    node.output(DType::kF32, statistics);
  }
  return {};
}

Result<void> infer_lp_norm(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.axis_of(node.node.integer("axis", -1), node.rank(0)));
  PITH_CHECK_OK(node.ranged("p", 2, 1, 2));
  node.output(DType::kF32, node.shape(0));
  return {};
}

Result<void> infer_lrn(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.need_rank(0, 2, 8));
  PITH_CHECK_OK(node.ranged("size", 0, 1, kLargestCount));
  node.output(DType::kF32, node.shape(0));
  return {};
}

Result<void> infer_softmax(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.axis_of(node.node.integer("axis", -1), node.rank(0)));
  node.output(DType::kF32, node.shape(0));
  return {};
}

Result<void> infer_reduce(Inference& node) {
  const Op op = node.node.op;
  if (op == Op::kReduceMax || op == Op::kReduceMin) {
    PITH_CHECK_OK(node.need_dtype(0, {DType::kF32, DType::kU8, DType::kI8, DType::kI32, DType::kI64, DType::kBool}));
  } else {
    PITH_CHECK_OK(node.need_dtype(0, {DType::kF32, DType::kI32, DType::kI64}));
  }
  PITH_CHECK_OK(node.axes_of(node.node.integers("axes"), node.rank(0)));
  const auto reduced = reduced_axes(node.node, node.shape(0).size());
  const bool keep = node.node.integer("keepdims", 1) != 0;
  Shape y;
  for (size_t i = 0; i < reduced.size(); ++i) {
    if (!reduced[i]) y.push_back(node.shape(0)[i]);
    if (reduced[i] && keep) y.push_back(1);
  }
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_arg_reduce(Inference& node) {
  PITH_CHECK_OK(node.need_dtype(0, kNumbers));
  PITH_TRY(const int64_t axis, node.axis_of(node.node.integer("axis", 0), node.rank(0)));
  Shape y = node.shape(0);
  if (y[static_cast<size_t>(axis)] == 0) return node.fail("the axis is empty");
  if (node.node.integer("keepdims", 1) != 0) {
    y[static_cast<size_t>(axis)] = 1;
  } else {
    y.erase(y.begin() + axis);
  }
  node.output(DType::kI64, std::move(y));
  return {};
}

Result<void> infer_cumsum(Inference& node) {
  PITH_CHECK_OK(node.need_dtype(0, {DType::kF32, DType::kI32, DType::kI64}));
  if (!node.node.has("axis")) return node.fail("attribute axis is missing");
  PITH_CHECK_OK(node.axis_of(node.node.integer("axis", 0), node.rank(0)));
  node.output(node.dtype(0), node.shape(0));
  return {};
}

Result<void> infer_topk(Inference& node) {
  PITH_CHECK_OK(node.need_dtype(0, kNumbers));
  PITH_TRY(const int64_t axis, node.axis_of(node.node.integer("axis", -1), node.rank(0)));
  if (!node.node.has("k")) return node.fail("attribute k is missing");
  Shape y = node.shape(0);
  PITH_TRY(y[static_cast<size_t>(axis)], node.ranged("k", 0, 0, y[static_cast<size_t>(axis)]));
  node.output(node.dtype(0), y);
  node.output(DType::kI64, std::move(y));
  return {};
}

}  // namespace pith::ir
