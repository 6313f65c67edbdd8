// The number formats that ONNX stores and pith widens at import.
#pragma once

#include <cstdint>

#include "importers/onnx/source.h"

namespace pith::importers {

int64_t element_bits(int32_t type);  // bits of one stored element; 0 for strings and unknown types
float from_half(uint16_t bits);
float from_bfloat16(uint16_t bits);
float from_float8(int32_t type, uint8_t bits);
float from_float4(int bits);  // 1 sign, 2 exponent, 1 mantissa: 0 .5 1 1.5 2 3 4 6

}  // namespace pith::importers
