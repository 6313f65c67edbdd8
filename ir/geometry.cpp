// Windows and broadcasting. The formulas are those of ONNX's operator texts (Conv, ConvTranspose, MaxPool).
#include "ir/geometry.h"

#include <algorithm>

#include "ir/infer.h"

namespace pith::ir {
namespace {

Result<std::vector<int64_t>> per_dimension(const Node& node, const char* key, size_t count, int64_t otherwise,
                                           int64_t least) {
  std::vector<int64_t> values = node.integers(key);
  if (values.empty()) values.assign(count, otherwise);
  if (values.size() != count) {
    return usage_error(fmt::format("attribute {} has {} numbers, {} are needed", key, values.size(), count));
  }
  for (int64_t v : values) {
    if (v < least || v > kLargestCount / 2) return usage_error(fmt::format("attribute {} has the value {}", key, v));
  }
  return values;
}

int64_t extent(const Window& w) { return (w.kernel - 1) * w.dilation + 1; }

void share_padding(Window& w, int64_t total, bool extra_at_end) {
  const int64_t smaller = total / 2;
  w.pad_begin = extra_at_end ? smaller : total - smaller;
  w.pad_end = total - w.pad_begin;
}

// Sets output and, under auto_pad, the padding of a convolution's or pooling's window.
void resolve_forward(Window& w, const std::string& auto_pad, bool ceil_mode) {
  if (auto_pad.starts_with("SAME")) {
    w.output = (w.input + w.stride - 1) / w.stride;
    share_padding(w, std::max<int64_t>((w.output - 1) * w.stride + extent(w) - w.input, 0), auto_pad == "SAME_UPPER");
    return;
  }
  const int64_t room = w.input + w.pad_begin + w.pad_end - extent(w);
  if (room < 0) {
    w.output = 0;
    return;
  }
  w.output = (ceil_mode ? (room + w.stride - 1) / w.stride : room / w.stride) + 1;
  if (ceil_mode && (w.output - 1) * w.stride >= w.input + w.pad_begin) --w.output;
}

// The same for a transposed convolution; `wanted` is its output_shape, or -1.
Result<void> resolve_transposed(Window& w, const std::string& auto_pad, int64_t output_padding, int64_t wanted) {
  const int64_t full = w.stride * (w.input - 1) + output_padding + extent(w);
  if (wanted < 0 && auto_pad.starts_with("SAME")) wanted = w.input * w.stride;
  if (wanted >= 0) {
    share_padding(w, std::max<int64_t>(full - wanted, 0), auto_pad == "SAME_UPPER");
    w.output = wanted;
  } else {
    w.output = full - w.pad_begin - w.pad_end;
  }
  if (w.output < 0) return usage_error("the padding removes more than there is");
  return {};
}

}  // namespace

Result<std::vector<Window>> windows(const Node& node, const Shape& input, const Shape& kernel) {
  const size_t count = input.size();
  const bool transposed = node.op == Op::kConvTranspose;
  PITH_TRY(const auto strides, per_dimension(node, "strides", count, 1, 1));
  PITH_TRY(const auto dilations, per_dimension(node, "dilations", count, 1, 1));
  PITH_TRY(const auto pads, per_dimension(node, "pads", 2 * count, 0, 0));
  PITH_TRY(const auto output_padding, per_dimension(node, "output_padding", count, 0, 0));
  PITH_TRY(const auto output_shape, per_dimension(node, "output_shape", count, -1, -1));
  const std::string auto_pad = node.text("auto_pad", "NOTSET");
  if (auto_pad != "NOTSET" && auto_pad != "VALID" && auto_pad != "SAME_UPPER" && auto_pad != "SAME_LOWER") {
    return usage_error("attribute auto_pad is \"" + auto_pad + "\"; it may be NOTSET, VALID, SAME_UPPER or SAME_LOWER");
  }
  if (kernel.size() != count) return usage_error("the kernel's rank doesn't fit the input's");
  if (const auto stated = node.integers("kernel_shape"); !stated.empty() && stated != kernel) {
    return usage_error("attribute kernel_shape " + to_string(stated) + " differs from the kernel " + to_string(kernel));
  }
  std::vector<Window> result(count);
  for (size_t i = 0; i < count; ++i) {
    Window& w = result[i];
    w = {input[i], 0, kernel[i], strides[i], dilations[i], 0, 0};
    if (w.kernel < 1 || w.kernel > kLargestCount / 2) return usage_error("the kernel is empty or too large");
    if (extent(w) > kLargestCount) return usage_error("the dilated kernel is too large");
    if (auto_pad == "NOTSET") w.pad_begin = pads[i], w.pad_end = pads[count + i];
    if (transposed) {
      PITH_CHECK_OK(resolve_transposed(w, auto_pad, output_padding[i], output_shape[i]));
    } else {
      resolve_forward(w, auto_pad, node.integer("ceil_mode", 0) != 0);
    }
  }
  return result;
}

std::array<Window, 2> as_2d(const std::vector<Window>& w) {
  if (w.size() == 1) return {Window{}, w[0]};
  return {w[0], w[1]};
}

Shape channels_first(const Shape& shape) {
  if (shape.size() < 3) return shape;
  Shape result = shape;
  std::rotate(result.begin() + 1, result.end() - 1, result.end());
  return result;
}
Shape channels_last(const Shape& shape) {
  if (shape.size() < 3) return shape;
  Shape result = shape;
  std::rotate(result.begin() + 1, result.begin() + 2, result.end());
  return result;
}

Result<Shape> broadcast(const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape result = longer;
  const size_t offset = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    int64_t& d = result[offset + i];
    if (d == shorter[i] || shorter[i] == 1) continue;
    if (d != 1) return usage_error("the shapes " + to_string(a) + " and " + to_string(b) + " don't broadcast");
    d = shorter[i];
  }
  return result;
}

AxisSplit split_at(const Shape& shape, int64_t axis) {
  AxisSplit s{1, axis < static_cast<int64_t>(shape.size()) ? shape[static_cast<size_t>(axis)] : 1, 1};
  for (size_t i = 0; i < shape.size(); ++i) {
    if (static_cast<int64_t>(i) < axis) s.outer *= shape[i];
    if (static_cast<int64_t>(i) > axis) s.inner *= shape[i];
  }
  return s;
}

std::vector<bool> reduced_axes(const Node& node, size_t rank) {
  const std::vector<int64_t> axes = node.integers("axes");
  std::vector<bool> reduced(rank, axes.empty() && node.integer("noop_with_empty_axes", 0) == 0);
  for (int64_t axis : axes) reduced[static_cast<size_t>(wrap_axis(axis, rank))] = true;
  return reduced;
}

}  // namespace pith::ir
