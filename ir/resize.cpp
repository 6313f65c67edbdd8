#include "ir/resize.h"

#include <algorithm>
#include <cmath>

#include "numerics/arithmetic.h"

namespace pith::ir {
namespace {

int64_t nearest(const std::string& mode, double x) {
  if (mode == "floor") return static_cast<int64_t>(std::floor(x));
  if (mode == "ceil") return static_cast<int64_t>(std::ceil(x));
  if (mode == "round_prefer_ceil") return static_cast<int64_t>(std::floor(x + 0.5));
  return static_cast<int64_t>(std::ceil(x - 0.5));  // round_prefer_floor
}

// Keys' cubic convolution kernel with its parameter a, at distance |d|.
double cubic(double d, double a) {
  d = std::abs(d);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return 0;
}

}  // namespace

ResizePlan resize_plan(const Node& node, const ResizeAxis& axis) {
  const std::string mode = node.text("mode", "nearest"), nearest_mode = node.text("nearest_mode", "round_prefer_floor");
  const std::string transformation = node.text("coordinate_transformation_mode", "half_pixel");
  const double a = node.real("cubic_coeff_a", -0.75);
  const bool drop_outside = node.integer("exclude_outside", 0) != 0;
  const bool crops = transformation == "tf_crop_and_resize";
  // antialiasing widens the kernel by 1 / scale
  const double stretch = node.integer("antialias", 0) != 0 ? std::min(axis.scale, 1.0) : 1.0;
  const double reach = (mode == "cubic" ? 2 : 1) / stretch;
  const int64_t before = static_cast<int64_t>(std::ceil(reach)) - 1;

  ResizePlan plan;
  plan.taps = mode == "nearest" ? 1 : 2 * (before + 1);
  for (int64_t o = 0; o < axis.output; ++o) {
    const double x = resize_coordinate(transformation, axis, o);
    if (crops) plan.outside.push_back(x < 0 || x > static_cast<double>(axis.input - 1));
    const auto inside = [&](int64_t i) { return std::clamp<int64_t>(i, 0, axis.input - 1); };
    if (mode == "nearest") {
      plan.index.push_back(inside(nearest(nearest_mode, x)));
      plan.weight.push_back(1);
      continue;
    }
    const auto base = static_cast<int64_t>(std::floor(x));
    double weights = 0;
    std::vector<double> weight;
    for (int64_t t = 0; t < plan.taps; ++t) {
      const int64_t i = base - before + t;
      const double distance = (static_cast<double>(i) - x) * stretch;
      double w = mode == "cubic" ? cubic(distance, a) : std::max(0.0, 1 - std::abs(distance));
      if (drop_outside && i != inside(i)) w = 0;
      weight.push_back(w);
      weights += w;
      plan.index.push_back(inside(i));
    }
    const bool normalise = (drop_outside || stretch < 1) && weights != 0;
    for (double w : weight) plan.weight.push_back(static_cast<float>(normalise ? w / weights : w));
  }
  return plan;
}

std::vector<LinearTap> linear_taps(const Node& node, const ResizeAxis& axis) {
  const std::string transformation = node.text("coordinate_transformation_mode", "half_pixel");
  std::vector<LinearTap> taps;
  for (int64_t o = 0; o < axis.output; ++o) {
    const double x = resize_coordinate(transformation, axis, o), base = std::floor(x);
    const auto inside = [&](double i) {
      return static_cast<int64_t>(std::clamp(i, 0.0, static_cast<double>(axis.input - 1)));
    };
    taps.push_back({inside(base), inside(base + 1), numerics::interpolation_weight(x - base)});
  }
  return taps;
}

}  // namespace pith::ir
