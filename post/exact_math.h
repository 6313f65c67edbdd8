// Cosine, logarithm and exponential in double precision by plain series, shared by the library's own files.
//
// Why not libm's: its results differ in the last place between C libraries and processors, and a table that differs
// makes features that differ. Here are only additions, multiplications and divisions, which IEEE 754 fixes, so the
// tables and logarithms are the same bits everywhere (the build forbids contraction to fused multiply-adds). They run
// a few dozen times per frame, never per sample. Errors are a few units of 1e-15, far below a float's last place.
#ifndef PITH_POST_EXACT_MATH_H_
#define PITH_POST_EXACT_MATH_H_

#include <stdint.h>
#include <string.h>

// cos(2 pi numerator / denominator), 0 <= numerator, 1 <= denominator: a part of a turn, so that the reduction to the
// first quarter is exact up to one rounding. Taylor's series, 12 terms.
static inline double pith_cos_of_turn(int64_t numerator, int64_t denominator) {
  numerator %= denominator;
  if (2 * numerator > denominator) numerator = denominator - numerator;
  const int negative = 4 * numerator > denominator;
  if (4 * numerator == denominator) return 0.0;
  const double part = (double)numerator / (double)denominator;
  const double angle = 6.283185307179586 * (negative ? 0.5 - part : part);
  const double square = angle * angle;
  double sum = 1.0;
  for (int n = 22; n > 0; n -= 2) sum = 1.0 - sum * square / (double)(n * (n - 1));
  return negative ? -sum : sum;
}

// Natural logarithm of a positive normal number: x = m 2^e with m in [0.7, 1.4], ln m = 2 atanh((m - 1) / (m + 1)).
static inline double pith_ln(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int32_t exponent = (int32_t)(bits >> 52) - 1023;
  bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) m *= 0.5, ++exponent;
  const double s = (m - 1.0) / (m + 1.0), square = s * s;
  double sum = 0.0;
  for (int n = 19; n > 0; n -= 2) sum = sum * square + 1.0 / (double)n;
  return 2.0 * s * sum + 0.6931471805599453 * (double)exponent;
}

// e^x for |x| <= 16: the series at x / 64, squared six times.
static inline double pith_exp(double x) {
  const double part = x / 64.0;
  double sum = 1.0;
  for (int n = 14; n > 0; --n) sum = 1.0 + sum * part / (double)n;
  for (int i = 0; i < 6; ++i) sum *= sum;
  return sum;
}

#endif  // PITH_POST_EXACT_MATH_H_
