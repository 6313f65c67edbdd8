// Floats without loss: tables, norms, last layers, whatever stays in IEEE binary32.
//
// Why: a grid of boxes or a table of sines is a few numbers' worth of information in tens of kilobytes of floats, and xz
// doesn't see it. Method: each value is predicted from those before it, in float arithmetic (one rounding an operation, as
// everywhere here), and the distance between the two as places in the order of all floats is coded (P. Lindstrom and
// M. Isenburg, "Fast and Efficient Compression of Floating-Point Data", 2006). Before that, one bit tells whether the
// value is the one that followed when the last four were seen before (the match model of context mixing coders).
// Five ways to predict, one for the whole constant, are tried by the encoder:
//
//   0 nothing  the float's fields: sign, exponent, three bits of the mantissa are modelled, the rest is raw
//   1 last     x[i - lag]
//   2 step     x[i - lag] and the last difference in this column that wasn't 0: grids
//   3 line     2 x[i - lag] - x[i - 2 lag]
//   4 wave     k x[i - lag] - x[i - 2 lag], k = (x2 + x0) / x1 of the column's first three: sines, cosines, exponentials
//
// One template describes the order of the bits; a Coder that reads makes it the decoder, one that writes the encoder.
// Freestanding; about 10 kB of state. docs/format.md is the specification.
#pragma once

#include "coding/decode/binary.h"

namespace pith::coding {

inline constexpr uint32_t kFloatPredictors = 5;

class FloatCode {
 public:
  // Codes n floats at `values`, whose `shift` lowest bits (0..30) are 0. A Coder that reads fills them in, one that writes
  // finds them there. False where the stream is damaged; what couldn't be read is 0. A Coder has bit(model, intended),
  // raw(intended, count) and number(model, intended), all returning what was coded, and bool failed(): too much was read.
  template <typename Coder>
  bool code(Coder& coder, float* values, int64_t n, int shift, uint32_t predictor = 0, uint32_t lag = 1);

 private:
  static constexpr int kColumns = 64, kPlaces = 1024, kRuns = 8, kContexts = 8;

  float real(int64_t i) const { return values_[i]; }
  uint32_t bits(int64_t i) const {
    uint32_t b;
    __builtin_memcpy(&b, values_ + i, 4);
    return b >> shift_;
  }
  // Where a value lies among all floats: 0, 1, 2 ... for those from 0 on, -1, -2 ... from -0 down.
  int64_t place(uint32_t shifted) const {
    const int64_t magnitude = shifted & (0x7fffffffu >> shift_);
    return shifted >> (31 - shift_) ? -1 - magnitude : magnitude;
  }
  uint32_t at_place(int64_t p) const { return p < 0 ? static_cast<uint32_t>(-1 - p) | 1u << (31 - shift_) : static_cast<uint32_t>(p); }

  float predict(int64_t i);
  template <typename Coder>
  uint32_t fields(Coder& coder, uint32_t intended);
  template <typename Coder>
  uint32_t distance(Coder& coder, int64_t i, uint32_t guess, uint32_t intended);

  float* values_ = nullptr;
  int shift_ = 0;
  uint32_t predictor_ = 0;
  int64_t lag_ = 1;
  int context_ = 0;  // what is known about the size of the next distance
  BitModel sign_, exponent_[256], mantissa_[8];                                         // predictor 0
  BitModel length_[kContexts][64], below_zero_[kContexts], leading_[40][4];              // the others
  BitModel hit_[kRuns][2];
  float step_[kColumns] = {};
  uint8_t length_before_[kColumns] = {};
  uint32_t followed_[kPlaces] = {};  // 1 + the index of what followed these four values
};

// ---- implementation ----

namespace detail {

inline int float_exponent(float x) {
  uint32_t b;
  __builtin_memcpy(&b, &x, 4);
  return static_cast<int>(b >> 23 & 255);
}
inline int length_context(int length) {
  constexpr uint8_t kClass[34] = {0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
  return kClass[length];
}

}  // namespace detail

inline float FloatCode::predict(int64_t i) {
  const int64_t column = i % lag_;
  context_ = detail::length_context(length_before_[column % kColumns]);
  if (i < lag_) return 0;
  const float last = real(i - lag_);
  float guess = last;
  if (predictor_ == 2) {
    guess = last + step_[column % kColumns];
  } else if (predictor_ > 2 && i >= 2 * lag_) {
    const float before = real(i - 2 * lag_);
    float scaled = 2 * last;
    if (predictor_ == 4 && i >= 3 * lag_) {
      const float sum = real(column + 2 * lag_) + real(column);
      const float k = sum / real(column + lag_);
      scaled = k * last;
    }
    guess = scaled - before;
    // where the terms cancel, their rounding is large beside the rest
    const int size = detail::float_exponent(scaled) > detail::float_exponent(before) ? detail::float_exponent(scaled) : detail::float_exponent(before);
    const int lost = size - detail::float_exponent(guess);
    if (predictor_ == 4) context_ = lost < 0 ? 0 : lost < kContexts ? lost : kContexts - 1;
  }
  return detail::float_exponent(guess) == 255 ? last : guess;  // of infinities and what is no number only the bits are sure
}

template <typename Coder>
uint32_t FloatCode::fields(Coder& coder, uint32_t intended) {
  const int mantissa_bits = 23 - shift_;  // may be negative: then the exponent's lowest bits are 0 too
  const int exponent_bits = mantissa_bits < 0 ? 8 + mantissa_bits : 8;
  uint32_t value = coder.bit(sign_, intended >> (31 - shift_) & 1), node = 1;
  int left = 31 - shift_;
  for (int k = 0; k < exponent_bits; ++k) {
    const uint32_t b = coder.bit(exponent_[node], intended >> --left & 1);
    node = node << 1 | b;
    value = value << 1 | b;
  }
  node = 1;
  for (int k = 0; k < 3 && left > 0; ++k) {
    const uint32_t b = coder.bit(mantissa_[node], intended >> --left & 1);
    node = node << 1 | b;
    value = value << 1 | b;
  }
  if (left > 0) value = value << left | coder.raw(intended & ((1u << left) - 1), left);
  return value;
}

template <typename Coder>
uint32_t FloatCode::distance(Coder& coder, int64_t i, uint32_t guess, uint32_t intended) {
  const int64_t from = place(guess), wanted = place(intended) - from;
  const uint64_t size = static_cast<uint64_t>(wanted < 0 ? -wanted : wanted);
  int length = 0;
  while (size >> length) ++length;
  uint32_t node = 1;
  for (int k = 5; k >= 0; --k) node = node << 1 | coder.bit(length_[context_][node], static_cast<uint32_t>(length >> k & 1));
  length = static_cast<int>(node & 63);
  if (length > 33) length = 33;
  length_before_[i % lag_ % kColumns] = static_cast<uint8_t>(length);
  if (length == 0) return guess;
  const uint32_t negative = coder.bit(below_zero_[context_], wanted < 0);
  uint64_t magnitude = 1;
  int left = length - 1;
  uint32_t known = 1;
  for (int k = 0; k < 2 && left > 0; ++k) {
    const uint32_t b = coder.bit(leading_[length][known], static_cast<uint32_t>(size >> --left & 1));
    known = known << 1 | b;
    magnitude = magnitude << 1 | b;
  }
  if (left > 0) magnitude = magnitude << left | coder.raw(static_cast<uint32_t>(size & ((uint64_t{1} << left) - 1)), left);
  const int64_t most = int64_t{1} << (31 - shift_);  // a damaged stream may step beyond the last float
  int64_t p = negative ? from - static_cast<int64_t>(magnitude) : from + static_cast<int64_t>(magnitude);
  p = p < -most ? -most : p >= most ? most - 1 : p;
  return at_place(p);
}

template <typename Coder>
bool FloatCode::code(Coder& coder, float* values, int64_t n, int shift, uint32_t predictor, uint32_t lag) {
  *this = FloatCode();
  values_ = values;
  shift_ = shift;
  IntegerModel head;
  predictor_ = coder.number(head, predictor);
  lag_ = coder.number(head, lag);
  const bool sound = predictor_ < kFloatPredictors && lag_ >= 1 && shift >= 0 && shift <= 30;
  int run = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!sound || coder.failed()) {
      for (; Coder::decoding && i < n; ++i) values_[i] = 0;
      return false;
    }
    const uint32_t intended = Coder::decoding ? 0 : bits(i);
    const float guessed = predict(i);
    uint32_t guess;
    __builtin_memcpy(&guess, &guessed, 4);
    guess >>= shift_;
    uint32_t hash = 0;
    for (int64_t k = 1; k <= 4; ++k) hash = (hash + (i >= k * lag_ ? bits(i - k * lag_) : 0)) * 2654435761u;
    uint32_t& followed = followed_[hash >> 22];
    uint32_t value = 0, hit = 0;
    if (followed != 0) {
      const uint32_t candidate = bits(followed - 1);
      hit = coder.bit(hit_[run][predictor_ != 0 && candidate == guess], intended == candidate);
      run = !hit ? 0 : run < kRuns - 1 ? run + 1 : run;
      if (hit) value = candidate;
    }
    if (!hit) value = predictor_ == 0 ? fields(coder, intended) : distance(coder, i, guess, intended);
    followed = static_cast<uint32_t>(i + 1);
    if (Coder::decoding) {
      const uint32_t whole = value << shift_;
      __builtin_memcpy(values_ + i, &whole, 4);
    }
    if (predictor_ == 2 && i >= lag_) {
      const float step = real(i) - real(i - lag_);
      if (step != 0 && detail::float_exponent(step) != 255) step_[i % lag_ % kColumns] = step;
    }
  }
  return sound && !coder.failed();
}

// The Coder that reads.
class FloatReader {
 public:
  static constexpr bool decoding = true;
  FloatReader(const uint8_t* data, uint64_t bytes) : in_(data, bytes) {}
  uint32_t bit(BitModel& model, uint32_t) { return in_.bit(model); }
  uint32_t raw(uint32_t, int count) { return in_.raw_bits(count); }
  uint32_t number(IntegerModel& model, uint32_t) { return decode_unsigned(in_, model); }
  bool failed() const { return in_.overrun(); }

 private:
  BinaryDecoder in_;
};

// Decodes n floats; false: the stream is damaged.
inline bool decode_floats(const uint8_t* data, uint64_t bytes, float* values, int64_t n, int shift) {
  FloatReader reader(data, bytes);
  FloatCode code;
  return code.code(reader, values, n, shift);
}

}  // namespace pith::coding
