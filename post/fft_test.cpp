#include "post/fft.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <vector>

#include "post/exact_math.h"
#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

constexpr double kTurn = 6.283185307179586476925286766559;

TEST(ExactMath, AgreesWithTheStandardLibrary) {
  for (int64_t n = 1; n <= 200; ++n) {
    for (int64_t i = 0; i < 2 * n; ++i) {
      ASSERT_NEAR(pith_cos_of_turn(i, n), std::cos(kTurn * static_cast<double>(i) / static_cast<double>(n)), 1e-14);
    }
  }
  EXPECT_EQ(pith_cos_of_turn(0, 7), 1.0);
  EXPECT_EQ(pith_cos_of_turn(1, 4), 0.0);
  EXPECT_EQ(pith_cos_of_turn(3, 4), 0.0);
  EXPECT_NEAR(pith_cos_of_turn(1, 2), -1.0, 1e-15);
  Random random(80);
  for (int i = 0; i < 20000; ++i) {
    const double x = std::exp(random.uniform(-87.0f, 87.0f));
    ASSERT_NEAR(pith_ln(x), std::log(x), 4e-15 * (1.0 + std::fabs(std::log(x)))) << x;
    const double y = random.uniform(-16.0f, 16.0f);
    ASSERT_NEAR(pith_exp(y) / std::exp(y), 1.0, 1e-13) << y;
  }
  EXPECT_EQ(pith_ln(1.0), 0.0);
}

// The definition, in double.
std::vector<std::complex<double>> direct(const std::vector<float>& x) {
  const size_t n = x.size();
  std::vector<std::complex<double>> roots(n), sums(n / 2 + 1);
  for (size_t i = 0; i < n; ++i) roots[i] = std::polar(1.0, -kTurn * static_cast<double>(i) / static_cast<double>(n));
  for (size_t k = 0; k <= n / 2; ++k) {
    for (size_t i = 0; i < n; ++i) sums[k] += static_cast<double>(x[i]) * roots[i * k % n];
  }
  return sums;
}

std::vector<std::complex<double>> fast(const std::vector<float>& x) {
  const int32_t n = static_cast<int32_t>(x.size());
  std::vector<float> cosines(x.size()), signal = x, spare(x.size() + 2);
  signal.resize(x.size() + 2);
  pith_fft fft;
  EXPECT_EQ(pith_fft_init(&fft, n, cosines.data()), PITH_POST_OK);
  const float* result = pith_fft_real(&fft, signal.data(), spare.data());
  EXPECT_TRUE(result == signal.data() || result == spare.data());
  std::vector<std::complex<double>> pairs;
  for (size_t k = 0; k <= x.size() / 2; ++k) pairs.emplace_back(result[2 * k], result[2 * k + 1]);
  return pairs;
}

TEST(Fft, ByHand) {
  const auto x = fast({1, 2, 3, 4});
  EXPECT_EQ(x[0], std::complex<double>(10, 0));
  EXPECT_EQ(x[1], std::complex<double>(-2, 2));
  EXPECT_EQ(x[2], std::complex<double>(-2, 0));
}

TEST(Fft, AgreesWithTheDefinitionForEverySize) {
  Random random(81);
  int sizes = 0;
  for (int32_t n = 1; n <= PITH_FFT_MAX_SIZE; ++n) {
    if (!pith_fft_size_ok(n) || (n > 600 && n != 1024 && n != 2880)) continue;
    ++sizes;
    const std::vector<float> x = random.floats(static_cast<size_t>(n), -1.0f, 1.0f);
    const auto expected = direct(x), got = fast(x);
    double largest = 0, worst = 0;
    for (size_t k = 0; k < expected.size(); ++k) {
      largest = std::max(largest, std::abs(expected[k]));
      worst = std::max(worst, std::abs(expected[k] - got[k]));
    }
    ASSERT_LT(worst, 5e-7 * largest) << "size " << n;
  }
  EXPECT_GT(sizes, 40);
}

TEST(Fft, Refuses) {
  for (const int32_t bad : {-4, 0, 1, 2, 6, 28, 44, 4 * 49, 16388, 32768, INT32_MIN, INT32_MAX}) {
    EXPECT_FALSE(pith_fft_size_ok(bad)) << bad;
  }
  for (const int32_t good : {4, 8, 12, 20, 256, 400, 480, 512, 1024, 16384})
    EXPECT_TRUE(pith_fft_size_ok(good)) << good;
  float cosines[8];
  pith_fft fft;
  EXPECT_EQ(pith_fft_init(&fft, 6, cosines), PITH_POST_RANGE);
  EXPECT_EQ(pith_fft_init(nullptr, 8, cosines), PITH_POST_NULL);
  EXPECT_EQ(pith_fft_init(&fft, 8, nullptr), PITH_POST_NULL);
}

}  // namespace
}  // namespace pith
