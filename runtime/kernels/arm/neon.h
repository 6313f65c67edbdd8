// Shared pieces of the NEON kernels: requantisation of four accumulators in 64 bits, packing, tables, odd ends.
//
// vrshlq by a negative amount adds half of the unit and shifts: the definition's rounding exactly; vqmovn saturates as
// it does.
#pragma once

#include <arm_neon.h>
#include <string.h>

#include "runtime/kernels/kernels.h"

namespace pith::runtime {

struct RequantizerNeon {
  int32x4_t mantissa;
  int64x2_t shift_low, shift_high;  // negative
};
static inline RequantizerNeon requantizer(const int32_t* mantissa, const int32_t* shift) {
  const int32x4_t s = vnegq_s32(vld1q_s32(shift));
  return {vld1q_s32(mantissa), vmovl_s32(vget_low_s32(s)), vmovl_high_s32(s)};
}
static inline RequantizerNeon requantizer(numerics::Multiplier m) {
  return {vdupq_n_s32(m.mantissa), vdupq_n_s64(-m.shift), vdupq_n_s64(-m.shift)};
}
static inline int32x4_t requantize(int32x4_t acc, const RequantizerNeon& r) {
  const int64x2_t low = vrshlq_s64(vmull_s32(vget_low_s32(acc), vget_low_s32(r.mantissa)), r.shift_low);
  const int64x2_t high = vrshlq_s64(vmull_high_s32(acc, r.mantissa), r.shift_high);
  return vcombine_s32(vqmovn_s64(low), vqmovn_s64(high));
}

// Sixteen requantised values to bytes: zero point added, clamped, looked up.
static inline uint8x16_t look_up(uint8x16_t x, const uint8_t* table) {
  const uint8x16_t step = vdupq_n_u8(64);
  uint8x16_t y = vqtbl4q_u8(vld1q_u8_x4(table), x);
  for (int i = 1; i < 4; ++i) {
    x = vsubq_u8(x, step);
    y = vqtbx4q_u8(y, vld1q_u8_x4(table + 64 * i), x);
  }
  return y;
}
static inline uint8x16_t to_bytes(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d, const Epilogue& e) {
  const int16x8_t zero = vdupq_n_s16(static_cast<int16_t>(e.zero_point));
  const int16x8_t ab = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), zero),
                  cd = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), zero);
  const uint8x16_t bytes = vqmovun_high_s16(vqmovun_s16(ab), cd);
  const uint8x16_t y =
      vminq_u8(vmaxq_u8(bytes, vdupq_n_u8(static_cast<uint8_t>(e.low))), vdupq_n_u8(static_cast<uint8_t>(e.high)));
  return e.table != nullptr ? look_up(y, e.table) : y;
}

static inline void store_first(uint8_t* y, uint8x16_t v, int64_t n) {
  if (n >= 16) return vst1q_u8(y, v);
  uint8_t bytes[16];
  vst1q_u8(bytes, v);
  memcpy(y, bytes, static_cast<size_t>(n));
}
static inline uint8x16_t load_first(const uint8_t* x, int64_t n) {
  if (n >= 16) return vld1q_u8(x);
  uint8_t bytes[16] = {};
  memcpy(bytes, x, static_cast<size_t>(n));
  return vld1q_u8(bytes);
}

}  // namespace pith::runtime
