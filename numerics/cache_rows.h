// Keys and values that attention remembers, in coded form: THE definition of a row's bytes (docs/format.md, 11).
//
// The problem: a decoder's window is most of its memory, and every token reads all of it. A row (one head's key or
// value of one token) is written once, when its token comes, and read at every later step; so each row carries its own
// scale, nothing is calibrated, and rows are decoded one by one. With 8 bits a row is a scale and a signed byte a
// value. With 4 bits a scale serves 16 values, since a few channels of keys are far larger than the others (Z. Liu et
// al., "KIVI", 2024); the scale is the one of five that leaves the smallest squared error.
//
// A scale is a byte s: 2^((s - 160) / 8). Bytes that are all 0 are a row of zeros, so cleared state is empty.
//
// Keys of 4 bits are remembered as they are before their rotary turn, as distances to a level of each channel, in units
// of a power of two of each channel: before the turn a channel's large values have one sign, which softmax can't be
// relieved of any more after it. Who reads a row adds the level and turns it by the position that is remembered with it.
#pragma once

#include <cstdint>

#include "numerics/arithmetic.h"
#include "numerics/scale.h"
#include "numerics/table_row.h"

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

// n values x(first), x(first + 1) ... with one scale: the scale's byte, then two's complement, two values a byte with 4
// bits, the first one low.
template <typename Values>
void encode_cache_group(const Values& x, int32_t first, int32_t n, int32_t bits, uint8_t* y) {
  const int32_t high = bits == 8 ? 127 : 7, low = -high - (bits == 8 ? 0 : 1), tried = bits == 8 ? 1 : 5;
  double most = 0;
  for (int32_t i = 0; i < n; ++i) {
    const double value = static_cast<double>(x(first + i)), size = value < 0 ? -value : value;
    if (size > most) most = size;
  }
  const int32_t largest = cache_scale(most, high);
  int32_t best = largest;
  double least = 0;
  for (int32_t s = largest; tried > 1 && s > largest - tried && s >= 0; --s) {
    const double scale = static_cast<double>(kCacheScales.of[s]), inverse = 1 / scale;
    double error = 0;
    for (int32_t i = 0; i < n; ++i) {
      const float value = x(first + i);
      const double off = cache_code(value, inverse, low, high) * scale - static_cast<double>(value);
      error += off * off;
    }
    if (s == largest || error < least) least = error, best = s;
  }
  const double inverse = 1 / static_cast<double>(kCacheScales.of[best]);
  *y++ = static_cast<uint8_t>(best);
  for (int32_t i = 0; i < n && bits == 8; ++i) y[i] = static_cast<uint8_t>(cache_code(x(first + i), inverse, low, high));
  for (int32_t i = 0; i < n && bits != 8; i += 2) {
    const int32_t even = cache_code(x(first + i), inverse, low, high),
                  odd = i + 1 < n ? cache_code(x(first + i + 1), inverse, low, high) : 0;
    y[i / 2] = static_cast<uint8_t>((even & 15) | (odd & 15) << 4);
  }
}

// A row of values x(0) to x(depth - 1).
template <typename Values>
void encode_cache_values(const Values& x, int32_t depth, int32_t bits, uint8_t* y) {
  const int32_t group = bits == 8 ? depth : kCacheGroup;
  for (int32_t i = 0; i < depth; i += group) {
    const int32_t n = depth - i < group ? depth - i : group;
    encode_cache_group(x, i, n, bits, y);
    y += 1 + (bits == 8 ? n : (n + 1) / 2);
  }
}
inline void encode_cache_row(const float* x, int32_t depth, int32_t bits, uint8_t* y) {
  encode_cache_values([x](int32_t i) { return x[i]; }, depth, bits, y);
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

// A value of a key about its level, and rows back: factors are powers of two, so only the sums round.
inline float lower_key(float x, float factor, float level) { return (x - level) * (1 / factor); }
inline void raise_key(float* y, int32_t depth, const float* factors, const float* levels) {
  for (int32_t i = 0; i < depth; ++i) y[i] = y[i] * factors[i] + levels[i];
}

// Turns the first `rotated` values in pairs: neighbours, or value i with i + rotated / 2. cosine(i), sine(i): of pair i.
template <typename Cosine, typename Sine>
void turn_key(float* y, int32_t rotated, bool interleaved, const Cosine& cosine, const Sine& sine) {
  const int32_t half = rotated / 2;
  for (int32_t i = 0; i < half; ++i) {
    float &first = y[interleaved ? 2 * i : i], &second = y[interleaved ? 2 * i + 1 : i + half];
    const float a = first, b = second, c = cosine(i), s = sine(i);
    first = a * c - b * s;
    second = a * s + b * c;
  }
}

}  // namespace pith::numerics
