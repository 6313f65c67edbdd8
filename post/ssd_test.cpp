#include "post/ssd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

TEST(Ssd, UltraFaceByHand) {
  const float scores[3][2] = {{0.1f, 0.9f}, {0.8f, 0.2f}, {0.5f, 0.5f}};  // background, face
  const float corners[3][4] = {{0.25f, 0.5f, 0.75f, 1.0f}, {0, 0, 1, 1}, {0, 0, 1, 1}};
  const int64_t sd[3] = {1, 3, 2}, bd[3] = {1, 3, 4};
  const pith_tensor_view s = pith_view_f32(scores[0], 3, sd), b = pith_view_f32(corners[0], 3, bd);
  pith_ssd_params params = pith_ssd_defaults();
  params.scale_x = 320, params.scale_y = 240;
  pith_box memory[4];
  pith_box_list list;
  ASSERT_EQ(pith_box_list_init(&list, memory, sizeof memory), PITH_POST_OK);
  ASSERT_EQ(pith_decode_ssd(&s, &b, &params, &list), PITH_POST_OK);
  ASSERT_EQ(list.count, 1);
  EXPECT_EQ(memory[0].x1, 80.0f);
  EXPECT_EQ(memory[0].y1, 120.0f);
  EXPECT_EQ(memory[0].x2, 240.0f);
  EXPECT_EQ(memory[0].y2, 240.0f);
  EXPECT_EQ(memory[0].score, 0.9f);
  EXPECT_EQ(memory[0].class_id, 0);
  EXPECT_EQ(memory[0].index, 0);

  params.order = PITH_CORNERS_YXYX;
  pith_box_list_clear(&list);
  ASSERT_EQ(pith_decode_ssd(&s, &b, &params, &list), PITH_POST_OK);
  EXPECT_EQ(memory[0].x1, 160.0f);
  EXPECT_EQ(memory[0].y1, 60.0f);
  EXPECT_EQ(memory[0].x2, 320.0f);
  EXPECT_EQ(memory[0].y2, 180.0f);
}

TEST(Ssd, AgreesWithTheDefinitionOnRandomScores) {
  Random random(50);
  size_t compared = 0;
  for (int round = 0; round < 200; ++round) {
    const int n = random.integer(1, 40), classes = random.integer(2, 6);
    const std::vector<uint8_t> q = random.bytes(static_cast<size_t>(n * classes));
    std::vector<float> corners = random.floats(static_cast<size_t>(n * 4), 0.0f, 0.5f);
    for (size_t i = 2; i < corners.size(); i += 4) corners[i] += 0.5f, corners[i + 1] += 0.5f;
    const int64_t sd[2] = {n, classes}, bd[2] = {n, 4};
    const pith_tensor_view s = pith_view_u8(q.data(), 2, sd, 1.0f / 255.0f, 0),
                           b = pith_view_f32(corners.data(), 2, bd);
    pith_ssd_params params = pith_ssd_defaults();
    params.background = random.integer(-1, classes - 1);
    params.multi_label = random.integer(0, 1);
    params.score_threshold = static_cast<float>(random.integer(0, 10)) / 10.0f;
    std::vector<pith_box> memory(static_cast<size_t>(n * classes));
    pith_box_list list;
    ASSERT_EQ(pith_box_list_init(&list, memory.data(), memory.size() * sizeof(pith_box)), PITH_POST_OK);
    ASSERT_EQ(pith_decode_ssd(&s, &b, &params, &list), PITH_POST_OK);

    std::vector<std::pair<int, int>> expected, got;  // prior, class
    for (int i = 0; i < n; ++i) {
      std::vector<int> candidates;
      int number = 0;
      for (int c = 0; c < classes; ++c) {
        if (c == params.background) continue;
        const float score = 1.0f / 255.0f * q[static_cast<size_t>(i * classes + c)];
        if (score > params.score_threshold) candidates.push_back(c * 16 + number);
        ++number;
      }
      std::stable_sort(candidates.begin(), candidates.end(), [&](int x, int y) {
        return q[static_cast<size_t>(i * classes + x / 16)] > q[static_cast<size_t>(i * classes + y / 16)];
      });
      if (!params.multi_label && candidates.size() > 1) candidates.erase(candidates.begin() + 1, candidates.end());
      for (const int c : candidates) expected.emplace_back(i, c % 16);
    }
    for (int i = 0; i < list.count; ++i) {
      got.emplace_back(list.boxes[i].index, list.boxes[i].class_id);
      ASSERT_EQ(list.boxes[i].x1, corners[static_cast<size_t>(list.boxes[i].index) * 4]);
      ASSERT_EQ(list.boxes[i].y2, corners[static_cast<size_t>(list.boxes[i].index) * 4 + 3]);
    }
    std::sort(expected.begin(), expected.end());
    std::sort(got.begin(), got.end());
    ASSERT_EQ(got, expected) << "round " << round;
    compared += got.size();
  }
  EXPECT_GT(compared, 1000u);
}

TEST(Ssd, SurvivesAnyBits) {
  Random random(51);
  std::vector<float> scores(300), corners(400);
  for (float& v : scores) v = random.any_float();
  for (float& v : corners) v = random.any_float();
  const int64_t sd[2] = {100, 3}, bd[2] = {100, 4};
  const pith_tensor_view s = pith_view_f32(scores.data(), 2, sd), b = pith_view_f32(corners.data(), 2, bd);
  pith_box memory[16];
  pith_box_list list;
  ASSERT_EQ(pith_box_list_init(&list, memory, sizeof memory), PITH_POST_OK);
  const pith_ssd_params params = pith_ssd_defaults();
  ASSERT_EQ(pith_decode_ssd(&s, &b, &params, &list), PITH_POST_OK);
  for (int i = 0; i < list.count; ++i) {
    ASSERT_TRUE(std::isfinite(memory[i].score) && memory[i].x1 <= memory[i].x2 && memory[i].y1 <= memory[i].y2);
  }
}

TEST(Ssd, Refuses) {
  const float data[16] = {};
  const int64_t sd[2] = {2, 3}, bd[2] = {2, 4}, three[2] = {3, 4}, five[2] = {2, 5}, one[2] = {2, 1}, flat[1] = {8};
  const pith_tensor_view s = pith_view_f32(data, 2, sd), b = pith_view_f32(data, 2, bd);
  pith_box memory[2];
  pith_box_list list;
  ASSERT_EQ(pith_box_list_init(&list, memory, sizeof memory), PITH_POST_OK);
  pith_ssd_params params = pith_ssd_defaults();
  EXPECT_EQ(pith_decode_ssd(&s, &b, &params, &list), PITH_POST_OK);
  EXPECT_EQ(pith_decode_ssd(nullptr, &b, &params, &list), PITH_POST_NULL);
  EXPECT_EQ(pith_decode_ssd(&s, nullptr, &params, &list), PITH_POST_NULL);
  EXPECT_EQ(pith_decode_ssd(&s, &b, nullptr, &list), PITH_POST_NULL);
  EXPECT_EQ(pith_decode_ssd(&s, &b, &params, nullptr), PITH_POST_NULL);
  const pith_tensor_view more = pith_view_f32(data, 2, three), wide = pith_view_f32(data, 2, five),
                         lone = pith_view_f32(data, 2, one), line = pith_view_f32(data, 1, flat);
  EXPECT_EQ(pith_decode_ssd(&s, &more, &params, &list), PITH_POST_SHAPE);
  EXPECT_EQ(pith_decode_ssd(&s, &wide, &params, &list), PITH_POST_SHAPE);
  EXPECT_EQ(pith_decode_ssd(&lone, &b, &params, &list), PITH_POST_SHAPE);
  EXPECT_EQ(pith_decode_ssd(&s, &line, &params, &list), PITH_POST_RANK);
  const auto with = [&](auto change) {
    pith_ssd_params p = params;
    change(p);
    return pith_decode_ssd(&s, &b, &p, &list);
  };
  EXPECT_EQ(with([](auto& p) { p.score_threshold = NAN; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.background = 3; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.background = -2; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.scale_x = -1; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.scale_y = NAN; }), PITH_POST_RANGE);
}

}  // namespace
}  // namespace pith
