// Floats of any width, as float32 tensors.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "ir/tensor.h"

namespace pith::importers {

enum class FloatKind { kF64, kF32, kF16, kBF16 };

inline std::optional<FloatKind> float_kind(const std::string& name) {
  if (name == "F32" || name == "FloatStorage") return FloatKind::kF32;
  if (name == "F16" || name == "HalfStorage") return FloatKind::kF16;
  if (name == "BF16" || name == "BFloat16Storage") return FloatKind::kBF16;
  if (name == "F64" || name == "DoubleStorage") return FloatKind::kF64;
  return std::nullopt;
}
inline size_t float_bytes(FloatKind k) { return k == FloatKind::kF64 ? 8 : k == FloatKind::kF32 ? 4 : 2; }

inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
  uint32_t bits = sign | (exponent + 112) << 23 | mantissa << 13;
  if (exponent == 31) bits = sign | 0x7f800000u | mantissa << 13;
  float value;
  std::memcpy(&value, &bits, 4);
  if (exponent == 0) value = (sign != 0 ? -1.0f : 1.0f) * static_cast<float>(mantissa) * 0x1p-24f;
  return value;
}

// `what` begins the error's line where bytes and shape don't agree.
inline Result<ir::Tensor> floats(FloatKind kind, std::span<const uint8_t> bytes, const ir::Shape& shape, const std::string& what) {
  bool fits = true;
  for (int64_t d : shape) fits = fits && d >= 0;
  const uint64_t count = fits ? static_cast<uint64_t>(ir::element_count(shape)) : 0;
  if (!fits || count > bytes.size() || count * float_bytes(kind) != bytes.size()) return usage_error(what + " has a shape that its bytes don't fill; fetch it again");
  ir::Tensor t(ir::DType::kF32, shape);
  const auto to = t.mut<float>();
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* at = bytes.data() + i * float_bytes(kind);
    uint16_t narrow;
    double wide;
    uint32_t bits;
    switch (kind) {
      case FloatKind::kF32:
        std::memcpy(&to[i], at, 4);
        break;
      case FloatKind::kF64:
        std::memcpy(&wide, at, 8);
        to[i] = static_cast<float>(wide);
        break;
      case FloatKind::kF16:
        std::memcpy(&narrow, at, 2);
        to[i] = half_to_float(narrow);
        break;
      case FloatKind::kBF16:
        std::memcpy(&narrow, at, 2);
        bits = static_cast<uint32_t>(narrow) << 16;
        std::memcpy(&to[i], &bits, 4);
    }
  }
  return t;
}

}  // namespace pith::importers
