// COCO's score and the plain metrics.
#include <gtest/gtest.h>

#include <cmath>

#include "data/coco.h"
#include "data/metrics.h"
#include "data/test_files.h"

namespace pith {
namespace {

// Two pictures, two categories; box areas are those of the boxes.
CocoTruth truth_of(const std::vector<CocoBox>& boxes) {
  CocoTruth t;
  t.images = {{1, "a.jpg", 100, 100}, {2, "b.jpg", 100, 100}};
  t.categories = {{10, "cat"}, {20, "dog"}};
  t.boxes = boxes;
  for (CocoBox& b : t.boxes) b.area = b.width * b.height;
  return t;
}

CocoScores scores(const CocoTruth& truth, const std::vector<CocoDetection>& found) {
  return evaluate_coco(truth, found).value();
}

TEST(Coco, PerfectDetectionsScoreOne) {
  const CocoTruth t = truth_of({{1, 10, 0, 0, 10, 10}, {2, 10, 5, 5, 20, 20}, {1, 20, 50, 50, 9, 9}});
  const CocoScores s = scores(t, {{1, 10, 0, 0, 10, 10, 0.9}, {2, 10, 5, 5, 20, 20, 0.8}, {1, 20, 50, 50, 9, 9, 0.7}});
  EXPECT_NEAR(s.ap, 1, 1e-12);
  EXPECT_NEAR(s.ap50, 1, 1e-12);
  EXPECT_NEAR(s.recall, 1, 1e-12);
}

TEST(Coco, HalfFoundAtFullPrecision) {
  // 1 of 2 boxes found: recall reaches .5, and 51 of the 101 recall points are at or below it.
  const CocoTruth t = truth_of({{1, 10, 0, 0, 10, 10}, {2, 10, 0, 0, 10, 10}});
  const CocoScores s = scores(t, {{1, 10, 0, 0, 10, 10, 0.9}});
  EXPECT_NEAR(s.ap, 51.0 / 101, 1e-12);
  EXPECT_NEAR(s.recall, 0.5, 1e-12);
  EXPECT_EQ(s.category_ap.at(1), -1);  // no dogs to find
}

TEST(Coco, ThresholdsDecide) {
  // overlap of 10x10 with 10x8 inside it: exactly .8, which counts from .5 up to and including .8: 7 of 10 thresholds
  const CocoTruth t = truth_of({{1, 10, 0, 0, 10, 10}});
  const CocoScores s = scores(t, {{1, 10, 0, 0, 10, 8, 0.9}});
  EXPECT_NEAR(s.ap, 0.7, 1e-12);
  EXPECT_NEAR(s.ap75, 1, 1e-12);
  EXPECT_NEAR(scores(t, {{1, 10, 0, 0, 10, 4.9, 0.9}}).ap, 0, 1e-12);
}

TEST(Coco, DoublesAreWrongAndRanksMatter) {
  const CocoTruth t = truth_of({{1, 10, 0, 0, 10, 10}});
  // the double comes after the match: precision at full recall is still 1
  EXPECT_NEAR(scores(t, {{1, 10, 0, 0, 10, 10, 0.9}, {1, 10, 0, 0, 10, 10, 0.8}}).ap, 1, 1e-12);
  // a better-scored miss comes first: precision 1/2 everywhere
  EXPECT_NEAR(scores(t, {{1, 10, 50, 50, 10, 10, 0.95}, {1, 10, 0, 0, 10, 10, 0.9}}).ap, 0.5, 1e-12);
}

TEST(Coco, CrowdsAreNeitherRightNorWrong) {
  CocoTruth t = truth_of({{1, 10, 0, 0, 10, 10}, {1, 10, 40, 40, 50, 50}});
  const std::vector<CocoDetection> found = {
      {1, 10, 41, 41, 5, 5, 0.99}, {1, 10, 60, 60, 8, 8, 0.98}, {1, 10, 0, 0, 10, 10, 0.5}};
  EXPECT_LT(scores(t, found).ap, 0.5);
  t.boxes[1].crowd = true;  // both small boxes inside it are now ignored
  EXPECT_NEAR(scores(t, found).ap, 1, 1e-12);
  const CocoTruth only = [&] {
    CocoTruth c = t;
    c.boxes.erase(c.boxes.begin());
    return c;
  }();
  EXPECT_EQ(scores(only, found).ap, -1);
}

TEST(Coco, AtMostAHundredPerPicture) {
  std::vector<CocoDetection> found;
  for (int i = 0; i < 100; ++i) found.push_back({1, 10, 50, 50, 3, 3, 0.9});
  found.push_back({1, 10, 0, 0, 10, 10, 0.1});
  const CocoTruth t = truth_of({{1, 10, 0, 0, 10, 10}});
  EXPECT_EQ(scores(t, found).recall, 0);
  found.erase(found.begin());
  EXPECT_NEAR(scores(t, found).recall, 1, 1e-12);
}

TEST(Coco, WrongInputIsSaid) {
  const CocoTruth t = truth_of({{1, 10, 0, 0, 10, 10}});
  expect_error(evaluate_coco(t, std::vector<CocoDetection>{{3, 10, 0, 0, 1, 1, 1}}), "picture 3");
  expect_error(evaluate_coco(t, std::vector<CocoDetection>{{1, 10, 0, 0, 1, 1, NAN}}), "finite");
  EXPECT_EQ(scores(t, {{1, 99, 0, 0, 10, 10, 1}}).ap, 0);  // an unknown category isn't counted
}

TEST(CocoJson, ReadsInstances) {
  const auto t = parse_coco(
      R"({"images": [{"id": 7, "file_name": "val/b.jpg", "width": 4, "height": 3}, {"id": 2, "file_name": "a.jpg"}],
    "categories": [{"id": 3, "name": "cat"}],
    "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2.5, 3, 4], "area": 6.5, "iscrowd": 1}]})",
      "t.json");
  ASSERT_TRUE(t.ok()) << t.error().message;
  EXPECT_EQ(t->images[0].id, 2);
  EXPECT_EQ(t->find_image("elsewhere/b.jpg")->id, 7);
  EXPECT_EQ(t->find_image("c.jpg"), nullptr);
  EXPECT_EQ(t->boxes[0].y, 2.5);
  EXPECT_EQ(t->boxes[0].area, 6.5);
  EXPECT_TRUE(t->boxes[0].crowd);
}

TEST(CocoJson, HostileFilesAreRefused) {
  const auto parse = [](const std::string& text) { return parse_coco(text, "t.json"); };
  expect_error(parse(""), "valid JSON");
  expect_error(parse("[1, 2"), "valid JSON");
  expect_error(parse("[]"), "images");
  expect_error(parse(R"({"images": 1, "annotations": [], "categories": []})"), "images");
  expect_error(parse(R"({"images": [3], "annotations": [], "categories": []})"), "images[0]");
  expect_error(parse(R"({"images": [{"id": "x", "file_name": "y"}], "annotations": [], "categories": []})"),
               "images[0]");
  expect_error(parse(R"({"images": [{"id": 1e300, "file_name": "y"}], "annotations": [], "categories": []})"),
               "images[0]");
  expect_error(
      parse(
          R"({"images": [{"id": 1, "file_name": "x"}, {"id": 1, "file_name": "y"}], "annotations": [], "categories": []})"),
      "twice");
  expect_error(
      parse(R"({"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2]}], "categories": []})"),
      "annotations[0]");
  expect_error(
      parse(
          R"({"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, null, 3]}], "categories": []})"),
      "bbox");
  expect_error(parse(R"({"images": [], "annotations": [], "categories": [{"id": 1}]})"), "categories[0]");
  EXPECT_FALSE(parse(std::string(100000, '[')).ok());
}

TEST(CocoJson, ResultsRoundTrip) {
  const std::vector<CocoDetection> found = {{1, 10, 0.1, 2, 3.25, 4, 0.3}, {2, 20, -1, 0, 1e-7, 5, 1}};
  const auto back = parse_coco_results(format_coco_results(found), "r.json");
  ASSERT_TRUE(back.ok()) << back.error().message;
  ASSERT_EQ(back->size(), 2u);
  EXPECT_EQ(back->at(0).x, 0.1);
  EXPECT_EQ(back->at(1).width, 1e-7);
  EXPECT_EQ(back->at(1).category_id, 20);
  EXPECT_TRUE(parse_coco_results(format_coco_results({}), "r.json").value().empty());
  expect_error(parse_coco_results("{}", "r.json"), "r.json");
  expect_error(parse_coco_results(R"([{"image_id": 1}])", "r.json"), "detections[0]");
}

TEST(Metrics, TopKAndTies) {
  const std::vector<float> v = {1, 5, 5, NAN, -2};
  EXPECT_EQ(argmax(v), 1u);
  EXPECT_EQ(top_k(v, 3), (std::vector<size_t>{1, 2, 0}));
  EXPECT_EQ(top_k(v, 9).back(), 3u);  // NaN last
  EXPECT_TRUE(in_top_k(v, 1, 1));
  EXPECT_FALSE(in_top_k(v, 2, 1));
  EXPECT_TRUE(in_top_k(v, 2, 2));
  EXPECT_FALSE(in_top_k(v, -1, 5));
  EXPECT_FALSE(in_top_k(v, 5, 5));
  EXPECT_EQ(argmax(std::vector<float>{NAN, -1}), 1u);
  EXPECT_EQ(argmax({}), 0u);
  Accuracy a;
  a.add(v, 1);
  a.add(v, 2);
  EXPECT_EQ(a.top1_percent(), 50);
  EXPECT_EQ(a.top5_percent(), 100);
}

TEST(Metrics, Auc) {
  EXPECT_EQ(auc(std::vector<float>{1, 2, 3, 4}, std::vector<uint8_t>{0, 0, 1, 1}), 1);
  EXPECT_EQ(auc(std::vector<float>{4, 3, 2, 1}, std::vector<uint8_t>{0, 0, 1, 1}), 0);
  EXPECT_EQ(auc(std::vector<float>{1, 1, 1, 1}, std::vector<uint8_t>{0, 1, 0, 1}), 0.5);
  // pairs: 2>1, 2=2 (half), 3>1, 3>2
  EXPECT_EQ(auc(std::vector<float>{1, 2, 2, 3}, std::vector<uint8_t>{0, 0, 1, 1}), 3.5 / 4);
  EXPECT_EQ(auc(std::vector<float>{NAN, 1}, std::vector<uint8_t>{0, 1}), 1);
  EXPECT_EQ(auc(std::vector<float>{1}, std::vector<uint8_t>{1}), -1);
}

TEST(Metrics, Nearness) {
  const std::vector<float> a = {3, 4}, b = {3, 4.05f}, zero = {0, 0};
  EXPECT_NEAR(relative_error(b, a), 0.01, 1e-6);
  EXPECT_NEAR(sqnr_db(b, a), 40, 1e-4);
  EXPECT_NEAR(max_abs_error(b, a), 0.05, 1e-6);
  EXPECT_EQ(relative_error(a, a), 0);
  EXPECT_EQ(sqnr_db(a, a), 200);
  EXPECT_EQ(cosine_similarity(zero, zero), 1);
  EXPECT_EQ(cosine_similarity(a, zero), 0);
  EXPECT_NEAR(cosine_similarity(std::vector<float>{-6, -8}, a), -1, 1e-12);
  EXPECT_TRUE(std::isinf(relative_error(a, zero)));
  EXPECT_TRUE(std::isnan(max_abs_error(std::vector<float>{NAN, 4}, a)));
}

TEST(Metrics, Divergence) {
  const std::vector<float> p = {0.5f, 0.5f}, q = {0.25f, 0.75f};
  const double expected = 0.5 * std::log(0.5 / 0.25) + 0.5 * std::log(0.5 / 0.75);
  EXPECT_NEAR(kl_from_probabilities(q, p), expected, 1e-7);
  EXPECT_EQ(kl_from_probabilities(p, p), 0);
  const std::vector<float> lp = {0, 0}, lq = {1000, 1000 + std::log(3.0f)};  // far from zero: no overflow
  EXPECT_NEAR(kl_from_logits(lq, lp), expected, 1e-4);
  EXPECT_NEAR(kl_from_logits(lp, lp), 0, 1e-12);
  EXPECT_GT(kl_from_probabilities(std::vector<float>{0, 1}, p), 10);  // finite where q is 0
}

TEST(Metrics, AgreementAddsUp) {
  const std::vector<float> a = {1, 2, 3, 4}, b = {2, 1, 3, 4};
  EXPECT_EQ(argmax_agreement(a, b, 2), 0.5);
  EXPECT_EQ(argmax_agreement({}, {}, 2), 1);
  Agreement sum;
  sum.add(std::span(a).first(2), std::span(b).first(2));
  sum.add(std::span(a).last(2), std::span(b).last(2));
  EXPECT_EQ(sum.argmax_share(), 0.5);
  EXPECT_NEAR(sum.relative(), relative_error(a, b), 1e-12);
  EXPECT_NEAR(sum.cosine(), cosine_similarity(a, b), 1e-12);
}

}  // namespace
}  // namespace pith
