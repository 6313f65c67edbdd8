// See rounding_loops.h.
#include "train/rounding_loops.h"

#include <bit>

namespace pith::train {

void round_codes(const RoundLoop& l, const float* __restrict x, size_t count, float* __restrict y, uint8_t* __restrict passes) {
  const float low = l.low, high = l.high, step = l.step, zero = l.zero, inverse = 1 / step, up = zero + 0.5F;
  for (size_t i = 0; i < count; ++i) {
    const float v = x[i], above = v > low ? v : low, t = above < high ? above : high;
    passes[i] = t == v && v != low && v != high ? 1 : 0;
    const float code = t * inverse + up, least = code > 0 ? code : 0, held = least < 255 ? least : 255;  // truncated: rounded
    y[i] = (static_cast<float>(static_cast<int32_t>(held)) - zero) * step;
  }
}

void pass_gradient(const float* __restrict gradient, const uint8_t* __restrict passes, size_t count, float* __restrict to) {
  for (size_t i = 0; i < count; ++i) to[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(gradient[i]) & (0U - passes[i]));  // a choice, as vectors have it
}

}  // namespace pith::train
