// Elementary functions in single precision, free of branches, so that the compiler turns loops over them into SIMD
// code.
//
// Why: calibration applies sigmoids to millions of elements per picture, and libm's functions aren't vectorised.
// Method: e^x = 2^n e^r with |r| <= ln2/2 and Taylor's series to degree 7 (remainder under 6e-9, error about one unit
// in the last place); the integer n is made by adding 1.5 * 2^23, and 2^n by writing the exponent bits.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace pith::ir {

inline float fast_exp(float x) {
  constexpr float kMagic = 12582912.0f;
  const float clamped = x < -87.3f ? -87.3f : x > 88.8f ? 88.8f : x;
  const float z = clamped * 1.44269504f + kMagic;
  const int32_t n = std::bit_cast<int32_t>(z) - std::bit_cast<int32_t>(kMagic);
  const float k = z - kMagic;
  const float r = (clamped - k * 0.693359375f) + k * 2.12194440e-4f;  // ln 2 in two parts
  float sum = 1.0f / 5040;
  sum = sum * r + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  // 2^n in two factors, since n may be 128; the unsigned shift makes a NaN's garbage harmless
  const int32_t half = n >> 1;
  const float a = std::bit_cast<float>(static_cast<uint32_t>(half + 127) << 23);
  const float b = std::bit_cast<float>(static_cast<uint32_t>(n - half + 127) << 23);
  const float y = sum * a * b;
  return x < -87.3f ? 0.0f : x > 88.73f ? std::numeric_limits<float>::infinity() : y;
}

inline float fast_sigmoid(float x) { return 1.0f / (1.0f + fast_exp(-x)); }

inline float fast_tanh(float x) {
  const float x2 = x * x;
  const float small = x * (1.0f - x2 * (1.0f / 3 - x2 * (2.0f / 15)));
  const float large = 1.0f - 2.0f / (fast_exp(2.0f * x) + 1.0f);
  return x2 < 0.0025f ? small : large;
}

}  // namespace pith::ir
