// Scales as integers, and requantisation: THE definition of how an accumulator becomes an 8-bit value.
//
// The problem: every tool stores scales as floats, multiplies three of them, and rounds the product to a fixed-point
// multiplier, so that bytes and bit-exactness are lost to side information. The method here is a logarithmic grid:
//
//     scale = 2^(code / 16),  code an integer
//
// Products and quotients of scales are sums and differences of codes; a requantisation factor is a code again, and its
// fixed-point form is one of 16 mantissas and a shift. A scale may always be rounded up to the grid: the step grows by
// at most 4.4 % (2.2 % on average), which costs about 0.03 bits of resolution, and a code costs a few bits in the file.
//
// Freestanding: no heap, no library, the same result on every machine.
#pragma once

#include <cstdint>

namespace pith::numerics {

inline constexpr int kScaleStepsPerOctave = 16;
inline constexpr int kScaleCodeMin = -1024;  // 2^-64
inline constexpr int kScaleCodeMax = 1023;   // just under 2^64

// round(2^14 * 2^(i/16))
inline constexpr int32_t kScaleMantissa[16] = {
    16384, 17109, 17867, 18658, 19484, 20347, 21247, 22188,
    23170, 24196, 25268, 26386, 27554, 28774, 30048, 31379};
// 2^(i/16), nearest doubles
inline constexpr double kScaleFraction[16] = {
    0x1.0000000000000p+0, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0, 0x1.2387a6e756238p+0,
    0x1.306fe0a31b715p+0, 0x1.3dea64c123422p+0, 0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0,
    0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f090p+0,
    0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0, 0x1.ea4afa2a490dap+0};

// Floor division and remainder of a code by 16.
constexpr int scale_octave(int code) { return code >= 0 ? code / 16 : -((15 - code) / 16); }
constexpr int scale_step(int code) { return code - 16 * scale_octave(code); }

// 2^exponent for |exponent| <= 1000, exact.
constexpr double exact_power_of_two(int exponent) {
  double result = 1.0;
  const double factor = exponent < 0 ? 0.5 : 2.0;
  for (int i = exponent < 0 ? -exponent : exponent; i > 0; --i) result *= factor;
  return result;
}

// The scale that a code stands for. Exact to the last bit of the table.
constexpr double scale_value(int code) { return kScaleFraction[scale_step(code)] * exact_power_of_two(scale_octave(code)); }

// The smallest code whose scale is at least `scale`; clamps to the range of codes, and maps zero and less to the least.
constexpr int scale_code_at_least(double scale) {
  int low = kScaleCodeMin, high = kScaleCodeMax;
  while (low < high) {
    const int middle = low + (high - low) / 2;
    if (scale_value(middle) >= scale) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// A positive factor as fixed point: mantissa * 2^-shift, with 0 <= mantissa < 2^15 and 1 <= shift <= 32.
struct Multiplier {
  int32_t mantissa;
  int32_t shift;
};

// The fixed-point form of 2^(code/16). Factors of 2^13 and more saturate at the largest representable one; factors under
// 2^-18 lose low mantissa bits, down to zero.
constexpr Multiplier multiplier(int code) {
  const int top = 16 * 13 + 15;
  if (code > top) code = top;
  int32_t mantissa = kScaleMantissa[scale_step(code)];
  int shift = 14 - scale_octave(code);
  if (shift > 32) {
    const int excess = shift - 32;
    mantissa = excess > 15 ? 0 : mantissa >> excess;
    shift = 32;
  }
  return {mantissa, shift};
}

constexpr int32_t saturate_i32(int64_t x) {
  return x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : static_cast<int32_t>(x);
}

// round(x * m), halves up (towards plus infinity), saturated to 32 bits. One rounding, no double rounding.
// When the factor is at most 1 the result never saturates, and its low 32 bits are those of the unsigned shift: that is
// what SIMD kernels without a 64-bit arithmetic shift rely on.
constexpr int32_t requantize(int32_t x, Multiplier m) {
  return saturate_i32((static_cast<int64_t>(x) * m.mantissa + (int64_t{1} << (m.shift - 1))) >> m.shift);
}

constexpr int32_t clamp(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }

// An accumulator to an 8-bit activation: clamp(zero_point + round(acc * m), low, high), 0 <= low <= high <= 255.
// The addition saturates as well, so any accumulator is safe.
constexpr uint8_t requantize_u8(int32_t acc, Multiplier m, int32_t zero_point, int32_t low, int32_t high) {
  const int64_t y = static_cast<int64_t>(requantize(acc, m)) + zero_point;
  return static_cast<uint8_t>(y < low ? low : y > high ? high : y);
}

// The affine meaning of an 8-bit activation: value = (q - zero_point) * 2^(code/16).
struct Affine {
  int16_t scale_code = 0;
  uint8_t zero_point = 0;
  friend constexpr bool operator==(Affine, Affine) = default;
};
constexpr double dequantize(int32_t q, Affine a) { return (q - int32_t{a.zero_point}) * scale_value(a.scale_code); }

// floor(x + 0.5) as an integer, saturated to +-2^30; NaN gives 0.
constexpr int32_t round_half_up(double x) {
  if (!(x > -1073741824.0)) return x != x ? 0 : -1073741824;
  if (x >= 1073741823.0) return 1073741823;
  const double shifted = x + 0.5;
  int32_t i = static_cast<int32_t>(shifted);
  if (static_cast<double>(i) > shifted) --i;
  return i;
}
constexpr uint8_t quantize_u8(double x, Affine a) {
  const int32_t q = round_half_up(x / scale_value(a.scale_code));
  return static_cast<uint8_t>(clamp(q + a.zero_point, 0, 255));
}

}  // namespace pith::numerics
