#include "post/letterbox.h"

#include <gtest/gtest.h>

#include <cmath>

#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

TEST(Letterbox, ByHand) {
  pith_letterbox l;
  // 1280 x 720 into 640 x 640: half size, 360 rows, 140 above and below
  ASSERT_EQ(pith_letterbox_fit(1280, 720, 640, 640, PITH_FIT_CENTRE, &l), PITH_POST_OK);
  EXPECT_EQ(l.scaled_width, 640);
  EXPECT_EQ(l.scaled_height, 360);
  EXPECT_EQ(l.left, 0);
  EXPECT_EQ(l.top, 140);
  pith_box boxes[2] = {{100, 150, 200, 490, 0.5f, 7, 9}, {-50, 0, 700, 700, 0.5f, 1, 2}};
  ASSERT_EQ(pith_letterbox_undo(&l, boxes, 2), PITH_POST_OK);
  EXPECT_EQ(boxes[0].x1, 200.0f);
  EXPECT_EQ(boxes[0].y1, 20.0f);
  EXPECT_EQ(boxes[0].x2, 400.0f);
  EXPECT_EQ(boxes[0].y2, 700.0f);
  EXPECT_EQ(boxes[0].class_id, 7);
  EXPECT_EQ(boxes[0].index, 9);
  EXPECT_EQ(boxes[1].x1, 0.0f);
  EXPECT_EQ(boxes[1].y1, 0.0f);
  EXPECT_EQ(boxes[1].x2, 1280.0f);
  EXPECT_EQ(boxes[1].y2, 720.0f);

  // 427 x 640 into 640 x 640: nothing to scale, 213 columns of padding, 106 of them left
  ASSERT_EQ(pith_letterbox_fit(427, 640, 640, 640, PITH_FIT_CENTRE, &l), PITH_POST_OK);
  EXPECT_EQ(l.scaled_width, 427);
  EXPECT_EQ(l.left, 106);
  ASSERT_EQ(pith_letterbox_fit(427, 640, 640, 640, PITH_FIT_CORNER, &l), PITH_POST_OK);
  EXPECT_EQ(l.left, 0);
  ASSERT_EQ(pith_letterbox_fit(427, 640, 320, 240, PITH_FIT_STRETCH, &l), PITH_POST_OK);
  EXPECT_EQ(l.scaled_width, 320);
  EXPECT_EQ(l.scaled_height, 240);
  // 3 x 2 into 5 x 5: 2 * 5 / 3 = 3.33
  ASSERT_EQ(pith_letterbox_fit(3, 2, 5, 5, PITH_FIT_CENTRE, &l), PITH_POST_OK);
  EXPECT_EQ(l.scaled_height, 3);
  // 3 x 2 into 7 x 7: 2 * 7 / 3 = 4.67; 4 x 2 into 5 x 5: 2.5
  ASSERT_EQ(pith_letterbox_fit(3, 2, 7, 7, PITH_FIT_CENTRE, &l), PITH_POST_OK);
  EXPECT_EQ(l.scaled_height, 5);
  ASSERT_EQ(pith_letterbox_fit(4, 2, 5, 5, PITH_FIT_CENTRE, &l), PITH_POST_OK);
  EXPECT_EQ(l.scaled_height, 3);
  // a hair-thin picture keeps one row
  ASSERT_EQ(pith_letterbox_fit(100000, 1, 64, 64, PITH_FIT_CENTRE, &l), PITH_POST_OK);
  EXPECT_EQ(l.scaled_height, 1);
}

TEST(Letterbox, UndoReversesApply) {
  Random random(8);
  for (int round = 0; round < 2000; ++round) {
    const int w = random.integer(1, 5000), h = random.integer(1, 5000);
    const int iw = random.integer(1, 1500), ih = random.integer(1, 1500);
    pith_letterbox l;
    ASSERT_EQ(pith_letterbox_fit(w, h, iw, ih, static_cast<pith_fit>(random.integer(0, 2)), &l), PITH_POST_OK);
    ASSERT_TRUE(l.scaled_width >= 1 && l.left >= 0 && l.left + l.scaled_width <= iw) << w << "x" << h;
    ASSERT_TRUE(l.scaled_height >= 1 && l.top >= 0 && l.top + l.scaled_height <= ih) << w << "x" << h;
    ASSERT_TRUE(l.scaled_width == iw || l.scaled_height == ih);
    pith_box b = {};
    b.x1 = random.uniform(0, static_cast<float>(w));
    b.x2 = random.uniform(b.x1, static_cast<float>(w));
    b.y1 = random.uniform(0, static_cast<float>(h));
    b.y2 = random.uniform(b.y1, static_cast<float>(h));
    pith_box there = b;
    ASSERT_EQ(pith_letterbox_apply(&l, &there, 1), PITH_POST_OK);
    ASSERT_EQ(pith_letterbox_undo(&l, &there, 1), PITH_POST_OK);
    // an ulp at the input's size, magnified by the scale back
    const float tx = 3e-4f * (1.0f + static_cast<float>(w) / static_cast<float>(l.scaled_width));
    const float ty = 3e-4f * (1.0f + static_cast<float>(h) / static_cast<float>(l.scaled_height));
    ASSERT_NEAR(there.x1, b.x1, tx) << "round " << round;
    ASSERT_NEAR(there.x2, b.x2, tx);
    ASSERT_NEAR(there.y1, b.y1, ty);
    ASSERT_NEAR(there.y2, b.y2, ty);
  }
}

TEST(Letterbox, UndoTamesAnyBits) {
  Random random(9);
  pith_letterbox l;
  ASSERT_EQ(pith_letterbox_fit(1 << 20, 1, 1, 1 << 20, PITH_FIT_STRETCH, &l), PITH_POST_OK);
  for (int i = 0; i < 5000; ++i) {
    pith_box b = {random.any_float(), random.any_float(), random.any_float(), random.any_float(), 0.5f, 0, 0};
    ASSERT_EQ(pith_letterbox_undo(&l, &b, 1), PITH_POST_OK);
    ASSERT_TRUE(b.x1 >= 0 && b.x1 <= 1 << 20 && b.x2 >= 0 && b.x2 <= 1 << 20);
    ASSERT_TRUE(b.y1 >= 0 && b.y1 <= 1 && b.y2 >= 0 && b.y2 <= 1);
  }
}

TEST(Letterbox, Refuses) {
  pith_letterbox l;
  EXPECT_EQ(pith_letterbox_fit(0, 1, 1, 1, PITH_FIT_CENTRE, &l), PITH_POST_RANGE);
  EXPECT_EQ(pith_letterbox_fit(1, -1, 1, 1, PITH_FIT_CENTRE, &l), PITH_POST_RANGE);
  EXPECT_EQ(pith_letterbox_fit(1, 1, PITH_MAX_SIDE + 1, 1, PITH_FIT_CENTRE, &l), PITH_POST_RANGE);
  EXPECT_EQ(pith_letterbox_fit(1, 1, 1, INT32_MIN, PITH_FIT_CENTRE, &l), PITH_POST_RANGE);
  EXPECT_EQ(pith_letterbox_fit(1, 1, 1, 1, static_cast<pith_fit>(3), &l), PITH_POST_RANGE);
  EXPECT_EQ(pith_letterbox_fit(1, 1, 1, 1, PITH_FIT_CENTRE, nullptr), PITH_POST_NULL);
  ASSERT_EQ(pith_letterbox_fit(1, 1, 1, 1, PITH_FIT_CENTRE, &l), PITH_POST_OK);
  pith_box b = {};
  EXPECT_EQ(pith_letterbox_undo(nullptr, &b, 1), PITH_POST_NULL);
  EXPECT_EQ(pith_letterbox_undo(&l, nullptr, 1), PITH_POST_NULL);
  EXPECT_EQ(pith_letterbox_undo(&l, nullptr, 0), PITH_POST_OK);
  EXPECT_EQ(pith_letterbox_undo(&l, &b, -1), PITH_POST_RANGE);
  l.scaled_width = 0;
  EXPECT_EQ(pith_letterbox_undo(&l, &b, 1), PITH_POST_RANGE);
  EXPECT_EQ(pith_letterbox_apply(&l, &b, 1), PITH_POST_RANGE);
}

}  // namespace
}  // namespace pith
