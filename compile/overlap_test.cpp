#include "compile/overlap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "base/random.h"

namespace pith {
namespace {

// What the distance promises, byte by byte: with y at 0 and x at `distance`, no byte of y that has been touched lies on a
// byte of x that is still to be touched.
bool apart(const std::vector<Touch>& x, const std::vector<Touch>& y, int64_t distance) {
  for (const Touch& a : x)
    for (const Touch& b : y)
      if (b.op <= a.op && b.begin < a.end + distance && a.begin + distance < b.end) return false;
  return true;
}

int64_t size_of(const std::vector<Touch>& touches) {
  int64_t size = 0;
  for (const Touch& t : touches) size = std::max(size, t.end);
  return size;
}

TEST(Overlap, RowsByHand) {
  // x: four rows of 10, read one after the other with one row of overlap; y: four rows of 5, written in the same operators
  const std::vector<Touch> x = {{0, 0, 20}, {1, 10, 30}, {2, 20, 40}, {3, 30, 40}}, y = {{0, 0, 5}, {1, 5, 10}, {2, 10, 15}, {3, 15, 20}};
  EXPECT_EQ(overlap_distance(x, y), 5);  // the first row of y must not lie on x, whose first row is still being read
  EXPECT_TRUE(apart(x, y, 5));
  EXPECT_FALSE(apart(x, y, 4));
  // read whole at the end: nothing can be shared
  EXPECT_EQ(overlap_distance({{0, 0, 40}, {4, 0, 40}}, y), 20);
  // dead before y begins
  EXPECT_EQ(overlap_distance({{-2, 0, 40}, {-1, 0, 40}}, y), 0);
}

TEST(Overlap, RandomTouchesAreKeptApartAndNoFurtherThanNeeded) {
  Random random(17);
  int tight = 0;
  for (int round = 0; round < 2000; ++round) {
    const int64_t x_row = random.integer(1, 9), y_row = random.integer(1, 9), rows = random.integer(2, 12), halo = random.integer(0, 2), delay = random.integer(0, 3);
    std::vector<Touch> x, y;
    for (int64_t k = 0; k < rows; ++k) {
      x.push_back({k, std::max<int64_t>(0, k - halo) * x_row, (k + 1) * x_row});
      y.push_back({k + delay, k * y_row, (k + 1) * y_row});
      if (random.integer(0, 3) == 0) y.push_back({k + delay, std::max<int64_t>(0, k - 1) * y_row, (k + 1) * y_row});
    }
    const int64_t distance = overlap_distance(x, y);
    ASSERT_TRUE(apart(x, y, distance)) << round;
    ASSERT_LE(distance, size_of(y));
    if (distance > 0 && !apart(x, y, distance - 1)) ++tight;
  }
  std::cout << tight << " of 2000 can't be a byte closer\n";
  EXPECT_GT(tight, 500);
}

}  // namespace
}  // namespace pith
