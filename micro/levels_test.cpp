// Levels are learned where weights were rounded, and taken where they are the better bargain.
#include "micro/levels.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "coding/encode/levels.h"
#include "micro/best_code.h"
#include "numerics/scale.h"

namespace pith {
namespace {

// What sizes of sums have, in even steps.
double loss(const LevelSums& sums, const coding::Levels& levels, int finer) {
  double loss = 0;
  for (size_t m = 1; m < sums.weight.size(); ++m) {
    if (sums.weight[m] > 0) loss += sums.weight[m] * std::pow(sums.sum[m] / sums.weight[m] - levels.size(static_cast<int>(m)) * numerics::scale_value(-finer), 2);
  }
  return loss;
}

TEST(LearnedLevels, AreTheMeansOfWhatMultiplesGot) {
  LevelSums sums;
  const double means[] = {0, 1.2, 2.1, 3.05, 4.0, 4.95};
  for (int m = 1; m <= 5; ++m) {
    for (int i = 0; i < 100; ++i) sums.add(i % 2 == 0 ? m : -m, (i % 2 == 0 ? 0.5 : -0.5) * means[m], 0.5, 3);
  }
  const auto learned = learn_levels(sums, 5, 1e-9);
  ASSERT_TRUE(learned);
  for (int m = 1; m <= 5; ++m) EXPECT_NEAR(learned->levels.size(m) * numerics::scale_value(-learned->finer), means[m], 0.01) << m;
  EXPECT_LE(learned->levels.size(5), 127);
  EXPECT_EQ(learned->levels.count, 2) << "beyond, steps of 0.95";
  EXPECT_LT(loss(sums, learned->levels, learned->finer), 0.05);
}

TEST(LearnedLevels, MustSaveWhatTheirTableCosts) {
  LevelSums sums;
  for (int m = 1; m <= 4; ++m) sums.add(m, m + 0.01, 1, 1);
  EXPECT_FALSE(learn_levels(sums, 4, 1));
  EXPECT_TRUE(learn_levels(sums, 4, 1e-8));
  EXPECT_FALSE(learn_levels(LevelSums(), 127, 1)) << "nothing was rounded to anything";
}

TEST(LevelSizes, FindTheNearest) {
  coding::Levels levels;
  levels.count = 2, levels.of[1] = 10, levels.of[2] = 16, levels.tail = 9;
  const LevelSizes sizes(levels, 127);
  EXPECT_EQ(sizes.largest(), 14);  // 16 + 12 x 9 = 124
  for (double x = 0; x < 140; x += 0.37) {
    const int found = sizes.nearest(x);
    for (int m = 0; m <= sizes.largest(); ++m) EXPECT_LE(std::abs(sizes.of(found) - x), std::abs(sizes.of(m) - x)) << x << ' ' << m;
    for (int grid = 0; grid < 2; ++grid) {
      const int of_grid = coding::trellis_value(sizes.nearest(x, grid), grid);
      for (int i = 0; coding::trellis_value(i, grid) <= sizes.largest(); ++i) EXPECT_LE(std::abs(sizes.of(of_grid) - x), std::abs(sizes.of(coding::trellis_value(i, grid)) - x)) << x << ' ' << i;
    }
  }
}

struct Weights {
  std::vector<double> values;
  std::vector<int16_t> grid, path;
  RoundProblem problem(int64_t rows, int64_t length) const { return {8, rows, length, values, grid, {length, 1}, {}, natural_lambda(numerics::scale_value(grid[0]))}; }
};

// Most are none, the others one of two sizes and a little more: what even steps meet badly.
Weights two_sizes(int64_t count) {
  Random random(3);
  Weights w;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t kind = random.integer(0, 9);
    const double size = kind < 5 ? 0 : kind < 8 ? 1.35 : 2.3;
    w.values.push_back((random.integer(0, 1) == 0 ? size : -size) + 0.08 * random.normal());
  }
  w.grid = {0}, w.path = {static_cast<int16_t>(-kTrellisOctaves * numerics::kScaleStepsPerOctave)};
  return w;
}

TEST(BestCode, TakesLevelsWhereTheyAreTheBetterBargain) {
  constexpr int64_t kRows = 300, kLength = 128;  // large enough for a part to be tried
  const Weights w = two_sizes(kRows * kLength);
  const RoundProblem p = w.problem(kRows, kLength);
  const auto even = round_in_best_code(p, w.path, {false, false}), leveled = round_in_best_code(p, w.path, {false, true}), best = round_in_best_code(p, w.path, {});
  ASSERT_TRUE(even.ok() && leveled.ok() && best.ok());
  EXPECT_EQ(code_name(*even), "grid");
  ASSERT_GE(leveled->levels.count, 1);
  const auto paid = [&](const Rounded& r) { return r.distortion + p.lambda * r.bits; };
  EXPECT_LT(paid(*leveled), 0.9 * paid(*even));
  EXPECT_LT(paid(*best), 0.9 * paid(*even));
  // the file finds them again, and every weight is where its scale says
  const auto found = coding::find_levels(leveled->integers, kLength, false);
  ASSERT_TRUE(found);
  double error = 0;
  for (size_t i = 0; i < w.values.size(); ++i) error += std::pow(w.values[i] - leveled->integers[i] * numerics::scale_value(leveled->scale_codes[0]), 2);
  EXPECT_NEAR(error, leveled->distortion, 1e-6 * error);
}

TEST(BestCode, LevelsReachWeightsThatNoPartHolds) {
  constexpr int64_t kRows = 300, kLength = 256;
  Weights w = two_sizes(kRows * kLength);
  w.values[5 * kLength + 3] = 9.2;  // in a row that isn't tried
  for (const bool paths : {false, true}) {
    const auto r = round_in_best_code(w.problem(kRows, kLength), w.path, {paths, true});
    ASSERT_TRUE(r.ok());
    ASSERT_GE(r->levels.count, 1);
    EXPECT_NEAR(r->integers[5 * kLength + 3] * numerics::scale_value(r->scale_codes[0]), 9.2, 1);
  }
}

TEST(BestCode, KeepsEvenStepsWhereLevelsSaveNothing) {
  Random random(4);
  Weights w;
  for (int i = 0; i < 40 * 100; ++i) w.values.push_back(random.uniform(-40, 40));
  w.grid = {0}, w.path = {-13};
  const auto best = round_in_best_code(w.problem(40, 100), w.path, {true, true});
  ASSERT_TRUE(best.ok());
  EXPECT_EQ(code_name(*best), "path");
  EXPECT_EQ(best->scale_codes, w.path);
}

}  // namespace
}  // namespace pith
