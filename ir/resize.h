// Where a Resize looks: for each output position of an axis, input positions and weights.
#pragma once

#include "ir/geometry.h"

namespace pith::ir {

// Along one axis, output position o is sum of weight[o * taps + t] * x[index[o * taps + t]].
struct ResizePlan {
  int64_t taps = 1;
  std::vector<int64_t> index;  // inside the input
  std::vector<float> weight;
  std::vector<bool> outside;  // tf_crop_and_resize: the position shows extrapolation_value; empty otherwise
};
// The plan along `axis` for the node's mode: nearest, linear (2 taps), cubic (4), more when antialiased.
ResizePlan resize_plan(const Node& node, const ResizeAxis& axis);

// Linear interpolation of codes: between the codes at `low` and `high` with numerics::interpolation_weight.
struct LinearTap {
  int64_t low, high;
  int32_t weight;
};
std::vector<LinearTap> linear_taps(const Node& node, const ResizeAxis& axis);

}  // namespace pith::ir
