// Rows of activations in coded form, 16 channels of a pixel at a time (runtime/kernels/row_blocks.h).
#include "runtime/kernels/row_blocks.h"
#include "runtime/kernels/x86/avx2.h"

namespace pith::runtime {
namespace {

using coding::RowExpectation;
using coding::RowModel;
using coding::RowWriter;

constexpr int kBlock = 16;
using Block = RowBlock<kBlock>;
using Blocks = RowBlocks<kBlock>;

// A row's step and zero point, 16 times.
struct Row {
  __m256i step, half, inverse, zero_point;
  __m256i even;  // 1 for steps that values can be in the middle of
};
PITH_AVX2_INLINE Row row_of(int step_index, uint8_t zero_point) {
  const int step = numerics::kRowSteps[step_index];
  return {_mm256_set1_epi16(static_cast<short>(step)), _mm256_set1_epi16(static_cast<short>(step >> 1)),
          _mm256_set1_epi16(static_cast<short>((65536 + step - 1) / step)), _mm256_set1_epi16(zero_point),
          _mm256_set1_epi16(step % 2 == 0)};
}

// Differences of 0..255 over the step, rounded. With step 1 (kExact) they are themselves.
template <bool kExact>
PITH_AVX2_INLINE __m256i quotient(__m256i difference, const Row& r) {
  return kExact ? difference : _mm256_mulhi_epu16(_mm256_add_epi16(difference, r.half), r.inverse);
}

struct Expected {
  __m256i left, middle;  // predictions there are
  __m256i prediction, both, more_above, parameter;
};
PITH_AVX2_INLINE __m256i load_bytes(const uint8_t* p) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

template <bool kExact>
PITH_AVX2_INLINE Expected expect(const Block& c, __m256i left, const Row& r) {
  Expected e;
  e.left = left;
  e.middle = _mm256_srli_epi16(_mm256_add_epi16(left, r.zero_point), 1);
  const __m256i zero = load256(c.zero), middle = load256(c.middle);
  e.prediction = _mm256_blendv_epi8(r.zero_point, e.middle, _mm256_cmpgt_epi16(zero, middle));
  e.prediction =
      _mm256_blendv_epi8(e.prediction, left, _mm256_cmpgt_epi16(_mm256_min_epi16(zero, middle), load256(c.left)));
  const __m256i below = quotient<kExact>(e.prediction, r),
                above = quotient<kExact>(_mm256_sub_epi16(_mm256_set1_epi16(255), e.prediction), r);
  e.both = _mm256_min_epi16(below, above);
  e.more_above = _mm256_cmpgt_epi16(above, below);
  // floor(log2) of what is below 128, from its two halves
  const __m256i level = load256(c.level), t = _mm256_add_epi16(level, _mm256_srli_epi16(level, 2));
  const __m256i v = _mm256_srli_epi16(_mm256_subs_epu16(t, _mm256_set1_epi16(1)), 4);
  const __m256i low =
      _mm256_setr_epi8(0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i high =
      _mm256_setr_epi8(0, 4, 5, 5, 6, 6, 6, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 5, 5, 6, 6, 6, 6, 0, 0, 0, 0, 0, 0, 0, 0);
  e.parameter = _mm256_max_epu8(_mm256_shuffle_epi8(low, _mm256_and_si256(v, _mm256_set1_epi16(15))),
                                _mm256_shuffle_epi8(high, _mm256_srli_epi16(v, 4)));
  return e;
}

// numerics::row_rounds_down of 16 channels, the first an even one.
PITH_AVX2_INLINE __m256i rounds_down(__m256i before, __m256i became, int32_t column) {
  const __m256i odd = column & 1 ? _mm256_set1_epi32(0xffff) : _mm256_set1_epi32(static_cast<int>(0xffff0000));
  return _mm256_or_si256(_mm256_cmpgt_epi16(became, before), _mm256_and_si256(_mm256_cmpeq_epi16(became, before), odd));
}

template <bool kExact>
PITH_AVX2_INLINE __m256i number(const Expected& e, __m256i values, __m256i down, const Row& r) {
  const __m256i difference = _mm256_sub_epi16(values, e.prediction);
  const __m256i up = _mm256_cmpgt_epi16(difference, _mm256_setzero_si256()),
                near = _mm256_and_si256(_mm256_cmpeq_epi16(down, up), r.even);
  const __m256i steps = quotient<kExact>(_mm256_sub_epi16(_mm256_abs_epi16(difference), near), r);
  const __m256i twice = _mm256_add_epi16(steps, steps);
  const __m256i alternating = _mm256_subs_epu16(twice, _mm256_and_si256(up, _mm256_set1_epi16(1)));
  return _mm256_blendv_epi8(alternating, _mm256_add_epi16(e.both, steps), _mm256_cmpgt_epi16(steps, e.both));
}

PITH_AVX2_INLINE __m256i value(const Expected& e, __m256i numbers, const Row& r) {
  const __m256i one = _mm256_set1_epi16(1), one_sided = _mm256_cmpgt_epi16(numbers, _mm256_add_epi16(e.both, e.both));
  const __m256i steps = _mm256_blendv_epi8(_mm256_srli_epi16(_mm256_add_epi16(numbers, one), 1),
                                           _mm256_sub_epi16(numbers, e.both), one_sided);
  const __m256i odd = _mm256_cmpeq_epi16(_mm256_and_si256(numbers, one), one),
                up = _mm256_blendv_epi8(odd, e.more_above, one_sided);
  const __m256i moved = _mm256_mullo_epi16(steps, r.step);
  const __m256i result =
      _mm256_blendv_epi8(_mm256_subs_epi16(e.prediction, moved), _mm256_adds_epi16(e.prediction, moved), up);
  return _mm256_min_epi16(_mm256_max_epi16(result, _mm256_setzero_si256()), _mm256_set1_epi16(255));
}

PITH_AVX2_INLINE void towards(uint16_t* means, __m256i seen, int shift) {
  const __m256i mean = load256(means);
  store256(means, _mm256_add_epi16(mean, _mm256_srai_epi16(_mm256_sub_epi16(seen, mean), shift)));
}
PITH_AVX2_INLINE __m256i sixteenths_off(__m256i a, __m256i b) {
  return _mm256_slli_epi16(_mm256_abs_epi16(_mm256_sub_epi16(a, b)), 4);
}
PITH_AVX2_INLINE void learn(Block& c, const Expected& e, __m256i values, __m256i numbers, const Row& r) {
  towards(c.level, _mm256_slli_epi16(_mm256_min_epi16(numbers, _mm256_set1_epi16(63)), 4), 2);
  towards(c.zero, sixteenths_off(values, r.zero_point), 3);
  towards(c.middle, sixteenths_off(values, e.middle), 3);
  towards(c.left, sixteenths_off(values, e.left), 3);
}

PITH_AVX2_INLINE __m128i to_bytes(__m256i words) {
  return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

// The next `count` pixels of a row; a pixel before them lies in front of `values`.
template <bool kExact>
PITH_AVX2_INLINE void decode(coding::RowProgress& p, Blocks& blocks, uint8_t zero_point, int32_t count,
                             int32_t channels, uint8_t* values) {
  coding::RowBits bits = p.bits;
  const int32_t end = p.column + count;
  if (p.column == 0 && count > 0) {
    decode_first_column(bits, blocks, p.step_index, zero_point, values);
    p.column = 1;
    values += channels;
  }
  const Row row = row_of(p.step_index, zero_point);
  alignas(32) uint16_t parameters[kBlock], numbers[kBlock] = {};
  for (; p.column < end; ++p.column) {
    for (int32_t b = 0; b < blocks.count(); ++b) {
      Block& block = blocks.at(b);
      const int32_t n = blocks.channels_of(b);
      const Expected e = expect<kExact>(block, load_bytes(values - channels), row);
      store256(parameters, e.parameter);
      for (int32_t i = 0; i < n; ++i) numbers[i] = static_cast<uint16_t>(bits.number(parameters[i]));
      const __m256i all = load256(numbers), v = value(e, all, row);
      store_first(values, to_bytes(v), n);
      learn(block, e, v, all, row);
      values += n;
    }
  }
  p.bits = bits;
}

PITH_AVX2 void decode_pixels(coding::RowProgress& p, Blocks& blocks, uint8_t zero_point, int32_t count,
                             int32_t channels, uint8_t* values) {
  if (p.flat())
    memset(values, zero_point, static_cast<size_t>(count) * static_cast<size_t>(channels));
  else if (p.step_index == 0)
    decode<true>(p, blocks, zero_point, count, channels, values);
  else
    decode<false>(p, blocks, zero_point, count, channels, values);
}

// Walks a row with one step. With a writer it puts every number there; without one it counts bits, until they pass
// `room`.
template <bool kExact>
PITH_AVX2 int64_t walk(const EncodeRowU8& r, int step_index, int64_t room, RowWriter* writer) {
  Blocks blocks(r.state, r.channels, r.channels / kBlock);
  PixelBefore<kBlock> before(r.state, r.channels);
  int64_t bits = 0;
  first_column(blocks, step_index, r.zero_point,
               [&](int32_t c, const RowModel& model, const RowExpectation& e, int& number, int& value) {
                 number = model.number(e, r.values[c], numerics::row_rounds_down(0, c, r.zero_point, r.zero_point));
                 value = model.value(e, number);
                 before.at(c / kBlock)[c % kBlock] = static_cast<uint8_t>(value);
                 if (writer) writer->put(number, e.parameter);
                 bits += numerics::row_number_bits(number, e.parameter);
               });
  const Row row = row_of(step_index, r.zero_point);
  const __m256i ones = _mm256_set1_epi16(1),
                lanes = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m256i shifts = _mm256_setr_epi8(-128, 64, 32, 16, 8, 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, -128, 64, 32, 16, 8, 4,
                                          2, 1, 0, 0, 0, 0, 0, 0, 0, 0);  // 2^(7 - parameter)
  const __m256i low_bytes = _mm256_set1_epi16(255);
  alignas(32) uint16_t parameters[kBlock], numbers[kBlock];
  const uint8_t* values = r.values + r.channels;
  for (int32_t x = 1; x < r.width && bits <= room; ++x) {
    __m256i sum = _mm256_setzero_si256();
    for (int32_t b = 0; b < blocks.count(); ++b) {
      Block& block = blocks.at(b);
      const int32_t n = blocks.channels_of(b);
      uint8_t* decoded = before.at(b);
      const Expected e = expect<kExact>(block, load_bytes(decoded), row);
      const __m256i given = load_bytes(values), all = number<kExact>(e, given, rounds_down(load_bytes(values - r.channels), e.left, x), row),
                    v = kExact ? given : value(e, all, row);
      if (writer) {
        store256(parameters, e.parameter);
        store256(numbers, all);
        for (int32_t i = 0; i < n; ++i) writer->put(numbers[i], parameters[i]);
      } else {
        const __m256i factor = _mm256_and_si256(_mm256_shuffle_epi8(shifts, e.parameter), low_bytes),
                      high = _mm256_srli_epi16(_mm256_mullo_epi16(all, factor), 7);
        const __m256i escape = _mm256_cmpgt_epi16(high, _mm256_set1_epi16(numerics::kRowEscape - 1));
        const __m256i each = _mm256_blendv_epi8(_mm256_add_epi16(_mm256_add_epi16(high, e.parameter), ones),
                                                _mm256_set1_epi16(numerics::kRowEscape + 8), escape);
        sum = _mm256_add_epi32(
            sum, _mm256_madd_epi16(each, _mm256_and_si256(ones, _mm256_cmpgt_epi16(
                                                                    _mm256_set1_epi16(static_cast<short>(n)), lanes))));
      }
      _mm_storeu_si128(reinterpret_cast<__m128i*>(decoded), to_bytes(v));
      learn(block, e, v, all, row);
      values += n;
    }
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    bits += _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
  }
  return bits;
}

}  // namespace

PITH_AVX2 void decode_row_u8_avx2(const DecodeRowU8& r) {
  Blocks blocks(r.state, r.channels, r.channels / kBlock);
  coding::RowProgress progress(r.row, r.bytes);
  decode_pixels(progress, blocks, r.zero_point, r.width, r.channels, r.values);
}

PITH_AVX2 void decode_pixels_u8_avx2(const DecodePixelsU8& p) {
  Blocks blocks(p.state, p.channels, (p.channels + kBlock - 1) / kBlock);
  decode_pixels(*p.row, blocks, p.zero_point, p.count, p.channels, p.values);
}

PITH_AVX2 void encode_row_u8_avx2(const EncodeRowU8& r) {
  write_row(r, [&](int step_index, int64_t room, RowWriter* writer) {
    return step_index == 0 ? walk<true>(r, 0, room, writer) : walk<false>(r, step_index, room, writer);
  });
}

}  // namespace pith::runtime
