// Encoding floats for coding/decode/floats.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pith::coding {

struct CodedFloats {
  int shift = 0;               // trailing zero bits that all values have
  std::vector<uint8_t> bytes;  // the stream
};

// The shortest of the code's ways to predict, tried with lags that follow from the dimensions (row-major).
CodedFloats encode_floats(std::span<const float> values, std::span<const int32_t> dims);

}  // namespace pith::coding
