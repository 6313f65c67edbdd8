#include "post/yolo.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

struct List {
  explicit List(int capacity = 4096) : memory(static_cast<size_t>(capacity)) {
    EXPECT_EQ(pith_box_list_init(&list, memory.data(), memory.size() * sizeof(pith_box)), PITH_POST_OK);
  }
  // Sorted by index, then class: the order in which predictions come.
  std::vector<pith_box> boxes() const {
    std::vector<pith_box> sorted(list.boxes, list.boxes + list.count);
    std::sort(sorted.begin(), sorted.end(), [](const pith_box& a, const pith_box& b) {
      return a.index != b.index ? a.index < b.index : a.class_id < b.class_id;
    });
    return sorted;
  }
  std::vector<pith_box> memory;
  pith_box_list list;
};

void expect_near(const std::vector<pith_box>& got, const std::vector<pith_box>& expected, float relative) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const pith_box &a = got[i], &b = expected[i];
    ASSERT_EQ(a.index, b.index);
    ASSERT_EQ(a.class_id, b.class_id);
    ASSERT_NEAR(a.score, b.score, relative);
    const float size = 1.0f + std::fabs(b.x1) + std::fabs(b.y1) + std::fabs(b.x2) + std::fabs(b.y2);
    ASSERT_NEAR(a.x1, b.x1, relative * size);
    ASSERT_NEAR(a.y1, b.y1, relative * size);
    ASSERT_NEAR(a.x2, b.x2, relative * size);
    ASSERT_NEAR(a.y2, b.y2, relative * size);
  }
}

bool same(const pith_box& a, const pith_box& b) {
  return a.x1 == b.x1 && a.y1 == b.y1 && a.x2 == b.x2 && a.y2 == b.y2 && a.score == b.score &&
         a.class_id == b.class_id && a.index == b.index;
}

void expect_same(const std::vector<pith_box>& got, const std::vector<pith_box>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_TRUE(same(got[i], expected[i])) << "box " << i;
}

pith_yolo_params at_threshold(float threshold, int multi_label = 0) {
  pith_yolo_params params = pith_yolo_defaults();
  params.score_threshold = threshold;
  params.multi_label = multi_label;
  return params;
}

TEST(Yolov5, ExportedFormByHand) {
  // centre x, y, width, height, objectness, two classes
  const float rows[4][7] = {{100, 50, 20, 10, 0.8f, 0.5f, 0.25f},  // 0.4 for class 0
                            {100, 50, 20, 10, 0.2f, 0.99f, 0.0f},  // objectness below
                            {10, 20, 4, 8, 0.5f, 0.25f, 0.75f},    // 0.375 for class 1
                            {10, 20, 4, 8, 0.5f, 0.5f, 0.5f}};     // 0.25 isn't above 0.25
  const int64_t dims[3] = {1, 4, 7};
  const pith_tensor_view view = pith_view_f32(rows[0], 3, dims);
  const pith_yolo_params params = pith_yolo_defaults();
  List list;
  ASSERT_EQ(pith_decode_yolov5(&view, &params, &list.list), PITH_POST_OK);
  expect_same(list.boxes(), {{90, 45, 110, 55, 0.8f * 0.5f, 0, 0}, {8, 16, 12, 24, 0.375f, 1, 2}});

  List several;
  const pith_yolo_params all = at_threshold(0.1f, 1);
  ASSERT_EQ(pith_decode_yolov5(&view, &all, &several.list), PITH_POST_OK);
  EXPECT_EQ(several.boxes().size(), 7u);  // both classes of rows 0, 2, 3; one of row 1
}

TEST(Yolov5, TheObjectnessAloneMustExceedTheThreshold) {
  const float row[6] = {10, 10, 2, 2, 0.2f, 4.0f};  // a "probability" above 1, as a careless exporter may give
  const int64_t dims[2] = {1, 6};
  const pith_tensor_view view = pith_view_f32(row, 2, dims);
  const pith_yolo_params params = pith_yolo_defaults();
  List list;
  ASSERT_EQ(pith_decode_yolov5(&view, &params, &list.list), PITH_POST_OK);
  EXPECT_EQ(list.list.count, 0);
}

TEST(Yolov5, NormalisedBoxesAreScaled) {
  const float row[6] = {0.5f, 0.25f, 0.5f, 0.5f, 1.0f, 1.0f};
  const int64_t dims[2] = {1, 6};
  const pith_tensor_view view = pith_view_f32(row, 2, dims);
  pith_yolo_params params = pith_yolo_defaults();
  params.scale_x = 640, params.scale_y = 320;
  List list;
  ASSERT_EQ(pith_decode_yolov5(&view, &params, &list.list), PITH_POST_OK);
  expect_same(list.boxes(), {{160, 0, 480, 160, 1.0f, 0, 0}});
}

TEST(Yolov8, ExportedFormByHandAndTransposed) {
  const float columns[6][3] = {{100, 10, 5}, {50, 20, 5},        {20, 4, 2},
                               {10, 8, 2},   {0.3f, 0.1f, 0.2f}, {0.2f, 0.9f, 0.25f}};
  const int64_t dims[3] = {1, 6, 3};
  const pith_tensor_view view = pith_view_f32(columns[0], 3, dims);
  const pith_yolo_params params = pith_yolo_defaults();
  List list;
  ASSERT_EQ(pith_decode_yolov8(&view, &params, &list.list), PITH_POST_OK);
  const std::vector<pith_box> expected = {{90, 45, 110, 55, 0.3f, 0, 0}, {8, 16, 12, 24, 0.9f, 1, 1}};
  expect_same(list.boxes(), expected);

  float rows[3][6];
  for (int i = 0; i < 3; ++i) {
    for (int c = 0; c < 6; ++c) rows[i][c] = columns[c][i];
  }
  const int64_t turned[2] = {3, 6};
  const pith_tensor_view other = pith_view_swap(pith_view_f32(rows[0], 2, turned), 0, 1);
  List list2;
  ASSERT_EQ(pith_decode_yolov8(&other, &params, &list2.list), PITH_POST_OK);
  expect_same(list2.boxes(), expected);
}

TEST(Yolov8, FurtherChannelsAreSkippedWhenClassesAreCounted) {
  const float columns[7][1] = {{10}, {10}, {2}, {2}, {0.5f}, {0.6f}, {400.0f}};  // the last is a key point
  const int64_t dims[2] = {7, 1};
  const pith_tensor_view view = pith_view_f32(columns[0], 2, dims);
  pith_yolo_params params = pith_yolo_defaults();
  params.class_count = 2;
  List list;
  ASSERT_EQ(pith_decode_yolov8(&view, &params, &list.list), PITH_POST_OK);
  expect_same(list.boxes(), {{9, 9, 11, 11, 0.6f, 1, 0}});
}

TEST(Yolox, ExportedFormByHand) {
  // 16 x 8 input, strides 4 and 8: a map of 2 x 4 cells, then one of 1 x 2
  std::vector<float> rows(10 * 6, 0.0f);
  const auto put = [&](size_t i, std::vector<float> v) {
    std::copy(v.begin(), v.end(), rows.begin() + static_cast<long>(i) * 6);
  };
  put(6, {0.5f, 0.25f, 0.0f, std::log(2.0f), 1.0f, 0.5f});  // cell 2, 1 at stride 4
  put(9, {0.5f, 0.5f, 0.0f, 0.0f, 0.5f, 0.75f});            // cell 1, 0 at stride 8
  const int64_t dims[3] = {1, 10, 6};
  const pith_tensor_view view = pith_view_f32(rows.data(), 3, dims);
  const int32_t strides[2] = {4, 8};
  const pith_yolo_params params = pith_yolo_defaults();
  List list;
  ASSERT_EQ(pith_decode_yolox(&view, 16, 8, strides, 2, &params, &list.list), PITH_POST_OK);
  expect_near(list.boxes(), {{8, 1, 12, 9, 0.5f, 0, 6}, {8, 0, 16, 8, 0.375f, 0, 9}}, 1e-6f);
}

TEST(Yolox, RefusesMapsThatDoNotFit) {
  const std::vector<float> rows(10 * 6);
  const int64_t dims[2] = {10, 6};
  const pith_tensor_view view = pith_view_f32(rows.data(), 2, dims);
  const pith_yolo_params params = pith_yolo_defaults();
  List list;
  const auto decode = [&](int w, int h, std::vector<int32_t> strides) {
    return pith_decode_yolox(&view, w, h, strides.data(), static_cast<int32_t>(strides.size()), &params, &list.list);
  };
  EXPECT_EQ(decode(16, 8, {4, 8}), PITH_POST_OK);
  EXPECT_EQ(decode(16, 8, {8, 8}), PITH_POST_SHAPE);
  EXPECT_EQ(decode(16, 8, {4, 0}), PITH_POST_RANGE);
  EXPECT_EQ(decode(16, 8, {4, -8}), PITH_POST_RANGE);
  EXPECT_EQ(decode(16, 8, {4, 3}), PITH_POST_RANGE);
  EXPECT_EQ(decode(0, 8, {4, 8}), PITH_POST_RANGE);
  EXPECT_EQ(decode(INT32_MAX, INT32_MAX, {1, 1}), PITH_POST_RANGE);
  EXPECT_EQ(pith_decode_yolox(&view, 16, 8, nullptr, 2, &params, &list.list), PITH_POST_NULL);
  EXPECT_EQ(decode(16, 8, {}), PITH_POST_NULL);
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

enum class Kind { kV5, kV8, kX };

// A detector's raw heads, and in double precision what an exporter would have made of them: rows of x, y, w, h,
// (objectness,) classes.
struct Net {
  Kind kind;
  int classes, bins, anchors, channels;
  std::vector<int> strides;
  int width, height;
  std::vector<std::vector<float>> maps;  // [anchor, channel, y, x], as a convolution gives them
  std::vector<std::vector<double>> rows;

  int columns(size_t h) const { return width / strides[h]; }
  int lines(size_t h) const { return height / strides[h]; }
  int box_channels() const { return kind == Kind::kV8 ? 4 * bins : 4; }
};

Net random_net(Kind kind, Random& random) {
  Net net{kind, random.integer(1, 5), 1, kind == Kind::kV5 ? 3 : 1, 0, {8, 16, 32}, 0, 0, {}, {}};
  if (kind == Kind::kV8) net.bins = random.integer(0, 2) == 0 ? 1 : random.integer(2, 16);
  net.channels = net.box_channels() + (kind == Kind::kV8 ? 0 : 1) + net.classes;
  net.width = 32 * random.integer(1, 3), net.height = 32 * random.integer(1, 3);
  for (size_t h = 0; h < 3; ++h) {
    const size_t cells = static_cast<size_t>(net.columns(h) * net.lines(h));
    net.maps.push_back(random.floats(cells * static_cast<size_t>(net.anchors * net.channels), -4.0f, 4.0f));
  }
  return net;
}

std::vector<double> decode_cell(const Net& net, size_t h, int a, int y, int x) {
  const size_t cells = static_cast<size_t>(net.columns(h) * net.lines(h));
  const auto raw = [&](int c) {
    return static_cast<double>(
        net.maps[h][static_cast<size_t>(a * net.channels + c) * cells + static_cast<size_t>(y * net.columns(h) + x)]);
  };
  const double stride = net.strides[h];
  std::vector<double> row;
  if (net.kind == Kind::kV5) {
    const double anchors[3][6] = {{10, 13, 16, 30, 33, 23}, {30, 61, 62, 45, 59, 119}, {116, 90, 156, 198, 373, 326}};
    row = {(2 * sigmoid(raw(0)) - 0.5 + x) * stride, (2 * sigmoid(raw(1)) - 0.5 + y) * stride,
           std::pow(2 * sigmoid(raw(2)), 2) * anchors[h][2 * a],
           std::pow(2 * sigmoid(raw(3)), 2) * anchors[h][2 * a + 1]};
  } else if (net.kind == Kind::kX) {
    row = {(raw(0) + x) * stride, (raw(1) + y) * stride, std::exp(raw(2)) * stride, std::exp(raw(3)) * stride};
  } else {
    double side[4];
    for (int s = 0; s < 4; ++s) {
      double sum = 0, weighted = 0;
      for (int b = 0; b < net.bins; ++b) {
        sum += std::exp(raw(s * net.bins + b));
        weighted += b * std::exp(raw(s * net.bins + b));
      }
      side[s] = net.bins == 1 ? raw(s) : weighted / sum;
    }
    row = {(x + 0.5 + (side[2] - side[0]) / 2) * stride, (y + 0.5 + (side[3] - side[1]) / 2) * stride,
           (side[0] + side[2]) * stride, (side[1] + side[3]) * stride};
  }
  for (int c = net.box_channels(); c < net.channels; ++c) row.push_back(sigmoid(raw(c)));
  return row;
}

void export_rows(Net& net) {
  for (size_t h = 0; h < 3; ++h) {
    for (int a = 0; a < net.anchors; ++a) {
      for (int y = 0; y < net.lines(h); ++y) {
        for (int x = 0; x < net.columns(h); ++x) net.rows.push_back(decode_cell(net, h, a, y, x));
      }
    }
  }
}

// What must come out: straight from the definition, in double.
std::vector<pith_box> expected_boxes(const Net& net, const pith_yolo_params& params) {
  std::vector<pith_box> boxes;
  const size_t first = net.kind == Kind::kV8 ? 4 : 5;
  for (size_t i = 0; i < net.rows.size(); ++i) {
    const std::vector<double>& r = net.rows[i];
    const double objectness = net.kind == Kind::kV8 ? 1.0 : r[4];
    const auto best = std::max_element(r.begin() + static_cast<long>(first), r.end());
    for (size_t c = first; c < r.size(); ++c) {
      const double score = objectness * r[c];
      if (score <= params.score_threshold || r[2] < 0 || r[3] < 0) continue;
      if (!params.multi_label && c != static_cast<size_t>(best - r.begin())) continue;
      boxes.push_back({static_cast<float>(r[0] - r[2] / 2), static_cast<float>(r[1] - r[3] / 2),
                       static_cast<float>(r[0] + r[2] / 2), static_cast<float>(r[1] + r[3] / 2),
                       static_cast<float>(score), static_cast<int>(c - first), static_cast<int>(i)});
    }
  }
  return boxes;
}

// The same map in another layout: the values moved, the meaning kept.
std::vector<float> rearranged(const Net& net, size_t h, pith_head_layout layout) {
  const int w = net.columns(h), l = net.lines(h), n = net.channels;
  std::vector<float> out(net.maps[h].size());
  for (int a = 0; a < net.anchors; ++a) {
    for (int c = 0; c < n; ++c) {
      for (int y = 0; y < l; ++y) {
        for (int x = 0; x < w; ++x) {
          const size_t chw = static_cast<size_t>(((a * n + c) * l + y) * w + x);
          const size_t hwc = static_cast<size_t>((y * w + x) * net.anchors * n + a * n + c);
          const size_t ahwc = static_cast<size_t>(((a * l + y) * w + x) * n + c);
          out[layout == PITH_HEAD_CHW ? chw : layout == PITH_HEAD_HWC ? hwc : ahwc] = net.maps[h][chw];
        }
      }
    }
  }
  return out;
}

pith_tensor_view shaped(const Net& net, size_t h, pith_head_layout layout, const float* data) {
  const int64_t w = net.columns(h), l = net.lines(h), n = net.channels, a = net.anchors;
  const int64_t chw[4] = {1, a * n, l, w}, hwc[4] = {1, l, w, a * n}, ahwc[5] = {1, a, l, w, n};
  if (layout == PITH_HEAD_CHW) return pith_view_f32(data, 4, chw);
  return layout == PITH_HEAD_HWC ? pith_view_f32(data, 4, hwc) : pith_view_f32(data, 5, ahwc);
}

pith_yolo_head headed(const Net& net, size_t h, pith_head_layout layout, pith_tensor_view view) {
  const float stride = static_cast<float>(net.strides[h]);
  return net.kind == Kind::kV5 ? pith_yolov5_coco_head(view, layout, stride) : pith_yolo_head_of(view, layout, stride);
}

pith_post_status decode(const Net& net, const std::vector<pith_yolo_head>& heads, const pith_yolo_params& params,
                        List& list) {
  const int32_t n = static_cast<int32_t>(heads.size());
  if (net.kind == Kind::kV5) return pith_decode_yolov5_heads(heads.data(), n, &params, &list.list);
  if (net.kind == Kind::kX) return pith_decode_yolox_heads(heads.data(), n, &params, &list.list);
  return pith_decode_yolov8_heads(heads.data(), n, net.bins, &params, &list.list);
}

class RawHeads : public testing::TestWithParam<Kind> {};

TEST_P(RawHeads, AgreeWithTheFormulasInDoubleInEveryLayout) {
  Random random(10 + static_cast<uint64_t>(GetParam()));
  size_t compared = 0;
  for (int round = 0; round < 30; ++round) {
    Net net = random_net(GetParam(), random);
    export_rows(net);
    const pith_yolo_params params = at_threshold(random.uniform(0.05f, 0.6f), random.integer(0, 1));
    const std::vector<pith_box> expected = expected_boxes(net, params);
    std::vector<pith_box> first;
    for (const pith_head_layout layout : {PITH_HEAD_CHW, PITH_HEAD_HWC, PITH_HEAD_AHWC}) {
      std::vector<std::vector<float>> data;
      std::vector<pith_yolo_head> heads;
      for (size_t h = 0; h < 3; ++h) {
        data.push_back(rearranged(net, h, layout));
        heads.push_back(headed(net, h, layout, shaped(net, h, layout, data[h].data())));
      }
      List list;
      ASSERT_EQ(decode(net, heads, params, list), PITH_POST_OK);
      ASSERT_EQ(list.list.lost, 0);
      const std::vector<pith_box> boxes = list.boxes();
      ASSERT_NO_FATAL_FAILURE(expect_near(boxes, expected, 2e-6f)) << "round " << round;
      if (layout == PITH_HEAD_CHW) first = boxes;
      ASSERT_NO_FATAL_FAILURE(expect_same(boxes, first));
    }
    compared += expected.size();
  }
  EXPECT_GT(compared, 300u);
}

TEST_P(RawHeads, AgreeWithTheExportedForm) {
  Random random(20 + static_cast<uint64_t>(GetParam()));
  for (int round = 0; round < 20; ++round) {
    Net net = random_net(GetParam(), random);
    export_rows(net);
    const size_t width = net.rows[0].size();
    std::vector<float> table;
    for (const auto& r : net.rows) table.insert(table.end(), r.begin(), r.end());
    const int64_t dims[2] = {static_cast<int64_t>(net.rows.size()), static_cast<int64_t>(width)};
    const pith_tensor_view view = pith_view_f32(table.data(), 2, dims);
    const pith_yolo_params params = at_threshold(0.3f);
    List list;
    if (net.kind == Kind::kV8) {
      const pith_tensor_view turned = pith_view_swap(view, 0, 1);
      ASSERT_EQ(pith_decode_yolov8(&turned, &params, &list.list), PITH_POST_OK);
    } else {
      ASSERT_EQ(pith_decode_yolov5(&view, &params, &list.list), PITH_POST_OK);
    }
    ASSERT_NO_FATAL_FAILURE(expect_near(list.boxes(), expected_boxes(net, params), 2e-6f)) << "round " << round;
  }
}

TEST_P(RawHeads, BytesGiveExactlyWhatTheirDequantisedFloatsGive) {
  Random random(30 + static_cast<uint64_t>(GetParam()));
  size_t compared = 0;
  for (int round = 0; round < 20; ++round) {
    const Net net = random_net(GetParam(), random);
    std::vector<std::vector<uint8_t>> bytes;
    std::vector<std::vector<int8_t>> signed_bytes;
    std::vector<std::vector<float>> floats;
    std::vector<pith_yolo_head> unsigned_heads, signed_heads, float_heads;
    for (size_t h = 0; h < 3; ++h) {
      const float scale = random.uniform(0.01f, 0.06f);
      const int zero = random.integer(0, 255);
      bytes.push_back(random.bytes(net.maps[h].size()));
      floats.emplace_back();
      signed_bytes.emplace_back();
      for (const uint8_t q : bytes[h]) {
        floats[h].push_back(scale * static_cast<float>(q - zero));
        signed_bytes[h].push_back(static_cast<int8_t>(q - 128));
      }
      const pith_tensor_view f = shaped(net, h, PITH_HEAD_CHW, floats[h].data());
      float_heads.push_back(headed(net, h, PITH_HEAD_CHW, f));
      unsigned_heads.push_back(
          headed(net, h, PITH_HEAD_CHW, pith_view_u8(bytes[h].data(), f.rank, f.dims, scale, zero)));
      signed_heads.push_back(
          headed(net, h, PITH_HEAD_CHW, pith_view_i8(signed_bytes[h].data(), f.rank, f.dims, scale, zero - 128)));
    }
    const pith_yolo_params params = at_threshold(0.3f, random.integer(0, 1));
    List a, b, c;
    ASSERT_EQ(decode(net, float_heads, params, a), PITH_POST_OK);
    ASSERT_EQ(decode(net, unsigned_heads, params, b), PITH_POST_OK);
    ASSERT_EQ(decode(net, signed_heads, params, c), PITH_POST_OK);
    ASSERT_NO_FATAL_FAILURE(expect_same(b.boxes(), a.boxes()));
    ASSERT_NO_FATAL_FAILURE(expect_same(c.boxes(), a.boxes()));
    compared += a.boxes().size();
  }
  EXPECT_GT(compared, 100u);
}

TEST_P(RawHeads, SurviveAnyBits) {
  Random random(40 + static_cast<uint64_t>(GetParam()));
  for (int round = 0; round < 30; ++round) {
    Net net = random_net(GetParam(), random);
    std::vector<pith_yolo_head> heads;
    for (size_t h = 0; h < 3; ++h) {
      for (float& v : net.maps[h]) v = random.any_float();
      heads.push_back(headed(net, h, PITH_HEAD_CHW, shaped(net, h, PITH_HEAD_CHW, net.maps[h].data())));
    }
    List list(50);
    ASSERT_EQ(decode(net, heads, at_threshold(0.0f, 1), list), PITH_POST_OK);
    for (int i = 0; i < list.list.count; ++i) {
      const pith_box& b = list.list.boxes[i];
      ASSERT_TRUE(b.x1 <= b.x2 && b.y1 <= b.y2 && b.score > 0.0f && b.score <= 1.0f);
      ASSERT_TRUE(std::fabs(b.x1) <= PITH_BOX_LIMIT && std::fabs(b.y2) <= PITH_BOX_LIMIT);
      ASSERT_TRUE(b.class_id >= 0 && b.class_id < net.classes);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Yolo, RawHeads, testing::Values(Kind::kV5, Kind::kV8, Kind::kX));

TEST(Yolo, Refuses) {
  const std::vector<float> data(4 * 6 * 6);
  const int64_t table[2] = {24, 6}, cube[3] = {4, 6, 6}, narrow[2] = {24, 5};
  const pith_tensor_view good = pith_view_f32(data.data(), 2, table);
  const pith_tensor_view deep = pith_view_f32(data.data(), 3, cube), thin = pith_view_f32(data.data(), 2, narrow);
  pith_yolo_params params = pith_yolo_defaults();
  List list;
  EXPECT_EQ(pith_decode_yolov5(&good, &params, &list.list), PITH_POST_OK);
  EXPECT_EQ(pith_decode_yolov5(nullptr, &params, &list.list), PITH_POST_NULL);
  EXPECT_EQ(pith_decode_yolov5(&good, nullptr, &list.list), PITH_POST_NULL);
  EXPECT_EQ(pith_decode_yolov5(&good, &params, nullptr), PITH_POST_NULL);
  EXPECT_EQ(pith_decode_yolov5(&deep, &params, &list.list), PITH_POST_RANK);
  EXPECT_EQ(pith_decode_yolov5(&thin, &params, &list.list), PITH_POST_SHAPE);
  const auto with = [&](auto change) {
    pith_yolo_params p = params;
    change(p);
    return pith_decode_yolov5(&good, &p, &list.list);
  };
  EXPECT_EQ(with([](auto& p) { p.score_threshold = NAN; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.score_threshold = 1.01f; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.scale_x = 0; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.scale_y = INFINITY; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.class_count = -1; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& p) { p.class_count = 2; }), PITH_POST_SHAPE);
}

TEST(Yolo, HeadsRefuse) {
  const std::vector<float> data(18 * 2 * 2);
  const int64_t chw[3] = {18, 2, 2};
  const pith_tensor_view view = pith_view_f32(data.data(), 3, chw);
  const pith_yolo_params params = pith_yolo_defaults();
  const pith_yolo_head good = pith_yolov5_coco_head(view, PITH_HEAD_CHW, 8.0f);
  List list;
  const auto with = [&](auto change) {
    pith_yolo_head head = good;
    change(head);
    return pith_decode_yolov5_heads(&head, 1, &params, &list.list);
  };
  EXPECT_EQ(with([](auto&) {}), PITH_POST_OK);
  EXPECT_EQ(with([](auto& h) { h.anchor_count = 0; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& h) { h.anchor_count = PITH_YOLO_MAX_ANCHORS + 1; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& h) { h.anchor_count = 4; }), PITH_POST_SHAPE);
  EXPECT_EQ(with([](auto& h) { h.anchor_count = 6; }), PITH_POST_SHAPE);  // 3 channels: no room for a box
  EXPECT_EQ(with([](auto& h) { h.stride = 0; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& h) { h.stride = NAN; }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& h) { h.layout = PITH_HEAD_AHWC; }), PITH_POST_RANK);
  EXPECT_EQ(with([](auto& h) { h.layout = static_cast<pith_head_layout>(3); }), PITH_POST_RANGE);
  EXPECT_EQ(with([](auto& h) { h.view.bytes -= 1; }), PITH_POST_BUFFER);
  EXPECT_EQ(pith_decode_yolov5_heads(nullptr, 1, &params, &list.list), PITH_POST_NULL);
  EXPECT_EQ(pith_decode_yolov5_heads(&good, 0, &params, &list.list), PITH_POST_RANGE);
  EXPECT_EQ(pith_yolov5_coco_head(view, PITH_HEAD_CHW, 64.0f).anchor_count, 0);
  EXPECT_EQ(pith_decode_yolov8_heads(&good, 1, 0, &params, &list.list), PITH_POST_RANGE);
  EXPECT_EQ(pith_decode_yolov8_heads(&good, 1, 65, &params, &list.list), PITH_POST_RANGE);
  EXPECT_EQ(pith_decode_yolov8_heads(&good, 1, 16, &params, &list.list), PITH_POST_SHAPE);
  EXPECT_EQ(pith_decode_yolov8_heads(&good, 1, 4, &params, &list.list), PITH_POST_OK);
}

}  // namespace
}  // namespace pith
