// Keys and values that attention remembers, in coded form: THE definition of a row's bytes (docs/format.md, 11).
//
// The problem: a decoder's window is most of its memory, and every token reads all of it. A row (one head's key or
// value of one token) is written once, when its token comes, and read at every later step; so each row carries its own
// scale, nothing is calibrated, and rows are decoded one by one. With 8 bits a row is a scale and a signed byte a
// value. With 4 bits a scale serves 16 values, since a few channels of keys are far larger than the others (Z. Liu et
// al., "KIVI", 2024); the scale is the one of five that leaves the smallest squared error.
//
// A scale is a byte s: 2^((s - 160) / 8). Bytes that are all 0 are a row of zeros, so cleared state is empty.
#pragma once

#include <cstdint>

#include "numerics/arithmetic.h"
#include "numerics/scale.h"

namespace pith::numerics {

inline constexpr int32_t kCacheGroup = 16;  // values that share a scale with 4 bits

// Bytes of a row of `depth` values in 4 or 8 bits.
constexpr int32_t cache_row_bytes(int32_t depth, int32_t bits) {
  return bits == 8 ? depth + 1
                   : (depth + kCacheGroup - 1) / kCacheGroup + depth / kCacheGroup * (kCacheGroup / 2) +
                         (depth % kCacheGroup + 1) / 2;
}

struct CacheScales {
  float of[256];
  constexpr CacheScales() : of() {
    for (int s = 0; s < 256; ++s) of[s] = static_cast<float>(scale_value(2 * (s - 160)));
  }
};
inline constexpr CacheScales kCacheScales;

// The smallest scale with which `most` is at most `limit` steps.
inline int32_t cache_scale(double most, double limit) {
  int32_t low = 0, high = 255;
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (static_cast<double>(kCacheScales.of[middle]) * limit >= most)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}
inline int32_t cache_code(float x, double inverse, int32_t low, int32_t high) {
  const double steps = static_cast<double>(x) * inverse;
  return steps >= high ? high : steps <= low ? low : steps == steps ? round_half_up(steps) : 0;
}

// n values with one scale: the scale's byte, then two's complement, two values a byte with 4 bits, the first one low.
inline void encode_cache_group(const float* x, int32_t n, int32_t bits, uint8_t* y) {
  const int32_t high = bits == 8 ? 127 : 7, low = -high - (bits == 8 ? 0 : 1), tried = bits == 8 ? 1 : 5;
  double most = 0;
  for (int32_t i = 0; i < n; ++i) {
    const double size = x[i] < 0 ? -static_cast<double>(x[i]) : static_cast<double>(x[i]);
    if (size > most) most = size;
  }
  const int32_t largest = cache_scale(most, high);
  int32_t best = largest;
  double least = 0;
  for (int32_t s = largest; tried > 1 && s > largest - tried && s >= 0; --s) {
    const double scale = static_cast<double>(kCacheScales.of[s]), inverse = 1 / scale;
    double error = 0;
    for (int32_t i = 0; i < n; ++i) {
      const double off = cache_code(x[i], inverse, low, high) * scale - static_cast<double>(x[i]);
      error += off * off;
    }
    if (s == largest || error < least) least = error, best = s;
  }
  const double inverse = 1 / static_cast<double>(kCacheScales.of[best]);
  *y++ = static_cast<uint8_t>(best);
  for (int32_t i = 0; i < n && bits == 8; ++i) y[i] = static_cast<uint8_t>(cache_code(x[i], inverse, low, high));
  for (int32_t i = 0; i < n && bits != 8; i += 2) {
    const int32_t first = cache_code(x[i], inverse, low, high),
                  second = i + 1 < n ? cache_code(x[i + 1], inverse, low, high) : 0;
    y[i / 2] = static_cast<uint8_t>((first & 15) | (second & 15) << 4);
  }
}

inline void encode_cache_row(const float* x, int32_t depth, int32_t bits, uint8_t* y) {
  const int32_t group = bits == 8 ? depth : kCacheGroup;
  for (int32_t i = 0; i < depth; i += group) {
    const int32_t n = depth - i < group ? depth - i : group;
    encode_cache_group(x + i, n, bits, y);
    y += 1 + (bits == 8 ? n : (n + 1) / 2);
  }
}

inline void decode_cache_row(const uint8_t* x, int32_t depth, int32_t bits, float* y) {
  if (bits == 8) {
    const float scale = kCacheScales.of[*x++];
    for (int32_t i = 0; i < depth; ++i) y[i] = static_cast<float>(static_cast<int8_t>(x[i])) * scale;
    return;
  }
  for (int32_t i = 0; i < depth; i += kCacheGroup) {
    const float scale = kCacheScales.of[*x++];
    const int32_t n = depth - i < kCacheGroup ? depth - i : kCacheGroup;
    for (int32_t k = 0; k < n; ++k) y[i + k] = static_cast<float>(((x[k / 2] >> (k % 2 * 4) & 15) ^ 8) - 8) * scale;
    x += (n + 1) / 2;
  }
}

}  // namespace pith::numerics
