// Runs of 8-bit elements, 64 at a time: tables, sums, products, pooling windows, conversions.
//
// Bytes are widened by unpacking within 128-bit lanes; packing undoes exactly that, so that elements stay in order. Odd
// ends are masked: operands may be overwritten in place, so nothing is computed twice.
#include "runtime/kernels/x86/avx512.h"

namespace pith::runtime {
namespace {

PITH_AVX512_INLINE __m512i load_some(const uint8_t* p, __mmask64 mask) { return _mm512_maskz_loadu_epi8(mask, p); }
PITH_AVX512_INLINE __m512i splat_byte(uint8_t x) { return _mm512_set1_epi8(static_cast<char>(x)); }

PITH_AVX512_INLINE Epilogue512 clamps(int32_t zero_point, int32_t low, int32_t high, const uint8_t* table) {
  return epilogue(Epilogue{zero_point, low, high, table});
}
PITH_AVX512_INLINE void finish_bytes(uint8_t* y, __mmask64 mask, __m512i bytes, const Epilogue512& e,
                                     const Table512& table) {
  if (e.has_table) bytes = look_up(bytes, table);
  _mm512_mask_storeu_epi8(y, mask, bytes);
}

struct Adder {
  __m512i high, low, bias;  // words (a, b) of the mantissas' upper parts and lower bytes
  __m128i shift;
};
PITH_AVX512_INLINE __m512i pair_words(int32_t a, int32_t b) {
  return _mm512_set1_epi32(
      static_cast<int32_t>((static_cast<uint32_t>(b) << 16) | (static_cast<uint32_t>(a) & 0xffff)));
}
// (a * ma + b * mb + bias) >> shift of words a, b in each lane; |m| < 2^19, so its upper part fits a signed word.
PITH_AVX512_INLINE __m512i add_pairs(__m512i pairs, const Adder& k) {
  const __m512i sum =
      _mm512_add_epi32(_mm512_slli_epi32(_mm512_madd_epi16(pairs, k.high), 8), _mm512_madd_epi16(pairs, k.low));
  return _mm512_sra_epi32(_mm512_add_epi32(sum, k.bias), k.shift);
}

PITH_AVX512_INLINE Requantizer512 uniform(numerics::Multiplier m) {
  alignas(64) int32_t mantissa[16], shift[16];
  for (int i = 0; i < 16; ++i) mantissa[i] = m.mantissa, shift[i] = m.shift;
  return requantizer(mantissa, shift);
}
PITH_AVX512_INLINE __m512i requantize_any(__m512i acc, const Requantizer512& r, bool narrow) {
  return narrow ? requantize_narrow(acc, r) : requantize_wide(acc, r);
}

}  // namespace

PITH_AVX512 void table_u8_avx512(const uint8_t* x, uint8_t* y, int64_t count, const uint8_t* table) {
  const Table512 t = load_table(table);
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) _mm512_storeu_si512(y + i, look_up(_mm512_loadu_si512(x + i), t));
  if (i == count) return;
  const __mmask64 mask = first_bytes(count - i);
  _mm512_mask_storeu_epi8(y + i, mask, look_up(load_some(x + i, mask), t));
}

PITH_AVX512 void add_u8_avx512(const AddU8& r) {
  const numerics::AddParams& p = r.params;
  const uint32_t bias = (1u << (p.shift - 1)) - static_cast<uint32_t>(p.zero_a) * static_cast<uint32_t>(p.mantissa_a) -
                        static_cast<uint32_t>(p.zero_b) * static_cast<uint32_t>(p.mantissa_b);
  const Adder k = {pair_words(p.mantissa_a >> 8, p.mantissa_b >> 8), pair_words(p.mantissa_a & 255, p.mantissa_b & 255),
                   _mm512_set1_epi32(static_cast<int32_t>(bias)), _mm_cvtsi32_si128(p.shift)};
  const Epilogue512 e = clamps(p.zero_out, p.low, p.high, r.table);
  const Table512 table = r.table != nullptr ? load_table(r.table) : Table512{};
  const __m512i a_all = splat_byte(r.a[0]), b_all = splat_byte(r.b[0]), zero = _mm512_setzero_si512();
  for (int64_t i = 0; i < r.count; i += 64) {
    const __mmask64 mask = first_bytes(r.count - i);
    const __m512i a = r.a_repeats ? a_all : load_some(r.a + i, mask),
                  b = r.b_repeats ? b_all : load_some(r.b + i, mask);
    const __m512i low = _mm512_unpacklo_epi8(a, b), high = _mm512_unpackhi_epi8(a, b);
    const __m512i bytes =
        to_bytes(add_pairs(_mm512_unpacklo_epi8(low, zero), k), add_pairs(_mm512_unpackhi_epi8(low, zero), k),
                 add_pairs(_mm512_unpacklo_epi8(high, zero), k), add_pairs(_mm512_unpackhi_epi8(high, zero), k), e);
    finish_bytes(r.y + i, mask, bytes, e, table);
  }
}

PITH_AVX512 void mul_u8_avx512(const MulU8& r) {
  const numerics::MulParams& p = r.params;
  const Requantizer512 m = uniform(p.multiplier);
  const bool narrow = p.multiplier.shift >= 17;
  const Epilogue512 e = clamps(p.zero_out, p.low, p.high, r.table);
  const Table512 table = r.table != nullptr ? load_table(r.table) : Table512{};
  const __m512i a_all = splat_byte(r.a[0]), b_all = splat_byte(r.b[0]), zero = _mm512_setzero_si512();
  const __m512i zero_a = _mm512_set1_epi16(static_cast<short>(p.zero_a)),
                zero_b = _mm512_set1_epi16(static_cast<short>(p.zero_b));
  for (int64_t i = 0; i < r.count; i += 64) {
    const __mmask64 mask = first_bytes(r.count - i);
    const __m512i a = r.a_repeats ? a_all : load_some(r.a + i, mask),
                  b = r.b_repeats ? b_all : load_some(r.b + i, mask);
    __m512i v[4];
    for (int half = 0; half < 2; ++half) {
      const __m512i aw = _mm512_sub_epi16(half ? _mm512_unpackhi_epi8(a, zero) : _mm512_unpacklo_epi8(a, zero), zero_a);
      const __m512i bw = _mm512_sub_epi16(half ? _mm512_unpackhi_epi8(b, zero) : _mm512_unpacklo_epi8(b, zero), zero_b);
      const __m512i low = _mm512_mullo_epi16(aw, bw), high = _mm512_mulhi_epi16(aw, bw);
      v[2 * half] = requantize_any(_mm512_unpacklo_epi16(low, high), m, narrow);
      v[2 * half + 1] = requantize_any(_mm512_unpackhi_epi16(low, high), m, narrow);
    }
    finish_bytes(r.y + i, mask, to_bytes(v[0], v[1], v[2], v[3], e), e, table);
  }
}

PITH_AVX512 void max_pool_u8_avx512(const PoolU8& w) {
  for (int32_t c = 0; c < w.channels; c += 64) {
    __m512i y = _mm512_loadu_si512(w.inputs[0] + c);
    for (int32_t t = 1; t < w.taps; ++t) y = _mm512_max_epu8(y, _mm512_loadu_si512(w.inputs[t] + c));
    if (w.epilogue.table != nullptr) y = look_up(y, load_table(w.epilogue.table));
    _mm512_mask_storeu_epi8(w.y + c, first_bytes(w.channels - c), y);
  }
}

PITH_AVX512 void average_pool_u8_avx512(const PoolU8& w) {
  const Requantizer512 m = uniform(w.multiplier);
  const Epilogue512 e = epilogue(w.epilogue);
  const __m512i zero = _mm512_setzero_si512(), start = _mm512_set1_epi32(-w.zero_in * w.taps);
  for (int32_t c = 0; c < w.channels; c += 64) {
    __m512i sum[4] = {start, start, start, start};
    for (int32_t first = 0; first < w.taps; first += 256) {  // words hold 256 bytes
      const int32_t last = first + 256 < w.taps ? first + 256 : w.taps;
      __m512i low = zero, high = zero;
      for (int32_t t = first; t < last; ++t) {
        const __m512i x = _mm512_loadu_si512(w.inputs[t] + c);
        low = _mm512_add_epi16(low, _mm512_unpacklo_epi8(x, zero));
        high = _mm512_add_epi16(high, _mm512_unpackhi_epi8(x, zero));
      }
      sum[0] = _mm512_add_epi32(sum[0], _mm512_unpacklo_epi16(low, zero));
      sum[1] = _mm512_add_epi32(sum[1], _mm512_unpackhi_epi16(low, zero));
      sum[2] = _mm512_add_epi32(sum[2], _mm512_unpacklo_epi16(high, zero));
      sum[3] = _mm512_add_epi32(sum[3], _mm512_unpackhi_epi16(high, zero));
    }
    __m512i v[4];
    for (int i = 0; i < 4; ++i) v[i] = requantize_any(sum[i], m, w.multiplier.shift >= 17);
    __m512i bytes = to_bytes(v[0], v[1], v[2], v[3], e);
    if (e.has_table) bytes = look_up(bytes, load_table(e.table));
    _mm512_mask_storeu_epi8(w.y + c, first_bytes(w.channels - c), bytes);
  }
}

// floor(x / scale + 0.5) in double, as numerics::quantize_u8. The division becomes a product with the inverse, which is
// off by a few units in the last place: that matters only next to a whole number, and there the division is made.
PITH_AVX512 void quantize_u8_avx512(const float* x, uint8_t* y, int64_t count, numerics::Affine affine) {
  const double scale = numerics::scale_value(affine.scale_code);
  const __m512d scales = _mm512_set1_pd(scale), inverse = _mm512_set1_pd(1 / scale), half = _mm512_set1_pd(0.5);
  const __m512d least = _mm512_set1_pd(-600), most = _mm512_set1_pd(600), near = _mm512_set1_pd(1e-9);
  const bool exact = numerics::scale_step(affine.scale_code) == 0;
  const __m256i zero_point = _mm256_set1_epi32(affine.zero_point);
  for (int64_t i = 0; i < count; i += 8) {
    const int64_t left = count - i < 8 ? count - i : 8;
    const __mmask8 mask = static_cast<__mmask8>((1u << left) - 1);
    const __m512d v = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, x + i));
    __m512d t = _mm512_add_pd(_mm512_mul_pd(v, inverse), half);
    if (!exact) {
      const __m512d distance =
          _mm512_abs_pd(_mm512_sub_pd(t, _mm512_roundscale_pd(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)));
      if (_mm512_cmp_pd_mask(distance, near, _CMP_LT_OQ) != 0) t = _mm512_add_pd(_mm512_div_pd(v, scales), half);
    }
    const __mmask8 number = _mm512_cmp_pd_mask(t, t, _CMP_ORD_Q);
    t = _mm512_min_pd(_mm512_max_pd(t, least), most);
    const __m512d whole = _mm512_maskz_roundscale_pd(number, t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    const __m256i q = _mm256_add_epi32(_mm512_cvtpd_epi32(whole), zero_point);
    const __m256i clamped = _mm256_max_epi32(q, _mm256_setzero_si256());
    _mm256_mask_cvtusepi32_storeu_epi8(y + i, mask, clamped);
  }
}

PITH_AVX512 void dequantize_u8_avx512(const uint8_t* x, float* y, int64_t count, numerics::Affine affine) {
  const __m512d scale = _mm512_set1_pd(numerics::scale_value(affine.scale_code));
  const __m256i zero_point = _mm256_set1_epi32(affine.zero_point);
  for (int64_t i = 0; i < count; i += 8) {
    const int64_t left = count - i < 8 ? count - i : 8;
    const __mmask8 mask = static_cast<__mmask8>((1u << left) - 1);
    const __m256i q = _mm256_sub_epi32(_mm256_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x + i)), zero_point);
    _mm256_mask_storeu_ps(y + i, mask, _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_cvtepi32_pd(q), scale)));
  }
}

}  // namespace pith::runtime
