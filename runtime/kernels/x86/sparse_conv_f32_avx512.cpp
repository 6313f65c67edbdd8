// Float convolution strips whose weights have blocks of zeros: 8 pixels x 16 output channels in registers.
//
// One block of outputs has the loads of inputs for itself, one for each multiply-add, and these are slow (pixels lie a
// power of two apart, in the same banks of the cache). So a load brings two inputs of a pixel, beside each other in all
// lanes, and weights of two inputs are interleaved to match: sums of even and odd inputs are kept apart, in each lane of
// four outputs as [0 0 1 1] and [2 2 3 3], and meet at the end.
#include <string.h>

#include "runtime/kernels/x86/avx512.h"

namespace pith::runtime {
namespace {

// Two inputs of a pixel, or one and zero, in all lanes.
PITH_AVX512_INLINE __m512 load_pair(const float* x) {
  double pair;
  memcpy(&pair, x, 8);
  return _mm512_castpd_ps(_mm512_set1_pd(pair));
}
PITH_AVX512_INLINE __m512 load_one(const float* x) { return _mm512_castpd_ps(_mm512_broadcastsd_pd(_mm_castps_pd(_mm_load_ss(x)))); }

template <int kPixels>
PITH_AVX512 void sparse_tile(const ConvF32& s, const SparseBlock& b, int32_t pixel, int32_t block) {
  __m512 acc[kPixels][2];
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) acc[p][0] = acc[p][1] = _mm512_setzero_ps();
  const float* w = static_cast<const float*>(b.weights);
  for (const Span *span = b.spans, *end = span + b.span_count; span != end; ++span) {
    const float* const* inputs = s.inputs + int64_t{span->tap} * s.pixels + pixel;
    const float* x[kPixels];
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) x[p] = inputs[p];
    int64_t k = span->begin;
    for (; k + 1 < span->end; k += 2, w += 2 * kLanes) {
      const __m512 even = _mm512_loadu_ps(w), odd = _mm512_loadu_ps(w + kLanes);
      const __m512 low = _mm512_unpacklo_ps(even, odd), high = _mm512_unpackhi_ps(even, odd);
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) {
        const __m512 pair = load_pair(x[p] + k);
        acc[p][0] = _mm512_fmadd_ps(pair, low, acc[p][0]);
        acc[p][1] = _mm512_fmadd_ps(pair, high, acc[p][1]);
      }
    }
    if (k == span->end) continue;
    const __m512 even = _mm512_loadu_ps(w), none = _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) {
      acc[p][0] = _mm512_fmadd_ps(load_one(x[p] + k), _mm512_unpacklo_ps(even, none), acc[p][0]);
      acc[p][1] = _mm512_fmadd_ps(load_one(x[p] + k), _mm512_unpackhi_ps(even, none), acc[p][1]);
    }
    w += kLanes;
  }
  const int32_t left = s.out_channels - block * kLanes;
  const __mmask16 mask = static_cast<__mmask16>(left < kLanes ? (1u << left) - 1 : 0xffff);
  const __m512 bias = _mm512_loadu_ps(s.channels[block].bias), low = _mm512_set1_ps(s.low), high = _mm512_set1_ps(s.high);
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
    const __m512 even = _mm512_shuffle_ps(acc[p][0], acc[p][1], 0x88), odd = _mm512_shuffle_ps(acc[p][0], acc[p][1], 0xdd);
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(even, odd), bias);
    _mm512_mask_storeu_ps(s.y + (pixel + p) * s.y_stride + block * kLanes, mask, _mm512_min_ps(high, _mm512_max_ps(low, sum)));
  }
}

}  // namespace

PITH_AVX512 void sparse_conv_f32_avx512(const ConvF32& s, const SparseBlock* blocks) {
  for (int32_t block = 0; block * kLanes < s.out_channels; ++block) {
    const SparseBlock& b = blocks[block];
    int32_t pixel = 0;
    for (; pixel + 8 <= s.pixels; pixel += 8) sparse_tile<8>(s, b, pixel, block);
    if (pixel < s.pixels && s.pixels >= 8) {
      sparse_tile<8>(s, b, s.pixels - 8, block);
    } else {
      for (; pixel + 2 <= s.pixels; pixel += 2) sparse_tile<2>(s, b, pixel, block);
      for (; pixel < s.pixels; ++pixel) sparse_tile<1>(s, b, pixel, block);
    }
  }
}

}  // namespace pith::runtime
