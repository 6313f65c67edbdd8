// Reference kernels on runs of elements: tables, sums, products, pooling windows, conversions.
#include "program/format.h"
#include "runtime/kernels/kernels.h"
#include "runtime/kernels/ref/ref.h"

namespace pith::runtime {

void table_u8_ref(const uint8_t* x, uint8_t* y, int64_t count, const uint8_t* table) {
  for (int64_t i = 0; i < count; ++i) y[i] = table[x[i]];
}

void add_u8_ref(const AddU8& r) {
  for (int64_t i = 0; i < r.count; ++i) {
    const uint8_t y = numerics::add_u8(r.a[r.a_repeats ? 0 : i], r.b[r.b_repeats ? 0 : i], r.params);
    r.y[i] = r.table != nullptr ? r.table[y] : y;
  }
}

void mul_u8_ref(const MulU8& r) {
  for (int64_t i = 0; i < r.count; ++i) {
    const uint8_t y = numerics::mul_u8(r.a[r.a_repeats ? 0 : i], r.b[r.b_repeats ? 0 : i], r.params);
    r.y[i] = r.table != nullptr ? r.table[y] : y;
  }
}

void max_pool_u8_ref(const PoolU8& w) {
  for (int32_t c = 0; c < w.channels; ++c) {
    uint8_t y = w.inputs[0][c];
    for (int32_t tap = 1; tap < w.taps; ++tap) y = w.inputs[tap][c] > y ? w.inputs[tap][c] : y;
    w.y[c] = w.epilogue.table != nullptr ? w.epilogue.table[y] : y;
  }
}

void average_pool_u8_ref(const PoolU8& w) {
  for (int32_t c = 0; c < w.channels; ++c) {
    int32_t sum = -w.zero_in * w.taps;
    for (int32_t tap = 0; tap < w.taps; ++tap) sum += w.inputs[tap][c];
    w.y[c] = finish(sum, w.multiplier, w.epilogue);
  }
}

namespace {

// Remainders: with the sign of the divisor (mod) or of the dividend (fmod).
float remainder(float a, float b, bool like_divisor) {
  if (b == 0 || a != a || b != b || a - a != 0) return __builtin_nanf("");
  double r = a;
  if (b - b == 0) {
    // exact for quotients below 2^53, else reduced in steps of the divisor times powers of two
    const double divisor = b < 0 ? -static_cast<double>(b) : b;
    const double magnitude = r < 0 ? -r : r;
    double rest = magnitude;
    while (rest >= divisor) {
      double step = divisor;
      while (step * 2 <= rest) step *= 2;
      rest -= step;
    }
    r = r < 0 ? -rest : rest;
  }
  if (like_divisor && r != 0 && (r < 0) != (b < 0)) r += b;
  return static_cast<float>(r);
}

float binary(int32_t kind, float a, float b) {
  switch (kind) {
    case PITH_BINARY_ADD:
      return a + b;
    case PITH_BINARY_SUB:
      return a - b;
    case PITH_BINARY_MUL:
      return a * b;
    case PITH_BINARY_DIV:
      return a / b;
    case PITH_BINARY_POW:
      return b == 2 ? a * a : static_cast<float>(numerics::pow(static_cast<double>(a), static_cast<double>(b)));
    case PITH_BINARY_MIN:
      return a != a || b != b ? a + b : a < b ? a : b;
    case PITH_BINARY_MAX:
      return a != a || b != b ? a + b : a > b ? a : b;
    case PITH_BINARY_MOD:
      return remainder(a, b, true);
    case PITH_BINARY_FMOD:
      return remainder(a, b, false);
    default:
      return a < 0 ? a * b : a;  // PRelu
  }
}

}  // namespace

void binary_f32_ref(const BinaryF32& r) {
  for (int64_t i = 0; i < r.count; ++i) r.y[i] = binary(r.kind, r.a[r.a_repeats ? 0 : i], r.b[r.b_repeats ? 0 : i]);
}

void unary_f32_ref(const float* x, float* y, int64_t count, numerics::Unary function, float a, float b) {
  for (int64_t i = 0; i < count; ++i) {
    y[i] = static_cast<float>(numerics::apply_unary(function, static_cast<double>(x[i]), a, b));
  }
}

void quantize_u8_ref(const float* x, uint8_t* y, int64_t count, numerics::Affine affine) {
  const double scale = numerics::scale_value(affine.scale_code);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t q = numerics::round_half_up(static_cast<double>(x[i]) / scale) + affine.zero_point;
    y[i] = static_cast<uint8_t>(numerics::clamp(q, 0, 255));
  }
}

void dequantize_u8_ref(const uint8_t* x, float* y, int64_t count, numerics::Affine affine) {
  const double scale = numerics::scale_value(affine.scale_code);
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<float>((x[i] - int32_t{affine.zero_point}) * scale);
}

}  // namespace pith::runtime
