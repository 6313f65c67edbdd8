#include "post/c_use_test.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace pith {
namespace {

TEST(CUse, TheHeadersExampleFindsTheBox) {
  // scale 4, zero point 0: numbers from 0 to 1020 in steps of 4, so an objectness of "1" is 4; two boxes that overlap
  // and one faint row
  const uint8_t rows[3][6] = {{80, 80, 20, 10, 1, 1}, {81, 80, 20, 10, 1, 1}, {10, 10, 2, 2, 0, 1}};
  pith_box best = {};
  ASSERT_EQ(pith_c_use_detector(rows[0], 3, 4.0f, 0, &best), 1);
  EXPECT_EQ(best.index, 0);
  EXPECT_EQ(best.x1, 560.0f);  // (320 - 40) * 2
  EXPECT_EQ(best.y1, 320.0f);  // (320 - 20 - 140) * 2
  EXPECT_EQ(best.x2, 720.0f);
  EXPECT_EQ(best.y2, 400.0f);
  EXPECT_EQ(pith_c_use_detector(rows[0], 0, 4.0f, 0, &best), -1);
}

}  // namespace
}  // namespace pith
