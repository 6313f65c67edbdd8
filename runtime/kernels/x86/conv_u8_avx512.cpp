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

}  // namespace

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
