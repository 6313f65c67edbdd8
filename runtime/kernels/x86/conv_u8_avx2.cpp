// Convolution strips with vpmaddwd: 4 pixels x 16 output channels in registers.
//
// vpmaddubsw would saturate (255 * 127 * 2 > 32767), so bytes are split into even and odd 16-bit halves: the weights
// once for all pixels, four inputs once for all channels. Each half is one multiply-add of 16 products without loss.
#include "runtime/kernels/ref/ref.h"
#include "runtime/kernels/x86/avx2.h"

namespace pith::runtime {
namespace {

// Sums of kPixels pixels for one block of 16 channels.
template <int kPixels>
PITH_AVX2_INLINE void begin(const Channels& c, __m256i (&acc)[kPixels][2]) {
  for (int p = 0; p < kPixels; ++p) {
    acc[p][0] = load256(c.bias);
    acc[p][1] = load256(c.bias + 8);
  }
}

// Adds products of one tap's inputs from `first` to `last`; returns where their weights end.
template <int kPixels>
PITH_AVX2_INLINE const int8_t* accumulate(const uint8_t* const* inputs, int64_t first, int64_t last, const int8_t* w, __m256i (&acc)[kPixels][2]) {
  const __m256i low_bytes = _mm256_set1_epi16(0xff);
  const uint8_t* x[kPixels];
#pragma GCC unroll 4
  for (int p = 0; p < kPixels; ++p) x[p] = inputs[p];
  for (int64_t k = first; k < last; k += 4, w += 4 * kLanes) {
    const __m256i w0 = load256(w), w1 = load256(w + 32);
    const __m256i even0 = _mm256_srai_epi16(_mm256_slli_epi16(w0, 8), 8), odd0 = _mm256_srai_epi16(w0, 8);
    const __m256i even1 = _mm256_srai_epi16(_mm256_slli_epi16(w1, 8), 8), odd1 = _mm256_srai_epi16(w1, 8);
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) {
      int32_t four;
      __builtin_memcpy(&four, x[p] + k, 4);
      const __m256i quad = _mm256_set1_epi32(four);
      const __m256i even = _mm256_and_si256(quad, low_bytes), odd = _mm256_srli_epi16(quad, 8);
      acc[p][0] = _mm256_add_epi32(acc[p][0], _mm256_madd_epi16(even, even0));
      acc[p][1] = _mm256_add_epi32(acc[p][1], _mm256_madd_epi16(even, even1));
      acc[p][0] = _mm256_add_epi32(acc[p][0], _mm256_madd_epi16(odd, odd0));
      acc[p][1] = _mm256_add_epi32(acc[p][1], _mm256_madd_epi16(odd, odd1));
    }
  }
  return w;
}

template <int kPixels>
PITH_AVX2_INLINE void store_tile(const ConvU8& s, const __m256i (&acc)[kPixels][2], int32_t pixel, int32_t block) {
  const Channels& c = s.channels[block];
  const int32_t first = block * kLanes, lanes = s.out_channels - first < kLanes ? s.out_channels - first : kLanes;
  uint8_t* y = s.y + pixel * s.y_stride + first;
  if (!s.narrow) {
    for (int p = 0; p < kPixels; ++p, y += s.y_stride) {
      alignas(32) int32_t raw[kLanes];
      store256(raw, acc[p][0]);
      store256(raw + 8, acc[p][1]);
      for (int i = 0; i < lanes; ++i) y[i] = finish(raw[i], {c.mantissa[i], c.shift[i]}, s.epilogue);
    }
    return;
  }
  const Requantizer256 r0 = requantizer(c.mantissa, c.shift), r1 = requantizer(c.mantissa + 8, c.shift + 8);
  const Epilogue256 e = epilogue256(s.epilogue);
  for (int p = 0; p < kPixels; ++p, y += s.y_stride) {
    store_first(y, to_bytes(requantize_narrow(acc[p][0], r0), requantize_narrow(acc[p][1], r1), e), lanes);
    if (s.epilogue.table != nullptr) {
      for (int i = 0; i < lanes; ++i) y[i] = s.epilogue.table[y[i]];
    }
  }
}

template <int kPixels>
PITH_AVX2 void tile(const ConvU8& s, int32_t pixel, int32_t block) {
  __m256i acc[kPixels][2];
  begin(s.channels[block], acc);
  const int8_t* weights = s.weights + block * s.block_values;
  const uint8_t* const* inputs = s.inputs + pixel;
  for (int32_t tap = 0; tap < s.taps; ++tap, inputs += s.pixels) accumulate(inputs, 0, 4 * s.quads, weights + s.offsets[tap], acc);
  store_tile(s, acc, pixel, block);
}

// What isn't zero of one block.
template <int kPixels>
PITH_AVX2 void tile(const ConvU8& s, int32_t pixel, int32_t block, const SparseBlock& b) {
  __m256i acc[kPixels][2];
  begin(s.channels[block], acc);
  const int8_t* w = static_cast<const int8_t*>(b.weights);
  for (const Span *span = b.spans, *end = span + b.span_count; span != end; ++span)
    w = accumulate(s.inputs + int64_t{span->tap} * s.pixels + pixel, span->begin, span->end, w, acc);
  store_tile(s, acc, pixel, block);
}

// `rest`: nothing, or the block as it is stored without zeros.
template <typename... Rest>
PITH_AVX2_INLINE void strip(const ConvU8& s, int32_t block, const Rest&... rest) {
  int32_t pixel = 0;
  for (; pixel + 4 <= s.pixels; pixel += 4) tile<4>(s, pixel, block, rest...);
  if (pixel == s.pixels) return;
  if (s.pixels >= 4) return tile<4>(s, s.pixels - 4, block, rest...);
  for (; pixel < s.pixels; ++pixel) tile<1>(s, pixel, block, rest...);
}

}  // namespace

PITH_AVX2 void conv_u8_avx2(const ConvU8& s) {
  for (int32_t block = 0; block * kLanes < s.out_channels; ++block) strip(s, block);
}
PITH_AVX2 void sparse_conv_u8_avx2(const ConvU8& s, const SparseBlock* blocks) {
  for (int32_t block = 0; block * kLanes < s.out_channels; ++block) strip(s, block, blocks[block]);
}

}  // namespace pith::runtime
