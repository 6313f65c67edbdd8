// Convolution strips with vpdpbusd: blocks of pixels x 16..64 output channels held in registers.
//
// Per group of four input channels, one load of weights for each 16 output channels and one broadcast of four inputs
// for each pixel feed pixels x channels/16 multiply-adds of 64 products; shapes are chosen to keep both ports busy with
// the 32 registers there are. The last block of a strip steps back over pixels already done rather than run a narrow
// one.
#include "runtime/kernels/x86/avx512.h"

namespace pith::runtime {
namespace {

PITH_AVX512_INLINE __m512i broadcast_quad(const uint8_t* x) {
  int32_t quad;
  __builtin_memcpy(&quad, x, 4);
  return _mm512_set1_epi32(quad);
}

// Requantised values of one pixel (four vectors, the last ones repeated where there are fewer blocks) to its output.
PITH_AVX512_INLINE void store_pixel(uint8_t* y, __mmask64 mask, const __m512i (&v)[4], const Epilogue512& e) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i bytes = _mm512_permutexvar_epi32(order, to_bytes(v[0], v[1], v[2], v[3], e));
  if (e.has_table) bytes = look_up(bytes, load_table(e.table));
  _mm512_mask_storeu_epi8(y, mask, bytes);
}

// The rare tile with factors above 1/4: accumulators come through memory.
__attribute__((noinline)) PITH_AVX512 void store_wide(const __m512i* acc, int pixels, int blocks, uint8_t* y,
                                                      __mmask64 mask, const ConvU8& s, const Channels* channels) {
  const Epilogue512 e = epilogue(s.epilogue);
  for (int p = 0; p < pixels; ++p, y += s.y_stride) {
    __m512i v[4];
    for (int b = 0; b < blocks; ++b) {
      v[b] = requantize_wide(acc[p * blocks + b], requantizer(channels[b].mantissa, channels[b].shift));
    }
    for (int b = blocks; b < 4; ++b) v[b] = v[0];
    store_pixel(y, mask, v, e);
  }
}

// Four pixels of one block together.
PITH_AVX512_INLINE void store_pixels(uint8_t* y, int64_t stride, __mmask16 mask, const __m512i (&v)[4],
                                     const Epilogue512& e) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i bytes = _mm512_permutexvar_epi32(order, to_bytes(v[0], v[1], v[2], v[3], e));
  if (e.has_table) bytes = look_up(bytes, load_table(e.table));
  _mm_mask_storeu_epi8(y, mask, _mm512_castsi512_si128(bytes));
  _mm_mask_storeu_epi8(y + stride, mask, _mm512_extracti32x4_epi32(bytes, 1));
  _mm_mask_storeu_epi8(y + 2 * stride, mask, _mm512_extracti32x4_epi32(bytes, 2));
  _mm_mask_storeu_epi8(y + 3 * stride, mask, _mm512_extracti32x4_epi32(bytes, 3));
}

template <int kPixels, int kBlocks>
PITH_AVX512_INLINE void store_tile(const ConvU8& s, const __m512i (&acc)[kPixels][kBlocks], int32_t pixel,
                                   int32_t block) {
  const int32_t first = block * kLanes, left = s.out_channels - first;
  const __mmask64 mask = first_bytes(left < kBlocks * kLanes ? left : kBlocks * kLanes);
  uint8_t* y = s.y + pixel * s.y_stride + first;
  if (!s.narrow) {
    __m512i copy[kPixels][kBlocks];
    for (int p = 0; p < kPixels; ++p) {
      for (int b = 0; b < kBlocks; ++b) copy[p][b] = acc[p][b];
    }
    return store_wide(copy[0], kPixels, kBlocks, y, mask, s, s.channels + block);
  }
  Requantizer512 r[kBlocks];
  for (int b = 0; b < kBlocks; ++b) r[b] = requantizer(s.channels[block + b].mantissa, s.channels[block + b].shift);
  const Epilogue512 e = epilogue(s.epilogue);
  if constexpr (kBlocks == 1 && kPixels % 4 == 0) {
#pragma GCC unroll 2
    for (int p = 0; p < kPixels; p += 4, y += 4 * s.y_stride) {
      const __m512i v[4] = {requantize_narrow(acc[p][0], r[0]), requantize_narrow(acc[p + 1][0], r[0]),
                            requantize_narrow(acc[p + 2][0], r[0]), requantize_narrow(acc[p + 3][0], r[0])};
      store_pixels(y, s.y_stride, static_cast<__mmask16>(mask), v, e);
    }
    return;
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p, y += s.y_stride) {
    __m512i v[4];
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) v[b] = b < kBlocks ? requantize_narrow(acc[p][b], r[b]) : v[0];
    store_pixel(y, mask, v, e);
  }
}

template <int kPixels, int kBlocks>
PITH_AVX512 void tile(const ConvU8& s, int32_t pixel, int32_t block) {
  __m512i acc[kPixels][kBlocks];
#pragma GCC unroll 4
  for (int b = 0; b < kBlocks; ++b) {
    const __m512i bias = _mm512_loadu_si512(s.channels[block + b].bias);
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) acc[p][b] = bias;
  }
  const int8_t* block_weights = s.weights + block * s.block_values;
  const uint8_t* const* inputs = s.inputs + pixel;
  for (int32_t tap = 0; tap < s.taps; ++tap, inputs += s.pixels) {
    const uint8_t* x[kPixels];
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) x[p] = inputs[p];
    const int8_t* w = block_weights + s.offsets[tap];
    for (int64_t k = 0; k < 4 * s.quads; k += 4, w += 4 * kLanes) {
      __m512i weights[kBlocks];
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) weights[b] = _mm512_loadu_si512(w + b * s.block_values);
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) {
        const __m512i quad = broadcast_quad(x[p] + k);
#pragma GCC unroll 4
        for (int b = 0; b < kBlocks; ++b) acc[p][b] = _mm512_dpbusd_epi32(acc[p][b], quad, weights[b]);
      }
    }
  }
  store_tile<kPixels, kBlocks>(s, acc, pixel, block);
}

template <int kPixels, int kBlocks>
PITH_AVX512 void strip(const ConvU8& s, int32_t block) {
  int32_t pixel = 0;
  for (; pixel + kPixels <= s.pixels; pixel += kPixels) tile<kPixels, kBlocks>(s, pixel, block);
  if (pixel == s.pixels) return;
  if (s.pixels >= kPixels) return tile<kPixels, kBlocks>(s, s.pixels - kPixels, block);
  for (; pixel + 4 <= s.pixels; pixel += 4) tile<4, kBlocks>(s, pixel, block);
  for (; pixel + 2 <= s.pixels; pixel += 2) tile<2, kBlocks>(s, pixel, block);
  for (; pixel < s.pixels; ++pixel) tile<1, kBlocks>(s, pixel, block);
}

// Sums of one block's pixels, of even and odd quads apart, in each lane of four outputs: [0 0 1 1] and [2 2 3 3].
template <int kPixels>
PITH_AVX512_INLINE void add_pair(const uint8_t* const (&x)[kPixels], int64_t k, __m512i even, __m512i odd,
                                 __m512i (&acc)[kPixels][2]) {
  const __m512i low = _mm512_unpacklo_epi32(even, odd), high = _mm512_unpackhi_epi32(even, odd);
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
    int64_t quads;
    __builtin_memcpy(&quads, x[p] + k, 8);
    const __m512i pair = _mm512_set1_epi64(quads);
    acc[p][0] = _mm512_dpbusd_epi32(acc[p][0], pair, low);
    acc[p][1] = _mm512_dpbusd_epi32(acc[p][1], pair, high);
  }
}

// What isn't zero of one block. It has the loads of inputs for itself, so each brings two quads.
template <int kPixels>
PITH_AVX512 void sparse_tile(const ConvU8& s, const SparseBlock& b, int32_t pixel, int32_t block) {
  __m512i acc[kPixels][2];
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) acc[p][0] = acc[p][1] = _mm512_setzero_si512();
  const int8_t* w = static_cast<const int8_t*>(b.weights);
  for (const Span *span = b.spans, *end = span + b.span_count; span != end; ++span) {
    const uint8_t* const* inputs = s.inputs + int64_t{span->tap} * s.pixels + pixel;
    const uint8_t* x[kPixels];
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p) x[p] = inputs[p];
    int64_t k = span->begin;
    for (; k + 4 < span->end; k += 8, w += 8 * kLanes)
      add_pair(x, k, _mm512_loadu_si512(w), _mm512_loadu_si512(w + 4 * kLanes), acc);
    if (k == span->end) continue;
    add_pair(x, k, _mm512_loadu_si512(w), _mm512_setzero_si512(), acc);
    w += 4 * kLanes;
  }
  const __m512i bias = _mm512_loadu_si512(s.channels[block].bias);
  __m512i sums[kPixels][1];
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
    const __m512 low = _mm512_castsi512_ps(acc[p][0]), high = _mm512_castsi512_ps(acc[p][1]);
    const __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0x88)), odd = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0xdd));
    sums[p][0] = _mm512_add_epi32(_mm512_add_epi32(even, odd), bias);
  }
  store_tile<kPixels, 1>(s, sums, pixel, block);
}

}  // namespace

PITH_AVX512 void sparse_conv_u8_avx512(const ConvU8& s, const SparseBlock* blocks) {
  for (int32_t block = 0; block * kLanes < s.out_channels; ++block) {
    const SparseBlock& b = blocks[block];
    int32_t pixel = 0;
    for (; pixel + 8 <= s.pixels; pixel += 8) sparse_tile<8>(s, b, pixel, block);
    if (pixel < s.pixels && s.pixels >= 8) {
      sparse_tile<8>(s, b, s.pixels - 8, block);
    } else {
      for (; pixel + 4 <= s.pixels; pixel += 4) sparse_tile<4>(s, b, pixel, block);
      for (; pixel < s.pixels; ++pixel) sparse_tile<1>(s, b, pixel, block);
    }
  }
}

PITH_AVX512 void conv_u8_avx512(const ConvU8& s) {
  const int32_t blocks = (s.out_channels + kLanes - 1) / kLanes;
  int32_t block = 0;
  for (; block + 4 <= blocks; block += 4) strip<6, 4>(s, block);
  switch (blocks - block) {
    case 3:
      return strip<8, 3>(s, block);
    case 2:
      return strip<8, 2>(s, block);
    case 1:
      return strip<8, 1>(s, block);
  }
}

}  // namespace pith::runtime
