// Weights on levels: found in integers, read back under every code and in any order, and refused where the head is malformed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/random.h"
#include "coding/decode/weights.h"
#include "coding/encode/levels.h"
#include "coding/encode/weights.h"

namespace pith::coding {
namespace {

constexpr int64_t kRows = 24, kLength = 72;
const std::vector<int16_t> kScales{-100};

Levels levels_of(std::initializer_list<int> of, int tail) {
  Levels l;
  for (int level : of) l.of[++l.count] = static_cast<uint8_t>(level);
  l.tail = static_cast<uint8_t>(tail);
  return l;
}

std::vector<int32_t> normal(double deviation, int most) {
  Random random(5);
  std::vector<int32_t> found;
  for (int64_t i = 0; i < kRows * kLength; ++i) found.push_back(i / kLength % 9 == 4 ? 0 : std::clamp(static_cast<int>(std::lround(deviation * random.normal())), -most, most));
  return found;
}

std::vector<int32_t> weights_of(std::vector<int32_t> multiples, const Levels& l) {
  for (int32_t& m : multiples) m = l.weight(m);
  return multiples;
}

CodedRows rows_of(const std::vector<int32_t>& integers, bool trellis = false) { return {8, kRows, kLength, integers, kScales, {8, 3}, trellis}; }

void expect_read(const std::vector<uint8_t>& bytes, const std::vector<int32_t>& weights) {
  auto in = std::make_unique<WeightDecoder>();
  ASSERT_TRUE(in->begin(bytes.data(), bytes.size(), kCodecLevels, 8, false, {8, 3}));
  std::vector<int8_t> row(kLength, 0);
  for (int64_t r = 0; r < kRows; ++r) {
    ASSERT_EQ(in->next_row(row.data(), kLength), kScales[0]);
    for (int64_t k = 0; k < kLength; ++k) ASSERT_EQ(row[static_cast<size_t>(k)], weights[static_cast<size_t>(r * kLength + k)]) << r << ' ' << k;
  }
  EXPECT_FALSE(in->overrun());
}

TEST(Levels, AreReadUnderEveryCode) {
  const Levels l = levels_of({9, 17}, 7);
  const std::vector<int32_t> multiples = normal(2, 14), weights = weights_of(multiples, l);
  const CodedRows rows = rows_of(multiples);
  expect_read(encode_levels(l, kCodecRaw, encode_raw(rows)), weights);
  expect_read(encode_levels(l, kCodecRans, encode_rans(rows)), weights);
  expect_read(encode_levels(l, kCodecAdaptive, encode_adaptive(rows)), weights);
  expect_read(encode_levels(l, kCodecMixed, encode_mixed(rows)), weights);
  expect_read(encode_levels(l, kCodecClasses, encode_classes(rows)), weights);
  std::vector<int32_t> path = normal(1.2, 7);
  const CodedRows indices = rows_of(path, true);
  const std::vector<uint8_t> mixed = encode_mixed(indices), classes = encode_classes(indices);
  std::vector<int32_t> on_path = path;
  trellis_multiples(on_path, kLength);
  expect_read(encode_levels(l, kCodecMixedTrellis, mixed), weights_of(on_path, l));
  expect_read(encode_levels(l, kCodecClassesTrellis, classes), weights_of(on_path, l));
}

TEST(Levels, GroupsOfThemAreReadInAnyOrder) {
  const Levels l = levels_of({13}, 5);
  const std::vector<int32_t> multiples = normal(3, 20), weights = weights_of(multiples, l);
  const std::vector<uint8_t> bytes = encode_levels(l, kCodecGroups, encode_groups(rows_of(multiples), 5));
  EXPECT_TRUE(in_any_order(bytes.data(), bytes.size(), kCodecLevels));
  expect_read(bytes, weights);
  auto in = std::make_unique<WeightDecoder>();
  ASSERT_TRUE(in->begin(bytes.data(), bytes.size(), kCodecLevels, 8, false, {8, 3}));
  std::vector<int8_t> row(kLength);
  for (int64_t wanted : {17, 3, 23, 3}) {
    for (int64_t next = in->seek(wanted); next <= wanted; ++next) in->next_row(row.data(), kLength);
    EXPECT_TRUE(std::equal(row.begin(), row.end(), weights.begin() + wanted * kLength)) << wanted;
  }
}

TEST(Levels, AreFoundInTheIntegers) {
  for (const Levels& l : {levels_of({13, 29}, 16), levels_of({16}, 3), levels_of({5, 11, 16, 23}, 9)}) {
    const std::vector<int32_t> multiples = normal(1.2, 4), weights = weights_of(multiples, l);
    const auto found = find_levels(weights, kLength, false);
    ASSERT_TRUE(found);
    EXPECT_EQ(level_multiples(weights, *found), multiples);
    EXPECT_LE(found->count, l.count);
    std::vector<int32_t> path = multiples;
    trellis_multiples(path, kLength);
    const auto below = find_levels(weights_of(path, l), kLength, true);
    ASSERT_TRUE(below);
    EXPECT_EQ(trellis_rows(level_multiples(weights_of(path, l), *below), kLength), multiples);
  }
  std::vector<int32_t> path = normal(1, 2);
  trellis_multiples(path, kLength);
  EXPECT_FALSE(find_levels(path, kLength, true)) << "a path of even steps";
  const std::vector<int32_t> both = weights_of(path, levels_of({33}, 29));
  EXPECT_FALSE(trellis_rows(both, kLength).empty());
  const auto sparser = find_levels(both, kLength, true);
  ASSERT_TRUE(sparser);
  EXPECT_EQ(level_multiples(both, *sparser), path);
  EXPECT_FALSE(find_levels(normal(20, 127), kLength, false)) << "even steps";
  EXPECT_FALSE(find_levels(normal(20, 127), kLength, true)) << "no path";
  EXPECT_FALSE(find_levels(std::vector<int32_t>(kRows * kLength, 0), kLength, false));
}

TEST(Levels, SaveWhatUnevenStepsWouldCost) {
  const Levels l = levels_of({45, 90}, 9);
  const std::vector<int32_t> multiples = normal(0.8, 4), weights = weights_of(multiples, l);
  const size_t as_levels = encode_levels(l, kCodecMixed, encode_mixed(rows_of(multiples))).size();
  EXPECT_LT(as_levels + 20, encode_mixed(rows_of(weights)).size());
}

TEST(Levels, MalformedHeadsAreRefused) {
  const std::vector<int32_t> multiples = normal(1, 3);
  const std::vector<uint8_t> stream = encode_classes(rows_of(multiples)), sound = encode_levels(levels_of({9, 17}, 7), kCodecClasses, stream);
  auto in = std::make_unique<WeightDecoder>();
  const auto accepted = [&](std::vector<uint8_t> bytes) { return in->begin(bytes.data(), bytes.size(), kCodecLevels, 8, false, {8, 3}); };
  const auto with = [&](size_t at, int byte) {
    std::vector<uint8_t> bytes = sound;
    bytes[at] = static_cast<uint8_t>(byte);
    return bytes;
  };
  EXPECT_TRUE(accepted(sound));
  EXPECT_FALSE(accepted({})) << "nothing at all";
  EXPECT_FALSE(accepted(with(0, kCodecClasses))) << "no level";
  EXPECT_FALSE(accepted(with(0, 2 * 16 + kCodecLevels))) << "levels of levels";
  EXPECT_FALSE(accepted(with(0, 2 * 16 + 3))) << "floats";
  EXPECT_FALSE(accepted(with(1, 0))) << "two levels alike";
  EXPECT_FALSE(accepted(with(2, 120))) << "a level above 127";
  EXPECT_FALSE(accepted(with(3, 0))) << "no tail";
  EXPECT_FALSE(accepted(with(3, 200))) << "a tail above 127";
  EXPECT_FALSE(accepted({sound.begin(), sound.begin() + 3})) << "the head ends early";
}

TEST(Levels, NoWeightIsLargerThanItsBits) {
  const Levels l = levels_of({100}, 100);
  const std::vector<uint8_t> bytes = encode_levels(l, kCodecRaw, encode_raw(rows_of(normal(1, 3))));
  auto in = std::make_unique<WeightDecoder>();
  ASSERT_TRUE(in->begin(bytes.data(), bytes.size(), kCodecLevels, 8, false, {8, 3}));
  std::vector<int8_t> row(kLength, 0);
  int most = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    in->next_row(row.data(), kLength);
    for (int8_t w : row) most = std::max(most, std::abs(w));
  }
  EXPECT_EQ(most, 127);
}

}  // namespace
}  // namespace pith::coding
