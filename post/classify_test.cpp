#include "post/classify.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

pith_tensor_view row(const std::vector<float>& v) {
  const int64_t dims[2] = {1, static_cast<int64_t>(v.size())};
  return pith_view_f32(v.data(), 2, dims);
}

TEST(TopK, ByHand) {
  const std::vector<float> scores = {0.1f, 0.7f, NAN, 0.7f, -INFINITY, 0.2f};
  const pith_tensor_view view = row(scores);
  pith_ranked best[8];
  int32_t found = -1;
  ASSERT_EQ(pith_top_k(&view, 3, best, &found), PITH_POST_OK);
  ASSERT_EQ(found, 3);
  EXPECT_EQ(best[0].index, 1);
  EXPECT_EQ(best[1].index, 3);
  EXPECT_EQ(best[2].index, 5);
  EXPECT_EQ(best[2].value, 0.2f);
  ASSERT_EQ(pith_top_k(&view, 8, best, &found), PITH_POST_OK);
  ASSERT_EQ(found, 5);
  EXPECT_EQ(best[4].index, 4);
}

TEST(TopK, AgreesWithSortingOnRandomRows) {
  Random random(2);
  for (int round = 0; round < 300; ++round) {
    const int n = random.integer(1, 200), k = random.integer(1, 220);
    const std::vector<uint8_t> q = random.bytes(static_cast<size_t>(n));  // many ties
    const int64_t dims[1] = {n};
    const pith_tensor_view view = pith_view_u8(q.data(), 1, dims, 0.1f, random.integer(0, 255));
    std::vector<pith_ranked> best(static_cast<size_t>(k));
    int32_t found = 0;
    ASSERT_EQ(pith_top_k(&view, k, best.data(), &found), PITH_POST_OK);
    std::vector<int> order(static_cast<size_t>(n));
    for (int i = 0; i < n; ++i) order[static_cast<size_t>(i)] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return q[static_cast<size_t>(a)] > q[static_cast<size_t>(b)]; });
    ASSERT_EQ(found, std::min(n, k));
    for (int i = 0; i < found; ++i)
      ASSERT_EQ(best[static_cast<size_t>(i)].index, order[static_cast<size_t>(i)]) << "round " << round;
  }
}

TEST(TopK, Refuses) {
  const std::vector<float> scores(6, NAN);
  const pith_tensor_view view = row(scores);
  pith_ranked best[2];
  int32_t found = -1;
  EXPECT_EQ(pith_top_k(nullptr, 2, best, &found), PITH_POST_NULL);
  EXPECT_EQ(pith_top_k(&view, 2, nullptr, &found), PITH_POST_NULL);
  EXPECT_EQ(pith_top_k(&view, 2, best, nullptr), PITH_POST_NULL);
  EXPECT_EQ(pith_top_k(&view, 0, best, &found), PITH_POST_RANGE);
  EXPECT_EQ(pith_top_k(&view, 2, best, &found), PITH_POST_OK);
  EXPECT_EQ(found, 0);
  const int64_t dims[2] = {2, 3};
  const pith_tensor_view matrix = pith_view_f32(scores.data(), 2, dims);
  EXPECT_EQ(pith_top_k(&matrix, 2, best, &found), PITH_POST_RANK);
}

TEST(Softmax, ByHand) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), std::log(5.0f)};
  const pith_tensor_view view = row(logits);
  float p[3];
  ASSERT_EQ(pith_softmax(&view, p, 3), PITH_POST_OK);
  EXPECT_NEAR(p[0], 0.125f, 1e-6);
  EXPECT_NEAR(p[1], 0.25f, 1e-6);
  EXPECT_NEAR(p[2], 0.625f, 1e-6);
}

TEST(Softmax, LargeInfiniteAndMissingNumbers) {
  float p[4];
  const std::vector<float> large = {3e38f, -3e38f, 3e38f, NAN};
  pith_tensor_view view = row(large);
  ASSERT_EQ(pith_softmax(&view, p, 4), PITH_POST_OK);
  EXPECT_EQ(p[0], 0.5f);
  EXPECT_EQ(p[1], 0.0f);
  EXPECT_EQ(p[2], 0.5f);
  EXPECT_EQ(p[3], 0.0f);
  const std::vector<float> infinite = {1.0f, INFINITY, -INFINITY, INFINITY};
  view = row(infinite);
  ASSERT_EQ(pith_softmax(&view, p, 4), PITH_POST_OK);
  EXPECT_EQ(p[0], 0.0f);
  EXPECT_EQ(p[1], 0.5f);
  EXPECT_EQ(p[2], 0.0f);
  EXPECT_EQ(p[3], 0.5f);
  const std::vector<float> none = {NAN, -INFINITY, 0.0f, 0.0f};  // rows: nothing, then halves
  const int64_t dims[2] = {2, 2};
  view = pith_view_f32(none.data(), 2, dims);
  EXPECT_EQ(pith_softmax(&view, p, 4), PITH_POST_NO_NUMBER);
  EXPECT_EQ(p[0], 0.0f);
  EXPECT_EQ(p[1], 0.0f);
  EXPECT_EQ(p[2], 0.5f);
  EXPECT_EQ(p[3], 0.5f);
}

TEST(Softmax, AgreesWithDoubleOnRandomRowsAndInPlace) {
  Random random(3);
  for (int round = 0; round < 100; ++round) {
    const size_t rows = static_cast<size_t>(random.integer(1, 5)), n = static_cast<size_t>(random.integer(1, 40));
    std::vector<float> x = random.floats(rows * n, -30.0f, 30.0f);
    std::vector<double> expected(x.size());
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (size_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[r * n + i]));
      for (size_t i = 0; i < n; ++i) expected[r * n + i] = std::exp(static_cast<double>(x[r * n + i])) / sum;
    }
    const int64_t dims[3] = {1, static_cast<int64_t>(rows), static_cast<int64_t>(n)};
    const pith_tensor_view view = pith_view_f32(x.data(), 3, dims);
    ASSERT_EQ(pith_softmax(&view, x.data(), x.size()), PITH_POST_OK);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], expected[i], 2e-6) << "round " << round;
  }
}

TEST(Softmax, Refuses) {
  const std::vector<float> x(8);
  float p[8];
  const pith_tensor_view view = row(x);
  EXPECT_EQ(pith_softmax(&view, nullptr, 8), PITH_POST_NULL);
  EXPECT_EQ(pith_softmax(&view, p, 7), PITH_POST_CAPACITY);
  const int64_t dims[3] = {2, 2, 2};
  const pith_tensor_view cube = pith_view_f32(x.data(), 3, dims);
  EXPECT_EQ(pith_softmax(&cube, p, 8), PITH_POST_RANK);
}

TEST(Sigmoid, ByHandAndAtTheEnds) {
  const std::vector<float> x = {0.0f, std::log(3.0f), -std::log(3.0f), 1e30f, -1e30f, INFINITY, -INFINITY, NAN};
  const pith_tensor_view view = row(x);
  float p[8];
  ASSERT_EQ(pith_sigmoid(&view, p, 8), PITH_POST_OK);
  EXPECT_EQ(p[0], 0.5f);
  EXPECT_NEAR(p[1], 0.75f, 1e-6);
  EXPECT_NEAR(p[2], 0.25f, 1e-6);
  EXPECT_EQ(p[3], 1.0f);
  EXPECT_EQ(p[4], 0.0f);
  EXPECT_EQ(p[5], 1.0f);
  EXPECT_EQ(p[6], 0.0f);
  EXPECT_EQ(p[7], 0.0f);
  EXPECT_EQ(pith_sigmoid(&view, p, 7), PITH_POST_CAPACITY);
  EXPECT_EQ(pith_sigmoid(&view, nullptr, 8), PITH_POST_NULL);
}

TEST(Sigmoid, WalksAnyStridesRowMajor) {
  const std::vector<uint8_t> q = {0, 1, 2, 3, 4, 5};
  const int64_t dims[2] = {2, 3};
  const pith_tensor_view view = pith_view_swap(pith_view_u8(q.data(), 2, dims, 1.0f, 2), 0, 1);  // [3, 2]
  float p[6];
  ASSERT_EQ(pith_sigmoid(&view, p, 6), PITH_POST_OK);
  const int order[6] = {0, 3, 1, 4, 2, 5};
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(p[i], 1.0 / (1.0 + std::exp(-(order[i] - 2.0))), 1e-6) << i;
}

}  // namespace
}  // namespace pith
