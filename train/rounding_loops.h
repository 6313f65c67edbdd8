// The inner loops of rounding.cpp, apart from libtorch so that they are compiled as loops want it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pith::train {

struct RoundLoop {
  float low, high;   // what lies outside, ends included, gets the nearest end and no gradient
  float step, zero;  // a code q stands for (q - zero) step; codes are 0..255
};

// y: the nearest codes' values; passes: 1 where the gradient passes.
void round_codes(const RoundLoop& loop, const float* x, size_t count, float* y, uint8_t* passes);
// gradient where it passes, 0 elsewhere.
void pass_gradient(const float* gradient, const uint8_t* passes, size_t count, float* to);

}  // namespace pith::train
