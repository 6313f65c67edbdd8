#include "post/segment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

TEST(LabelMap, ByHand) {
  const float scores[2][2][2] = {{{0.1f, 0.5f}, {NAN, NAN}}, {{0.2f, 0.5f}, {-1.0f, NAN}}};
  const int64_t dims[4] = {1, 2, 2, 2};
  const pith_tensor_view view = pith_view_f32(scores[0][0], 4, dims);
  uint8_t labels[4];
  ASSERT_EQ(pith_label_map(&view, labels, 4), PITH_POST_OK);
  EXPECT_EQ(labels[0], 1);
  EXPECT_EQ(labels[1], 0);  // a tie
  EXPECT_EQ(labels[2], 1);
  EXPECT_EQ(labels[3], 0);  // nothing but NaN
  uint32_t counts[256];
  ASSERT_EQ(pith_label_histogram(labels, 4, counts), PITH_POST_OK);
  EXPECT_EQ(counts[0], 2u);
  EXPECT_EQ(counts[1], 2u);
  EXPECT_EQ(counts[2], 0u);
}

TEST(LabelMap, AgreesWithTheDefinitionInBothLayouts) {
  Random random(70);
  for (int round = 0; round < 60; ++round) {
    const int c = random.integer(1, 256), h = random.integer(1, 9), w = random.integer(1, 9);
    const std::vector<uint8_t> q = random.bytes(static_cast<size_t>(c * h * w));
    std::vector<int8_t> last(q.size());  // channels last, and signed
    std::vector<uint8_t> expected;
    for (int p = 0; p < h * w; ++p) {
      int best = 0;
      for (int k = 0; k < c; ++k) {
        const uint8_t value = q[static_cast<size_t>(k * h * w + p)];
        if (value > q[static_cast<size_t>(best * h * w + p)]) best = k;
        last[static_cast<size_t>(p * c + k)] = static_cast<int8_t>(value - 128);
      }
      expected.push_back(static_cast<uint8_t>(best));
    }
    const int64_t chw[3] = {c, h, w}, hwc[3] = {h, w, c};
    const pith_tensor_view first = pith_view_u8(q.data(), 3, chw, 0.1f, 3);
    const pith_tensor_view second =
        pith_view_swap(pith_view_swap(pith_view_i8(last.data(), 3, hwc, 0.1f, 3), 1, 2), 0, 1);
    std::vector<uint8_t> labels(expected.size());
    ASSERT_EQ(pith_label_map(&first, labels.data(), labels.size()), PITH_POST_OK);
    ASSERT_EQ(labels, expected) << "round " << round;
    ASSERT_EQ(pith_label_map(&second, labels.data(), labels.size()), PITH_POST_OK);
    ASSERT_EQ(labels, expected) << "round " << round;
  }
}

TEST(BinaryMap, ByHand) {
  const float scores[4] = {0.4f, 0.5f, 0.6f, NAN};
  const int64_t dims[3] = {1, 2, 2};
  const pith_tensor_view view = pith_view_f32(scores, 3, dims);
  uint8_t labels[4];
  ASSERT_EQ(pith_binary_map(&view, 0.5f, labels, 4), PITH_POST_OK);
  EXPECT_EQ(labels[0], 0);
  EXPECT_EQ(labels[1], 0);
  EXPECT_EQ(labels[2], 1);
  EXPECT_EQ(labels[3], 0);
}

TEST(LabelMap, Refuses) {
  const std::vector<float> data(257 * 4);
  const int64_t good[3] = {2, 2, 2}, many[3] = {257, 2, 2}, batch[4] = {2, 2, 2, 2}, flat[1] = {8};
  uint8_t labels[8];
  const pith_tensor_view view = pith_view_f32(data.data(), 3, good), wide = pith_view_f32(data.data(), 3, many),
                         two = pith_view_f32(data.data(), 4, batch), line = pith_view_f32(data.data(), 1, flat);
  EXPECT_EQ(pith_label_map(nullptr, labels, 4), PITH_POST_NULL);
  EXPECT_EQ(pith_label_map(&view, nullptr, 4), PITH_POST_NULL);
  EXPECT_EQ(pith_label_map(&view, labels, 3), PITH_POST_CAPACITY);
  EXPECT_EQ(pith_label_map(&wide, labels, 8), PITH_POST_SHAPE);
  EXPECT_EQ(pith_label_map(&two, labels, 8), PITH_POST_RANK);
  EXPECT_EQ(pith_label_map(&line, labels, 8), PITH_POST_RANK);
  EXPECT_EQ(pith_binary_map(&view, 0.5f, labels, 8), PITH_POST_RANK);
  const pith_tensor_view plane = pith_view_at(view, 0, 1);
  EXPECT_EQ(pith_binary_map(&plane, NAN, labels, 8), PITH_POST_RANGE);
  EXPECT_EQ(pith_binary_map(&plane, 0.5f, labels, 3), PITH_POST_CAPACITY);
  EXPECT_EQ(pith_binary_map(&plane, 0.5f, nullptr, 8), PITH_POST_NULL);
  uint32_t counts[256];
  EXPECT_EQ(pith_label_histogram(nullptr, 1, counts), PITH_POST_NULL);
  EXPECT_EQ(pith_label_histogram(labels, 1, nullptr), PITH_POST_NULL);
}

}  // namespace
}  // namespace pith
