// Geometry of the operators that move data: Resize, Slice, Pad, Split, Reshape. Semantics as in ONNX's operator texts.
#include <algorithm>
#include <cmath>

#include "ir/geometry.h"
#include "ir/infer.h"

namespace pith::ir {
namespace {

// The axes that an attribute list of `count` entries speaks of: those of `axes`, or the first ones.
Result<std::vector<size_t>> listed_axes(const Node& node, size_t count, size_t rank) {
  std::vector<int64_t> axes = node.integers("axes");
  if (axes.empty()) {
    for (size_t i = 0; i < count; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (axes.size() != count) return usage_error(fmt::format("{} axes are named for {} entries", axes.size(), count));
  std::vector<size_t> result;
  std::vector<bool> seen(rank, false);
  for (int64_t axis : axes) {
    const int64_t wrapped = wrap_axis(axis, rank);
    if (wrapped < 0 || wrapped >= static_cast<int64_t>(rank)) {
      return usage_error(fmt::format("axis {} doesn't exist in {} dimensions", axis, rank));
    }
    if (seen[static_cast<size_t>(wrapped)]) return usage_error(fmt::format("axis {} is named twice", axis));
    seen[static_cast<size_t>(wrapped)] = true;
    result.push_back(static_cast<size_t>(wrapped));
  }
  return result;
}

bool fits(double x) { return x >= 0 && x <= static_cast<double>(kLargestCount); }

Result<void> set_sizes(const Node& node, const std::vector<int64_t>& sizes, const std::vector<size_t>& axes,
                       std::vector<ResizeAxis>& result) {
  const std::string policy = node.text("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch" && policy != "not_larger" && policy != "not_smaller") {
    return usage_error("attribute keep_aspect_ratio_policy is \"" + policy + "\"");
  }
  double common = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    ResizeAxis& a = result[axes[i]];
    if (sizes[i] < 1 || !fits(static_cast<double>(sizes[i])) || a.input < 1) {
      return usage_error(fmt::format("can't resize a dimension of {} to {}", a.input, sizes[i]));
    }
    a.output = sizes[i];
    a.scale = static_cast<double>(sizes[i]) / static_cast<double>(a.input);
    common = i == 0 ? a.scale : policy == "not_larger" ? std::min(common, a.scale) : std::max(common, a.scale);
  }
  if (policy == "stretch") return {};
  for (size_t axis : axes) {
    ResizeAxis& a = result[axis];
    a.scale = common;
    a.output = static_cast<int64_t>(std::floor(common * static_cast<double>(a.input) + 0.5));
  }
  return {};
}

Result<void> set_scales(const std::vector<double>& scales, const std::vector<size_t>& axes,
                        std::vector<ResizeAxis>& result) {
  for (size_t i = 0; i < axes.size(); ++i) {
    ResizeAxis& a = result[axes[i]];
    // in single precision, as every exporter's scale is: 10 * 0.7f is 7
    const float size = std::floor(static_cast<float>(a.input) * static_cast<float>(scales[i]));
    if (!(scales[i] > 0) || !fits(size) || (a.input > 0 && size < 1)) {
      return usage_error(fmt::format("can't resize a dimension of {} by {}", a.input, scales[i]));
    }
    a.scale = scales[i];
    a.output = static_cast<int64_t>(size);
  }
  return {};
}

}  // namespace

Result<std::vector<ResizeAxis>> resize_axes(const Node& node, const Shape& input) {
  const std::vector<double> scales = node.reals("scales");
  const std::vector<int64_t> sizes = node.integers("sizes");
  if (scales.empty() == sizes.empty()) return usage_error("exactly one of the attributes scales and sizes is needed");
  std::vector<ResizeAxis> result(input.size());
  for (size_t i = 0; i < input.size(); ++i) result[i].input = result[i].output = input[i];
  const size_t count = std::max(scales.size(), sizes.size());
  if (node.integers("axes").empty() && count != input.size()) {
    return usage_error(fmt::format("{} scales or sizes for {} dimensions", count, input.size()));
  }
  PITH_TRY(const std::vector<size_t> axes, listed_axes(node, count, input.size()));
  if (sizes.empty()) {
    PITH_CHECK_OK(set_scales(scales, axes, result));
  } else {
    PITH_CHECK_OK(set_sizes(node, sizes, axes, result));
  }
  const std::vector<double> roi = node.reals("roi");
  if (node.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize") {
    if (roi.size() != 2 * axes.size()) return usage_error("tf_crop_and_resize needs a roi with two numbers per axis");
    for (size_t i = 0; i < axes.size(); ++i) {
      result[axes[i]].roi_begin = roi[i];
      result[axes[i]].roi_end = roi[axes.size() + i];
    }
  }
  return result;
}

double resize_coordinate(const std::string& mode, const ResizeAxis& a, int64_t o) {
  const double x = static_cast<double>(o), in = static_cast<double>(a.input), out = static_cast<double>(a.output);
  // x / scale; exact where the scale is a quotient of sizes
  const auto unscaled = [&](double y) { return a.scale == out / in ? y * in / out : y / a.scale; };
  const double width = a.scale * in;  // the output's, before it was made whole
  if (mode == "align_corners") return width == 1 ? 0 : x * (in - 1) / (width - 1);
  if (mode == "asymmetric") return unscaled(x);
  if (mode == "pytorch_half_pixel") return out > 1 ? unscaled(x + 0.5) - 0.5 : 0;
  if (mode == "half_pixel_symmetric") return in / 2 * (1 - out / width) + unscaled(x + 0.5) - 0.5;
  if (mode == "tf_crop_and_resize") {
    const double span = (a.roi_end - a.roi_begin) * (in - 1);
    return a.roi_begin * (in - 1) + (width == 1 ? span / 2 : x * span / (width - 1));
  }
  return unscaled(x + 0.5) - 0.5;  // half_pixel
}

Result<std::vector<SliceAxis>> slice_axes(const Node& node, const Shape& input) {
  const auto starts = node.integers("starts"), ends = node.integers("ends");
  auto steps = node.integers("steps");
  if (steps.empty()) steps.assign(starts.size(), 1);
  if (ends.size() != starts.size() || steps.size() != starts.size()) {
    return usage_error("the attributes starts, ends and steps differ in length");
  }
  PITH_TRY(const std::vector<size_t> axes, listed_axes(node, starts.size(), input.size()));
  std::vector<SliceAxis> result(input.size());
  for (size_t i = 0; i < input.size(); ++i) result[i].count = input[i];
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t size = input[axes[i]], step = steps[i];
    if (step == 0) return usage_error("attribute steps has a 0");
    // negative positions count from the end; then positions are clamped to what a walk in this direction can touch
    const auto place = [&](int64_t p, int64_t low, int64_t high) {
      return std::clamp(p < 0 && p >= -size ? p + size : p < 0 ? low : p, low, high);
    };
    SliceAxis& a = result[axes[i]];
    a.step = std::clamp(step, -kLargestCount, kLargestCount);
    if (a.step > 0) {
      a.start = place(starts[i], 0, size);
      const int64_t end = place(ends[i], 0, size);
      a.count = end > a.start ? (end - a.start + a.step - 1) / a.step : 0;
    } else {
      a.start = place(starts[i], -1, size - 1);
      const int64_t end = place(ends[i], -1, size - 1);
      a.count = a.start > end ? (a.start - end - a.step - 1) / -a.step : 0;
    }
  }
  return result;
}

Result<std::vector<PadAxis>> pad_axes(const Node& node, const Shape& input) {
  const auto pads = node.integers("pads");
  if (pads.size() % 2 != 0) return usage_error("attribute pads has an odd number of entries");
  if (node.integers("axes").empty() && pads.size() != 2 * input.size()) {
    return usage_error(fmt::format("{} pads for {} dimensions", pads.size(), input.size()));
  }
  PITH_TRY(const std::vector<size_t> axes, listed_axes(node, pads.size() / 2, input.size()));
  std::vector<PadAxis> result(input.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    result[axes[i]] = {pads[i], pads[axes.size() + i]};
    for (int64_t p : {pads[i], pads[axes.size() + i]}) {
      if (p < -kLargestCount || p > kLargestCount) return usage_error(fmt::format("a padding of {}", p));
    }
  }
  return result;
}

Result<std::vector<int64_t>> split_sizes(const Node& node, int64_t size) {
  const auto parts = static_cast<int64_t>(node.outputs.size());
  const auto given = node.integers("split");
  if (node.integer("num_outputs", parts) != parts) {
    return usage_error(
        fmt::format("attribute num_outputs is {}, there are {} outputs", node.integer("num_outputs", 0), parts));
  }
  if (given.empty()) {
    const int64_t each = (size + parts - 1) / parts;
    std::vector<int64_t> sizes;
    for (int64_t i = 0; i < parts; ++i) sizes.push_back(std::clamp<int64_t>(size - i * each, 0, each));
    return sizes;
  }
  int64_t sum = 0;
  for (int64_t s : given) {
    if (s < 0 || s > size) return usage_error(fmt::format("attribute split has the part {}", s));
    sum += s;
  }
  if (sum != size || static_cast<int64_t>(given.size()) != parts) {
    return usage_error(fmt::format("attribute split has {} parts that sum to {}; there are {} outputs and {} elements",
                                   given.size(), sum, parts, size));
  }
  return given;
}

Result<Shape> reshape_target(const Node& node, const Shape& input) {
  Shape target = node.integers("shape");
  const bool zero_is_zero = node.integer("allowzero", 0) != 0;
  int inferred = -1;
  int64_t known = 1;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] == 0 && !zero_is_zero) {
      if (i >= input.size()) return usage_error("attribute shape copies a dimension that the input doesn't have");
      target[i] = input[i];
    }
    if (target[i] == -1 && inferred < 0) {
      inferred = static_cast<int>(i);
    } else if (target[i] < 0 || target[i] > kLargestCount) {
      return usage_error("attribute shape has an impossible dimension in " + to_string(target));
    } else {
      known = element_count({known, target[i]});
    }
  }
  const int64_t count = element_count(input);
  if (inferred >= 0) {
    if (known == 0 || count % known != 0) {
      return usage_error(fmt::format("{} elements can't take the shape {}", count, to_string(target)));
    }
    target[static_cast<size_t>(inferred)] = count / known;
  } else if (known != count) {
    return usage_error(fmt::format("{} elements can't take the shape {}", count, to_string(target)));
  }
  return target;
}

}  // namespace pith::ir
