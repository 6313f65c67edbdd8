// Rate-distortion rounding: nearest without a price, fewer bits with one, and error feedback that pays.
#include "micro/round.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "micro/best_code.h"
#include "numerics/scale.h"

namespace pith {
namespace {

struct Layer {
  std::vector<double> weights, hessian;
  std::vector<int16_t> scales;
  RoundProblem problem;
};

// Rows of normal weights; inputs that are alike in pairs, so that errors can make up for each other.
Layer layer(int64_t rows, int64_t n, int bits, int scale_code) {
  Random random(11);
  Layer l;
  for (int64_t i = 0; i < rows * n; ++i) l.weights.push_back(random.normal());
  l.scales.assign(static_cast<size_t>(rows), static_cast<int16_t>(scale_code));
  l.hessian.assign(static_cast<size_t>(n * n), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) l.hessian[static_cast<size_t>(i * n + j)] = i == j ? 1.0 : i / 2 == j / 2 ? 0.9 : 0.1;
  }
  l.problem = {bits, rows, n, l.weights, l.scales, {n, 1}, {}, 0};
  return l;
}

double squared_error(const Layer& l, const std::vector<int32_t>& q, bool full) {
  const int64_t n = l.problem.row_length;
  const double scale = numerics::scale_value(l.scales[0]);
  double sum = 0;
  for (int64_t r = 0; r < l.problem.rows; ++r) {
    const auto e = [&](int64_t k) { return l.weights[static_cast<size_t>(r * n + k)] - q[static_cast<size_t>(r * n + k)] * scale; };
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) sum += full ? e(i) * e(j) * l.hessian[static_cast<size_t>(i * n + j)] : i == j ? e(i) * e(i) : 0;
    }
  }
  return sum;
}

TEST(Round, WithoutAPriceItIsNearest) {
  const Layer l = layer(8, 40, 8, -64);
  const auto rounded = round_for_rate(l.problem);
  ASSERT_TRUE(rounded.ok());
  for (size_t i = 0; i < l.weights.size(); ++i) {
    EXPECT_LE(std::abs(l.weights[i] - rounded->integers[i] / 16.0), 0.5 / 16 + 1e-12);
  }
  EXPECT_NEAR(rounded->distortion, squared_error(l, rounded->integers, false), 1e-9);
}

TEST(Round, APriceBuysBits) {
  Layer l = layer(64, 128, 8, -16);  // a step of half a deviation
  const auto nearest = round_for_rate(l.problem);
  l.problem.lambda = natural_lambda(numerics::scale_value(-16));
  const auto cheap = round_for_rate(l.problem);
  ASSERT_TRUE(nearest.ok() && cheap.ok());
  EXPECT_LT(cheap->bits, nearest->bits * 0.995);
  EXPECT_LT(cheap->distortion + l.problem.lambda * cheap->bits, nearest->distortion + l.problem.lambda * nearest->bits);
  EXPECT_NEAR(cheap->distortion, squared_error(l, cheap->integers, false), 1e-9);
  // the bits are those of the stream
  const coding::CodedRows rows{8, 64, 128, cheap->integers, l.scales, {128, 1}};
  EXPECT_NEAR(static_cast<double>(coding::encode_mixed(rows).size()) * 8, cheap->bits, 24);
}

TEST(Round, AHighPriceEmptiesRows) {
  Layer l = layer(4, 50, 4, 0);
  l.problem.lambda = 100;
  const auto rounded = round_for_rate(l.problem);
  ASSERT_TRUE(rounded.ok());
  for (int32_t q : rounded->integers) EXPECT_EQ(q, 0);
}

TEST(Round, FeedbackLowersTheErrorOfTheProduct) {
  Layer l = layer(32, 60, 3, 8);
  const auto nearest = round_for_rate(l.problem);
  l.problem.hessian = l.hessian;
  const auto moved = round_for_rate(l.problem);
  ASSERT_TRUE(nearest.ok() && moved.ok());
  EXPECT_LT(squared_error(l, moved->integers, true), 0.8 * squared_error(l, nearest->integers, true));
  EXPECT_NEAR(moved->distortion, squared_error(l, moved->integers, true), 1e-6);
}

TEST(Round, ADiagonalWeighsColumns) {
  Layer l = layer(32, 60, 8, 0);
  std::vector<double> diagonal(60, 1.0);
  diagonal[7] = 1e6;
  l.problem.hessian = diagonal;
  l.problem.lambda = 0.2;
  const auto rounded = round_for_rate(l.problem);
  ASSERT_TRUE(rounded.ok());
  for (size_t r = 0; r < 32; ++r) EXPECT_EQ(rounded->integers[r * 60 + 7], static_cast<int>(std::floor(l.weights[r * 60 + 7] + 0.5)));
}

// What the best uniform step and the best trellis lose at the same price of a bit.
double bargain(Layer& l, bool trellis, double price) {
  double least = 1e30;
  for (int code = -40; code <= 24; code += 4) {
    l.scales.assign(l.scales.size(), static_cast<int16_t>(code));
    l.problem.trellis = trellis;
    l.problem.lambda = price;
    const auto r = round_for_rate(l.problem);
    if (r.ok()) least = std::min(least, r->distortion + price * r->bits);
  }
  return least;
}

TEST(Round, ATrellisIsTheBetterBargain) {
  Layer l = layer(48, 128, 8, 0);
  for (bool full : {false, true}) {
    l.problem.hessian = full ? std::span<const double>(l.hessian) : std::span<const double>();
    for (double step : {0.25, 1.0}) {
      const double price = natural_lambda(step), grid = bargain(l, false, price), path = bargain(l, true, price);
      // of the sixth of a bit a weight that it is worth at high rates
      EXPECT_LT(path, grid - (step < 0.5 ? 0.08 : 0.06) * price * 48 * 128) << step << full;
    }
  }
}

TEST(Round, ATrellisPaysForWhatItsCodeSays) {
  Layer l = layer(24, 150, 8, -24);
  l.problem.hessian = l.hessian;
  l.problem.trellis = true;
  l.problem.lambda = natural_lambda(0.5);
  const auto r = round_for_rate(l.problem);
  ASSERT_TRUE(r.ok());
  EXPECT_NEAR(r->distortion, squared_error(l, r->integers, true), 1e-6);
  const std::vector<int32_t> indices = coding::trellis_rows(r->integers, 150);
  ASSERT_FALSE(indices.empty()) << "every row is a path";
  const coding::CodedRows rows{8, 24, 150, indices, l.scales, {150, 1}, true};
  EXPECT_NEAR(static_cast<double>(coding::encode_mixed(rows).size()) * 8, r->bits, 24);
  l.problem.lambda = 100;
  const auto empty = round_for_rate(l.problem);
  ASSERT_TRUE(empty.ok());
  for (int32_t q : empty->integers) EXPECT_EQ(q, 0);
}

TEST(Round, ATrellisStaysWithinItsBits) {
  Layer l = layer(8, 40, 3, -32);  // multiples of a quarter, at most three: all weights lie far outside
  l.problem.hessian = l.hessian;
  l.problem.trellis = true;
  const auto r = round_for_rate(l.problem);
  ASSERT_TRUE(r.ok());
  for (int32_t q : r->integers) EXPECT_LE(std::abs(q), 3);
  EXPECT_FALSE(coding::trellis_rows(r->integers, 40).empty());
}

// Most of a row is held at zero, and all inputs are alike: what is left must not rely on what is held.
TEST(Round, WhatIsHeldStaysZeroAndNothingReliesOnIt) {
  Layer l = layer(24, 150, 8, -32);
  for (size_t i = 0; i < l.hessian.size(); ++i) l.hessian[i] = i % 151 == 0 ? 1 : 0.95;
  std::vector<uint8_t> zeros(l.weights.size(), 0);
  for (size_t i = 0; i < zeros.size(); ++i) {
    const size_t row = i / 150;
    zeros[i] = (row < 16 ? i % 4 != 1 : i % 150 >= 60) ? 1 : 0;
    if (row < 20 && zeros[i] != 0) l.weights[i] = 0;  // but for some that aren't there yet
  }
  l.problem.hessian = l.hessian;
  for (bool trellis : {false, true}) {
    l.problem.trellis = trellis;
    l.problem.zeros = {};
    const auto blind = round_for_rate(l.problem);
    l.problem.zeros = zeros;
    const auto held = round_for_rate(l.problem);
    ASSERT_TRUE(blind.ok() && held.ok());
    std::vector<int32_t> cut = blind->integers;
    bool moved = false;
    for (size_t i = 0; i < zeros.size(); ++i) {
      if (zeros[i] == 0) continue;
      EXPECT_EQ(held->integers[i], 0);
      moved = moved || cut[i] != 0;
      cut[i] = 0, l.weights[i] = 0;
    }
    EXPECT_TRUE(moved) << "without marks, feedback moves them";
    EXPECT_NEAR(held->distortion, squared_error(l, held->integers, true), 1e-6);
    EXPECT_LT(held->distortion, 0.5 * squared_error(l, cut, true));
    EXPECT_TRUE(!trellis || !coding::trellis_rows(held->integers, 150).empty()) << "every row is a path";
    for (size_t i = 20 * 150; i < zeros.size(); ++i) l.weights[i] = zeros[i] != 0 ? 1 : l.weights[i];
  }
  const auto both = round_in_best_code(l.problem, l.scales, {});
  ASSERT_TRUE(both.ok());
  for (size_t i = 0; i < zeros.size(); ++i) EXPECT_TRUE(zeros[i] == 0 || both->integers[i] == 0);
  l.problem.zeros = std::span<const uint8_t>(zeros).first(7);
  EXPECT_FALSE(round_for_rate(l.problem).ok());
}

TEST(Round, RefusesWhatDoesNotFit) {
  Layer l = layer(2, 4, 8, 0);
  std::vector<double> indefinite = l.hessian;
  indefinite[5] = -1;
  l.problem.hessian = indefinite;
  const auto bad = round_for_rate(l.problem);
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find("positive definite"), std::string::npos);
  l.problem.hessian = std::span<const double>(l.hessian).first(3);
  EXPECT_FALSE(round_for_rate(l.problem).ok());
}

}  // namespace
}  // namespace pith
