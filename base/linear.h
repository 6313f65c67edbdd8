// Symmetric systems of equations: the Cholesky factor and what is solved with it.
//
// Why: rounding with feedback, least-squares compensation and low rank all rest on second moments of a few hundred to a few
// thousand numbers. Row-major, double; the inner loops run along rows. Method: A = L L' (Golub and Van Loan, "Matrix
// computations", section 4.2).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// In place: the lower triangle of `a` (n x n, symmetric) becomes L; what is above it is left. False: not positive definite.
// Eight rows go together along the rows above them: a sum waits for itself only, so eight take little longer than one.
inline bool cholesky(std::span<double> a, int64_t n) {
  constexpr int64_t together = 8;
  const auto row = [&](int64_t i) { return a.data() + i * n; };
  const auto eliminate = [&](int64_t i, int64_t j) {
    const double *x = row(i), *y = row(j);
    double sum = 0;
    for (int64_t k = 0; k < j; ++k) sum += x[k] * y[k];
    row(i)[j] -= sum;
  };
  for (int64_t first = 0; first < n; first += together) {
    const int64_t last = std::min(n, first + together);
    for (int64_t j = 0; last - first == together && j < first; ++j) {
      const double *x = row(first), *y = row(j);
      double sums[together] = {};
      for (int64_t k = 0; k < j; ++k)
        for (int64_t i = 0; i < together; ++i) sums[i] += x[i * n + k] * y[k];
      for (int64_t i = 0; i < together; ++i) row(first + i)[j] = (row(first + i)[j] - sums[i]) / y[j];
    }
    for (int64_t i = first; i < last; ++i) {
      for (int64_t j = last - first == together ? first : 0; j < i; ++j) {
        eliminate(i, j);
        row(i)[j] /= row(j)[j];
      }
      eliminate(i, i);
      if (!(row(i)[i] > 0)) return false;
      row(i)[i] = std::sqrt(row(i)[i]);
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
