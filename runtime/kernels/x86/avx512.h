// Shared pieces of the AVX-512 kernels (F, BW, DQ, VL, VNNI, VBMI): requantisation of sixteen accumulators, look-up in
// a 256-entry table, and loads and stores of odd ends.
//
// Requantisation in 32 bits: for shift s >= 17,
//     (acc * m + 2^(s-1)) >> s  ==  (t + 2^(s-17)) >> (s-16)   with  t = (acc * m) >> 16,
// because the 16 bits that t drops can't reach the next multiple of 2^(s-16). With acc = hi * 2^16 + lo (lo unsigned),
// t = hi * m + ((lo * m) >> 16): one signed and one unsigned 16-bit multiplication, no 64-bit lanes.
#pragma once

#include <immintrin.h>

#include "runtime/kernels/kernels.h"

#define PITH_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx2,fma")))
#define PITH_AVX512_INLINE PITH_AVX512 __attribute__((always_inline)) static inline

namespace pith::runtime {

struct Requantizer512 {
  __m512i low, high, rounding, shift;  // mantissa in the low and in the high half of each lane
  __m512i mantissa, full_shift;
};
PITH_AVX512_INLINE Requantizer512 requantizer(const int32_t* mantissa, const int32_t* shift) {
  Requantizer512 r;
  r.mantissa = _mm512_loadu_si512(mantissa);
  r.full_shift = _mm512_loadu_si512(shift);
  r.low = r.mantissa;
  r.high = _mm512_slli_epi32(r.mantissa, 16);
  r.shift = _mm512_sub_epi32(r.full_shift, _mm512_set1_epi32(16));
  r.rounding = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_sub_epi32(r.shift, _mm512_set1_epi32(1)));
  return r;
}
PITH_AVX512_INLINE __m512i requantize_narrow(__m512i acc, const Requantizer512& r) {
  const __m512i t = _mm512_add_epi32(_mm512_madd_epi16(acc, r.high), _mm512_mulhi_epu16(acc, r.low));
  return _mm512_srav_epi32(_mm512_add_epi32(t, r.rounding), r.shift);
}
PITH_AVX512_INLINE __m512i requantize_wide(__m512i acc, const Requantizer512& r) {
  const __m512i one = _mm512_set1_epi64(1), least = _mm512_set1_epi64(INT32_MIN), most = _mm512_set1_epi64(INT32_MAX);
  const __m512i odd_shift = _mm512_srli_epi64(r.full_shift, 32);
  const __m512i even_shift = _mm512_and_si512(r.full_shift, _mm512_set1_epi64(0xffffffff));
  __m512i even = _mm512_mul_epi32(acc, r.mantissa);
  __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(acc, 32), _mm512_srli_epi64(r.mantissa, 32));
  even = _mm512_add_epi64(even, _mm512_sllv_epi64(one, _mm512_sub_epi64(even_shift, one)));
  odd = _mm512_add_epi64(odd, _mm512_sllv_epi64(one, _mm512_sub_epi64(odd_shift, one)));
  even = _mm512_min_epi64(_mm512_max_epi64(_mm512_srav_epi64(even, even_shift), least), most);
  odd = _mm512_min_epi64(_mm512_max_epi64(_mm512_srav_epi64(odd, odd_shift), least), most);
  return _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}

// A 256-entry table in four registers.
struct Table512 {
  __m512i part[4];
};
PITH_AVX512_INLINE Table512 load_table(const uint8_t* table) {
  Table512 t;
  for (int i = 0; i < 4; ++i) t.part[i] = _mm512_loadu_si512(table + 64 * i);
  return t;
}
PITH_AVX512_INLINE __m512i look_up(__m512i x, const Table512& t) {
  const __m512i lower = _mm512_permutex2var_epi8(t.part[0], x, t.part[1]);
  const __m512i upper = _mm512_permutex2var_epi8(t.part[2], x, t.part[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), lower, upper);
}

// The first n of 64 bytes, 0 <= n.
PITH_AVX512_INLINE __mmask64 first_bytes(int64_t n) { return n >= 64 ? ~__mmask64{0} : (__mmask64{1} << n) - 1; }

// The constants of an Epilogue.
struct Epilogue512 {
  __m512i zero_point, low, high;
  bool has_table;
  const uint8_t* table;
};
PITH_AVX512_INLINE Epilogue512 epilogue(const Epilogue& e) {
  return {_mm512_set1_epi16(static_cast<short>(e.zero_point)), _mm512_set1_epi8(static_cast<char>(e.low)),
          _mm512_set1_epi8(static_cast<char>(e.high)), e.table != nullptr, e.table};
}
// Four vectors of requantised 32-bit values to bytes: in each 128-bit lane four bytes of a, b, c and d in turn.
PITH_AVX512_INLINE __m512i to_bytes(__m512i a, __m512i b, __m512i c, __m512i d, const Epilogue512& e) {
  const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), e.zero_point);
  const __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), e.zero_point);
  const __m512i bytes = _mm512_packus_epi16(ab, cd);
  return _mm512_min_epu8(_mm512_max_epu8(bytes, e.low), e.high);
}

}  // namespace pith::runtime
