// Elementary functions that give the same bits on every machine.
//
// Why: look-up tables are derived when a model is loaded, not stored, so the runtime, the reference interpreter, the
// virtual chip and exported C must compute the same table. libm differs between systems. Method: IEEE double arithmetic
// only (+ - * / sqrt, correctly rounded everywhere; the build forbids contraction), textbook range reduction and
// series long enough for about 1e-13 relative error.
#pragma once

#include <cstdint>

namespace pith::numerics {

namespace detail {
inline double from_bits(uint64_t bits) {
  double x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
inline uint64_t to_bits(double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline double scale_by_power_of_two(double x, int n) {
  while (n > 1000) x *= from_bits(uint64_t{2023} << 52), n -= 1000;
  while (n < -1000) x *= from_bits(uint64_t{23} << 52), n += 1000;
  return x * from_bits(static_cast<uint64_t>(1023 + n) << 52);
}
inline constexpr double kLn2High = 0x1.62e42fee00000p-1;  // ln 2 in two parts, the first with 21 trailing zero bits
inline constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
inline constexpr double kInfinity = __builtin_huge_val();
}  // namespace detail

inline double abs(double x) { return x < 0 ? -x : x; }
inline double sqrt(double x) { return __builtin_sqrt(x); }

inline double floor(double x) {
  if (!(abs(x) < 4503599627370496.0)) return x;  // already whole, infinite or NaN
  const double t = static_cast<double>(static_cast<int64_t>(x));
  return t > x ? t - 1 : t;
}
inline double ceil(double x) { return -floor(-x); }
// Halves to even, as ONNX's Round.
inline double round_even(double x) {
  if (!(abs(x) < 4503599627370496.0)) return x;
  const double f = floor(x), d = x - f;
  if (d < 0.5) return f;
  if (d > 0.5) return f + 1;
  return f - 2 * floor(f / 2) == 0 ? f : f + 1;
}

// e^x = 2^k e^r, |r| <= ln2/2, Taylor to degree 13 (remainder under 1e-17).
inline double exp(double x) {
  if (x != x) return x;
  if (x > 709.7) return detail::kInfinity;
  if (x < -745.2) return 0;
  const double k = floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - k * detail::kLn2High) - k * detail::kLn2Low;
  double sum = 1;
  for (int n = 13; n >= 1; --n) sum = 1 + sum * r / n;
  return detail::scale_by_power_of_two(sum, static_cast<int>(k));
}

// ln x = k ln2 + 2 atanh(s), s = (m-1)/(m+1), m in [sqrt(1/2), sqrt 2).
inline double log(double x) {
  if (x != x || x < 0) return detail::kInfinity - detail::kInfinity;
  if (x == 0) return -detail::kInfinity;
  if (x == detail::kInfinity) return x;
  int k = 0;
  if (x < 0x1p-1022) x *= 0x1p54, k = -54;
  const uint64_t bits = detail::to_bits(x);
  k += static_cast<int>(bits >> 52) - 1023;
  double m = detail::from_bits((bits & 0xfffffffffffffull) | (uint64_t{1023} << 52));
  if (m > 1.4142135623730951) m *= 0.5, ++k;
  const double s = (m - 1) / (m + 1), s2 = s * s;
  double sum = 0;
  for (int n = 23; n >= 1; n -= 2) sum = sum * s2 + 1.0 / n;
  return (k * detail::kLn2Low + 2 * s * sum) + k * detail::kLn2High;
}

inline double expm1(double x) {
  if (abs(x) > 0.3) return exp(x) - 1;
  double sum = 1;
  for (int n = 15; n >= 2; --n) sum = 1 + sum * x / n;
  return x * sum;
}
inline double log1p(double x) {
  if (abs(x) > 0.25) return log(1 + x);
  const double s = x / (2 + x), s2 = s * s;
  double sum = 0;
  for (int n = 23; n >= 1; n -= 2) sum = sum * s2 + 1.0 / n;
  return 2 * s * sum;
}
inline double tanh(double x) {
  if (x > 22) return 1;
  if (x < -22) return -1;
  const double e = expm1(2 * x);
  return e / (e + 2);
}
inline double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
inline double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

// erf: Maclaurin series below 3, continued fraction of erfc above (DLMF 7.6.1, 7.9.1).
inline double erf(double x) {
  const double a = abs(x);
  if (x != x) return x;
  double y;
  if (a < 3) {
    double term = a, sum = a;
    for (int n = 1; n < 80; ++n) {
      term *= -a * a / n;
      sum += term / (2 * n + 1);
    }
    y = 1.1283791670955126 * sum;
  } else if (a > 6) {
    y = 1;
  } else {
    double f = a;
    for (int n = 60; n >= 1; --n) f = a + (n * 0.5) / f;
    y = 1 - exp(-a * a) * 0.5641895835477563 / f;
  }
  return x < 0 ? -y : y;
}

// sin and cos with a two-part reduction: accurate to about 1e-12 for |x| < 1e5.
inline double sin_reduced(double x, int quadrant_offset) {
  const double k = floor(x * 0.6366197723675814 + 0.5);
  const double r = (x - k * 0x1.921fb54400000p+0) - k * 0x1.0b4611a626331p-34;
  const int quadrant = static_cast<int>(static_cast<int64_t>(k) + quadrant_offset) & 3;
  const double r2 = r * r;
  double s = 0, c = 0;
  for (int n = 17; n >= 3; n -= 2) s = (1 + s) * -r2 / (n * (n - 1));
  for (int n = 18; n >= 2; n -= 2) c = (1 + c) * -r2 / (n * (n - 1));
  const double y = quadrant % 2 == 0 ? r * (1 + s) : 1 + c;
  return quadrant < 2 ? y : -y;
}
inline double sin(double x) { return abs(x) < 1e15 ? sin_reduced(x, 0) : x - x; }
inline double cos(double x) { return abs(x) < 1e15 ? sin_reduced(x, 1) : x - x; }
inline double atan(double x) {
  const double a = abs(x);
  const double inverted = a > 1 ? 1 / a : a;
  // two halvings: atan t = 2 atan(t / (1 + sqrt(1 + t^2)))
  double t = inverted;
  for (int i = 0; i < 3; ++i) t = t / (1 + sqrt(1 + t * t));
  const double t2 = t * t;
  double sum = 0;
  for (int n = 21; n >= 1; n -= 2) sum = 1.0 / n - t2 * sum;
  double y = 8 * t * sum;
  if (a > 1) y = 1.5707963267948966 - y;
  return x < 0 ? -y : y;
}

// x^y with ONNX's conventions for whole exponents of negative bases.
inline double pow(double x, double y) {
  if (y == 0) return 1;
  if (y == 2) return x * x;
  if (y == 1) return x;
  if (y == 0.5) return sqrt(x);
  if (y == -1) return 1 / x;
  if (y == floor(y) && abs(y) <= 64) {
    double result = 1, base = x;
    for (int n = static_cast<int>(abs(y)); n > 0; n /= 2) {
      if (n % 2 == 1) result *= base;
      base *= base;
    }
    return y < 0 ? 1 / result : result;
  }
  if (x == 0) return y > 0 ? 0 : detail::kInfinity;
  if (x > 0) return exp(y * log(x));
  if (y != floor(y)) return detail::kInfinity - detail::kInfinity;
  const double magnitude = exp(y * log(-x));
  return y - 2 * floor(y / 2) == 0 ? magnitude : -magnitude;
}

}  // namespace pith::numerics
