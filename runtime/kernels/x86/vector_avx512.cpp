// vector_avx2.cpp with sixteen lanes.
#include "runtime/kernels/x86/avx512.h"

namespace pith::runtime {
namespace {

PITH_AVX512_INLINE __m512 widen16(__m128i v) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v)); }
PITH_AVX512_INLINE __m128i load16(const int8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

// Rows lie one after the other and are read once: memory decides the time, and asking for what comes so far ahead takes a quarter
// off it (110 MB of weights on a Xeon).
constexpr int64_t kAhead = 12 * 1024;

template <int kRows>
PITH_AVX512 void some_rows(const RowsF32& p, int32_t first) {
  const int8_t* row = p.rows + int64_t{first} * p.depth;
  __m512 sums[kRows];
  for (__m512& s : sums) s = _mm512_setzero_ps();
  int32_t i = 0;
  for (; i + 16 <= p.depth; i += 16) {
    const __m512 x = _mm512_loadu_ps(p.x + i);
    for (int line = 0; line < kRows / 4; ++line) _mm_prefetch(reinterpret_cast<const char*>(row) + int64_t{kRows} * i + 64 * line + kAhead, _MM_HINT_T0);
    for (int r = 0; r < kRows; ++r) sums[r] = _mm512_fmadd_ps(x, widen16(load16(row + int64_t{r} * p.depth + i)), sums[r]);
  }
  if (i < p.depth) {
    const __mmask16 rest = static_cast<__mmask16>((1u << (p.depth - i)) - 1);
    const __m512 x = _mm512_maskz_loadu_ps(rest, p.x + i);
    for (int r = 0; r < kRows; ++r) sums[r] = _mm512_fmadd_ps(x, widen16(_mm_maskz_loadu_epi8(rest, row + int64_t{r} * p.depth + i)), sums[r]);
  }
  for (int r = 0; r < kRows; ++r) p.finish(first + r, _mm512_reduce_add_ps(sums[r]));
}

// What isn't zero of a block of 16 rows.
PITH_AVX512_INLINE void sixteen_rows(const RowsF32& p, const SparseBlock& b, int32_t first) {
  const int8_t* w = static_cast<const int8_t*>(b.weights);
  __m512 sums[kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) sums[r] = _mm512_setzero_ps();
  for (const Span *span = b.spans, *end = span + b.span_count; span != end; ++span) {
    for (int32_t k = span->begin; k < span->end; k += kSpanStep, w += kLanes * kSpanStep) {
      const int32_t left = span->end - k;
      const __mmask16 inside = static_cast<__mmask16>(left < kSpanStep ? (1u << left) - 1 : 0xffff);
      const __m512 x = _mm512_maskz_loadu_ps(inside, p.x + k);
      for (int line = 0; line < 4; ++line) _mm_prefetch(reinterpret_cast<const char*>(w) + 64 * line + kAhead, _MM_HINT_T0);
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) sums[r] = _mm512_fmadd_ps(x, widen16(load16(w + kSpanStep * r)), sums[r]);
    }
  }
  float totals[kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) totals[r] = _mm512_reduce_add_ps(sums[r]);
  for (int r = 0; r < kLanes && first + r < p.count; ++r) p.finish(first + r, totals[r]);
}

}  // namespace

PITH_AVX512 void rows_f32_avx512(const RowsF32& p) {
  int32_t r = 0;
  for (; r + 8 <= p.count; r += 8) some_rows<8>(p, r);
  for (; r < p.count; ++r) some_rows<1>(p, r);
}

PITH_AVX512 void sparse_rows_f32_avx512(const RowsF32& p, const SparseBlock* blocks) {
  for (int32_t first = 0; first < p.count; first += kLanes) sixteen_rows(p, blocks[first / kLanes], first);
}

}  // namespace pith::runtime
