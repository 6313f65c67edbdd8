// The number formats that ONNX stores and pith widens at import.
//
// Every small float here is sign, exponent, mantissa with a bias; they differ in what the top exponent means: IEEE 754
// half and e5m2 keep infinities and NaNs there, e4m3fn spends only the all-ones code on NaN, the "fnuz" forms have no
// negative zero and put their single NaN there. Sources: IEEE 754-2019; Micikevicius et al. 2022; onnx.ai, "Float stored
// in 8 bits"; OCP Microscaling Formats 1.0 (e2m1, e8m0).
#include "importers/onnx/element_types.h"

#include <bit>
#include <cmath>
#include <limits>

namespace pith::importers {
namespace {

float minifloat(uint32_t bits, int exponent_bits, int mantissa_bits, int bias) {
  const uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const int exponent = static_cast<int>((bits >> mantissa_bits) & ((1u << exponent_bits) - 1));
  const bool negative = (bits >> (mantissa_bits + exponent_bits)) & 1;
  const float fraction = static_cast<float>(mantissa + (exponent ? 1u << mantissa_bits : 0));
  const float magnitude = std::ldexp(fraction, (exponent ? exponent : 1) - bias - mantissa_bits);
  return negative ? -magnitude : magnitude;
}

struct TypeRow {
  const char* name;
  int bits;
  int dtype;  // ir::DType, -1 = none
};

constexpr int kF = static_cast<int>(ir::DType::kF32), kU = static_cast<int>(ir::DType::kU8),
              kS = static_cast<int>(ir::DType::kI8), kI = static_cast<int>(ir::DType::kI32),
              kL = static_cast<int>(ir::DType::kI64), kB = static_cast<int>(ir::DType::kBool);
constexpr TypeRow kTypes[] = {
    {"undefined type", 0, -1}, {"float", 32, kF},          {"uint8", 8, kU},      {"int8", 8, kS},
    {"uint16", 16, kI},        {"int16", 16, kI},          {"int32", 32, kI},     {"int64", 64, kL},
    {"string", 0, -1},         {"bool", 8, kB},            {"float16", 16, kF},   {"double", 64, kF},
    {"uint32", 32, kL},        {"uint64", 64, kL},         {"complex64", 64, -1}, {"complex128", 128, -1},
    {"bfloat16", 16, kF},      {"float8e4m3fn", 8, kF},    {"float8e4m3fnuz", 8, kF}, {"float8e5m2", 8, kF},
    {"float8e5m2fnuz", 8, kF}, {"uint4", 4, kU},           {"int4", 4, kS},       {"float4e2m1", 4, kF},
    {"float8e8m0", 8, kF},     {"uint2", 2, kU},           {"int2", 2, kS},
};
constexpr int kTypeCount = static_cast<int>(sizeof kTypes / sizeof kTypes[0]);

const TypeRow& row(int32_t type) { return kTypes[type >= 0 && type < kTypeCount ? type : 0]; }

}  // namespace

const char* element_type_name(int32_t type) { return row(type).name; }

std::optional<ir::DType> widened(int32_t type) {
  if (row(type).dtype < 0) return std::nullopt;
  return static_cast<ir::DType>(row(type).dtype);
}

int64_t element_bits(int32_t type) { return row(type).bits; }

float from_half(uint16_t bits) {
  if ((bits & 0x7c00) != 0x7c00) return minifloat(bits, 5, 10, 15);
  if (bits & 0x3ff) return std::numeric_limits<float>::quiet_NaN();
  return bits & 0x8000 ? -std::numeric_limits<float>::infinity() : std::numeric_limits<float>::infinity();
}

float from_bfloat16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

float from_float8(int32_t type, uint8_t bits) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  switch (type) {
    case kFloat8E4M3FN: return (bits & 0x7f) == 0x7f ? kNan : minifloat(bits, 4, 3, 7);
    case kFloat8E4M3FNUZ: return bits == 0x80 ? kNan : minifloat(bits, 4, 3, 8);
    case kFloat8E5M2FNUZ: return bits == 0x80 ? kNan : minifloat(bits, 5, 2, 16);
    case kFloat8E8M0: return bits == 0xff ? kNan : std::ldexp(1.0f, bits - 127);
    default: break;
  }
  if ((bits & 0x7c) != 0x7c) return minifloat(bits, 5, 2, 15);
  if (bits & 3) return kNan;
  return bits & 0x80 ? -kInfinity : kInfinity;
}

float from_float4(int bits) { return minifloat(static_cast<uint32_t>(bits), 2, 1, 1); }

}  // namespace pith::importers
