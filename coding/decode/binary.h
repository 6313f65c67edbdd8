// Adaptive binary arithmetic decoding, and integers on top of it.
//
// Why: structure, side information and small tensors need a code without tables that learns as it goes. Method: a byte-
// wise range decoder (G. N. N. Martin, 1979; the carry-free decoder side as used by LZMA) over adaptive bit models that
// average a fast and a slow estimator (as in H.266), whose rates start at 1/2 so that short streams learn at once.
//
// Freestanding: no heap, no library. Reading past the end yields zeros and sets `overrun`, so hostile input is harmless.
#pragma once

#include <stdint.h>

#include "coding/decode/distribution.h"

namespace pith::coding {

// The probability of a one, twice, in 1/65536, and how often it was updated.
struct BitModel {
  uint16_t fast = 32768, slow = 32768;
  uint8_t seen = 0;

  // in 1/32768, 32..32736
  uint32_t probability() const {
    const uint32_t p = (uint32_t{fast} + slow) >> 2;
    return p < 32 ? 32 : p > 32736 ? 32736 : p;
  }
  void update(uint32_t bit) {
    static constexpr uint8_t kFastRate[8] = {1, 2, 3, 3, 4, 4, 4, 4};
    static constexpr uint8_t kSlowRate[40] = {1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5,
                                              6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7};
    const int32_t target = bit ? 65535 : 0;
    fast = static_cast<uint16_t>(fast + ((target - fast) >> kFastRate[seen < 7 ? seen : 7]));
    slow = static_cast<uint16_t>(slow + ((target - slow) >> kSlowRate[seen]));
    if (seen < 39) ++seen;
  }
};

class BinaryDecoder {
 public:
  BinaryDecoder() = default;
  BinaryDecoder(const uint8_t* data, uint64_t bytes) : next_(data), end_(data + bytes) {
    for (int i = 0; i < 4; ++i) code_ = code_ << 8 | byte();
  }

  uint32_t bit(BitModel& model) {
    const uint32_t bound = (range_ >> 15) * model.probability();
    const uint32_t one = code_ < bound;
    if (one) {
      range_ = bound;
    } else {
      code_ -= bound;
      range_ -= bound;
    }
    model.update(one);
    normalize();
    return one;
  }

  // A bit that is one with probability p/65536, 16 <= p <= 65520. What an encoder would intend is ignored.
  uint32_t chance(uint32_t p, uint32_t = 0) {
    const uint32_t bound = (range_ >> 16) * p;
    const uint32_t one = code_ < bound, zero = one - 1;  // all bits of zero are set where the bit is 0
    code_ -= bound & zero;
    range_ = bound + ((range_ - 2 * bound) & zero);
    refill();
    return one;
  }

  // `count` <= 32 equiprobable bits, most significant first.
  uint32_t raw_bits(int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) {
      range_ >>= 1;
      const uint32_t one = code_ < range_;
      if (!one) code_ -= range_;
      value = value << 1 | one;
      normalize();
    }
    return value;
  }

  // One of at most eight symbols; each has a share of at least 4/32768.
  uint32_t symbol(const Distribution& shares, int, uint32_t = 0) {
    const uint32_t unit = range_ >> 15;
    const uint32_t place = code_ / unit;
    const int s = shares.symbol_at(static_cast<int32_t>(place < 32767 ? place : 32767));
    code_ -= static_cast<uint32_t>(shares.below(s)) * unit;
    range_ = static_cast<uint32_t>(shares.share(s)) * unit;
    refill();
    return static_cast<uint32_t>(s);
  }
  // `count` <= 8 equiprobable bits at once.
  uint32_t bits(int count, uint32_t = 0) {
    range_ >>= count;
    const uint32_t most = (1u << count) - 1, place = code_ / range_;
    const uint32_t value = place < most ? place : most;
    code_ -= value * range_;
    refill();
    return value;
  }

  bool overrun() const { return overrun_ > 4; }  // the encoder leaves off up to four trailing bytes
  const uint8_t* position() const { return next_; }

 private:
  uint32_t byte() {
    if (next_ < end_) return *next_++;
    if (overrun_ < 255) ++overrun_;
    return 0;
  }
  void normalize() {
    while (range_ < (uint32_t{1} << 24)) {
      range_ <<= 8;
      code_ = code_ << 8 | byte();
    }
  }
  // The same without a branch that depends on the data.
  void refill() {
    if (end_ - next_ < 4) return normalize();
    const uint32_t next = static_cast<uint32_t>(next_[0]) << 24 | static_cast<uint32_t>(next_[1]) << 16 | static_cast<uint32_t>(next_[2]) << 8 | next_[3];
    const int shift = __builtin_clz(range_) & 24;
    range_ <<= shift;
    code_ = static_cast<uint32_t>((static_cast<uint64_t>(code_) << 32 | next) << shift >> 32);
    next_ += shift >> 3;
  }
  const uint8_t* next_ = nullptr;
  const uint8_t* end_ = nullptr;
  uint32_t range_ = 0xffffffffu, code_ = 0;
  uint8_t overrun_ = 0;
};

// Seven bits a byte, least significant first; false where it doesn't end before `end` or within 35 bits.
inline bool read_varint(const uint8_t*& at, const uint8_t* end, uint64_t& value) {
  value = 0;
  for (int shift = 0; at < end && shift <= 28; shift += 7) {
    const uint8_t b = *at++;
    value |= static_cast<uint64_t>(b & 127) << shift;
    if (b < 128) return true;
  }
  return false;
}

// Unsigned integers under 2^32: the bit length in adaptive unary, then the bits below the leading one, the first two of
// them adaptive. Small, repeated and slowly varying numbers cost a fraction of a bit.
struct IntegerModel {
  static constexpr int kLengths = 16, kSlots = 8;
  BitModel length[kLengths];     // is the length greater than i (the last one serves all beyond)
  BitModel first[kSlots];        // the bit below the leading one, by length
  BitModel second[kSlots][2];    // the next one, by length and the first
};

inline uint32_t decode_unsigned(BinaryDecoder& in, IntegerModel& m) {
  int length = 0;
  while (length < 32 && in.bit(m.length[length < IntegerModel::kLengths ? length : IntegerModel::kLengths - 1])) ++length;
  if (length <= 1) return static_cast<uint32_t>(length);
  const int slot = length < IntegerModel::kSlots ? length : IntegerModel::kSlots - 1;
  uint32_t value = 1, remaining = static_cast<uint32_t>(length - 1);
  const uint32_t first = in.bit(m.first[slot]);
  value = value << 1 | first;
  if (--remaining > 0) {
    value = value << 1 | in.bit(m.second[slot][first]);
    --remaining;
  }
  if (remaining > 0) value = value << remaining | in.raw_bits(static_cast<int>(remaining));
  return value;
}

// Signed integers: 0, -1, 1, -2, 2 ... as 0, 1, 2, 3, 4.
constexpr uint32_t zigzag(int32_t x) { return (static_cast<uint32_t>(x) << 1) ^ static_cast<uint32_t>(x >> 31); }
constexpr int32_t unzigzag(uint32_t x) { return static_cast<int32_t>(x >> 1) ^ -static_cast<int32_t>(x & 1); }
inline int32_t decode_signed(BinaryDecoder& in, IntegerModel& m) { return unzigzag(decode_unsigned(in, m)); }

}  // namespace pith::coding
