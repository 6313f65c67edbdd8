// GridSample2d: ONNX's GridSample on float pictures, channels last; grid N,H,W,2 of (x, y) in [-1, 1].
#include <string.h>

#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

enum Padding { kZeros, kBorder, kReflection };

double unnormalized(double g, int64_t size, bool align) {
  const double n = static_cast<double>(size);
  return align ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
}

// A coordinate mirrored into [low, high].
double reflected(double x, double low, double high) {
  const double range = high - low;
  if (range <= 0) return low;
  if (x < low) {
    const double d = low - x, whole = numerics::floor(d / range), rest = d - whole * range;
    return whole - 2 * numerics::floor(whole / 2) == 0 ? low + rest : high - rest;
  }
  if (x > high) {
    const double d = x - high, whole = numerics::floor(d / range), rest = d - whole * range;
    return whole - 2 * numerics::floor(whole / 2) == 0 ? high - rest : low + rest;
  }
  return x;
}

struct Sampler {
  const float* image;
  int64_t height, width, channels;
  int32_t padding;
  bool align;

  // The index that stands for i along an axis, or -1 for zero.
  int64_t index(double i, int64_t size) const {
    const double most = static_cast<double>(size - 1);
    if (i >= 0 && i <= most) return static_cast<int64_t>(i);
    if (padding == kZeros || i != i) return -1;
    if (padding == kReflection) i = align ? reflected(i, 0, most) : reflected(i, -0.5, most + 0.5);
    return i < 0 ? 0 : i > most ? size - 1 : static_cast<int64_t>(i);
  }
  void add(double y, double x, double weight, float* to) const {
    const int64_t row = index(y, height), column = index(x, width);
    if (row < 0 || column < 0) return;
    const float* from = image + (row * width + column) * channels;
    const float w = static_cast<float>(weight);
    for (int64_t c = 0; c < channels; ++c) to[c] += w * from[c];
  }
};

double cubic(double d) {  // a = -0.75
  d = numerics::abs(d);
  if (d < 1) return (1.25 * d - 2.25) * d * d + 1;
  return d < 2 ? ((d - 5) * d + 8) * d * -0.75 + 3 : 0;
}

void sample(const Sampler& s, int32_t mode, double x, double y, float* to) {
  memset(to, 0, static_cast<size_t>(s.channels) * sizeof(float));
  if (!(numerics::abs(x) < 1e9) || !(numerics::abs(y) < 1e9)) {
    if (s.padding == kZeros) return;
    x = x > 0 ? 1e9 : x < 0 ? -1e9 : 0;
    y = y > 0 ? 1e9 : y < 0 ? -1e9 : 0;
  }
  if (mode == 0) return s.add(numerics::round_even(y), numerics::round_even(x), 1, to);
  if (s.padding != kZeros) {
    const auto held = [&](double v, int64_t size) {
      const double most = static_cast<double>(size - 1);
      if (s.padding == kReflection) return s.align ? reflected(v, 0, most) : reflected(v, -0.5, most + 0.5);
      return v < 0 ? 0 : v > most ? most : v;
    };
    x = held(x, s.width);
    y = held(y, s.height);
  }
  const double x0 = numerics::floor(x), y0 = numerics::floor(y), fx = x - x0, fy = y - y0;
  if (mode == 1) {
    s.add(y0, x0, (1 - fy) * (1 - fx), to);
    s.add(y0, x0 + 1, (1 - fy) * fx, to);
    s.add(y0 + 1, x0, fy * (1 - fx), to);
    s.add(y0 + 1, x0 + 1, fy * fx, to);
    return;
  }
  for (int ky = -1; ky <= 2; ++ky) {
    for (int kx = -1; kx <= 2; ++kx) s.add(y0 + ky, x0 + kx, cubic(ky - fy) * cubic(kx - fx), to);
  }
}

}  // namespace

const char* prepare_GridSample2d(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &grid = *op.inputs[1], &y = *op.outputs[0];
  if (x.dtype != PITH_F32 || grid.dtype != PITH_F32 || y.dtype != PITH_F32)
    return "its operands aren't float; the compiler should convert them";
  if (x.rank != 4 || grid.rank != 4 || y.rank != 4 || grid.dims[3] != 2 || x.count() == 0)
    return "its dimensions don't fit";
  for (int i = 0; i < 3; ++i) {
    if (grid.dims[i] != y.dims[i]) return "its dimensions don't fit";
  }
  if (x.dims[0] != y.dims[0] || x.dims[3] != y.dims[3]) return "its dimensions don't fit";
  for (int i = 0; i < 2; ++i) {
    if (op.ints[i] < 0 || op.ints[i] > 2) return "its mode or padding is unknown";
  }
  return nullptr;
}

void run_GridSample2d(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const float* grid = run.read<float>(op.inputs[1]);
  const int64_t per_image = int64_t{y.dims[1]} * y.dims[2];
  const bool align = op.ints[2] != 0;
  parallel(run.threads, y.dims[0] * per_image, 64, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t i = begin; i < end; ++i) {
      const Sampler s{run.read<float>(&x) + i / per_image * x.dims[1] * x.dims[2] * x.dims[3],
                      x.dims[1],
                      x.dims[2],
                      x.dims[3],
                      op.ints[1],
                      align};
      sample(s, op.ints[0], unnormalized(grid[2 * i], s.width, align), unnormalized(grid[2 * i + 1], s.height, align),
             run.write<float>(&y) + i * s.channels);
    }
  });
  activate_f32(op, run, run.write<float>(&y), y.count());
}

}  // namespace pith::runtime
