// GridSample: reading a picture at places that another tensor tells, in [-1, 1] coordinates.
#include <algorithm>
#include <cmath>

#include "ir/eval.h"

namespace pith::ir {
namespace {

struct Sampling {
  int taps;  // along each axis: 1 nearest, 2 linear, 4 cubic
  enum Padding { kZeros, kBorder, kReflection } padding;
  bool align_corners;
};

// `x` reflected at low and high until it lies between them.
double reflected(double x, double low, double high) {
  const double range = high - low;
  if (range <= 0) return low < 0 ? 0 : low;
  const double beyond = x < low ? low - x : x > high ? x - high : -1;
  if (beyond < 0) return x;
  const double turns = std::floor(beyond / range), rest = beyond - turns * range;
  const bool from_low = (x < low) == (std::fmod(turns, 2) == 0);
  return from_low ? low + rest : high - rest;
}

// Positions and weights along one axis; position -1 means zero.
struct AxisTaps {
  int64_t index[4];
  float weight[4];
};
AxisTaps taps_at(float normalised, int64_t size, const Sampling& s) {
  const auto n = static_cast<float>(size);
  const double low = s.align_corners ? 0 : -0.5, high = s.align_corners ? n - 1 : n - 0.5;
  double x = s.align_corners ? (normalised + 1) / 2 * (n - 1) : ((normalised + 1) * n - 1) / 2;
  if (s.taps == 1) x = std::nearbyint(x);
  if (x < low || x > high) {
    if (s.padding == Sampling::kBorder) x = std::clamp<double>(x, 0, n - 1);
    if (s.padding == Sampling::kReflection) x = reflected(x, low, high);
  }
  if (!(std::abs(x) < 1e9)) x = -1e9;  // infinities and NaN are outside
  const auto base = static_cast<int64_t>(std::floor(x));
  const double t = x - static_cast<double>(base), a = -0.75;
  AxisTaps result{};
  const auto cubic_far = [a](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  const auto cubic_near = [a](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const double linear[] = {1 - t, t}, cubic[] = {cubic_far(t + 1), cubic_near(t), cubic_near(1 - t), cubic_far(2 - t)};
  for (int k = 0; k < s.taps; ++k) {
    int64_t i = base + k - (s.taps == 4 ? 1 : 0);
    if (i < 0 || i >= size) {
      if (s.padding == Sampling::kZeros) {
        i = -1;
      } else {
        const double at =
            s.padding == Sampling::kBorder ? static_cast<double>(i) : reflected(static_cast<double>(i), low, high);
        i = static_cast<int64_t>(std::clamp<double>(at, 0, n - 1));
      }
    }
    result.index[k] = i;
    result.weight[k] = static_cast<float>(s.taps == 1 ? 1 : s.taps == 2 ? linear[k] : cubic[k]);
  }
  return result;
}

}  // namespace

Result<void> eval_grid_sample(Evaluation& e) {
  const std::string mode = e.node.text("mode", "linear"), padding = e.node.text("padding_mode", "zeros");
  const Sampling s{mode == "nearest"                      ? 1
                   : mode == "cubic" || mode == "bicubic" ? 4
                                                          : 2,
                   padding == "zeros"    ? Sampling::kZeros
                   : padding == "border" ? Sampling::kBorder
                                         : Sampling::kReflection,
                   e.node.integer("align_corners", 0) != 0};
  const Shape &x = e.shape(0), &y = e.outputs[0].shape();
  const int64_t plane = x[2] * x[3], positions = y[2] * y[3];
  const float* grid = e.f32(1);
  for (int64_t n = 0; n < x[0]; ++n) {
    const float* in = e.f32(0) + n * x[1] * plane;
    float* out = e.out() + n * x[1] * positions;
    for (int64_t p = 0; p < positions; ++p, grid += 2) {
      const AxisTaps across = taps_at(grid[0], x[3], s), down = taps_at(grid[1], x[2], s);
      for (int64_t c = 0; c < x[1]; ++c) {
        float sum = 0;
        for (int i = 0; i < s.taps; ++i) {
          for (int k = 0; k < s.taps; ++k) {
            if (down.index[i] < 0 || across.index[k] < 0) continue;
            sum += down.weight[i] * across.weight[k] * in[c * plane + down.index[i] * x[3] + across.index[k]];
          }
        }
        out[c * positions + p] = sum;
      }
    }
  }
  return {};
}

}  // namespace pith::ir
