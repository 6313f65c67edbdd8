// The encoder for coding/decode/binary.h: the same models, with carry propagation (as LZMA's range encoder).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "coding/decode/binary.h"

namespace pith::coding {

class BinaryEncoder {
 public:
  void bit(BitModel& model, uint32_t one) {
    const uint32_t bound = (range_ >> 15) * model.probability();
    if (one) {
      range_ = bound;
    } else {
      low_ += bound;
      range_ -= bound;
    }
    model.update(one);
    normalize();
  }
  // One with probability p/65536; returns `one`, as BinaryDecoder::chance would.
  uint32_t chance(uint32_t p, uint32_t one) {
    const uint32_t bound = (range_ >> 16) * p;
    if (one) {
      range_ = bound;
    } else {
      low_ += bound;
      range_ -= bound;
    }
    normalize();
    return one;
  }
  void raw_bits(uint32_t value, int count) {
    for (int i = count - 1; i >= 0; --i) {
      range_ >>= 1;
      if (!((value >> i) & 1)) low_ += range_;
      normalize();
    }
  }
  // One of at most eight symbols, with the shares of BinaryDecoder::symbol; returns it.
  uint32_t symbol(const Distribution& shares, int, uint32_t s) {
    const uint32_t unit = range_ >> 15;
    low_ += static_cast<uint64_t>(static_cast<uint32_t>(shares.below(static_cast<int>(s)))) * unit;
    range_ = static_cast<uint32_t>(shares.share(static_cast<int>(s))) * unit;
    normalize();
    return s;
  }
  // `count` <= 8 bits at once; returns them.
  uint32_t bits(int count, uint32_t value) {
    range_ >>= count;
    low_ += static_cast<uint64_t>(value) * range_;
    normalize();
    return value;
  }
  // Ends the stream; trailing bytes that the decoder's implied zeros replace are left off.
  std::vector<uint8_t> finish();
  size_t bytes_so_far() const { return bytes_.size() + pending_; }

 private:
  void normalize() {
    while (range_ < (uint32_t{1} << 24)) {
      range_ <<= 8;
      shift_low();
    }
  }
  void shift_low();

  std::vector<uint8_t> bytes_;
  uint64_t low_ = 0;
  uint32_t range_ = 0xffffffffu;
  uint64_t pending_ = 0;  // bytes that a carry could still change: cache_ and 0xff's after it
  uint8_t cache_ = 0;
  bool first_ = true;
};

void encode_unsigned(BinaryEncoder& out, IntegerModel& m, uint32_t value);
inline void encode_signed(BinaryEncoder& out, IntegerModel& m, int32_t value) { encode_unsigned(out, m, zigzag(value)); }
void append_varint(std::vector<uint8_t>& out, uint64_t value);  // for read_varint

}  // namespace pith::coding
