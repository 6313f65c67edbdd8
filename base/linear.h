// Symmetric systems of equations: the Cholesky factor and what is solved with it.
//
// Why: rounding with feedback, least-squares compensation and low rank all rest on second moments of a few hundred to a few
// thousand numbers. Row-major, double; the inner loops run along rows. Method: A = L L' (Golub and Van Loan, "Matrix
// computations", section 4.2).
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// In place: the lower triangle of `a` (n x n, symmetric) becomes L; what is above it is left. False: not positive definite.
inline bool cholesky(std::span<double> a, int64_t n) {
  const auto row = [&](int64_t i) { return a.data() + i * n; };
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const double *x = row(i), *y = row(j);
      double sum = 0;
      for (int64_t k = 0; k < j; ++k) sum += x[k] * y[k];
      if (i != j) {
        row(i)[j] = (row(i)[j] - sum) / row(j)[j];
        continue;
      }
      const double d = row(i)[i] - sum;
      if (!(d > 0)) return false;
      row(i)[i] = std::sqrt(d);
    }
  }
  return true;
}

// x with A x = b, in place, where `l` is A's Cholesky factor.
inline void solve_cholesky(std::span<const double> l, int64_t n, std::span<double> x) {
  const auto at = [&](int64_t i, int64_t j) { return l[static_cast<size_t>(i * n + j)]; };
  for (int64_t i = 0; i < n; ++i) {
    double sum = x[static_cast<size_t>(i)];
    for (int64_t k = 0; k < i; ++k) sum -= at(i, k) * x[static_cast<size_t>(k)];
    x[static_cast<size_t>(i)] = sum / at(i, i);
  }
  for (int64_t i = n; i-- > 0;) {
    const double value = x[static_cast<size_t>(i)] /= at(i, i);
    for (int64_t k = 0; k < i; ++k) x[static_cast<size_t>(k)] -= value * at(i, k);
  }
}

// Adds `share` of the mean of the diagonal (and a little) to it; returns what was added.
inline double damp(std::span<double> a, int64_t n, double share) {
  double trace = 0;
  for (int64_t i = 0; i < n; ++i) trace += a[static_cast<size_t>(i * n + i)];
  const double added = share * trace / static_cast<double>(n) + 1e-12;
  for (int64_t i = 0; i < n; ++i) a[static_cast<size_t>(i * n + i)] += added;
  return added;
}

}  // namespace pith
