// Convolution strips: with the dot product instructions (sdot), and without (smlal).
//
// sdot multiplies signed bytes, so inputs are taken minus 128 (the top bit flipped) and 128 times the weights' sum goes
// to the bias. Weights [16 channels][4 inputs] are what four sdot by element take as they lie.
#include "runtime/kernels/arm/neon.h"

#define PITH_DOT __attribute__((target("arch=armv8.2-a+dotprod")))
#define PITH_NEON_INLINE __attribute__((always_inline)) static inline

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

// Sums of kPixels pixels for one block of 16 channels, by sdot.
struct Dots {
  template <int kPixels>
  PITH_DOT PITH_NEON_INLINE void begin(const Channels& c, int32x4_t (&acc)[kPixels][4]) {
    for (int v = 0; v < 4; ++v) {
      const int32x4_t start = vmlaq_n_s32(vld1q_s32(c.bias + 4 * v), vld1q_s32(c.sum + 4 * v), 128);
      for (int p = 0; p < kPixels; ++p) acc[p][v] = start;
    }
  }

  // Adds products of one tap's inputs from `k` to `last`; returns where their weights end.
  template <int kPixels>
  PITH_DOT PITH_NEON_INLINE const int8_t* accumulate(const uint8_t* const* inputs, int64_t k, int64_t last, const int8_t* w, int32x4_t (&acc)[kPixels][4]) {
    const int8x16_t flip = vdupq_n_s8(-128);
    for (; k + 16 <= last; k += 16, w += 256) {  // sixteen inputs of each pixel in one register
      int8x16_t x[kPixels];
      for (int p = 0; p < kPixels; ++p) x[p] = veorq_s8(vreinterpretq_s8_u8(vld1q_u8(inputs[p] + k)), flip);
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
    for (; k < last; k += 4, w += 64) {
      int8x16_t x[kPixels];
      for (int p = 0; p < kPixels; ++p) {
        int32_t four;
        memcpy(&four, inputs[p] + k, 4);
        x[p] = veorq_s8(vreinterpretq_s8_s32(vdupq_n_s32(four)), flip);
      }
      PITH_DOT_LANE(0)
#undef PITH_DOT_LANE
    }
    return w;
  }
};

// The same by smlal.
struct Products {
  template <int kPixels>
  PITH_NEON_INLINE void begin(const Channels& c, int32x4_t (&acc)[kPixels][4]) {
    for (int v = 0; v < 4; ++v) {
      for (int p = 0; p < kPixels; ++p) acc[p][v] = vld1q_s32(c.bias + 4 * v);
    }
  }

  template <int kPixels>
  PITH_NEON_INLINE const int8_t* accumulate(const uint8_t* const* inputs, int64_t first, int64_t last, const int8_t* w, int32x4_t (&acc)[kPixels][4]) {
    for (int64_t quad = first; quad < last; quad += 4, w += 64) {
      const int8x16x4_t columns = vld4q_s8(w);  // one input, sixteen channels
      for (int k = 0; k < 4; ++k) {
        const int16x8_t low = vmovl_s8(vget_low_s8(columns.val[k])), high = vmovl_high_s8(columns.val[k]);
        for (int p = 0; p < kPixels; ++p) {
          const int16_t x = inputs[p][quad + k];
          acc[p][0] = vmlal_n_s16(acc[p][0], vget_low_s16(low), x);
          acc[p][1] = vmlal_high_n_s16(acc[p][1], low, x);
          acc[p][2] = vmlal_n_s16(acc[p][2], vget_low_s16(high), x);
          acc[p][3] = vmlal_high_n_s16(acc[p][3], high, x);
        }
      }
    }
    return w;
  }
};

// Blocks of four pixels; the last one steps back over pixels already done. `blocks`: none, or what isn't zero of each.
#define PITH_STRIPS(Sums, target)                                                                   \
  template <int kPixels>                                                                            \
  target void tile(Sums, const ConvU8& s, int32_t pixel, int32_t block, const SparseBlock* blocks) { \
    int32x4_t acc[kPixels][4];                                                                      \
    Sums::begin(s.channels[block], acc);                                                            \
    if (blocks == nullptr) {                                                                        \
      const int8_t* weights = s.weights + block * s.block_values;                                   \
      for (int64_t tap = 0; tap < s.taps; ++tap)                                                    \
        Sums::accumulate(s.inputs + tap * s.pixels + pixel, 0, 4 * s.quads, weights + s.offsets[tap], acc); \
    } else {                                                                                        \
      const SparseBlock& b = blocks[block];                                                         \
      const int8_t* w = static_cast<const int8_t*>(b.weights);                                      \
      for (const Span *span = b.spans, *end = span + b.span_count; span != end; ++span)             \
        w = Sums::accumulate(s.inputs + int64_t{span->tap} * s.pixels + pixel, span->begin, span->end, w, acc); \
    }                                                                                               \
    store_tile<kPixels>(s, pixel, block, acc);                                                      \
  }                                                                                                 \
  target void strips(Sums sums, const ConvU8& s, const SparseBlock* blocks) {                       \
    for (int32_t block = 0; block * kLanes < s.out_channels; ++block) {                             \
      int32_t pixel = 0;                                                                            \
      for (; pixel + 4 <= s.pixels; pixel += 4) tile<4>(sums, s, pixel, block, blocks);             \
      if (pixel < s.pixels && s.pixels >= 4) {                                                      \
        tile<4>(sums, s, s.pixels - 4, block, blocks);                                              \
      } else {                                                                                      \
        for (; pixel < s.pixels; ++pixel) tile<1>(sums, s, pixel, block, blocks);                   \
      }                                                                                             \
    }                                                                                               \
  }
PITH_STRIPS(Dots, PITH_DOT)
PITH_STRIPS(Products, )
#undef PITH_STRIPS

}  // namespace

void conv_u8_neondot(const ConvU8& s) { strips(Dots{}, s, nullptr); }
void conv_u8_neon(const ConvU8& s) { strips(Products{}, s, nullptr); }
void sparse_conv_u8_neondot(const ConvU8& s, const SparseBlock* blocks) { strips(Dots{}, s, blocks); }
void sparse_conv_u8_neon(const ConvU8& s, const SparseBlock* blocks) { strips(Products{}, s, blocks); }

}  // namespace pith::runtime
