// Depthwise rows, 16 channels at a time: four rows of weights come apart in one structured load, products are smlal.
#include "runtime/kernels/arm/neon.h"

namespace pith::runtime {
namespace {

void outputs(const DepthwiseU8& r, int32_t channel) {
  const int32_t quads = (r.kernel_h + 3) / 4, left = r.channels - channel;
  const int8_t* weights = r.weights + int64_t{channel} * r.kernel_w * quads * 4;
  RequantizerNeon requantizers[4];
  for (int v = 0; v < 4; ++v) requantizers[v] = requantizer(r.mantissa + channel + 4 * v, r.shift + channel + 4 * v);
  const uint8x16_t pad = vdupq_n_u8(r.pad_value);
  for (int32_t out = r.out_begin; out < r.out_end; ++out) {
    int32x4_t acc[4];
    for (int v = 0; v < 4; ++v) acc[v] = vld1q_s32(r.bias + channel + 4 * v);
    const int8_t* w = weights;
    for (int32_t kx = 0; kx < r.kernel_w; ++kx) {
      const int32_t ix = out * r.stride_w + kx * r.dilation_w - r.pad_left;
      const bool inside = ix >= 0 && ix < r.in_w;
      for (int32_t quad = 0; quad < quads; ++quad, w += 64) {
        const int8x16x4_t rows = vld4q_s8(w);
        for (int k = 0; k < 4 && 4 * quad + k < r.kernel_h; ++k) {
          const uint8_t* row = r.rows[4 * quad + k];
          const uint8x16_t x = inside && row != nullptr ? vld1q_u8(row + int64_t{ix} * r.stride_c + channel) : pad;
          const int16x8_t x0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x))),
                          x1 = vreinterpretq_s16_u16(vmovl_high_u8(x));
          const int16x8_t w0 = vmovl_s8(vget_low_s8(rows.val[k])), w1 = vmovl_high_s8(rows.val[k]);
          acc[0] = vmlal_s16(acc[0], vget_low_s16(x0), vget_low_s16(w0));
          acc[1] = vmlal_high_s16(acc[1], x0, w0);
          acc[2] = vmlal_s16(acc[2], vget_low_s16(x1), vget_low_s16(w1));
          acc[3] = vmlal_high_s16(acc[3], x1, w1);
        }
      }
    }
    for (int v = 0; v < 4; ++v) acc[v] = requantize(acc[v], requantizers[v]);
    store_first(r.y + int64_t{out} * r.stride_c + channel, to_bytes(acc[0], acc[1], acc[2], acc[3], r.epilogue), left);
  }
}

}  // namespace

void depthwise_u8_neon(const DepthwiseU8& r) {
  for (int32_t channel = 0; channel < r.channels; channel += kLanes) outputs(r, channel);
}

}  // namespace pith::runtime
