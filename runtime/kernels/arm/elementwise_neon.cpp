// Runs of 8-bit elements, 16 at a time: tables, sums, products, pooling windows. Odd ends go through copies.
#include "runtime/kernels/arm/neon.h"

namespace pith::runtime {
namespace {

struct Four {
  int32x4_t v[4];
};
// Bytes minus a zero point, as 32-bit lanes.
Four centred(uint8x16_t x, int32_t zero) {
  const int16x8_t z = vdupq_n_s16(static_cast<int16_t>(zero));
  const int16x8_t low = vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x))), z);
  const int16x8_t high = vsubq_s16(vreinterpretq_s16_u16(vmovl_high_u8(x)), z);
  return {{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)}};
}

}  // namespace

void table_u8_neon(const uint8_t* x, uint8_t* y, int64_t count, const uint8_t* table) {
  for (int64_t i = 0; i < count; i += 16) store_first(y + i, look_up(load_first(x + i, count - i), table), count - i);
}

void add_u8_neon(const AddU8& r) {
  const numerics::AddParams& p = r.params;
  const Epilogue e = {p.zero_out, p.low, p.high, r.table};
  const int32x4_t shift = vdupq_n_s32(-p.shift);
  const uint8x16_t a_all = vdupq_n_u8(r.a[0]), b_all = vdupq_n_u8(r.b[0]);
  for (int64_t i = 0; i < r.count; i += 16) {
    const int64_t left = r.count - i;
    const Four a = centred(r.a_repeats ? a_all : load_first(r.a + i, left), p.zero_a),
               b = centred(r.b_repeats ? b_all : load_first(r.b + i, left), p.zero_b);
    int32x4_t y[4];
    for (int k = 0; k < 4; ++k) {
      y[k] = vrshlq_s32(vmlaq_n_s32(vmulq_n_s32(a.v[k], p.mantissa_a), b.v[k], p.mantissa_b), shift);
    }
    store_first(r.y + i, to_bytes(y[0], y[1], y[2], y[3], e), left);
  }
}

void mul_u8_neon(const MulU8& r) {
  const numerics::MulParams& p = r.params;
  const Epilogue e = {p.zero_out, p.low, p.high, r.table};
  const RequantizerNeon m = requantizer(p.multiplier);
  const uint8x16_t a_all = vdupq_n_u8(r.a[0]), b_all = vdupq_n_u8(r.b[0]);
  for (int64_t i = 0; i < r.count; i += 16) {
    const int64_t left = r.count - i;
    const Four a = centred(r.a_repeats ? a_all : load_first(r.a + i, left), p.zero_a),
               b = centred(r.b_repeats ? b_all : load_first(r.b + i, left), p.zero_b);
    int32x4_t y[4];
    for (int k = 0; k < 4; ++k) y[k] = requantize(vmulq_s32(a.v[k], b.v[k]), m);
    store_first(r.y + i, to_bytes(y[0], y[1], y[2], y[3], e), left);
  }
}

void max_pool_u8_neon(const PoolU8& w) {
  for (int32_t c = 0; c < w.channels; c += 16) {
    uint8x16_t y = vld1q_u8(w.inputs[0] + c);
    for (int32_t t = 1; t < w.taps; ++t) y = vmaxq_u8(y, vld1q_u8(w.inputs[t] + c));
    if (w.epilogue.table != nullptr) y = look_up(y, w.epilogue.table);
    store_first(w.y + c, y, w.channels - c);
  }
}

void average_pool_u8_neon(const PoolU8& w) {
  const RequantizerNeon m = requantizer(w.multiplier);
  for (int32_t c = 0; c < w.channels; c += 16) {
    Four sum;
    for (int32x4_t& v : sum.v) v = vdupq_n_s32(-w.zero_in * w.taps);
    for (int32_t t = 0; t < w.taps; ++t) {
      const Four x = centred(vld1q_u8(w.inputs[t] + c), 0);
      for (int k = 0; k < 4; ++k) sum.v[k] = vaddq_s32(sum.v[k], x.v[k]);
    }
    for (int32x4_t& v : sum.v) v = requantize(v, m);
    store_first(w.y + c, to_bytes(sum.v[0], sum.v[1], sum.v[2], sum.v[3], w.epilogue), w.channels - c);
  }
}

}  // namespace pith::runtime
