#include "post/boxes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

pith_box box(float x1, float y1, float x2, float y2, float score = 0.5f, int class_id = 0, int index = 0) {
  return {x1, y1, x2, y2, score, class_id, index};
}

bool before(const pith_box& a, const pith_box& b) {
  if (a.score != b.score) return a.score > b.score;
  if (a.index != b.index) return a.index < b.index;
  return a.class_id < b.class_id;
}

// Few distinct scores, so that ties occur; positions on a coarse grid, so that equal boxes occur.
pith_box random_box(Random& random, int index) {
  const float x = static_cast<float>(random.integer(0, 20)), y = static_cast<float>(random.integer(0, 20));
  const float w = static_cast<float>(random.integer(0, 10)), h = static_cast<float>(random.integer(0, 10));
  return box(x, y, x + w, y + h, static_cast<float>(random.integer(0, 16)) / 16.0f, random.integer(0, 2), index);
}

TEST(BoxList, SizesAndInit) {
  EXPECT_EQ(pith_box_list_scratch_bytes(1000), 28000u);
  EXPECT_EQ(pith_box_list_scratch_bytes(0), 0u);
  EXPECT_EQ(pith_box_list_scratch_bytes(-1), 0u);
  pith_box memory[3];
  pith_box_list list;
  ASSERT_EQ(pith_box_list_init(&list, memory, sizeof memory), PITH_POST_OK);
  EXPECT_EQ(list.capacity, 3);
  EXPECT_EQ(pith_box_list_init(&list, memory, 27), PITH_POST_SCRATCH);
  EXPECT_EQ(pith_box_list_init(&list, reinterpret_cast<char*>(memory) + 1, 56), PITH_POST_SCRATCH);
  EXPECT_EQ(pith_box_list_init(nullptr, memory, 84), PITH_POST_NULL);
  EXPECT_EQ(pith_box_list_init(&list, nullptr, 84), PITH_POST_NULL);
  ASSERT_EQ(pith_box_list_init(&list, memory, std::numeric_limits<size_t>::max()), PITH_POST_OK);
  EXPECT_EQ(list.capacity, INT32_MAX);
}

TEST(BoxList, DropsWhatIsNoBox) {
  pith_box memory[8];
  pith_box_list list;
  ASSERT_EQ(pith_box_list_init(&list, memory, sizeof memory), PITH_POST_OK);
  for (const pith_box& bad : {box(NAN, 0, 1, 1), box(0, INFINITY, 1, 1), box(0, 0, -INFINITY, 1), box(0, 0, 1, 2e9f),
                              box(2, 0, 1, 1), box(0, 2, 1, 1), box(0, 0, 1, 1, NAN), box(0, 0, 1, 1, INFINITY)}) {
    EXPECT_EQ(pith_box_list_add(&list, bad), PITH_POST_OK);
  }
  EXPECT_EQ(list.count, 0);
  EXPECT_EQ(list.lost, 0);
  EXPECT_EQ(pith_box_list_add(&list, box(1, 1, 1, 1)), PITH_POST_OK);
  EXPECT_EQ(list.count, 1);
}

TEST(BoxList, AFullListHoldsTheFirstOfAllWhateverTheOrder) {
  Random random(4);
  for (int round = 0; round < 300; ++round) {
    const int n = random.integer(1, 120), capacity = random.integer(1, 60);
    std::vector<pith_box> all;
    for (int i = 0; i < n; ++i) all.push_back(random_box(random, i));
    for (int i = n - 1; i > 0; --i)
      std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(random.integer(0, i))]);
    std::vector<pith_box> memory(static_cast<size_t>(capacity));
    pith_box_list list;
    ASSERT_EQ(pith_box_list_init(&list, memory.data(), memory.size() * sizeof(pith_box)), PITH_POST_OK);
    for (const pith_box& b : all) ASSERT_EQ(pith_box_list_add(&list, b), PITH_POST_OK);
    std::sort(all.begin(), all.end(), before);
    ASSERT_EQ(list.count, std::min(n, capacity));
    ASSERT_EQ(list.lost, n - list.count);
    std::sort(list.boxes, list.boxes + list.count, before);
    for (int i = 0; i < list.count; ++i)
      ASSERT_EQ(list.boxes[i].index, all[static_cast<size_t>(i)].index) << "round " << round;
  }
}

TEST(Iou, ByHand) {
  const pith_box a = box(0, 0, 2, 2), b = box(1, 1, 3, 3), c = box(2, 0, 4, 2), line = box(0, 0, 2, 0);
  EXPECT_NEAR(pith_box_iou(&a, &b), 1.0f / 7.0f, 1e-7);
  EXPECT_EQ(pith_box_iou(&a, &a), 1.0f);
  EXPECT_EQ(pith_box_iou(&a, &c), 0.0f);
  EXPECT_EQ(pith_box_iou(&a, &line), 0.0f);
  EXPECT_EQ(pith_box_iou(&line, &line), 0.0f);
  EXPECT_EQ(pith_box_iou(&a, nullptr), 0.0f);
  const pith_box nan = box(NAN, 0, 2, 2), huge = box(-3e38f, -3e38f, 3e38f, 3e38f), turned = box(2, 2, 0, 0);
  EXPECT_EQ(pith_box_iou(&a, &nan), 0.0f);
  EXPECT_EQ(pith_box_iou(&huge, &huge), 0.0f);
  EXPECT_EQ(pith_box_iou(&turned, &a), 0.0f);
}

// The textbook form: take the best, strike out what it overlaps, go on.
std::vector<pith_box> struck_out(std::vector<pith_box> boxes, const pith_nms_params& params) {
  std::vector<pith_box> sorted, kept;
  for (const pith_box& b : boxes) {
    if (b.score > params.score_threshold) sorted.push_back(b);
  }
  std::sort(sorted.begin(), sorted.end(), before);
  std::vector<bool> out(sorted.size());
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (out[i]) continue;
    kept.push_back(sorted[i]);
    for (size_t j = i + 1; j < sorted.size(); ++j) {
      const pith_box &a = sorted[i], &b = sorted[j];
      if (!params.class_agnostic && a.class_id != b.class_id) continue;
      const double w = std::max(0.0, std::min<double>(a.x2, b.x2) - std::max<double>(a.x1, b.x1));
      const double h = std::max(0.0, std::min<double>(a.y2, b.y2) - std::max<double>(a.y1, b.y1));
      const double area = (static_cast<double>(a.x2) - a.x1) * (static_cast<double>(a.y2) - a.y1) +
                          (static_cast<double>(b.x2) - b.x1) * (static_cast<double>(b.y2) - b.y1) - w * h;
      if (w * h > static_cast<double>(params.iou_threshold) * area) out[j] = true;
    }
  }
  if (kept.size() > static_cast<size_t>(params.max_detections)) kept.resize(static_cast<size_t>(params.max_detections));
  return kept;
}

TEST(Nms, AgreesWithStrikingOutOnRandomBoxes) {
  Random random(5);
  int suppressed = 0;
  for (int round = 0; round < 600; ++round) {
    std::vector<pith_box> boxes;
    const int n = random.integer(1, 150);
    for (int i = 0; i < n; ++i) boxes.push_back(random_box(random, i));
    pith_nms_params params = pith_nms_defaults();
    params.iou_threshold = static_cast<float>(random.integer(0, 32)) / 32.0f;  // exact in float and double
    params.score_threshold = static_cast<float>(random.integer(0, 8)) / 16.0f;
    params.max_detections = random.integer(0, 1) ? 300 : random.integer(1, 20);
    params.class_agnostic = random.integer(0, 1);
    const std::vector<pith_box> expected = struck_out(boxes, params);
    pith_box_list list = {boxes.data(), n, n, 0};
    ASSERT_EQ(pith_nms(&params, &list), PITH_POST_OK);
    ASSERT_EQ(list.count, static_cast<int32_t>(expected.size())) << "round " << round;
    for (int i = 0; i < list.count; ++i) {
      ASSERT_EQ(list.boxes[i].index, expected[static_cast<size_t>(i)].index) << "round " << round << " at " << i;
    }
    suppressed += n - list.count;
  }
  EXPECT_GT(suppressed, 1000);
}

TEST(Nms, ByHand) {
  // b overlaps a by 1/3, c is a's twin of another class, d has no area, e is too faint
  std::vector<pith_box> boxes = {box(2, 0, 6, 4, 0.8f, 0, 1), box(0, 0, 4, 4, 0.9f, 0, 0), box(0, 0, 4, 4, 0.7f, 1, 2),
                                 box(1, 1, 1, 3, 0.6f, 0, 3), box(9, 9, 10, 10, 0.1f, 0, 4)};
  const auto survivors = [&](float iou, int agnostic) {
    std::vector<pith_box> copy = boxes;
    pith_box_list list = {copy.data(), 5, 5, 0};
    const pith_nms_params params = {iou, 0.2f, 10, agnostic};
    EXPECT_EQ(pith_nms(&params, &list), PITH_POST_OK);
    std::vector<int> indices;
    for (int i = 0; i < list.count; ++i) indices.push_back(list.boxes[i].index);
    return indices;
  };
  EXPECT_EQ(survivors(0.25f, 0), (std::vector<int>{0, 2, 3}));
  EXPECT_EQ(survivors(0.50f, 0), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(survivors(0.50f, 1), (std::vector<int>{0, 1, 3}));
  EXPECT_EQ(survivors(1.00f, 1), (std::vector<int>{0, 1, 2, 3}));
}

TEST(Nms, AnIouOfExactlyTheThresholdStays) {
  std::vector<pith_box> boxes = {box(0, 0, 4, 4, 0.9f, 0, 0), box(0, 0, 2, 4, 0.8f, 0, 1)};  // IoU 1/2
  pith_box_list list = {boxes.data(), 2, 2, 0};
  const pith_nms_params params = {0.5f, 0.0f, 10, 0};
  ASSERT_EQ(pith_nms(&params, &list), PITH_POST_OK);
  EXPECT_EQ(list.count, 2);
}

TEST(Nms, TiesGoToTheLowerIndexThenTheLowerClass) {
  std::vector<pith_box> boxes = {box(0, 0, 1, 1, 0.5f, 2, 7), box(0, 0, 1, 1, 0.5f, 1, 7), box(0, 0, 1, 1, 0.5f, 3, 6)};
  pith_box_list list = {boxes.data(), 3, 3, 0};
  const pith_nms_params params = pith_nms_defaults();
  ASSERT_EQ(pith_nms(&params, &list), PITH_POST_OK);
  ASSERT_EQ(list.count, 3);
  EXPECT_EQ(list.boxes[0].class_id, 3);
  EXPECT_EQ(list.boxes[1].class_id, 1);
  EXPECT_EQ(list.boxes[2].class_id, 2);
}

TEST(Nms, OrderOfArrivalDoesNotMatter) {
  Random random(6);
  std::vector<pith_box> boxes;
  for (int i = 0; i < 200; ++i) boxes.push_back(random_box(random, i));
  std::vector<int> first;
  for (int round = 0; round < 20; ++round) {
    for (int i = 199; i > 0; --i)
      std::swap(boxes[static_cast<size_t>(i)], boxes[static_cast<size_t>(random.integer(0, i))]);
    std::vector<pith_box> memory(200);
    pith_box_list list;
    ASSERT_EQ(pith_box_list_init(&list, memory.data(), memory.size() * sizeof(pith_box)), PITH_POST_OK);
    for (const pith_box& b : boxes) ASSERT_EQ(pith_box_list_add(&list, b), PITH_POST_OK);
    const pith_nms_params params = pith_nms_defaults();
    ASSERT_EQ(pith_nms(&params, &list), PITH_POST_OK);
    std::vector<int> indices;
    for (int i = 0; i < list.count; ++i) indices.push_back(list.boxes[i].index);
    if (round == 0) first = indices;
    ASSERT_EQ(indices, first);
  }
}

TEST(Nms, SurvivesAnyBits) {
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<pith_box> boxes;
    for (int i = 0; i < 64; ++i) {
      boxes.push_back(box(random.any_float(), random.any_float(), random.any_float(), random.any_float(),
                          random.any_float(), random.integer(INT32_MIN, INT32_MAX),
                          random.integer(INT32_MIN, INT32_MAX)));
    }
    pith_box_list list = {boxes.data(), 64, 64, 0};
    const pith_nms_params params = pith_nms_defaults();
    ASSERT_EQ(pith_nms(&params, &list), PITH_POST_OK);
    for (int i = 0; i < list.count; ++i) {
      const pith_box& b = list.boxes[i];
      ASSERT_TRUE(b.x1 <= b.x2 && b.y1 <= b.y2 && b.score > 0.0f && std::isfinite(b.score));
      ASSERT_TRUE(std::fabs(b.x1) <= PITH_BOX_LIMIT && std::fabs(b.y2) <= PITH_BOX_LIMIT);
      ASSERT_TRUE(i == 0 || list.boxes[i - 1].score >= b.score);
    }
  }
}

TEST(Nms, Refuses) {
  pith_box memory[2];
  pith_box_list list = {memory, 2, 0, 0};
  pith_nms_params good = pith_nms_defaults();
  EXPECT_EQ(pith_nms(&good, &list), PITH_POST_OK);
  EXPECT_EQ(list.count, 0);
  EXPECT_EQ(pith_nms(nullptr, &list), PITH_POST_NULL);
  EXPECT_EQ(pith_nms(&good, nullptr), PITH_POST_NULL);
  const auto with = [&](auto change) {
    pith_nms_params p = good;
    change(p);
    return pith_nms(&p, &list);
  };
  EXPECT_EQ(with([](auto& p) { p.iou_threshold = NAN; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.iou_threshold = 1.5f; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.score_threshold = -0.1f; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.max_detections = 0; }), PITH_POST_RANGE);
  for (const pith_box_list& broken : {pith_box_list{memory, 2, 3, 0}, {memory, 2, -1, 0}, {memory, 0, 0, 0}}) {
    pith_box_list copy = broken;
    EXPECT_EQ(pith_nms(&good, &copy), PITH_POST_RANGE);
    EXPECT_EQ(pith_box_list_add(&copy, box(0, 0, 1, 1)), PITH_POST_RANGE);
  }
  pith_box_list no_memory = {nullptr, 2, 0, 0};
  EXPECT_EQ(pith_nms(&good, &no_memory), PITH_POST_NULL);
}

}  // namespace
}  // namespace pith
