// Layer and RMS normalisation of a row of 8-bit codes, in integers.
//
// With n codes q, sums S1 and S2 of codes and their squares, (x - mean) / sqrt(var + epsilon) is D / sqrt(W), where
// D = n q - S1 and W = n S2 - S1^2 + E are exact integers (E is n^2 epsilon in steps of the scale, rounded once); RMS
// takes D = n (q - zero) and W = n sum (q - zero)^2 + E. The reciprocal root comes from an integer root of 32 bits, so
// the quotient is good to 2^-12, and a parameter to 2^-11 of a result's step: a result is the exact one, rounded, but
// where that lies within about 0.02 of a half (E's rounding adds to that in rows of a few nearly equal codes, W below 100).
#pragma once

#include "numerics/functions.h"
#include "numerics/scale.h"

namespace pith::numerics {

inline constexpr int64_t kNormMost = int64_t{1} << 20;  // elements of a row
// Where a few channels are much larger than all others, codes stand for x / 2^spread, channel by channel, and a row is
// normalised as spread back: of q - zero in D and W, times 2^spread, still exactly.
inline constexpr int kSpreadMost = 6;
inline constexpr int64_t kSpreadNormMost = int64_t{1} << 16;  // elements of such a row
inline int32_t spread_code(uint8_t q, int32_t zero, int64_t exponent) { return (q - zero) * (1 << exponent); }

// How a quotient in 1/4096 becomes a code: (quotient * factor + 4096 * offset) / 2^22, around the zero point.
struct NormParameter {
  int32_t factor, offset;
};
// scale and bias are the real parameters of an element; y the result's meaning.
inline NormParameter norm_parameter(double scale, double bias, Affine y) {
  const double step = scale_value(y.scale_code);
  return {round_half_up(scale / step * 1024.0), round_half_up(bias / step * 1024.0)};
}

// E for rows of n codes of meaning x.
inline uint64_t norm_epsilon(double epsilon, Affine x, int64_t n) {
  const double step = scale_value(x.scale_code), e = epsilon / step / step * static_cast<double>(n) * static_cast<double>(n);
  return e >= 2305843009213693952.0 ? uint64_t{1} << 61 : static_cast<uint64_t>(e + 0.5);
}

// 1 / sqrt(w) = root * 2^(shift - 62), 2^30 <= root <= 2^31; root 0 for w = 0.
struct ReciprocalRoot {
  uint32_t root;
  int shift;
};
inline ReciprocalRoot reciprocal_root(uint64_t w) {
  if (w == 0) return {0, 0};
  const int left = __builtin_clzll(w) & ~1;
  w <<= left;
  uint64_t root = 0;  // of w: 32 bits, the largest whose square isn't above it
  for (uint64_t bit = uint64_t{1} << 31; bit != 0; bit >>= 1) {
    if ((root | bit) * (root | bit) <= w) root |= bit;
  }
  return {static_cast<uint32_t>((uint64_t{1} << 62) / root), left / 2};
}

// What turns a code of a row into its quotient in 1/4096.
struct NormRow {
  int64_t count = 1, center = 0;
  ReciprocalRoot inverse{0, 0};

  // sum and squares: of the codes, for RMS of (code - zero) squared only. `zero` is the zero point of x, 0 for spread codes.
  static NormRow layer(int64_t n, int64_t sum, int64_t squares, uint64_t epsilon) {
    return {n, sum, reciprocal_root(static_cast<uint64_t>(n * squares - sum * sum) + epsilon)};
  }
  static NormRow rms(int64_t n, int64_t squares, int32_t zero, uint64_t epsilon) {
    return {n, n * zero, reciprocal_root(static_cast<uint64_t>(n * squares) + epsilon)};
  }
  int64_t quotient(int32_t q) const {
    const int down = 50 - inverse.shift;
    return ((count * q - center) * static_cast<int64_t>(inverse.root) + (int64_t{1} << (down - 1))) >> down;
  }
};

// The code of an element, before limits: quotient, parameter, zero point of y.
inline int32_t norm_code(int64_t quotient, NormParameter p, int32_t zero) {
  return saturate_i32(((quotient * p.factor + p.offset * int64_t{4096} + (int64_t{1} << 21)) >> 22) + zero);
}

}  // namespace pith::numerics
