// Depthwise rows with vpmaddwd: 32 channels at a time; the method is that of depthwise_u8_avx512.cpp. Four interleaved
// bytes are split into even and odd 16-bit halves, as in conv_u8_avx2.cpp.
#include "runtime/kernels/ref/ref.h"
#include "runtime/kernels/x86/avx2.h"

namespace pith::runtime {
namespace {

constexpr int kChannels = 32;

PITH_AVX2_INLINE void interleave(const DepthwiseU8& r, int32_t ix, int32_t quad, int32_t channel, __m256i pad,
                                 __m256i (&v)[4]) {
  __m256i row[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const int32_t ky = 4 * quad + k;
    row[k] = pad;
    if (ky < r.kernel_h && r.rows[ky] != nullptr && ix >= 0 && ix < r.in_w) {
      row[k] = load256(r.rows[ky] + int64_t{ix} * r.stride_c + channel);
    }
  }
  const __m256i a = _mm256_unpacklo_epi8(row[0], row[1]), b = _mm256_unpackhi_epi8(row[0], row[1]);
  const __m256i c = _mm256_unpacklo_epi8(row[2], row[3]), d = _mm256_unpackhi_epi8(row[2], row[3]);
  v[0] = _mm256_unpacklo_epi16(a, c);
  v[1] = _mm256_unpackhi_epi16(a, c);
  v[2] = _mm256_unpacklo_epi16(b, d);
  v[3] = _mm256_unpackhi_epi16(b, d);
}

PITH_AVX2_INLINE __m256i dot(__m256i acc, __m256i x, __m256i w) {
  const __m256i even =
      _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(0xff)), _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
  return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
}

struct Block {
  const int8_t* weights;
  const int32_t *bias, *mantissa, *shift;
  int32_t channel, count;
};

PITH_AVX2_INLINE void store(const DepthwiseU8& r, const Block& b, const __m256i (&acc)[4], uint8_t* y) {
  alignas(32) uint8_t bytes[kChannels];
  if (r.narrow) {
    __m256i v[4];
    for (int p = 0; p < 4; ++p) v[p] = requantize_narrow(acc[p], requantizer(b.mantissa + 8 * p, b.shift + 8 * p));
    const __m256i zero = _mm256_set1_epi16(static_cast<short>(r.epilogue.zero_point));
    const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(v[0], v[1]), zero),
                  high = _mm256_adds_epi16(_mm256_packs_epi32(v[2], v[3]), zero);
    const __m256i all =
        _mm256_max_epu8(_mm256_packus_epi16(low, high), _mm256_set1_epi8(static_cast<char>(r.epilogue.low)));
    store256(bytes, _mm256_min_epu8(all, _mm256_set1_epi8(static_cast<char>(r.epilogue.high))));
    if (r.epilogue.table != nullptr) {
      for (int i = 0; i < b.count; ++i) bytes[i] = r.epilogue.table[bytes[i]];
    }
  } else {
    alignas(32) int32_t raw[kChannels];
    for (int p = 0; p < 4; ++p) store256(raw + 8 * p, acc[p]);
    for (int i = 0; i < b.count; ++i) {
      const int at = i % 16 / 4 * 8 + i / 16 * 4 + i % 4;  // part, lane, channel
      bytes[i] = finish(raw[at], {b.mantissa[at], b.shift[at]}, r.epilogue);
    }
  }
  memcpy(y, bytes, static_cast<size_t>(b.count));
}

PITH_AVX2_INLINE void run_block(const DepthwiseU8& r, const Block& b) {
  const int32_t quads = (r.kernel_h + 3) / 4;
  const __m256i pad = _mm256_set1_epi8(static_cast<char>(r.pad_value));
  for (int32_t out = r.out_begin; out < r.out_end; ++out) {
    __m256i acc[4];
    for (int p = 0; p < 4; ++p) acc[p] = load256(b.bias + 8 * p);
    const int8_t* w = b.weights;
    for (int32_t kx = 0; kx < r.kernel_w; ++kx) {
      for (int32_t q = 0; q < quads; ++q, w += 4 * kChannels) {
        __m256i v[4];
        interleave(r, out * r.stride_w + kx * r.dilation_w - r.pad_left, q, b.channel, pad, v);
        for (int p = 0; p < 4; ++p) acc[p] = dot(acc[p], v[p], load256(w + kChannels * p));
      }
    }
    store(r, b, acc, r.y + int64_t{out} * r.stride_c + b.channel);
  }
}

}  // namespace

PITH_AVX2 void depthwise_u8_avx2(const DepthwiseU8& r) {
  const int32_t quads = (r.kernel_h + 3) / 4;
  for (int32_t channel = 0; channel < r.channels; channel += kChannels) {
    const int32_t left = r.channels - channel;
    run_block(r, {r.weights + int64_t{channel} * r.kernel_w * quads * 4, r.bias + channel, r.mantissa + channel,
                  r.shift + channel, channel, left < kChannels ? left : kChannels});
  }
}

}  // namespace pith::runtime
