// Groups of rows on the paths of a trellis: found again in any order, and refused where they are malformed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/random.h"
#include "coding/decode/weights.h"
#include "coding/encode/weights.h"

namespace pith::coding {
namespace {

struct Table {
  int64_t rows = 0, width = 0;
  std::vector<int32_t> indices, multiples;
  std::vector<int16_t> scales;
  CodedRows path() const { return {8, rows, width, indices, scales, {width, 1}, true}; }
};

// Every seventh row is empty; the others have steps of their own.
Table table(int64_t rows, int64_t width) {
  Random random(11);
  Table t{rows, width, {}, {}, {}};
  for (int64_t r = 0; r < rows; ++r) {
    t.scales.push_back(static_cast<int16_t>(4 * random.integer(-8, 8)));
    for (int64_t k = 0; k < width; ++k) t.indices.push_back(r % 7 == 6 ? 0 : std::clamp(static_cast<int>(std::lround(3 * random.normal())), -63, 63));
  }
  t.multiples = t.indices;
  trellis_multiples(t.multiples, width);
  return t;
}

TEST(Groups, PathsAreReadInAnyOrder) {
  const Table t = table(53, 40);
  for (int64_t group_rows : {1, 8, 60}) {
    const std::vector<uint8_t> bytes = encode_groups(t.path(), group_rows);
    auto in = std::make_unique<WeightDecoder>();
    ASSERT_TRUE(in->begin(bytes.data(), bytes.size(), kCodecGroups, 8, true, {40, 1}));
    Random random(5);
    std::vector<int8_t> row(40, 99);
    for (int trial = 0; trial < 100; ++trial) {
      const int64_t wanted = random.integer(0, 52);
      int scale = 0;
      for (int64_t r = in->seek(wanted); r <= wanted; ++r) scale = in->next_row(row.data(), 40);
      if (wanted % 7 != 6) {
        EXPECT_EQ(scale, t.scales[static_cast<size_t>(wanted)]);
      }
      for (int64_t k = 0; k < 40; ++k) ASSERT_EQ(row[static_cast<size_t>(k)], t.multiples[static_cast<size_t>(wanted * 40 + k)]) << wanted << " in groups of " << group_rows;
    }
    EXPECT_FALSE(in->overrun());
  }
}

TEST(Groups, APathSavesABitAWeight) {
  const Table t = table(200, 64);
  CodedRows multiples = t.path();
  multiples.integers = t.multiples;
  multiples.trellis = false;
  EXPECT_LT(static_cast<double>(encode_groups(t.path(), 50).size()), static_cast<double>(encode_groups(multiples, 50).size()) - 0.7 * 200 * 64 / 8);
}

TEST(Groups, CodecsThatAreNotOfRowsAreRefused) {
  const Table t = table(20, 30);
  std::vector<uint8_t> bytes = encode_groups(t.path(), 5);
  ASSERT_EQ(bytes[1], kCodecClassesTrellis);
  auto in = std::make_unique<WeightDecoder>();
  EXPECT_TRUE(in->begin(bytes.data(), bytes.size(), kCodecGroups, 8, true, {30, 1}));
  for (int codec : {3, 5, static_cast<int>(kCodecGroups), 10, 255}) {
    bytes[1] = static_cast<uint8_t>(codec);
    EXPECT_FALSE(in->begin(bytes.data(), bytes.size(), kCodecGroups, 8, true, {30, 1})) << codec;
  }
}

TEST(Groups, IndicesBeyondTheirBitsAreRefused) {
  Table t = table(20, 30);
  t.indices.assign(t.indices.size(), 1);
  t.indices[0] = 5;
  CodedRows narrow = t.path();
  narrow.bits = 4;  // multiples up to 7, indices up to 4
  const std::vector<uint8_t> bytes = encode_groups(narrow, 5);
  auto in = std::make_unique<WeightDecoder>();
  ASSERT_TRUE(in->begin(bytes.data(), bytes.size(), kCodecGroups, 4, true, {30, 1}));
  std::vector<int8_t> row(30);
  in->seek(7);  // the second group is sound
  in->next_row(row.data(), 30);
  EXPECT_FALSE(in->overrun());
  EXPECT_EQ(row[0], 2);
  in->seek(0);
  in->next_row(row.data(), 30);
  EXPECT_TRUE(in->overrun());
}

}  // namespace
}  // namespace pith::coding
