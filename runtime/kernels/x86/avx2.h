// Shared pieces of the AVX2 kernels: requantisation of eight accumulators in 32 bits (the method is avx512.h's),
// packing to bytes, stores of odd ends.
#pragma once

#include <immintrin.h>
#include <string.h>

#include "runtime/kernels/kernels.h"

#define PITH_AVX2 __attribute__((target("avx2,fma")))
#define PITH_AVX2_INLINE PITH_AVX2 __attribute__((always_inline)) static inline

namespace pith::runtime {

PITH_AVX2_INLINE __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
PITH_AVX2_INLINE void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// The sum of eight lanes.
PITH_AVX2_INLINE float total(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

struct Requantizer256 {
  __m256i low, high, rounding, shift;
};
PITH_AVX2_INLINE Requantizer256 requantizer(const int32_t* mantissa, const int32_t* shift) {
  Requantizer256 r;
  r.low = load256(mantissa);
  r.high = _mm256_slli_epi32(r.low, 16);
  r.shift = _mm256_sub_epi32(load256(shift), _mm256_set1_epi32(16));
  r.rounding = _mm256_sllv_epi32(_mm256_set1_epi32(1), _mm256_sub_epi32(r.shift, _mm256_set1_epi32(1)));
  return r;
}
PITH_AVX2_INLINE __m256i requantize_narrow(__m256i acc, const Requantizer256& r) {
  const __m256i t = _mm256_add_epi32(_mm256_madd_epi16(acc, r.high), _mm256_mulhi_epu16(acc, r.low));
  return _mm256_srav_epi32(_mm256_add_epi32(t, r.rounding), r.shift);
}

// Requantised a (values 0..7) and b (8..15) to 16 bytes, zero point added and clamped.
struct Epilogue256 {
  __m256i zero_point;
  __m128i low, high;
};
PITH_AVX2_INLINE Epilogue256 epilogue256(const Epilogue& e) {
  return {_mm256_set1_epi16(static_cast<short>(e.zero_point)), _mm_set1_epi8(static_cast<char>(e.low)),
          _mm_set1_epi8(static_cast<char>(e.high))};
}
PITH_AVX2_INLINE __m128i to_bytes(__m256i a, __m256i b, const Epilogue256& e) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
  const __m256i moved = _mm256_adds_epi16(words, e.zero_point);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(moved), _mm256_extracti128_si256(moved, 1));
  return _mm_min_epu8(_mm_max_epu8(bytes, e.low), e.high);
}

// The first n bytes of v, 0 < n <= 16.
PITH_AVX2_INLINE void store_first(uint8_t* y, __m128i v, int64_t n) {
  if (n >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v);
  alignas(16) uint8_t bytes[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(bytes), v);
  memcpy(y, bytes, static_cast<size_t>(n));
}
PITH_AVX2_INLINE __m128i load_first(const uint8_t* x, int64_t n) {
  alignas(16) uint8_t bytes[16] = {};
  memcpy(bytes, x, static_cast<size_t>(n));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}

}  // namespace pith::runtime
