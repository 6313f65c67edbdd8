#include "base/linear.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace pith {
namespace {

// B B' of a random B, n x n, with `last` added to the last element of the diagonal.
std::vector<double> moments(int64_t n, double last) {
  Random random(static_cast<uint64_t>(n));
  std::vector<double> b(static_cast<size_t>(n * n)), a(b.size(), 0.0);
  for (double& x : b) x = random.normal();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t k = 0; k < n; ++k) a[static_cast<size_t>(i * n + j)] += b[static_cast<size_t>(i * n + k)] * b[static_cast<size_t>(j * n + k)];
  a.back() += last;
  return a;
}

TEST(Linear, TheFactorTimesItsTransposeIsTheMatrixAndSolves) {
  for (const int64_t n : {1, 2, 7, 8, 9, 16, 29}) {
    const std::vector<double> a = moments(n, 1);
    std::vector<double> l = a;
    ASSERT_TRUE(cholesky(l, n)) << n;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (int64_t k = 0; k <= j; ++k) sum += l[static_cast<size_t>(i * n + k)] * l[static_cast<size_t>(j * n + k)];
        EXPECT_NEAR(sum, a[static_cast<size_t>(i * n + j)], 1e-10 * static_cast<double>(n)) << n << ' ' << i << ' ' << j;
      }
    std::vector<double> x(static_cast<size_t>(n), 0.0);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) x[static_cast<size_t>(i)] += a[static_cast<size_t>(i * n + j)] * static_cast<double>(j + 1);
    solve_cholesky(l, n, x);
    for (int64_t j = 0; j < n; ++j) EXPECT_NEAR(x[static_cast<size_t>(j)], static_cast<double>(j + 1), 1e-5) << n;
  }
}

TEST(Linear, AMatrixThatIsNotPositiveDefiniteIsRefused) {
  for (const int64_t n : {1, 8, 9, 21}) {
    std::vector<double> a = moments(n, -1e6);
    EXPECT_FALSE(cholesky(a, n)) << n;
  }
}

}  // namespace
}  // namespace pith
