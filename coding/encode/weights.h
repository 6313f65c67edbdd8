// Encoding a constant's integers for coding/decode/weights.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pith::coding {

struct CodedRows {
  int bits = 8;             // 2..8
  int64_t rows = 0, row_length = 0;
  std::span<const int32_t> integers;     // rows * row_length values in [-(2^(bits-1)-1), 2^(bits-1)-1]
  std::span<const int16_t> scale_codes;  // one, or one per row
};

std::vector<uint8_t> encode_raw(const CodedRows& rows);
std::vector<uint8_t> encode_rans(const CodedRows& rows);
std::vector<uint8_t> encode_adaptive(const CodedRows& rows);

}  // namespace pith::coding
