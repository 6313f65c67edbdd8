// Geometry of windows, broadcasting, resizing: what shape inference, evaluation and the compiler all need to know.
//
// Functions return errors without the node's name; callers that know the node put it in front.
#pragma once

#include <array>

#include "ir/graph.h"

namespace pith::ir {

// One spatial dimension of a convolution or pooling, all attributes resolved (defaults, auto_pad, ceil_mode).
// Output position o reads input positions o * stride - pad_begin + k * dilation, 0 <= k < kernel.
// For a transposed convolution: input position i writes to i * stride - pad_begin + k * dilation.
struct Window {
  int64_t input = 1, output = 1;
  int64_t kernel = 1, stride = 1, dilation = 1;
  int64_t pad_begin = 0, pad_end = 0;
};

// The windows of a node over the spatial dimensions `input`, with the kernel's spatial dimensions.
// Conv, ConvInteger, QLinearConv; MaxPool, AveragePool, LpPool (ceil_mode); ConvTranspose (output_padding,
// output_shape).
Result<std::vector<Window>> windows(const Node& node, const Shape& input, const Shape& kernel);
// The same as two dimensions: a 1-D window gets a first dimension of size 1.
std::array<Window, 2> as_2d(const std::vector<Window>& windows);

// Spatial dimensions of a channels-first shape N,C,...
inline Shape spatial(const Shape& shape) { return {shape.begin() + 2, shape.end()}; }
// N,...,C <-> N,C,...
Shape channels_first(const Shape& shape);
Shape channels_last(const Shape& shape);
inline bool is_channels_last(const Node& node) { return node.integer("channels_last", 0) != 0; }

// numpy's rule; error when the shapes don't fit.
Result<Shape> broadcast(const Shape& a, const Shape& b);

// One dimension of a Resize: output position o samples the input at the coordinate that the transformation mode gives.
struct ResizeAxis {
  int64_t input = 1, output = 1;
  double scale = 1;                   // as given; output / input when sizes are given
  double roi_begin = 0, roi_end = 1;  // for tf_crop_and_resize
};
// For all dimensions of a channels-first `input`.
Result<std::vector<ResizeAxis>> resize_axes(const Node& node, const Shape& input);
// The input coordinate of output position `o` under the node's coordinate_transformation_mode.
double resize_coordinate(const std::string& mode, const ResizeAxis& axis, int64_t o);

// Slice: along each axis start, step and the number of elements.
struct SliceAxis {
  int64_t start = 0, step = 1, count = 0;
};
Result<std::vector<SliceAxis>> slice_axes(const Node& node, const Shape& input);

// Pad: elements added before and after each axis (negative: removed), all axes.
struct PadAxis {
  int64_t before = 0, after = 0;
};
Result<std::vector<PadAxis>> pad_axes(const Node& node, const Shape& input);

// The sizes of Split's parts.
Result<std::vector<int64_t>> split_sizes(const Node& node, int64_t size);

// Reshape's target with 0 and -1 resolved.
Result<Shape> reshape_target(const Node& node, const Shape& input);

// `axis` made non-negative (the caller has checked its range), and the products of the dimensions around it.
inline int64_t wrap_axis(int64_t axis, size_t rank) { return axis < 0 ? axis + static_cast<int64_t>(rank) : axis; }
struct AxisSplit {
  int64_t outer, size, inner;
};
AxisSplit split_at(const Shape& shape, int64_t axis);

// Reductions: which axes are summed over (empty `axes` = all, unless noop_with_empty_axes).
std::vector<bool> reduced_axes(const Node& node, size_t rank);

}  // namespace pith::ir
