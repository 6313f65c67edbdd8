// Pool2d, Resize2d, Reduce, ArgReduce, Softmax, Norm, LocalNorm, CumSum: one result from many places of one operand.
#include <algorithm>
#include <cmath>

#include "numerics/norm.h"
#include "sim/functional/operand.h"

namespace pith::sim {
namespace {

// ONNX's coordinate transformations; only what has an integer form, and those in float.
double source_coordinate(int64_t kind, double o, double in, double out, double scale) {
  const auto unscaled = [&](double y) { return scale == out / in ? y * in / out : y / scale; };
  switch (kind) {
    case PITH_COORDINATES_ALIGN_CORNERS: return scale * in == 1 ? 0 : o * (in - 1) / (scale * in - 1);
    case PITH_COORDINATES_ASYMMETRIC: return unscaled(o);
    case PITH_COORDINATES_PYTORCH_HALF_PIXEL: return out > 1 ? unscaled(o + 0.5) - 0.5 : 0;
    case PITH_COORDINATES_HALF_PIXEL_SYMMETRIC: return in / 2 * (1 - out / (scale * in)) + unscaled(o + 0.5) - 0.5;
    default: return unscaled(o + 0.5) - 0.5;
  }
}

struct Place {  // of one output row or column
  int64_t nearest, first, second;
  double fraction;
};
std::vector<Place> places(const Call& c, size_t which) {
  const double in = c.in[0].dims[1 + which], out = c.out[0].dims[1 + which];
  double scale = c.op.reals[which];
  if (c.i(5) != 0 || static_cast<float>(out / in) == c.op.reals[which]) scale = out / in;
  std::vector<Place> all;
  for (int64_t o = 0; o < c.out[0].dims[1 + which]; ++o) {
    const double x = source_coordinate(c.i(1), static_cast<double>(o), in, out, scale);
    double near = 0;
    switch (c.i(2)) {
      case PITH_ROUND_FLOOR: near = numerics::floor(x); break;
      case PITH_ROUND_CEIL: near = numerics::ceil(x); break;
      case PITH_ROUND_PREFER_CEIL: near = numerics::floor(x + 0.5); break;
      default: near = numerics::ceil(x - 0.5);
    }
    const double held = std::clamp(x, 0.0, in - 1);
    const int64_t first = static_cast<int64_t>(held);
    all.push_back({static_cast<int64_t>(std::clamp(near, 0.0, in - 1)), first, std::min<int64_t>(first + 1, static_cast<int64_t>(in) - 1), held - static_cast<double>(first)});
  }
  return all;
}

// x as [outer][size][inner] around an axis; body(first element, stride, size, index of the line)
template <typename Body>
void each_line(const Operand& x, size_t axis, const Body& body) {
  const int64_t size = x.dims[axis], inner = x.count(axis + 1, x.dims.size());
  for (int64_t line = 0; line < x.count(0, axis) * inner; ++line) body(line / inner * size * inner + line % inner, inner, size, line);
}

template <typename T>
void arg_reduce(const Call& c, const T* x, int32_t* y) {
  each_line(c.in[0], static_cast<size_t>(c.i(1)), [&](int64_t first, int64_t stride, int64_t size, int64_t line) {
    int64_t best = 0;
    for (int64_t k = 1; k < size; ++k) {
      const T v = x[first + k * stride], b = x[first + best * stride];
      if ((c.i(0) ? v < b : v > b) || (c.i(2) && v == b)) best = k;
    }
    y[line] = static_cast<int32_t>(best);
  });
}

// What layer and RMS normalisation multiply a row by first: the scale's second row, or ones.
std::vector<int32_t> spread_of(const Call& c, int64_t n) {
  const Operand& scale = c.in[1];
  if (!scale || scale.dims.size() != 2 || scale.dims[0] != 2) return std::vector<int32_t>(static_cast<size_t>(n), 1);
  return {scale.f32() + n, scale.f32() + 2 * n};
}

// Statistics over positions `at` of x, then (x - mean) / deviation with parameters `parameter(i)`.
template <typename At, typename Parameter>
void normalize(const Call& c, const float* x, int64_t n, bool centred, const At& at, const Parameter& parameter) {
  float* y = reinterpret_cast<float*>(c.out[0].bytes);
  double mean = 0, square = 0;
  for (int64_t i = 0; i < n && centred; ++i) mean += x[at(i)];
  if (centred) mean /= static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) square += (x[at(i)] - mean) * (x[at(i)] - mean);
  const double inverse = 1 / numerics::sqrt(square / static_cast<double>(n) + c.op.reals[0]);
  const float shift = static_cast<float>(-mean * inverse), factor = static_cast<float>(inverse);
  const Operand &s = c.in[1], &b = c.in[2];
  for (int64_t i = 0; i < n; ++i) {
    float v = x[at(i)] * factor + shift;
    if (s) v *= s.f32()[s.count() == 1 ? 0 : parameter(i)];
    if (b) v += b.f32()[b.count() == 1 ? 0 : parameter(i)];
    y[at(i)] = v;
  }
}

}  // namespace

std::optional<std::string> execute_Pool2d(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  const int64_t kind = c.i(0), kernel_h = c.i(1), kernel_w = c.i(2), channels = x.dims[3];
  if (kind > 1) return "the virtual chip has no Lp pooling";
  const Finish f = x.is_u8() && kind == 1 ? finish_of(c.op, y.affine) : Finish{};
  const Table moved = x.is_u8() && kind == 0 ? moved_table(c.op, x.affine, y.affine) : Table{};
  for (int64_t p = 0; p < y.count(0, 3); ++p) {
    const int64_t n = p / (y.dims[1] * y.dims[2]), oy = p / y.dims[2] % y.dims[1], ox = p % y.dims[2];
    std::vector<int64_t> taps;
    for (int64_t ky = 0; ky < kernel_h; ++ky) {
      for (int64_t kx = 0; kx < kernel_w; ++kx) {
        const int64_t iy = oy * c.i(3) + ky * c.i(5) - c.i(7), ix = ox * c.i(4) + kx * c.i(6) - c.i(8);
        if (iy >= 0 && iy < x.dims[1] && ix >= 0 && ix < x.dims[2]) taps.push_back(((n * x.dims[1] + iy) * x.dims[2] + ix) * channels);
      }
    }
    const int64_t counted = c.i(11) ? kernel_h * kernel_w : std::max<int64_t>(static_cast<int64_t>(taps.size()), 1);
    for (int64_t k = 0; k < channels; ++k) {
      if (x.is_u8()) {
        int32_t sum = 0, most = 0;
        for (int64_t at : taps) sum += x.u8()[at + k] - x.affine.zero_point, most = std::max<int32_t>(most, x.u8()[at + k]);
        y.u8()[p * channels + k] = kind == 0 ? (taps.empty() ? y.affine.zero_point : moved[static_cast<size_t>(most)])
                                             : f(sum, numerics::average_multiplier(x.affine.scale_code - f.raw.scale_code, static_cast<int32_t>(counted)));
      } else {
        double sum = 0;
        float most = -__builtin_huge_valf();
        for (int64_t at : taps) sum += x.f32()[at + k], most = std::max(most, x.f32()[at + k]);
        y.f32()[p * channels + k] = kind == 0 ? most : static_cast<float>(sum / static_cast<double>(counted));
      }
    }
  }
  if (!x.is_u8()) activate(c.op, y.f32(), y.count());
  return {};
}

std::optional<std::string> execute_Resize2d(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  if (c.i(0) > PITH_RESIZE_LINEAR || c.i(4) != 0 || c.i(1) == PITH_COORDINATES_TF_CROP_AND_RESIZE || c.i(3) != 0) return "the virtual chip resizes by nearest neighbours and linearly only";
  const auto rows = places(c, 0), columns = places(c, 1);
  const Table moved = x.is_u8() ? moved_table(c.op, x.affine, y.affine) : Table{};
  const int64_t channels = x.dims[3];
  for (int64_t i = 0; i < y.count(); ++i) {
    const int64_t k = i % channels, ox = i / channels % y.dims[2], oy = i / channels / y.dims[2] % y.dims[1], n = i / channels / y.dims[2] / y.dims[1];
    const Place &r = rows[static_cast<size_t>(oy)], &l = columns[static_cast<size_t>(ox)];
    const auto at = [&](int64_t iy, int64_t ix) { return ((n * x.dims[1] + iy) * x.dims[2] + ix) * channels + k; };
    if (c.i(0) == PITH_RESIZE_NEAREST) {
      if (x.is_u8()) y.u8()[i] = moved[x.u8()[at(r.nearest, l.nearest)]];
      if (!x.is_u8()) y.f32()[i] = x.f32()[at(r.nearest, l.nearest)];
    } else if (x.is_u8()) {
      y.u8()[i] = moved[numerics::interpolate_u8(x.u8()[at(r.first, l.first)], x.u8()[at(r.first, l.second)], x.u8()[at(r.second, l.first)], x.u8()[at(r.second, l.second)],
                                                 numerics::interpolation_weight(l.fraction), numerics::interpolation_weight(r.fraction))];
    } else {
      const double top = x.f32()[at(r.first, l.first)] * (1 - l.fraction) + x.f32()[at(r.first, l.second)] * l.fraction;
      const double bottom = x.f32()[at(r.second, l.first)] * (1 - l.fraction) + x.f32()[at(r.second, l.second)] * l.fraction;
      y.f32()[i] = static_cast<float>(top * (1 - r.fraction) + bottom * r.fraction);
    }
  }
  if (!x.is_u8()) activate(c.op, y.f32(), y.count());
  return {};
}

std::optional<std::string> execute_Reduce(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  const int64_t kind = c.i(0), reduced = x.count() / std::max<int64_t>(y.count(), 1);
  if (kind > PITH_REDUCE_MIN || (x.is_u8() && kind == PITH_REDUCE_SUM) || x.dtype == PITH_I32) return "the virtual chip reduces by mean, sum (float), maximum and minimum only";
  std::vector<double> sum(static_cast<size_t>(y.count()), kind == PITH_REDUCE_MAX ? -__builtin_huge_val() : kind == PITH_REDUCE_MIN ? __builtin_huge_val() : 0);
  for (int64_t i = 0; i < x.count(); ++i) {
    double& s = sum[static_cast<size_t>(broadcast_offset(i, x.dims, y.dims))];
    const double v = x.is_u8() ? x.u8()[i] : static_cast<double>(x.f32()[i]);
    s = kind == PITH_REDUCE_MAX ? std::max(s, v) : kind == PITH_REDUCE_MIN ? std::min(s, v) : s + v;
  }
  if (!x.is_u8()) {
    for (int64_t i = 0; i < y.count(); ++i) y.f32()[i] = static_cast<float>(kind == PITH_REDUCE_MEAN ? sum[static_cast<size_t>(i)] / static_cast<double>(reduced) : sum[static_cast<size_t>(i)]);
    activate(c.op, y.f32(), y.count());
    return {};
  }
  const Finish f = finish_of(c.op, y.affine);
  const Table moved = moved_table(c.op, x.affine, y.affine);
  const auto m = numerics::average_multiplier(x.affine.scale_code - f.raw.scale_code, static_cast<int32_t>(reduced));
  for (int64_t i = 0; i < y.count(); ++i) {
    const double s = sum[static_cast<size_t>(i)];  // whole and under 2^53
    y.u8()[i] = kind == PITH_REDUCE_MEAN ? f(static_cast<int32_t>(static_cast<int64_t>(s) - reduced * x.affine.zero_point), m) : moved[static_cast<size_t>(s)];
  }
  return {};
}

std::optional<std::string> execute_ArgReduce(Call& c) {
  if (c.in[0].is_u8()) arg_reduce(c, c.in[0].u8(), c.out[0].i32());
  if (c.in[0].dtype == PITH_F32) arg_reduce(c, c.in[0].f32(), c.out[0].i32());
  if (c.in[0].dtype == PITH_I32) arg_reduce(c, c.in[0].i32(), c.out[0].i32());
  return {};
}

std::optional<std::string> execute_Softmax(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  if (c.i(0) > 1) return "the virtual chip has no hardmax";
  each_line(x, static_cast<size_t>(c.i(1)), [&](int64_t first, int64_t stride, int64_t size, int64_t) {
    float most = x.f32()[first];
    for (int64_t k = 1; k < size; ++k) most = std::max(most, x.f32()[first + k * stride]);
    double sum = 0;
    for (int64_t k = 0; k < size; ++k) {
      const double e = numerics::exp(static_cast<double>(x.f32()[first + k * stride] - most));
      sum += c.i(0) ? e : static_cast<double>(static_cast<float>(e));
    }
    for (int64_t k = 0; k < size; ++k) {
      const float d = x.f32()[first + k * stride];
      y.f32()[first + k * stride] = c.i(0) ? static_cast<float>(d - most - numerics::log(sum))
                                           : static_cast<float>(numerics::exp(static_cast<double>(d - most))) * static_cast<float>(1 / sum);
    }
  });
  activate(c.op, y.f32(), y.count());
  return {};
}

// numerics/norm.h, row after row.
void normalize_codes(Call& c) {
  const Operand &x = c.in[0], &scale = c.in[1], &bias = c.in[2];
  const size_t axis = static_cast<size_t>(c.i(1));
  const int64_t n = x.count(axis, x.dims.size());
  const bool rms = c.i(0) == 1;
  const int32_t zero = x.affine.zero_point;
  const Finish finish = finish_of(c.op, c.out[0].affine);
  const uint64_t epsilon = numerics::norm_epsilon(c.op.reals[0], x.affine, n);
  const auto parameter = [](const Operand& p, int64_t i, float absent) { return p ? p.f32()[p.count() == 1 ? 0 : i] : absent; };
  const std::vector<int32_t> spread = spread_of(c, n);
  for (int64_t r = 0; r < x.count(0, axis); ++r) {
    const uint8_t* from = x.u8() + r * n;
    int64_t sum = 0, squares = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t q = (from[i] - zero) * spread[static_cast<size_t>(i)];
      sum += q;
      squares += q * q;
    }
    const numerics::NormRow row = rms ? numerics::NormRow::rms(n, squares, 0, epsilon) : numerics::NormRow::layer(n, sum, squares, epsilon);
    for (int64_t i = 0; i < n; ++i) {
      const numerics::NormParameter p = numerics::norm_parameter(parameter(scale, i, 1), parameter(bias, i, 0), finish.raw);
      const int32_t code = numerics::clamp(numerics::norm_code(row.quotient((from[i] - zero) * spread[static_cast<size_t>(i)]), p, finish.raw.zero_point), finish.low, finish.high);
      c.out[0].u8()[r * n + i] = finish.through(static_cast<uint8_t>(code));
    }
  }
}

std::optional<std::string> execute_Norm(Call& c) {
  const Operand& x = c.in[0];
  const int64_t kind = c.i(0);
  if (x.is_u8()) {
    if (kind > 1 || !c.out[0].is_u8()) return "codes are normalised by layer and RMS only";
    normalize_codes(c);
    return {};
  }
  if (kind > 3) return "the virtual chip normalises by layer, RMS, instance and group only";
  if (kind <= 1) {
    const size_t axis = static_cast<size_t>(c.i(1));
    const int64_t n = x.count(axis, x.dims.size());
    const std::vector<int32_t> spread = spread_of(c, n);
    std::vector<float> wide(x.f32(), x.f32() + x.count());
    for (size_t i = 0; i < wide.size(); ++i) wide[i] *= static_cast<float>(spread[i % spread.size()]);
    for (int64_t r = 0; r < x.count(0, axis); ++r) normalize(c, wide.data(), n, kind == 0, [&](int64_t i) { return r * n + i; }, [](int64_t i) { return i; });
  } else {
    const int64_t channels = x.dims.back(), groups = kind == 2 ? channels : c.i(2), width = channels / groups, positions = x.count(1, x.dims.size() - 1);
    for (int64_t g = 0; g < x.dims[0] * groups; ++g) {
      const int64_t first = g % groups * width;
      normalize(c, x.f32(), positions * width, true, [&](int64_t i) { return (g / groups * positions + i / width) * channels + first + i % width; }, [&](int64_t i) { return first + i % width; });
    }
  }
  activate(c.op, c.out[0].f32(), x.count());
  return {};
}

std::optional<std::string> execute_LocalNorm(Call& c) {
  const Operand& x = c.in[0];
  const int64_t channels = x.dims.back(), size = c.i(0);
  const double alpha = c.op.reals[0], beta = c.op.reals[1], bias = c.op.reals[2];
  for (int64_t i = 0; i < x.count(); ++i) {
    const int64_t k = i % channels, row = i - k;
    double sum = 0;
    for (int64_t j = std::max<int64_t>(k - (size - 1) / 2, 0); j <= std::min(k + size / 2, channels - 1); ++j) sum += static_cast<double>(x.f32()[row + j]) * x.f32()[row + j];
    c.out[0].f32()[i] = static_cast<float>(x.f32()[i] / numerics::pow(bias + alpha / static_cast<double>(size) * sum, beta));
  }
  activate(c.op, c.out[0].f32(), x.count());
  return {};
}

std::optional<std::string> execute_CumSum(Call& c) {
  const Operand& x = c.in[0];
  Operand& y = c.out[0];
  if (x.is_u8()) return "it has no 8-bit form";
  each_line(x, static_cast<size_t>(c.i(0)), [&](int64_t first, int64_t stride, int64_t size, int64_t) {
    double real = 0;
    uint32_t whole = 0;
    for (int64_t k = 0; k < size; ++k) {
      const int64_t at = first + (c.i(2) ? size - 1 - k : k) * stride;
      const float f = x.f32()[at];
      const uint32_t w = static_cast<uint32_t>(x.i32()[at]);
      if (!c.i(1)) real += f, whole += w;
      if (x.dtype == PITH_F32) y.f32()[at] = static_cast<float>(real);
      if (x.dtype == PITH_I32) y.i32()[at] = static_cast<int32_t>(whole);
      if (c.i(1)) real += f, whole += w;
    }
  });
  if (y.dtype == PITH_F32) activate(c.op, y.f32(), y.count());
  return {};
}

}  // namespace pith::sim
