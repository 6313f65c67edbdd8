// The last step of every integer kernel, in plain form: also what the vector kernels do with odd ends.
#pragma once

#include "runtime/kernels/kernels.h"

namespace pith::runtime {

static inline uint8_t finish(int32_t acc, numerics::Multiplier m, const Epilogue& e) {
  const uint8_t y = numerics::requantize_u8(acc, m, e.zero_point, e.low, e.high);
  return e.table != nullptr ? e.table[y] : y;
}

}  // namespace pith::runtime
