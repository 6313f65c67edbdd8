// What a head says doesn't depend on whose memory it reads the outputs in, and memory that is planned is used.
#include "cli/heads.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace pith::cli {
namespace {

constexpr std::byte kPaint{0xa5};

// The reading in memory of so many bytes, and how many of them changed.
std::pair<Reading, size_t> read_in(size_t bytes, const std::vector<Output>& outputs, HeadOptions head) {
  std::vector<std::byte> memory(bytes, kPaint);
  head.memory = memory;
  auto reading = read_outputs(outputs, head, nullptr);
  EXPECT_TRUE(reading.ok());
  return {std::move(*reading), static_cast<size_t>(std::count_if(memory.begin(), memory.end(), [](std::byte b) { return b != kPaint; }))};
}

void expect_same(size_t bytes, size_t least_used, const std::vector<Output>& outputs, const HeadOptions& head) {
  const auto [own, none] = read_in(0, outputs, head);
  const auto [planned, used] = read_in(bytes, outputs, head);
  EXPECT_EQ(own.json, planned.json);
  EXPECT_EQ(own.lines, planned.lines);
  EXPECT_GE(used, least_used) << head.kind;
}

TEST(Heads, ReadClassesInPlannedMemory) {
  HeadOptions head;
  head.kind = "classifier";
  const std::vector<Output> outputs = {{{1, 8}, {1, 4, -2, 9, 3, 3, 0, 7}}};
  expect_same(8 * 4 + 5 * 8, 40, outputs, head);
  head.top = 8;  // more than was planned for
  expect_same(8 * 4 + 5 * 8, 20, outputs, head);
  const auto [reading, used] = read_in(72, outputs, head);
  ASSERT_EQ(reading.json["classes"].size(), 8u);
  EXPECT_EQ(reading.json["classes"][0]["class"], 3);
  EXPECT_EQ(reading.json["classes"][2]["class"], 1);
  EXPECT_EQ(reading.json["classes"][3]["class"], 4);  // equals the lower index first
}

TEST(Heads, ReadLettersInPlannedMemory) {
  HeadOptions head;
  head.kind = "ctc";
  head.labels = {"", "a", "b"};
  const std::vector<Output> outputs = {{{1, 4, 3}, {0, 9, 0, 0, 9, 0, 9, 0, 0, 0, 0, 9}}};
  expect_same(4 * 16, 16, outputs, head);
  EXPECT_EQ(read_in(64, outputs, head).first.json["text"], "ab");
}

TEST(Heads, ReadBoxesInPlannedMemory) {
  HeadOptions head;
  head.kind = "yolov5";
  head.input_width = head.input_height = 640;
  std::vector<float> rows;
  for (int i = 0; i < 6; ++i) {
    const float x = 50.0f + 90.0f * static_cast<float>(i);
    rows.insert(rows.end(), {x, 100, 40, 60, 0.9f - 0.1f * static_cast<float>(i), 0.95f, 0.01f});
  }
  const std::vector<Output> outputs = {{{1, 6, 7}, rows}};
  expect_same(6 * 28, 28, outputs, head);
  EXPECT_EQ(read_in(6 * 28, outputs, head).first.boxes.size(), 6u);
  EXPECT_EQ(read_in(2 * 28, outputs, head).first.boxes.size(), 2u);  // the best two
}

}  // namespace
}  // namespace pith::cli
