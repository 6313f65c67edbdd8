// From a tensor's run-time type to code of that type: one branch per tensor, none per element.
#pragma once

#include <limits>
#include <type_traits>

#include "ir/tensor.h"

namespace pith::ir {

// Calls f with a zero of the type that `t` is stored in (bool as uint8_t); f must return the same type for all.
template <typename F>
decltype(auto) with_dtype(DType t, F&& f) {
  switch (t) {
    case DType::kF32:
      return f(float{0});
    case DType::kI8:
      return f(int8_t{0});
    case DType::kI32:
      return f(int32_t{0});
    case DType::kI64:
      return f(int64_t{0});
    case DType::kU8:
    case DType::kBool:
      break;
  }
  return f(uint8_t{0});
}

// Calls f with a zero of an unsigned type as wide as the elements: for code that only moves them.
template <typename F>
decltype(auto) with_width(DType t, F&& f) {
  switch (dtype_bytes(t)) {
    case 8:
      return f(uint64_t{0});
    case 4:
      return f(uint32_t{0});
    default:
      return f(uint8_t{0});
  }
}

// Truncation towards zero, saturated to T; NaN gives 0.
template <typename T, typename From>
T saturate_to(From x) {
  constexpr double kLow = static_cast<double>(std::numeric_limits<T>::min());
  constexpr double kHigh = static_cast<double>(std::numeric_limits<T>::max());
  const double d = static_cast<double>(x);
  if (d != d) return 0;
  if (d <= kLow) return std::numeric_limits<T>::min();
  if (d >= kHigh) return std::numeric_limits<T>::max();
  return static_cast<T>(d);
}

}  // namespace pith::ir
