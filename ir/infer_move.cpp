// Types of the operators that move data from place to place.
#include <algorithm>
#include <cmath>

#include "ir/geometry.h"
#include "ir/infer.h"
#include "numerics/row_lifting.h"

namespace pith::ir {

Result<void> infer_reshape(Inference& node) {
  const Shape& x = node.shape(0);
  const std::vector<int64_t> axes = node.node.integers("axes");
  Shape y;
  switch (node.node.op) {
    case Op::kFlatten: {
      const int64_t given = node.node.integer("axis", 1);
      if (given < -node.rank(0) || given > node.rank(0)) return node.fail(fmt::format("axis {} doesn't exist", given));
      const auto at = x.begin() + wrap_axis(given, x.size());
      y = {element_count({x.begin(), at}), element_count({at, x.end()})};
      break;
    }
    case Op::kSqueeze: {
      PITH_TRY(const auto dropped, node.axes_of(axes, node.rank(0)));
      std::vector<bool> drop(x.size(), false);
      for (size_t i = 0; i < x.size() && axes.empty(); ++i) drop[i] = x[i] == 1;
      for (int64_t axis : dropped) {
        if (x[static_cast<size_t>(axis)] != 1) return node.fail(fmt::format("axis {} isn't of size 1", axis));
        drop[static_cast<size_t>(axis)] = true;
      }
      for (size_t i = 0; i < x.size(); ++i) {
        if (!drop[i]) y.push_back(x[i]);
      }
      break;
    }
    case Op::kUnsqueeze: {
      if (!node.node.has("axes")) return node.fail("attribute axes is missing");
      const size_t rank = x.size() + axes.size();
      PITH_TRY(const auto added, node.axes_of(axes, static_cast<int64_t>(rank)));
      y.assign(rank, -1);
      for (int64_t axis : added) y[static_cast<size_t>(axis)] = 1;
      auto next = x.begin();
      for (int64_t& d : y) {
        if (d < 0) d = *next++;
      }
      break;
    }
    default: {
      if (!node.node.has("shape")) return node.fail("attribute shape is missing");
      auto target = reshape_target(node.node, x);
      if (!target.ok()) return node.fail(target.error().message);
      y = std::move(target).value();
    }
  }
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_transpose(Inference& node) {
  const Shape& x = node.shape(0);
  Shape y;
  if (node.node.has("perm")) {
    PITH_TRY(const auto perm, node.axes_of(node.node.integers("perm"), node.rank(0)));
    if (perm.size() != x.size()) return node.fail("attribute perm must name every dimension");
    for (int64_t p : perm) y.push_back(x[static_cast<size_t>(p)]);
  } else {
    y.assign(x.rbegin(), x.rend());
  }
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_concat(Inference& node) {
  if (!node.node.has("axis")) return node.fail("attribute axis is missing");
  PITH_TRY(const int64_t axis, node.axis_of(node.node.integer("axis", 0), node.rank(0)));
  const auto at = static_cast<size_t>(axis);
  Shape y = node.shape(0);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (!node.has(i)) return node.fail(fmt::format("input {} is missing", i));
    PITH_CHECK_OK(node.need_same_dtype(0, i));
    Shape other = node.shape(i);
    if (other.size() != y.size()) return node.fail("the inputs differ in rank");
    y[at] += other[at];
    other[at] = y[at];
    if (other != y) return node.fail(fmt::format("the inputs differ beside axis {}", axis));
  }
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_split(Inference& node) {
  PITH_TRY(const int64_t axis, node.axis_of(node.node.integer("axis", 0), node.rank(0)));
  const auto sizes = split_sizes(node.node, node.shape(0)[static_cast<size_t>(axis)]);
  if (!sizes.ok()) return node.fail(sizes.error().message);
  for (int64_t size : sizes.value()) {
    Shape y = node.shape(0);
    y[static_cast<size_t>(axis)] = size;
    node.output(node.dtype(0), std::move(y));
  }
  return {};
}

Result<void> infer_slice(Inference& node) {
  if (!node.node.has("starts") || !node.node.has("ends")) return node.fail("the attributes starts and ends are needed");
  const auto slice = slice_axes(node.node, node.shape(0));
  if (!slice.ok()) return node.fail(slice.error().message);
  Shape y;
  for (const SliceAxis& a : slice.value()) y.push_back(a.count);
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_pad(Inference& node) {
  if (!node.node.has("pads")) return node.fail("attribute pads is missing");
  PITH_TRY(const std::string mode, node.choice("mode", {"constant", "reflect", "edge", "wrap"}));
  const auto pads = pad_axes(node.node, node.shape(0));
  if (!pads.ok()) return node.fail(pads.error().message);
  Shape y = node.shape(0);
  for (size_t i = 0; i < y.size(); ++i) {
    const PadAxis& p = pads.value()[i];
    const bool grows = p.before > 0 || p.after > 0;
    if (grows && mode != "constant" && y[i] == 0) return node.fail("an empty dimension has nothing to pad with");
    y[i] += p.before + p.after;
    if (y[i] < 0) return node.fail(fmt::format("the padding removes more than dimension {} has", i));
  }
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_expand(Inference& node) {
  PITH_TRY(const Shape target, node.bounded("shape"));
  for (int64_t d : target) {
    if (d < 0) return node.fail("attribute shape has a negative dimension");
  }
  auto y = broadcast(node.shape(0), target);
  if (!y.ok()) return node.fail(y.error().message);
  node.output(node.dtype(0), std::move(y).value());
  return {};
}

Result<void> infer_tile(Inference& node) {
  PITH_TRY(const auto repeats, node.bounded("repeats"));
  Shape y = node.shape(0);
  if (repeats.size() != y.size()) return node.fail("attribute repeats must have one number for each dimension");
  for (size_t i = 0; i < y.size(); ++i) {
    if (repeats[i] < 0) return node.fail("attribute repeats has a negative number");
    y[i] *= repeats[i];
  }
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_depth_space(Inference& node) {
  PITH_CHECK_OK(node.need_rank(0, 4, 4));
  PITH_TRY(const int64_t block, node.ranged("blocksize", 0, 1, 1 << 15));
  const Shape& x = node.shape(0);
  if (node.node.op == Op::kDepthToSpace) {
    PITH_CHECK_OK(node.choice("mode", {"DCR", "CRD"}));
    if (x[1] % (block * block) != 0) return node.fail(fmt::format("{} channels in blocks of {}", x[1], block * block));
    node.output(node.dtype(0), {x[0], x[1] / (block * block), x[2] * block, x[3] * block});
  } else {
    if (x[2] % block != 0 || x[3] % block != 0)
      return node.fail(fmt::format("{}x{} in blocks of {}", x[2], x[3], block));
    node.output(node.dtype(0), {x[0], x[1] * block * block, x[2] / block, x[3] / block});
  }
  return {};
}

Result<void> infer_channel_shuffle(Inference& node) {
  PITH_CHECK_OK(node.need_rank(0, 2, 8));
  PITH_TRY(const int64_t group, node.ranged("group", 0, 1, kLargestCount));
  if (node.shape(0)[1] % group != 0) return node.fail(fmt::format("{} channels in {} groups", node.shape(0)[1], group));
  node.output(node.dtype(0), node.shape(0));
  return {};
}

Result<void> infer_recode(Inference& node) {
  PITH_CHECK_OK(node.need_rank(0, 4, 4));
  PITH_CHECK_OK(node.need_dtype(0, {DType::kF32, DType::kU8}));
  PITH_CHECK_OK(node.ranged("row_bytes", 0, 1, 1 << 24));
  PITH_CHECK_OK(node.ranged("zero", 0, 0, 255));
  if (node.shape(0)[0] != 1) return node.fail("pictures are coded one at a time");
  if (element_count(node.shape(0)) == 0) return node.fail("there is nothing to code");
  const std::vector<int64_t> lifting = node.node.integers("lifting");
  const std::vector<uint8_t> bytes(lifting.begin(), lifting.end());
  const bool small = std::all_of(lifting.begin(), lifting.end(), [](int64_t b) { return b >= 0 && b <= 255; });
  if (!lifting.empty() && (!small || static_cast<int64_t>(lifting.size()) != 3 * node.shape(0)[1] || !numerics::RowLifting{bytes.data(), static_cast<int32_t>(node.shape(0)[1])}.sound()))
    return node.fail("its lifting isn't three numbers for each channel, or a channel looks at one that isn't there");
  node.output(node.dtype(0), node.shape(0));
  return {};
}

Result<void> infer_resize(Inference& node) {
  PITH_TRY(const std::string mode, node.choice("mode", {"nearest", "linear", "cubic"}));
  PITH_TRY(const std::string transformation,
           node.choice("coordinate_transformation_mode", {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
                                                          "align_corners", "asymmetric", "tf_crop_and_resize"}));
  PITH_CHECK_OK(node.choice("nearest_mode", {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}));
  PITH_CHECK_OK(node.need_dtype(0, {DType::kF32, DType::kU8, DType::kI8, DType::kI32, DType::kI64}));
  const auto axes = resize_axes(node.node, node.shape(0));
  if (!axes.ok()) return node.fail(axes.error().message);
  Shape y;
  for (const ResizeAxis& a : axes.value()) {
    if (a.input == 0) return node.fail("an empty dimension can't be resized");
    if (a.scale < 1e-6 || a.scale > 1e6) return node.fail(fmt::format("a scale of {}", a.scale));
    if (!(std::abs(a.roi_begin) < 1e6) || !(std::abs(a.roi_end) < 1e6)) return node.fail("the roi is out of range");
    y.push_back(a.output);
  }
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_grid_sample(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.need_float(1));
  PITH_CHECK_OK(node.choice("mode", {"linear", "nearest", "cubic", "bilinear", "bicubic"}));
  PITH_CHECK_OK(node.choice("padding_mode", {"zeros", "border", "reflection"}));
  const Shape &x = node.shape(0), &grid = node.shape(1);
  if (x.size() != 4) return node.fail(fmt::format("{}-D sampling; 2-D is supported", node.rank(0) - 2));
  if (grid.size() != 4 || grid[0] != x[0] || grid[3] != 2) {
    return node.fail(fmt::format("the grid must have the shape {}xHxWx2", x[0]));
  }
  if (x[2] == 0 || x[3] == 0) return node.fail("the picture is empty");
  node.output(DType::kF32, {x[0], x[1], grid[1], grid[2]});
  return {};
}

Result<void> infer_trilu(Inference& node) {
  PITH_CHECK_OK(node.need_rank(0, 2, 8));
  PITH_CHECK_OK(node.ranged("k", 0, -kLargestCount, kLargestCount));
  node.output(node.dtype(0), node.shape(0));
  return {};
}

}  // namespace pith::ir
