// Rows of activations in coded form, 8 channels of a pixel at a time (runtime/kernels/row_blocks.h).
#include "runtime/kernels/arm/neon.h"
#include "runtime/kernels/row_blocks.h"

namespace pith::runtime {
namespace {

using coding::RowExpectation;
using coding::RowModel;
using coding::RowWriter;

constexpr int kBlock = 8;
using Block = RowBlock<kBlock>;
using Blocks = RowBlocks<kBlock>;

// A row's step and zero point, 8 times.
struct Row {
  uint16x8_t step, half, zero_point;
  uint16x4_t inverse;
  uint16x8_t even;  // 1 for steps that values can be in the middle of
};
inline Row row_of(int step_index, uint8_t zero_point) {
  const int step = numerics::kRowSteps[step_index];
  return {vdupq_n_u16(static_cast<uint16_t>(step)), vdupq_n_u16(static_cast<uint16_t>(step >> 1)),
          vdupq_n_u16(zero_point), vdup_n_u16(static_cast<uint16_t>((65536 + step - 1) / step)),
          vdupq_n_u16(step % 2 == 0)};
}

// Differences of 0..255 over the step, rounded. With step 1 (kExact) they are themselves.
template <bool kExact>
inline uint16x8_t quotient(uint16x8_t difference, const Row& r) {
  if (kExact) return difference;
  const uint16x8_t d = vaddq_u16(difference, r.half);
  return vshrn_high_n_u32(vshrn_n_u32(vmull_u16(vget_low_u16(d), r.inverse), 16),
                          vmull_u16(vget_high_u16(d), r.inverse), 16);
}

struct Expected {
  uint16x8_t left, middle;  // predictions there are
  uint16x8_t prediction, both, more_above, parameter;
};
inline uint16x8_t load_bytes(const uint8_t* p) { return vmovl_u8(vld1_u8(p)); }

template <bool kExact>
inline Expected expect(const Block& c, uint16x8_t left, const Row& r) {
  Expected e;
  e.left = left;
  e.middle = vshrq_n_u16(vaddq_u16(left, r.zero_point), 1);
  const uint16x8_t zero = vld1q_u16(c.zero), middle = vld1q_u16(c.middle);
  e.prediction = vbslq_u16(vcgtq_u16(zero, middle), e.middle, r.zero_point);
  e.prediction = vbslq_u16(vcgtq_u16(vminq_u16(zero, middle), vld1q_u16(c.left)), left, e.prediction);
  const uint16x8_t below = quotient<kExact>(e.prediction, r),
                   above = quotient<kExact>(vsubq_u16(vdupq_n_u16(255), e.prediction), r);
  e.both = vminq_u16(below, above);
  e.more_above = vcgtq_u16(above, below);
  const uint16x8_t level = vld1q_u16(c.level), t = vsraq_n_u16(level, level, 2), one = vdupq_n_u16(1);
  e.parameter = vsubq_u16(vdupq_n_u16(15), vclzq_u16(vorrq_u16(vshrq_n_u16(vqsubq_u16(t, one), 4), one)));
  return e;
}

// numerics::row_rounds_down of 8 channels, the first an even one.
inline uint16x8_t rounds_down(uint16x8_t before, uint16x8_t became, int32_t column) {
  const uint16x8_t odd = vreinterpretq_u16_u32(vdupq_n_u32(column & 1 ? 0xffffu : 0xffff0000u));
  return vorrq_u16(vcgtq_u16(became, before), vandq_u16(vceqq_u16(became, before), odd));
}

template <bool kExact>
inline uint16x8_t number(const Expected& e, uint16x8_t values, uint16x8_t down, const Row& r) {
  const uint16x8_t up = vcgtq_u16(values, e.prediction), near = vandq_u16(vceqq_u16(down, up), r.even);
  const uint16x8_t steps = quotient<kExact>(vsubq_u16(vabdq_u16(values, e.prediction), near), r);
  const uint16x8_t alternating = vqsubq_u16(vaddq_u16(steps, steps), vandq_u16(up, vdupq_n_u16(1)));
  return vbslq_u16(vcgtq_u16(steps, e.both), vaddq_u16(e.both, steps), alternating);
}

inline uint16x8_t value(const Expected& e, uint16x8_t numbers, const Row& r) {
  const uint16x8_t one_sided = vcgtq_u16(numbers, vaddq_u16(e.both, e.both));
  const uint16x8_t steps = vbslq_u16(one_sided, vsubq_u16(numbers, e.both), vrshrq_n_u16(numbers, 1));
  const uint16x8_t up = vbslq_u16(one_sided, e.more_above, vtstq_u16(numbers, vdupq_n_u16(1)));
  const uint16x8_t moved = vmulq_u16(steps, r.step);
  const uint16x8_t result = vbslq_u16(up, vaddq_u16(e.prediction, moved), vqsubq_u16(e.prediction, moved));
  return vminq_u16(result, vdupq_n_u16(255));
}

template <int kShift>
inline void towards(uint16_t* means, uint16x8_t seen) {
  const int16x8_t mean = vreinterpretq_s16_u16(vld1q_u16(means));
  vst1q_u16(means, vreinterpretq_u16_s16(vsraq_n_s16(mean, vsubq_s16(vreinterpretq_s16_u16(seen), mean), kShift)));
}
inline uint16x8_t sixteenths_off(uint16x8_t a, uint16x8_t b) { return vshlq_n_u16(vabdq_u16(a, b), 4); }
inline void learn(Block& c, const Expected& e, uint16x8_t values, uint16x8_t numbers, const Row& r) {
  towards<2>(c.level, vshlq_n_u16(vminq_u16(numbers, vdupq_n_u16(63)), 4));
  towards<3>(c.zero, sixteenths_off(values, r.zero_point));
  towards<3>(c.middle, sixteenths_off(values, e.middle));
  towards<3>(c.left, sixteenths_off(values, e.left));
}

// The first n of 8 values.
inline void store_values(uint8_t* y, uint16x8_t values, int32_t n) {
  const uint8x8_t bytes = vmovn_u16(values);
  if (n >= 8) return vst1_u8(y, bytes);
  uint8_t all[8];
  vst1_u8(all, bytes);
  memcpy(y, all, static_cast<size_t>(n));
}

// The next `count` pixels of a row; a pixel before them lies in front of `values`.
template <bool kExact>
void decode(coding::RowProgress& p, Blocks& blocks, uint8_t zero_point, int32_t count, int32_t channels,
            uint8_t* values) {
  coding::RowBits bits = p.bits;
  const int32_t end = p.column + count;
  if (p.column == 0 && count > 0) {
    decode_first_column(bits, blocks, p.step_index, zero_point, values);
    p.column = 1;
    values += channels;
  }
  const Row row = row_of(p.step_index, zero_point);
  uint16_t parameters[kBlock], numbers[kBlock] = {};
  for (; p.column < end; ++p.column) {
    for (int32_t b = 0; b < blocks.count(); ++b) {
      Block& block = blocks.at(b);
      const int32_t n = blocks.channels_of(b);
      const Expected e = expect<kExact>(block, load_bytes(values - channels), row);
      vst1q_u16(parameters, e.parameter);
      for (int32_t i = 0; i < n; ++i) numbers[i] = static_cast<uint16_t>(bits.number(parameters[i]));
      const uint16x8_t all = vld1q_u16(numbers), v = value(e, all, row);
      store_values(values, v, n);
      learn(block, e, v, all, row);
      values += n;
    }
  }
  p.bits = bits;
}

void decode_pixels(coding::RowProgress& p, Blocks& blocks, uint8_t zero_point, int32_t count, int32_t channels,
                   uint8_t* values) {
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
int64_t walk(const EncodeRowU8& r, int step_index, int64_t room, RowWriter* writer) {
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
  const uint16_t lane_numbers[kBlock] = {0, 1, 2, 3, 4, 5, 6, 7};
  const uint16x8_t lanes = vld1q_u16(lane_numbers), escape_bits = vdupq_n_u16(numerics::kRowEscape + 8);
  uint16_t parameters[kBlock], numbers[kBlock];
  const uint8_t* values = r.values + r.channels;
  for (int32_t x = 1; x < r.width && bits <= room; ++x) {
    for (int32_t b = 0; b < blocks.count(); ++b) {
      Block& block = blocks.at(b);
      const int32_t n = blocks.channels_of(b);
      uint8_t* decoded = before.at(b);
      const Expected e = expect<kExact>(block, load_bytes(decoded), row);
      const uint16x8_t given = load_bytes(values),
                       all = number<kExact>(e, given, rounds_down(load_bytes(values - r.channels), e.left, x), row),
                       v = kExact ? given : value(e, all, row);
      if (writer) {
        vst1q_u16(parameters, e.parameter);
        vst1q_u16(numbers, all);
        for (int32_t i = 0; i < n; ++i) writer->put(numbers[i], parameters[i]);
      } else {
        const uint16x8_t high = vshlq_u16(all, vnegq_s16(vreinterpretq_s16_u16(e.parameter)));
        const uint16x8_t plain = vaddq_u16(vaddq_u16(high, e.parameter), vdupq_n_u16(1));
        const uint16x8_t each = vbslq_u16(vcgeq_u16(high, vdupq_n_u16(numerics::kRowEscape)), escape_bits, plain);
        bits += vaddvq_u16(vandq_u16(each, vcltq_u16(lanes, vdupq_n_u16(static_cast<uint16_t>(n)))));
      }
      vst1_u8(decoded, vmovn_u16(v));
      learn(block, e, v, all, row);
      values += n;
    }
  }
  return bits;
}

}  // namespace

void decode_row_u8_neon(const DecodeRowU8& r) {
  Blocks blocks(r.state, r.channels, r.channels / kBlock);
  coding::RowProgress progress(r.row, r.bytes);
  decode_pixels(progress, blocks, r.zero_point, r.width, r.channels, r.values);
}

void decode_pixels_u8_neon(const DecodePixelsU8& p) {
  Blocks blocks(p.state, p.channels, (p.channels + kBlock - 1) / kBlock);
  decode_pixels(*p.row, blocks, p.zero_point, p.count, p.channels, p.values);
}

void encode_row_u8_neon(const EncodeRowU8& r) {
  write_row(r, [&](int step_index, int64_t room, RowWriter* writer) {
    return step_index == 0 ? walk<true>(r, 0, room, writer) : walk<false>(r, step_index, room, writer);
  });
}

}  // namespace pith::runtime
