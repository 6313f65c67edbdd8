// The allocator against all choices tried out, and its refusals.
#include "base/allocate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace pith {
namespace {

std::vector<Unit> convex_units(Random& random, size_t count, int options) {
  std::vector<Unit> units;
  for (size_t u = 0; u < count; ++u) {
    Unit unit{"u" + std::to_string(u), {}};
    const double scale = random.uniform(0.1, 3);
    for (int i = 0; i < options; ++i) unit.options.push_back({{random.uniform(90, 110) * std::exp2(-i), 0, 0}, scale * std::exp2(2 * i) * random.uniform(0.9, 1.1)});
    units.push_back(unit);
  }
  return units;
}

TEST(Allocate, HullLeavesOutWhatAChordBeats) {
  const std::vector<Option> options = {{{100, 0, 0}, 0}, {{80, 0, 0}, 5}, {{50, 0, 0}, 6}, {{60, 0, 0}, 7}, {{10, 0, 0}, 20}, {{120, 0, 0}, 1}};
  EXPECT_EQ(lower_hull(options), (std::vector<size_t>{0, 2, 4}));
}

TEST(Allocate, IsOptimalAtEveryPointOfItsCurve) {
  Random random(5);
  const std::vector<Unit> units = convex_units(random, 5, 4);
  const auto curve = rate_distortion_curve(units);
  ASSERT_GT(curve.size(), 8u);
  for (const Allocation& point : curve) {  // all 4^5 choices
    for (int code = 0; code < 1024; ++code) {
      double bytes = 0, loss = 0;
      for (size_t u = 0, rest = static_cast<size_t>(code); u < units.size(); ++u, rest /= 4) {
        bytes += units[u].options[rest % 4].spent.bytes;
        loss += units[u].options[rest % 4].loss;
      }
      EXPECT_FALSE(bytes < point.spent.bytes - 1e-9 && loss < point.loss - 1e-9);
    }
  }
  for (size_t i = 2; i < curve.size(); ++i) EXPECT_GE(curve[i].price, curve[i - 1].price - 1e-12);
}

// Two units of very different size: between two points of the curve there is room that single steps off the hull can use.
TEST(Allocate, SpendsWhatTheHullLeaves) {
  const std::vector<Unit> units = {{"large", {{{1000, 0, 0}, 0}, {{400, 0, 0}, 6}}}, {"small", {{{200, 0, 0}, 0}, {{120, 0, 0}, 2.4}, {{100, 0, 0}, 2.5}}}};
  const auto curve = rate_distortion_curve(units);
  ASSERT_EQ(curve.size(), 3u);
  EXPECT_EQ(curve[1].spent.bytes, 600);
  const auto a = allocate(units, {599, -1, -1});
  ASSERT_TRUE(a.ok());
  EXPECT_EQ(a->option, (std::vector<size_t>{1, 1}));  // the curve has only 500 bytes at a loss of 8.5
  EXPECT_EQ(a->spent.bytes, 520);
  EXPECT_NEAR(a->loss, 8.4, 1e-9);
}

TEST(Allocate, MeetsAllLimitsAtOnce) {
  std::vector<Unit> units;
  for (int i = 0; i < 4; ++i) units.push_back({"u", {{{100, 0, 50}, 0}, {{50, 0, 50}, 1.0 + i}, {{80, 0, 10}, 2.0 - 0.1 * i}}});
  const auto a = allocate(units, {350, -1, 130});
  ASSERT_TRUE(a.ok());
  EXPECT_LE(a->spent.bytes, 350);
  EXPECT_LE(a->spent.macs, 130);
  EXPECT_LT(a->loss, 6);
}

TEST(Allocate, TakesNothingWithoutLimits) {
  const auto a = allocate({{"u", {{{100, 0, 0}, 0}, {{1, 0, 0}, 1e-9}}}}, {});
  ASSERT_TRUE(a.ok());
  EXPECT_EQ(a->option[0], 0u);
}

TEST(Allocate, SaysWhatIsStillMissing) {
  const auto a = allocate({{"u", {{{100, 0, 0}, 0}, {{60, 0, 0}, 1}}}}, {50, -1, -1});
  ASSERT_FALSE(a.ok());
  EXPECT_EQ(a.error().code, ErrorCode::kDoesNotFit);
  EXPECT_NE(a.error().message.find("10 bytes"), std::string::npos);
}

}  // namespace
}  // namespace pith
