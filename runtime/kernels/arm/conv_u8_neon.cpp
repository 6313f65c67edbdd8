// Convolution strips: with the dot product instructions (sdot), and without (smlal).
//
// sdot multiplies signed bytes, so inputs are taken minus 128 (the top bit flipped) and 128 times the weights' sum goes
// to the bias. Weights [16 channels][4 inputs] are what four sdot by element take as they lie.
#include "runtime/kernels/arm/neon.h"

#define PITH_DOT __attribute__((target("arch=armv8.2-a+dotprod")))

namespace pith::runtime {
namespace {

template <int kPixels>
void store_tile(const ConvU8& s, int32_t pixel, int32_t block, const int32x4_t (&acc)[kPixels][4]) {
  const Channels& c = s.channels[block];
  RequantizerNeon r[4];
  for (int v = 0; v < 4; ++v) r[v] = requantizer(c.mantissa + 4 * v, c.shift + 4 * v);
  const int32_t first = block * kLanes;
  uint8_t* y = s.y + pixel * s.y_stride + first;
  for (int p = 0; p < kPixels; ++p, y += s.y_stride) {
    const uint8x16_t bytes = to_bytes(requantize(acc[p][0], r[0]), requantize(acc[p][1], r[1]),
                                      requantize(acc[p][2], r[2]), requantize(acc[p][3], r[3]), s.epilogue);
    store_first(y, bytes, s.out_channels - first);
  }
}

template <int kPixels>
PITH_DOT void dot_tile(const ConvU8& s, int32_t pixel, int32_t block) {
  const Channels& c = s.channels[block];
  const int8x16_t flip = vdupq_n_s8(-128);
  int32x4_t acc[kPixels][4];
  for (int v = 0; v < 4; ++v) {
    const int32x4_t start = vmlaq_n_s32(vld1q_s32(c.bias + 4 * v), vld1q_s32(c.sum + 4 * v), 128);
    for (int p = 0; p < kPixels; ++p) acc[p][v] = start;
  }
  const int8_t* weights = s.weights + block * s.block_values;
  const uint8_t* const* inputs = s.inputs + pixel;
  for (int32_t tap = 0; tap < s.taps; ++tap, inputs += s.pixels) {
    const int8_t* w = weights + s.offsets[tap];
    int32_t quad = 0;
    for (; quad + 4 <= s.quads; quad += 4, w += 256) {  // sixteen inputs of each pixel in one register
      int8x16_t x[kPixels];
      for (int p = 0; p < kPixels; ++p) x[p] = veorq_s8(vreinterpretq_s8_u8(vld1q_u8(inputs[p] + 4 * quad)), flip);
#define PITH_DOT_LANE(lane)                                                                   \
  for (int v = 0; v < 4; ++v) {                                                               \
    const int8x16_t wv = vld1q_s8(w + 64 * lane + 16 * v);                                    \
    for (int p = 0; p < kPixels; ++p) acc[p][v] = vdotq_laneq_s32(acc[p][v], wv, x[p], lane); \
  }
      PITH_DOT_LANE(0)
      PITH_DOT_LANE(1)
      PITH_DOT_LANE(2)
      PITH_DOT_LANE(3)
    }
    for (; quad < s.quads; ++quad, w += 64) {
      int8x16_t x[kPixels];
      for (int p = 0; p < kPixels; ++p) {
        int32_t four;
        memcpy(&four, inputs[p] + 4 * quad, 4);
        x[p] = veorq_s8(vreinterpretq_s8_s32(vdupq_n_s32(four)), flip);
      }
      PITH_DOT_LANE(0)
#undef PITH_DOT_LANE
    }
  }
  store_tile<kPixels>(s, pixel, block, acc);
}

template <int kPixels>
void mul_tile(const ConvU8& s, int32_t pixel, int32_t block) {
  const Channels& c = s.channels[block];
  int32x4_t acc[kPixels][4];
  for (int v = 0; v < 4; ++v) {
    for (int p = 0; p < kPixels; ++p) acc[p][v] = vld1q_s32(c.bias + 4 * v);
  }
  const int8_t* weights = s.weights + block * s.block_values;
  const uint8_t* const* inputs = s.inputs + pixel;
  for (int32_t tap = 0; tap < s.taps; ++tap, inputs += s.pixels) {
    const int8_t* w = weights + s.offsets[tap];
    for (int32_t quad = 0; quad < s.quads; ++quad, w += 64) {
      const int8x16x4_t columns = vld4q_s8(w);  // one input, sixteen channels
      for (int k = 0; k < 4; ++k) {
        const int16x8_t low = vmovl_s8(vget_low_s8(columns.val[k])), high = vmovl_high_s8(columns.val[k]);
        for (int p = 0; p < kPixels; ++p) {
          const int16_t x = inputs[p][4 * quad + k];
          acc[p][0] = vmlal_n_s16(acc[p][0], vget_low_s16(low), x);
          acc[p][1] = vmlal_high_n_s16(acc[p][1], low, x);
          acc[p][2] = vmlal_n_s16(acc[p][2], vget_low_s16(high), x);
          acc[p][3] = vmlal_high_n_s16(acc[p][3], high, x);
        }
      }
    }
  }
  store_tile<kPixels>(s, pixel, block, acc);
}

}  // namespace

// Blocks of four pixels; the last one steps back over pixels already done.
#define PITH_STRIPS(tile)                                               \
  const int32_t blocks = (s.out_channels + kLanes - 1) / kLanes;        \
  for (int32_t block = 0; block < blocks; ++block) {                    \
    int32_t pixel = 0;                                                  \
    for (; pixel + 4 <= s.pixels; pixel += 4) tile<4>(s, pixel, block); \
    if (pixel < s.pixels && s.pixels >= 4) {                            \
      tile<4>(s, s.pixels - 4, block);                                  \
    } else {                                                            \
      for (; pixel < s.pixels; ++pixel) tile<1>(s, pixel, block);       \
    }                                                                   \
  }

PITH_DOT void conv_u8_neondot(const ConvU8& s) { PITH_STRIPS(dot_tile) }
void conv_u8_neon(const ConvU8& s) { PITH_STRIPS(mul_tile) }

}  // namespace pith::runtime
