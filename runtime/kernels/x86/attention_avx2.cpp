// Attention's products on 16-bit values: pairs of products are added in one instruction (madd), exactly.
//
// Dots go along a row, sixteen codes at a time; the query's zeros cancel what is read past a row's end. The mixture
// takes rows in pairs and channels in blocks of 64, so that the sums stay in registers.
//
// Turned keys: eight values of a pair of halves at a time, or four pairs of neighbours, whose cosines are doubled and whose
// sines change their sign with every value; rows that don't come out even are the reference's.
//
// Remembered rows: 16 signed bytes become 16 floats; nibbles are interleaved and their sign extended before. Rows are
// made in order, so what is written beyond a row's end is written over by the next one.
#include "numerics/cache_rows.h"
#include "runtime/kernels/x86/avx2.h"

namespace pith::runtime {
namespace {

PITH_AVX2_INLINE __m256i widen16(const uint8_t* p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }

PITH_AVX2_INLINE int32_t total(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

// kBlocks * 16 channels from `first` on.
template <int kBlocks>
PITH_AVX2 void mix_channels(const MixtureU8& p, int32_t first) {
  __m256i sums[kBlocks][2];
  for (auto& s : sums) s[0] = s[1] = _mm256_setzero_si256();
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(p.zero));
  for (int32_t t = 0; t < p.count; t += 2) {
    const uint8_t* a = p.rows + int64_t{t} * p.depth + first;
    const bool pair = t + 1 < p.count;
    const uint8_t* b = pair ? a + p.depth : a;
    const __m256i w = _mm256_set1_epi32(static_cast<int32_t>(static_cast<uint16_t>(p.weights[t]) | static_cast<uint32_t>(pair ? p.weights[t + 1] : 0) << 16));
    for (int i = 0; i < kBlocks; ++i) {
      const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + 16 * i)), y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + 16 * i));
      const __m256i low = _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(x, y)), zero), high = _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_unpackhi_epi8(x, y)), zero);
      sums[i][0] = _mm256_add_epi32(sums[i][0], _mm256_madd_epi16(low, w));
      sums[i][1] = _mm256_add_epi32(sums[i][1], _mm256_madd_epi16(high, w));
    }
  }
  for (int i = 0; i < kBlocks; ++i) {
    store256(p.y + first + 16 * i, sums[i][0]);
    store256(p.y + first + 16 * i + 8, sums[i][1]);
  }
}

PITH_AVX2_INLINE void scaled16(__m128i codes, float scale, float* y) {
  const __m256 s = _mm256_set1_ps(scale);
  _mm256_storeu_ps(y, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)), s));
  _mm256_storeu_ps(y + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(codes, codes))), s));
}

PITH_AVX2_INLINE __m128i nibbles16(const uint8_t* p) {
  const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), low = _mm_set1_epi8(15),
                eight = _mm_set1_epi8(8);
  const __m128i fields = _mm_unpacklo_epi8(_mm_and_si128(x, low), _mm_and_si128(_mm_srli_epi16(x, 4), low));
  return _mm_sub_epi8(_mm_xor_si128(fields, eight), eight);
}

// Entries at..at+7 (or four, doubled) of a table.
template <bool kCodes>
PITH_AVX2_INLINE __m256 entries8(const TurnTable& t, int64_t at) {
  if (!kCodes) return _mm256_loadu_ps(t.reals + at);
  const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(t.codes + at));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)), _mm256_set1_ps(t.scale));
}
template <bool kCodes>
PITH_AVX2_INLINE __m256 entries4(const TurnTable& t, int64_t at) {
  __m128 four;
  if (kCodes) {
    int32_t codes;
    memcpy(&codes, t.codes + at, 4);
    four = _mm_mul_ps(_mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(codes))), _mm_set1_ps(t.scale));
  } else {
    four = _mm_loadu_ps(t.reals + at);
  }
  return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(four), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

PITH_AVX2_INLINE __m256 raised8(const TurnRows& p, const float* y, int32_t i) {
  return _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(p.factors + i)), _mm256_loadu_ps(p.levels + i));
}

template <bool kCodes>
PITH_AVX2 void turn_neighbours(const TurnRows& p) {
  const __m256 signs = _mm256_setr_ps(-0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f, 0);
  for (int32_t t = 0; t < p.count; ++t) {
    float* y = p.rows + int64_t{t} * p.depth;
    const int64_t at = numerics::table_row(p.positions[t], p.entries) * (p.rotated / 2);
    for (int32_t i = 0; i < p.rotated; i += 8) {
      const __m256 x = raised8(p, y, i), swapped = _mm256_permute_ps(x, 0xb1);
      const __m256 sines = _mm256_xor_ps(entries4<kCodes>(p.sines, at + i / 2), signs);
      _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_mul_ps(x, entries4<kCodes>(p.cosines, at + i / 2)), _mm256_mul_ps(swapped, sines)));
    }
    numerics::raise_key(y + p.rotated, p.depth - p.rotated, p.factors + p.rotated, p.levels + p.rotated);
  }
}

template <bool kCodes>
PITH_AVX2 void turn_halves(const TurnRows& p) {
  const int32_t half = p.rotated / 2;
  for (int32_t t = 0; t < p.count; ++t) {
    float* y = p.rows + int64_t{t} * p.depth;
    const int64_t at = numerics::table_row(p.positions[t], p.entries) * half;
    for (int32_t i = 0; i < half; i += 8) {
      const __m256 a = raised8(p, y, i), b = raised8(p, y, i + half), c = entries8<kCodes>(p.cosines, at + i), s = entries8<kCodes>(p.sines, at + i);
      _mm256_storeu_ps(y + i, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
      _mm256_storeu_ps(y + i + half, _mm256_add_ps(_mm256_mul_ps(a, s), _mm256_mul_ps(b, c)));
    }
    numerics::raise_key(y + p.rotated, p.depth - p.rotated, p.factors + p.rotated, p.levels + p.rotated);
  }
}

}  // namespace

PITH_AVX2 void turn_rows_avx2(const TurnRows& p) {
  const bool codes = p.cosines.codes != nullptr && p.sines.codes != nullptr, reals = p.cosines.reals != nullptr && p.sines.reals != nullptr;
  if (!codes && !reals) return turn_rows_ref(p);
  if (p.interleaved && p.rotated % 8 == 0) return codes ? turn_neighbours<true>(p) : turn_neighbours<false>(p);
  if (!p.interleaved && p.rotated % 16 == 0) return codes ? turn_halves<true>(p) : turn_halves<false>(p);
  turn_rows_ref(p);
}

PITH_AVX2 void cache_rows_avx2(const CacheRows& p) {
  const uint8_t* x = p.rows;
  float* y = p.y;
  for (int32_t t = 0; t < p.count; ++t, y += p.depth) {
    if (p.bits == 8) {
      const float scale = numerics::kCacheScales.of[*x++];
      for (int32_t i = 0; i < p.depth; i += 16)
        scaled16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i)), scale, y + i);
      x += p.depth;
      continue;
    }
    for (int32_t i = 0; i < p.depth; i += numerics::kCacheGroup) {
      const float scale = numerics::kCacheScales.of[*x++];
      scaled16(nibbles16(x), scale, y + i);
      const int32_t n = p.depth - i < numerics::kCacheGroup ? p.depth - i : numerics::kCacheGroup;
      x += (n + 1) / 2;
    }
  }
}

PITH_AVX2 void dots_u8_avx2(const DotsU8& p) {
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(p.zero));
  for (int32_t t = 0; t < p.count; ++t) {
    const uint8_t* row = p.rows + int64_t{t} * p.depth;
    __m256i sum = _mm256_setzero_si256();
    for (int32_t d = 0; d < p.depth; d += 16) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_sub_epi16(widen16(row + d), zero), load256(p.query + d)));
    p.y[t] = total(sum);
  }
}

PITH_AVX2 void mixture_u8_avx2(const MixtureU8& p) {
  int32_t first = 0;
  for (; first + 64 <= p.depth; first += 64) mix_channels<4>(p, first);
  for (; first < p.depth; first += 16) mix_channels<1>(p, first);
}

}  // namespace pith::runtime
