// Runs of 8-bit elements, 32 at a time; the methods are those of elementwise_avx512.cpp. Odd ends go through copies.
#include "runtime/kernels/ref/ref.h"
#include "runtime/kernels/x86/avx2.h"

namespace pith::runtime {
namespace {

struct Ends {
  __m256i zero_point, low, high;
};
PITH_AVX2_INLINE Ends ends(int32_t zero_point, int32_t low, int32_t high) {
  return {_mm256_set1_epi16(static_cast<short>(zero_point)), _mm256_set1_epi8(static_cast<char>(low)),
          _mm256_set1_epi8(static_cast<char>(high))};
}
// Four vectors of 32-bit results, in the order that unpacking made, to 32 bytes.
PITH_AVX2_INLINE __m256i pack_bytes(const __m256i (&v)[4], const Ends& e) {
  const __m256i first = _mm256_adds_epi16(_mm256_packs_epi32(v[0], v[1]), e.zero_point);
  const __m256i second = _mm256_adds_epi16(_mm256_packs_epi32(v[2], v[3]), e.zero_point);
  return _mm256_min_epu8(_mm256_max_epu8(_mm256_packus_epi16(first, second), e.low), e.high);
}
PITH_AVX2_INLINE __m256i load_some(const uint8_t* p, int64_t n) {
  if (n >= 32) return load256(p);
  alignas(32) uint8_t bytes[32] = {};
  memcpy(bytes, p, static_cast<size_t>(n));
  return load256(bytes);
}
PITH_AVX2_INLINE void store_some(uint8_t* p, __m256i v, int64_t n, const uint8_t* table) {
  if (n >= 32 && table == nullptr) return store256(p, v);
  alignas(32) uint8_t bytes[32];
  store256(bytes, v);
  const int64_t m = n < 32 ? n : 32;
  for (int64_t i = 0; i < m; ++i) p[i] = table != nullptr ? table[bytes[i]] : bytes[i];
}
PITH_AVX2_INLINE __m256i pair_words(int32_t a, int32_t b) {
  return _mm256_set1_epi32(
      static_cast<int32_t>((static_cast<uint32_t>(b) << 16) | (static_cast<uint32_t>(a) & 0xffff)));
}

}  // namespace

PITH_AVX2 void add_u8_avx2(const AddU8& r) {
  const numerics::AddParams& p = r.params;
  const uint32_t bias = (1u << (p.shift - 1)) - static_cast<uint32_t>(p.zero_a) * static_cast<uint32_t>(p.mantissa_a) -
                        static_cast<uint32_t>(p.zero_b) * static_cast<uint32_t>(p.mantissa_b);
  const __m256i high_part = pair_words(p.mantissa_a >> 8, p.mantissa_b >> 8),
                low_part = pair_words(p.mantissa_a & 255, p.mantissa_b & 255);
  const __m256i biases = _mm256_set1_epi32(static_cast<int32_t>(bias)), zero = _mm256_setzero_si256();
  const __m128i shift = _mm_cvtsi32_si128(p.shift);
  const Ends e = ends(p.zero_out, p.low, p.high);
  const __m256i a_all = _mm256_set1_epi8(static_cast<char>(r.a[0])),
                b_all = _mm256_set1_epi8(static_cast<char>(r.b[0]));
  for (int64_t i = 0; i < r.count; i += 32) {
    const int64_t left = r.count - i;
    const __m256i a = r.a_repeats ? a_all : load_some(r.a + i, left),
                  b = r.b_repeats ? b_all : load_some(r.b + i, left);
    const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
    __m256i v[4] = {_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero), _mm256_unpacklo_epi8(high, zero),
                    _mm256_unpackhi_epi8(high, zero)};
    for (__m256i& pairs : v) {
      const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(_mm256_madd_epi16(pairs, high_part), 8),
                                           _mm256_madd_epi16(pairs, low_part));
      pairs = _mm256_sra_epi32(_mm256_add_epi32(sum, biases), shift);
    }
    store_some(r.y + i, pack_bytes(v, e), left, r.table);
  }
}

PITH_AVX2 void mul_u8_avx2(const MulU8& r) {
  const numerics::MulParams& p = r.params;
  if (p.multiplier.shift < 17) return mul_u8_ref(r);
  alignas(32) int32_t mantissa[8], shift[8];
  for (int i = 0; i < 8; ++i) mantissa[i] = p.multiplier.mantissa, shift[i] = p.multiplier.shift;
  const Requantizer256 m = requantizer(mantissa, shift);
  const Ends e = ends(p.zero_out, p.low, p.high);
  const __m256i a_all = _mm256_set1_epi8(static_cast<char>(r.a[0])),
                b_all = _mm256_set1_epi8(static_cast<char>(r.b[0])), zero = _mm256_setzero_si256();
  const __m256i zero_a = _mm256_set1_epi16(static_cast<short>(p.zero_a)),
                zero_b = _mm256_set1_epi16(static_cast<short>(p.zero_b));
  for (int64_t i = 0; i < r.count; i += 32) {
    const int64_t left = r.count - i;
    const __m256i a = r.a_repeats ? a_all : load_some(r.a + i, left),
                  b = r.b_repeats ? b_all : load_some(r.b + i, left);
    __m256i v[4];
    for (int half = 0; half < 2; ++half) {
      const __m256i aw = _mm256_sub_epi16(half ? _mm256_unpackhi_epi8(a, zero) : _mm256_unpacklo_epi8(a, zero), zero_a);
      const __m256i bw = _mm256_sub_epi16(half ? _mm256_unpackhi_epi8(b, zero) : _mm256_unpacklo_epi8(b, zero), zero_b);
      const __m256i low = _mm256_mullo_epi16(aw, bw), high = _mm256_mulhi_epi16(aw, bw);
      v[2 * half] = requantize_narrow(_mm256_unpacklo_epi16(low, high), m);
      v[2 * half + 1] = requantize_narrow(_mm256_unpackhi_epi16(low, high), m);
    }
    store_some(r.y + i, pack_bytes(v, e), left, r.table);
  }
}

PITH_AVX2 void max_pool_u8_avx2(const PoolU8& w) {
  for (int32_t c = 0; c < w.channels; c += 32) {
    __m256i y = load256(w.inputs[0] + c);
    for (int32_t t = 1; t < w.taps; ++t) y = _mm256_max_epu8(y, load256(w.inputs[t] + c));
    store_some(w.y + c, y, w.channels - c, w.epilogue.table);
  }
}

namespace {

struct Quantizer {
  __m256d scale, inverse;
  __m128i zero_point;
  bool exact;  // the inverse has no error
};
// floor(v / scale + 0.5) + zero point of four values, within what 16 bits hold; see quantize_u8_avx512.
PITH_AVX2_INLINE __m128i quantize_four(__m128 x, const Quantizer& q) {
  const __m256d v = _mm256_cvtps_pd(x), half = _mm256_set1_pd(0.5);
  __m256d t = _mm256_add_pd(_mm256_mul_pd(v, q.inverse), half);
  if (!q.exact) {
    const __m256d whole = _mm256_round_pd(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256d distance = _mm256_andnot_pd(_mm256_set1_pd(-0.0), _mm256_sub_pd(t, whole));
    if (_mm256_movemask_pd(_mm256_cmp_pd(distance, _mm256_set1_pd(1e-9), _CMP_LT_OQ)) != 0)
      t = _mm256_add_pd(_mm256_div_pd(v, q.scale), half);
  }
  const __m256d number = _mm256_cmp_pd(t, t, _CMP_ORD_Q);
  t = _mm256_min_pd(_mm256_max_pd(_mm256_and_pd(t, number), _mm256_set1_pd(-600)), _mm256_set1_pd(600));
  return _mm_add_epi32(_mm256_cvtpd_epi32(_mm256_floor_pd(t)), q.zero_point);
}

}  // namespace

PITH_AVX2 void quantize_u8_avx2(const float* x, uint8_t* y, int64_t count, numerics::Affine affine) {
  const double scale = numerics::scale_value(affine.scale_code);
  const Quantizer q{_mm256_set1_pd(scale), _mm256_set1_pd(1 / scale), _mm_set1_epi32(affine.zero_point),
                    numerics::scale_step(affine.scale_code) == 0};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i words =
        _mm_packs_epi32(quantize_four(_mm_loadu_ps(x + i), q), quantize_four(_mm_loadu_ps(x + i + 4), q));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(y + i), _mm_packus_epi16(words, words));
  }
  if (i < count) quantize_u8_ref(x + i, y + i, count - i, affine);
}

PITH_AVX2 void dequantize_u8_avx2(const uint8_t* x, float* y, int64_t count, numerics::Affine affine) {
  const __m256d scale = _mm256_set1_pd(numerics::scale_value(affine.scale_code));
  const __m128i zero_point = _mm_set1_epi32(affine.zero_point);
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    int32_t four;
    memcpy(&four, x + i, 4);
    const __m128i q = _mm_sub_epi32(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)), zero_point);
    _mm_storeu_ps(y + i, _mm256_cvtpd_ps(_mm256_mul_pd(_mm256_cvtepi32_pd(q), scale)));
  }
  if (i < count) dequantize_u8_ref(x + i, y + i, count - i, affine);
}

}  // namespace pith::runtime
