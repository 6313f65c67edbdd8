// See binary.h.
#include "coding/encode/binary.h"

#include <bit>

namespace pith::coding {

void BinaryEncoder::shift_low() {
  if (low_ < 0xff000000u || low_ > 0xffffffffu) {
    const uint8_t carry = static_cast<uint8_t>(low_ >> 32);
    if (!first_) bytes_.push_back(static_cast<uint8_t>(cache_ + carry));
    first_ = false;
    for (; pending_ > 0; --pending_) bytes_.push_back(static_cast<uint8_t>(0xff + carry));
    cache_ = static_cast<uint8_t>(low_ >> 24);
  } else {
    ++pending_;
  }
  low_ = (low_ & 0x00ffffffu) << 8;
}

std::vector<uint8_t> BinaryEncoder::finish() {
  // Any code in [low, low + range) decodes the same; take the one with most trailing zero bits.
  for (int zeros = 31; zeros >= 0; --zeros) {
    const uint64_t mask = (uint64_t{1} << zeros) - 1;
    const uint64_t candidate = (low_ + mask) & ~mask;
    if (candidate < low_ + range_) {
      low_ = candidate;
      break;
    }
  }
  for (int i = 0; i < 5; ++i) shift_low();
  for (int i = 0; i < 4 && !bytes_.empty() && bytes_.back() == 0; ++i) bytes_.pop_back();
  return std::move(bytes_);
}

void encode_unsigned(BinaryEncoder& out, IntegerModel& m, uint32_t value) {
  const int length = std::bit_width(value);
  for (int i = 0; i <= length && i < 32; ++i) {
    out.bit(m.length[i < IntegerModel::kLengths ? i : IntegerModel::kLengths - 1], i < length);
  }
  if (length <= 1) return;
  const int slot = length < IntegerModel::kSlots ? length : IntegerModel::kSlots - 1;
  int remaining = length - 1;
  const uint32_t first = (value >> --remaining) & 1;
  out.bit(m.first[slot], first);
  if (remaining > 0) out.bit(m.second[slot][first], (value >> --remaining) & 1);
  if (remaining > 0) out.raw_bits(value & ((uint32_t{1} << remaining) - 1), remaining);
}

void append_varint(std::vector<uint8_t>& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<uint8_t>(value | 128));
  out.push_back(static_cast<uint8_t>(value));
}

}  // namespace pith::coding
