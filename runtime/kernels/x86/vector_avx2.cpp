// Rows of integer weights times one vector of floats: what a decoder does for each token. Memory decides the time, so
// weights are read once, as bytes, and widened in registers; four rows share the reading of the vector.
#include "runtime/kernels/x86/avx2.h"

namespace pith::runtime {
namespace {

PITH_AVX2_INLINE __m256 widen8(const int8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))); }

constexpr int64_t kAhead = 12 * 1024;  // bytes; what it saves stands in vector_avx512.cpp

template <int kRows>
PITH_AVX2 void some_rows(const RowsF32& p, int32_t first) {
  const int8_t* row = p.rows + int64_t{first} * p.depth;
  __m256 sums[kRows][2];
  for (auto& s : sums) s[0] = s[1] = _mm256_setzero_ps();
  int32_t i = 0;
  for (; i + 16 <= p.depth; i += 16) {
    const __m256 a = _mm256_loadu_ps(p.x + i), b = _mm256_loadu_ps(p.x + i + 8);
    if (kRows == 4) _mm_prefetch(reinterpret_cast<const char*>(row) + int64_t{kRows} * i + kAhead, _MM_HINT_T0);
    for (int r = 0; r < kRows; ++r) {
      const int8_t* w = row + int64_t{r} * p.depth + i;
      sums[r][0] = _mm256_fmadd_ps(a, widen8(w), sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(b, widen8(w + 8), sums[r][1]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float sum = total(_mm256_add_ps(sums[r][0], sums[r][1]));
    for (int32_t k = i; k < p.depth; ++k) sum += p.x[k] * static_cast<float>(row[int64_t{r} * p.depth + k]);
    p.finish(first + r, sum);
  }
}

// What isn't zero of four rows of a block of 16, from `row` of it on.
PITH_AVX2_INLINE void four_rows(const RowsF32& p, const SparseBlock& b, int32_t first, int32_t row) {
  const int8_t* w = static_cast<const int8_t*>(b.weights) + kSpanStep * row;
  float last[kSpanStep];  // inputs, zeros behind them
  __m256 sums[4][2];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) sums[r][0] = sums[r][1] = _mm256_setzero_ps();
  for (const Span *span = b.spans, *end = span + b.span_count; span != end; ++span) {
    for (int32_t k = span->begin; k < span->end; k += kSpanStep, w += kLanes * kSpanStep) {
      const float* x = p.x + k;
      if (span->end - k < kSpanStep) {
        for (int32_t i = 0; i < kSpanStep; ++i) last[i] = i < span->end - k ? x[i] : 0;
        x = last;
      }
      const __m256 low = _mm256_loadu_ps(x), high = _mm256_loadu_ps(x + 8);
      _mm_prefetch(reinterpret_cast<const char*>(w) + kAhead, _MM_HINT_T0);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        sums[r][0] = _mm256_fmadd_ps(low, widen8(w + kSpanStep * r), sums[r][0]);
        sums[r][1] = _mm256_fmadd_ps(high, widen8(w + kSpanStep * r + 8), sums[r][1]);
      }
    }
  }
  float totals[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) totals[r] = total(_mm256_add_ps(sums[r][0], sums[r][1]));
  for (int r = 0; r < 4 && first + row + r < p.count; ++r) p.finish(first + row + r, totals[r]);
}

}  // namespace

PITH_AVX2 void rows_f32_avx2(const RowsF32& p) {
  int32_t r = 0;
  for (; r + 4 <= p.count; r += 4) some_rows<4>(p, r);
  for (; r < p.count; ++r) some_rows<1>(p, r);
}

PITH_AVX2 void sparse_rows_f32_avx2(const RowsF32& p, const SparseBlock* blocks) {
  for (int32_t first = 0; first < p.count; first += kLanes) {
    for (int32_t row = 0; row < kLanes && first + row < p.count; row += 4) four_rows(p, blocks[first / kLanes], first, row);
  }
}

}  // namespace pith::runtime
