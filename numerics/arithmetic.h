// Integer forms of the operators between 8-bit activations: addition, multiplication, averages, interpolation.
//
// Each is a set of parameters derived once from scale codes and a function of small integers; every kernel of every
// target computes exactly this function. Method: fixed point on the logarithmic scale grid of scale.h, one rounding.
#pragma once

#include "numerics/scale.h"

namespace pith::numerics {

// y = clamp(zy + round((a - za) * sa/sy + sign * (b - zb) * sb/sy), low, high).
// Both factors share one shift; mantissas have up to 19 bits so that a quotient of scales up to 2^10 keeps 9 bits.
struct AddParams {
  int32_t mantissa_a, mantissa_b;  // |.| < 2^19; mantissa_b carries the sign
  int32_t shift;                   // 1..31
  int32_t zero_a, zero_b, zero_out, low, high;
};
constexpr AddParams add_params(Affine a, Affine b, Affine out, bool subtract = false, int low = 0, int high = 255) {
  const int code_a = a.scale_code - out.scale_code, code_b = b.scale_code - out.scale_code;
  const int larger = code_a > code_b ? code_a : code_b;
  // larger factor: 15-bit mantissa * 16 at its own shift + 4, both limited so that shift stays in 1..31
  int octave = scale_octave(larger);
  if (octave > 13) octave = 13;
  int shift = 18 - octave;
  if (shift > 31) shift = 31;
  const auto aligned = [shift](int code) -> int32_t {
    int o = scale_octave(code);
    if (o > 13) o = 13;
    const int right = (18 - o) - shift;  // how far this factor lies under the shared shift
    const int32_t m = kScaleMantissa[scale_step(code)] * 16;
    return right >= 31 ? 0 : right <= 0 ? m : (m + (1 << (right - 1))) >> right;
  };
  const int32_t mb = aligned(code_b);
  return {aligned(code_a), subtract ? -mb : mb, shift, a.zero_point, b.zero_point, out.zero_point, low, high};
}
constexpr uint8_t add_u8(uint8_t a, uint8_t b, const AddParams& p) {
  // |a - za| <= 255 and |mantissa| < 2^19: each product is under 2^27, their sum with the rounding under 2^31
  const int32_t sum = (a - p.zero_a) * p.mantissa_a + (b - p.zero_b) * p.mantissa_b;
  const int32_t r = (sum + (1 << (p.shift - 1))) >> p.shift;
  return static_cast<uint8_t>(clamp(r + p.zero_out, p.low, p.high));
}

// y = clamp(zy + round((a - za) * (b - zb) * sa*sb/sy), low, high)
struct MulParams {
  Multiplier multiplier;
  int32_t zero_a, zero_b, zero_out, low, high;
};
constexpr MulParams mul_params(Affine a, Affine b, Affine out, int low = 0, int high = 255) {
  return {multiplier(a.scale_code + b.scale_code - out.scale_code), a.zero_point, b.zero_point, out.zero_point, low,
          high};
}
constexpr uint8_t mul_u8(uint8_t a, uint8_t b, const MulParams& p) {
  return requantize_u8((a - p.zero_a) * (b - p.zero_b), p.multiplier, p.zero_out, p.low, p.high);
}

// The factor 2^(code/16) / count for an average over `count` positions, 1 <= count < 2^24, with a 15-bit mantissa.
constexpr Multiplier average_multiplier(int code, int32_t count) {
  const Multiplier m = multiplier(code);
  int64_t mantissa = (static_cast<int64_t>(m.mantissa) << 32) / count;
  int shift = m.shift + 32;
  while (mantissa >= (1 << 15)) mantissa = (mantissa + 1) >> 1, --shift;
  while (shift > 32) mantissa >>= 1, --shift;
  if (shift < 1) return {(1 << 15) - 1, 1};
  return {static_cast<int32_t>(mantissa), shift};
}

// Interpolation between codes of one affine meaning with weights in 1/2048: round(((2048 - w) * a + w * b) / 2048) on
// the sums of 2 or 4 neighbours; exact for w = 0, so nearest neighbours need no rounding.
inline constexpr int kInterpolationBits = 11;
constexpr int32_t interpolation_weight(double fraction) {
  return round_half_up(fraction * (1 << kInterpolationBits));
}
constexpr uint8_t interpolate_u8(uint8_t top_left, uint8_t top_right, uint8_t bottom_left, uint8_t bottom_right,
                                 int32_t weight_x, int32_t weight_y) {
  constexpr int32_t kOne = 1 << kInterpolationBits;
  const int32_t top = top_left * (kOne - weight_x) + top_right * weight_x;
  const int32_t bottom = bottom_left * (kOne - weight_x) + bottom_right * weight_x;
  const int64_t sum = static_cast<int64_t>(top) * (kOne - weight_y) + static_cast<int64_t>(bottom) * weight_y;
  return static_cast<uint8_t>((sum + (int64_t{1} << (2 * kInterpolationBits - 1))) >> (2 * kInterpolationBits));
}

}  // namespace pith::numerics
