// Reading numbers from bytes that nobody vouches for. Internal to data/.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace pith {

// Little-endian and big-endian integers at `offset`; the caller has checked that they lie inside.
inline uint16_t read_le16(std::span<const uint8_t> b, size_t offset) {
  return static_cast<uint16_t>(b[offset] | b[offset + 1] << 8);
}
inline uint32_t read_le32(std::span<const uint8_t> b, size_t offset) {
  return read_le16(b, offset) | static_cast<uint32_t>(read_le16(b, offset + 2)) << 16;
}
inline uint16_t read_be16(std::span<const uint8_t> b, size_t offset) {
  return static_cast<uint16_t>(b[offset] << 8 | b[offset + 1]);
}
inline uint32_t read_be32(std::span<const uint8_t> b, size_t offset) {
  return static_cast<uint32_t>(read_be16(b, offset)) << 16 | read_be16(b, offset + 2);
}
inline bool starts_with(std::span<const uint8_t> b, std::string_view magic) {
  return b.size() >= magic.size() && std::memcmp(b.data(), magic.data(), magic.size()) == 0;
}

// count * each, or false on overflow of 63 bits.
inline bool multiply_sizes(uint64_t count, uint64_t each, uint64_t& product) {
  return !__builtin_mul_overflow(count, each, &product) && product <= INT64_MAX;
}

// Untrusted text in a message: one line, printable, at most 80 bytes.
inline std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 80)) out += c >= ' ' && c < 127 ? c : '?';
  return text.size() > 80 ? out + "..." : out;
}

}  // namespace pith
