// Attention of one query on 8-bit codes, in integers: exact in every kernel, and without a tensor of scores.
//
// Scores are exact sums of products. In units of 1/256 octave (the base-2 exponent of a weight), rounded once, their
// distance to the largest gives the weight 2^-(distance/256) out of a table of 256 entries and a shift; the weighted sum of
// values and the sum of weights are exact, and the quotient is rounded to a code. A weight is good to 0.14 % + 2^-15, and so
// a result lies within 0.5 + 0.0014 * (the spread of the values) steps of the exact one.
//
// (Softmax in integers as in S. Kim et al., "I-BERT", 2021, but with base-2 exponents and a table.)
#pragma once

#include "numerics/functions.h"
#include "numerics/scale.h"

namespace pith::numerics {

inline constexpr int64_t kAttentionKeys = int64_t{1} << 20, kAttentionDepth = 30000;  // at most

// 2^-(i/256) in 1/32767 for a row of up to 256 keys, in coarser steps for longer ones, so that sums stay within 31 bits.
struct ExponentTable {
  int16_t weight[256];
  explicit ExponentTable(int64_t keys) {
    int32_t most = 32767;
    for (int64_t n = 256; n < keys; n *= 2) most >>= 1;
    for (int i = 0; i < 256; ++i) weight[i] = static_cast<int16_t>(floor(most * exp(i * (-0.6931471805599453 / 256)) + 0.5));
  }
  int32_t at(int32_t distance) const { return distance >= 4096 ? 0 : weight[distance & 255] >> (distance >> 8); }
};

// A factor as mantissa * 2^-shift with 2^30 <= mantissa < 2^31; 0 as 0. Factors of 2^30 and more saturate.
struct WideMultiplier {
  int64_t mantissa;
  int shift;
};
inline WideMultiplier wide_multiplier(double factor) {
  if (!(factor > 8.673617379884035e-19)) return {0, 1};  // 2^-60
  int shift = 30;
  while (factor < 1) factor *= 2, ++shift;
  while (factor >= 2 && shift > 1) factor *= 0.5, --shift;
  const double m = factor >= 2 ? 2147483647.0 : floor(factor * 1073741824.0 + 0.5);
  return {m >= 2147483647.0 ? int64_t{2147483647} : static_cast<int64_t>(m), shift > 62 ? 62 : shift};
}

// Scores of products to units: q and k are meanings, scale the factor of the attention.
inline WideMultiplier score_multiplier(Affine q, Affine k, double scale) {
  return wide_multiplier(scale_value(q.scale_code) * scale_value(k.scale_code) * scale * (256 * 1.4426950408889634));
}
// A real addend of scores in units, limited to +-2^28.
inline int32_t score_addend(double x) {
  const int32_t units = round_half_up(x * (256 * 1.4426950408889634));
  return clamp(units, -(1 << 28), 1 << 28);
}
inline int32_t score_units(int32_t products, WideMultiplier m) {
  const int64_t u = (products * m.mantissa + (int64_t{1} << (m.shift - 1))) >> m.shift;
  return static_cast<int32_t>(u < -(1 << 28) ? -(1 << 28) : u > 1 << 28 ? 1 << 28 : u);
}

// The score of a key that a query may not see.
inline constexpr int32_t kHiddenScore = -(1 << 30);

// A weighted sum of (v - zero_v) to a code: `inverse` is what weight_inverse gives for the sum of weights.
inline int64_t weight_inverse(int64_t sum) { return (int64_t{1} << 46) / (sum < 1 ? 1 : sum); }
inline int32_t mixture_code(int32_t weighted, int64_t inverse, Multiplier m, int32_t zero) {
  const int64_t mean = (weighted * inverse) >> 30;  // in 1/65536, |mean| <= 255 * 65536
  return saturate_i32(((mean * m.mantissa + (int64_t{1} << (m.shift + 15))) >> (m.shift + 16)) + zero);
}

}  // namespace pith::numerics
