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

}  // namespace

PITH_AVX2 void rows_f32_avx2(const RowsF32& p) {
  int32_t r = 0;
  for (; r + 4 <= p.count; r += 4) some_rows<4>(p, r);
  for (; r < p.count; ++r) some_rows<1>(p, r);
}

}  // namespace pith::runtime
