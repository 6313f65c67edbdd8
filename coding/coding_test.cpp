// Round trips of every codec on random and degenerate data, sizes against the entropy, and hostile streams.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "base/random.h"
#include "coding/decode/activation_rows.h"
#include "coding/decode/binary.h"
#include "coding/decode/weights.h"
#include "coding/encode/binary.h"
#include "coding/encode/weights.h"

namespace pith::coding {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 7;
}

TEST(Binary, RoundTripsBitsAndIntegers) {
  Random random(seed());
  for (int trial = 0; trial < 200; ++trial) {
    const int count = static_cast<int>(random.integer(0, 300));
    const double p = random.uniform();
    std::vector<uint32_t> bits, numbers;
    std::vector<int32_t> signs;
    for (int i = 0; i < count; ++i) {
      bits.push_back(random.uniform() < p);
      numbers.push_back(static_cast<uint32_t>(random.next()) >> random.integer(0, 31));
      signs.push_back(static_cast<int32_t>(random.next()) >> random.integer(0, 31));
    }
    BinaryEncoder out;
    BitModel m;
    IntegerModel u, s;
    for (int i = 0; i < count; ++i) {
      out.bit(m, bits[static_cast<size_t>(i)]);
      encode_unsigned(out, u, numbers[static_cast<size_t>(i)]);
      encode_signed(out, s, signs[static_cast<size_t>(i)]);
      out.raw_bits(numbers[static_cast<size_t>(i)] & 0x1fff, 13);
    }
    const std::vector<uint8_t> bytes = out.finish();
    BinaryDecoder in(bytes.data(), bytes.size());
    BitModel m2;
    IntegerModel u2, s2;
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(in.bit(m2), bits[static_cast<size_t>(i)]) << "PITH_SEED=" << seed();
      ASSERT_EQ(decode_unsigned(in, u2), numbers[static_cast<size_t>(i)]);
      ASSERT_EQ(decode_signed(in, s2), signs[static_cast<size_t>(i)]);
      ASSERT_EQ(in.raw_bits(13), numbers[static_cast<size_t>(i)] & 0x1fff);
    }
    EXPECT_FALSE(in.overrun());
  }
}

TEST(Binary, SkewedBitsCostTheirEntropy) {
  Random random(seed());
  BinaryEncoder out;
  BitModel m;
  const int count = 100000;
  for (int i = 0; i < count; ++i) out.bit(m, random.uniform() < 0.02);
  const double entropy = -(0.02 * std::log2(0.02) + 0.98 * std::log2(0.98));
  EXPECT_LT(static_cast<double>(out.finish().size()) * 8, entropy * count * 1.1);
}

struct Case {
  std::vector<int32_t> integers;
  std::vector<int16_t> scales;
  CodedRows rows;
};

Case random_case(Random& random, int bits, int64_t rows, int64_t length, bool row_scales) {
  Case c;
  const int limit = (1 << (bits - 1)) - 1;
  for (int64_t r = 0; r < rows; ++r) {
    const double width = std::exp2(random.uniform(-2, bits - 1));
    for (int64_t k = 0; k < length; ++k) {
      c.integers.push_back(std::clamp(static_cast<int>(std::lround(random.normal() * width)), -limit, limit));
    }
  }
  for (int64_t r = 0; r < (row_scales ? rows : 1); ++r) c.scales.push_back(static_cast<int16_t>(random.integer(-200, 50)));
  const int64_t inner = random.integer(1, length);
  c.rows = CodedRows{bits, rows, length, c.integers, c.scales, {inner, random.integer(1, 5)}};
  return c;
}

void expect_round_trip(const Case& c, const std::vector<uint8_t>& bytes, int codec) {
  WeightDecoder in;
  const bool row_scales = c.rows.scale_codes.size() > 1;
  ASSERT_TRUE(in.begin(bytes.data(), bytes.size(), codec, c.rows.bits, row_scales, c.rows.shape));
  std::vector<int8_t> row(static_cast<size_t>(c.rows.row_length), 0);
  for (int64_t r = 0; r < c.rows.rows; ++r) {
    const int scale = in.next_row(row.data(), c.rows.row_length);
    ASSERT_EQ(scale, c.rows.scale_codes[row_scales ? static_cast<size_t>(r) : 0]) << "codec " << codec << " row " << r;
    for (int64_t k = 0; k < c.rows.row_length; ++k) {
      ASSERT_EQ(row[static_cast<size_t>(k)], c.integers[static_cast<size_t>(r * c.rows.row_length + k)])
          << "codec " << codec << " PITH_SEED=" << seed();
    }
  }
  EXPECT_FALSE(in.overrun());
}

TEST(Weights, EveryCodecRoundTrips) {
  Random random(seed());
  for (int trial = 0; trial < 60; ++trial) {
    const Case c = random_case(random, static_cast<int>(random.integer(2, 8)), random.integer(0, 40),
                               random.integer(1, 200), trial % 2 == 0);
    expect_round_trip(c, encode_raw(c.rows), 0);
    expect_round_trip(c, encode_rans(c.rows), 1);
    expect_round_trip(c, encode_adaptive(c.rows), 2);
    expect_round_trip(c, encode_mixed(c.rows), 4);
    expect_round_trip(c, encode_classes(c.rows), 6);
    expect_round_trip(c, encode_groups(c.rows, 1 + trial % 9), 7);
  }
}

// Indices of random paths and the multiples that they stand for.
Case random_path(Random& random, int bits, int64_t rows, int64_t length, bool row_scales, std::vector<int32_t>& indices) {
  Case c = random_case(random, bits == 2 ? 2 : bits - 1, rows, length, row_scales);
  indices = c.integers;
  trellis_multiples(c.integers, length);
  c.rows.bits = bits;
  for (int32_t& v : c.integers) v = std::clamp(v, -(1 << (bits - 1)) + 1, (1 << (bits - 1)) - 1);
  c.rows.integers = c.integers;
  return c;
}

TEST(Weights, PathsOfATrellisRoundTrip) {
  Random random(seed());
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<int32_t> indices;
    const int bits = static_cast<int>(random.integer(2, 8));
    const Case c = random_path(random, bits, random.integer(0, 40), random.integer(1, 200), trial % 2 == 0, indices);
    if (bits > 2) {
      EXPECT_EQ(trellis_rows(c.integers, c.rows.row_length), indices);
    }
    CodedRows rows = c.rows;
    rows.integers = indices;
    rows.trellis = true;
    expect_round_trip(c, encode_mixed(rows), kCodecMixedTrellis);
    expect_round_trip(c, encode_classes(rows), kCodecClassesTrellis);
    EXPECT_NEAR(estimate_bits(rows), 8.0 * static_cast<double>(encode_mixed(rows).size()), 60) << "PITH_SEED=" << seed();
  }
}

TEST(Weights, ATrellisTakesGridsInTurn) {
  Trellis t;
  EXPECT_EQ(t.grid(), 0);
  t.follow(1);  // 0 -> 2
  EXPECT_EQ(t.state(), 2);
  t.follow(1);  // 2 -> 3
  EXPECT_EQ(t.grid(), 1);
  EXPECT_EQ(trellis_value(2, t.grid()), 3);
  EXPECT_EQ(trellis_value(-2, t.grid()), -3);
  EXPECT_EQ(trellis_value(0, t.grid()), 0);
  for (int32_t v = -127; v <= 127; ++v) EXPECT_EQ(trellis_value(trellis_index(v), v & 1), v);
  EXPECT_TRUE(trellis_rows(std::vector<int32_t>{3, 0, 0}, 3).empty()) << "a row begins on the even grid";
  EXPECT_EQ(trellis_rows(std::vector<int32_t>{4, 0, 2}, 3), (std::vector<int32_t>{2, 0, 1}));
}

TEST(Weights, IndicesBeyondTheirBitsAreRefused) {
  const std::vector<int32_t> indices = {5, 0, -3};
  const std::vector<int16_t> scale = {0};
  CodedRows rows{8, 1, 3, indices, scale, {3, 1}, true};
  const std::vector<uint8_t> wide = encode_mixed(rows);
  rows.bits = 4;  // multiples up to 7, indices up to 4
  const std::vector<uint8_t> narrow = encode_mixed(rows);
  auto in = std::make_unique<WeightDecoder>();
  EXPECT_TRUE(in->begin(wide.data(), wide.size(), kCodecMixedTrellis, 8, false, rows.shape));
  EXPECT_FALSE(in->begin(narrow.data(), narrow.size(), kCodecMixedTrellis, 4, false, rows.shape));
}

TEST(Weights, GroupsAreReadInAnyOrder) {
  Random random(seed());
  const Case c = random_case(random, 4, 50, 30, true);
  const std::vector<uint8_t> bytes = encode_groups(c.rows, 7);
  auto in = std::make_unique<WeightDecoder>();
  ASSERT_TRUE(in->begin(bytes.data(), bytes.size(), kCodecGroups, 4, true, c.rows.shape));
  std::vector<int8_t> row(30, 99);
  for (int trial = 0; trial < 200; ++trial) {
    const int64_t wanted = random.integer(0, 49);
    int scale = 0;
    for (int64_t r = in->seek(wanted); r <= wanted; ++r) scale = in->next_row(row.data(), 30);
    EXPECT_EQ(scale, c.scales[static_cast<size_t>(wanted)]);
    for (int64_t k = 0; k < 30; ++k) ASSERT_EQ(row[static_cast<size_t>(k)], c.integers[static_cast<size_t>(wanted * 30 + k)]);
  }
  EXPECT_FALSE(in->overrun());
  in->seek(1000);
  in->next_row(row.data(), 30);
  EXPECT_TRUE(in->overrun()) << "a row that isn't there";
  ASSERT_TRUE(in->begin(bytes.data(), bytes.size(), kCodecGroups, 4, true, c.rows.shape));
  in->next_row(row.data(), 30);
  EXPECT_FALSE(in->overrun()) << "what was damaged before is forgotten";
  EXPECT_FALSE(in->begin(bytes.data(), 2, kCodecGroups, 4, true, c.rows.shape)) << "a table that isn't there";
  const std::vector<uint8_t> plain = encode_rans(c.rows);
  ASSERT_TRUE(in->begin(plain.data(), plain.size(), kCodecRans, 4, true, c.rows.shape));
  EXPECT_EQ(in->seek(3), -1);
}

TEST(Weights, CodesComeCloseToTheEntropy) {
  Random random(seed());
  Case c;
  for (int i = 0; i < 200 * 500; ++i) c.integers.push_back(std::clamp(static_cast<int>(std::lround(random.normal() * 20)), -127, 127));
  c.scales.push_back(3);
  c.rows = CodedRows{8, 200, 500, c.integers, c.scales, {500, 1}};
  const double ideal = (std::log2(20.0) + 2.047) * 100000 / 8;  // differential entropy of a normal distribution
  EXPECT_LT(static_cast<double>(encode_rans(c.rows).size()), ideal * 1.02);
  EXPECT_LT(static_cast<double>(encode_adaptive(c.rows).size()), ideal * 1.02);
  EXPECT_LT(static_cast<double>(encode_mixed(c.rows).size()), ideal * 1.02);
  EXPECT_LT(static_cast<double>(encode_classes(c.rows).size()), ideal * 1.02);
}

TEST(Weights, AllZeroRowsAreNearlyFree) {
  const std::vector<int32_t> zeros(64 * 1000, 0);
  const std::vector<int16_t> scale{0};
  const CodedRows rows{8, 64, 1000, zeros, scale, {1000, 1}};
  EXPECT_LT(encode_adaptive(rows).size(), 120u);
  EXPECT_LT(encode_rans(rows).size(), 60u);
  EXPECT_LT(encode_mixed(rows).size(), 8u);
  EXPECT_LT(encode_classes(rows).size(), 8u);
}

// `path`: indices, for the codecs that have them.
std::vector<uint8_t> encoded(int codec, const CodedRows& rows, const CodedRows& path) {
  switch (codec) {
    case kCodecRaw: return encode_raw(rows);
    case kCodecRans: return encode_rans(rows);
    case kCodecAdaptive: return encode_adaptive(rows);
    case kCodecMixed: return encode_mixed(rows);
    case kCodecClasses: return encode_classes(rows);
    case kCodecMixedTrellis: return encode_mixed(path);
    case kCodecClassesTrellis: return encode_classes(path);
    default: return encode_groups(rows, 3);
  }
}

TEST(Weights, HostileStreamsNeitherCrashNorPass) {
  Random random(seed());
  const Case c = random_case(random, 8, 8, 64, true);
  std::vector<int8_t> row(64);
  CodedRows path = c.rows;
  std::vector<int32_t> indices = c.integers;
  for (int32_t& v : indices) v /= 2;
  path.integers = indices;
  path.trellis = true;
  for (int codec : {kCodecRaw, kCodecRans, kCodecAdaptive, kCodecMixed, kCodecClasses, kCodecGroups, kCodecMixedTrellis, kCodecClassesTrellis}) {
    const std::vector<uint8_t> bytes = encoded(codec, c.rows, path);
    for (int trial = 0; trial < 500; ++trial) {
      std::vector<uint8_t> damaged = bytes;
      damaged.resize(static_cast<size_t>(random.integer(0, static_cast<int64_t>(bytes.size()))));
      if (!damaged.empty()) damaged[static_cast<size_t>(random.integer(0, static_cast<int64_t>(damaged.size()) - 1))] ^= static_cast<uint8_t>(random.next());
      WeightDecoder in;
      if (!in.begin(damaged.data(), damaged.size(), codec, 8, true, c.rows.shape)) continue;
      for (int r = 0; r < 8; ++r) {
        const int scale = in.next_row(row.data(), 64);
        ASSERT_TRUE(scale >= numerics::kScaleCodeMin && scale <= numerics::kScaleCodeMax);
      }
    }
    if (codec >= kCodecMixedTrellis) continue;  // zeros beyond the end are cheap there, once they are learnt: the file's checksum tells
    const std::vector<uint8_t> half(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(bytes.size() / 2));
    WeightDecoder in;
    bool bad = !in.begin(half.data(), half.size(), codec, 8, true, c.rows.shape);
    for (int r = 0; r < 8 && !bad; ++r) in.next_row(row.data(), 64);
    EXPECT_TRUE(bad || in.overrun()) << "a truncated stream passed, codec " << codec;
  }
}

// A row of a picture: smooth, noisy or sparse channels about a zero point.
std::vector<uint8_t> picture_row(Random& random, int width, int channels, int zero) {
  std::vector<uint8_t> row(static_cast<size_t>(width) * static_cast<size_t>(channels));
  for (int c = 0; c < channels; ++c) {
    const int kind = static_cast<int>(random.integer(0, 3));
    double value = zero;
    for (int x = 0; x < width; ++x) {
      if (kind == 0) value = zero;
      if (kind == 1) value += random.normal() * 4;
      if (kind == 2) value = random.uniform() * 255;
      if (kind == 3) value = random.integer(0, 3) ? zero : zero + random.normal() * 40;
      row[static_cast<size_t>(x * channels + c)] = static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
    }
  }
  return row;
}

TEST(ActivationRows, WhatIsWrittenIsRead) {
  Random random(seed());
  for (int trial = 0; trial < 400; ++trial) {
    const int width = static_cast<int>(random.integer(1, 40)), channels = static_cast<int>(random.integer(1, 24));
    const uint8_t zero = static_cast<uint8_t>(random.integer(0, 1) ? random.integer(0, 255) : 0);
    const std::vector<uint8_t> row = picture_row(random, width, channels, zero);
    const int64_t room = random.integer(1, static_cast<int64_t>(row.size()) * 2 + 8);
    std::vector<RowChannel> state(static_cast<size_t>(channels), RowChannel{1, 2, 3, 4});
    std::vector<uint8_t> decoded(static_cast<size_t>(channels), 77), coded(static_cast<size_t>(room) + 1, 0xa5), got(row.size());
    const int step = encode_activation_row(row.data(), zero, width, channels, state.data(), decoded.data(), coded.data(), room);
    EXPECT_EQ(coded.back(), 0xa5) << "written beyond the row";
    decode_activation_row(coded.data(), room, zero, width, channels, state.data(), got.data());
    const int worst = step == numerics::kRowFlat ? 255 : numerics::kRowSteps[step] / 2;
    for (size_t i = 0; i < row.size(); ++i) ASSERT_LE(std::abs(row[i] - got[i]), worst) << "PITH_SEED=" << seed() << " trial " << trial << " at " << i;
  }
}

// Channels that follow earlier ones of random distance, through random multipliers.
std::vector<uint8_t> random_lifting(Random& random, int channels) {
  std::vector<uint8_t> bytes;
  for (int c = 0; c < channels; ++c) bytes.push_back(static_cast<uint8_t>(random.integer(0, c)));
  for (int most : {16, 8})
    for (int c = 0; c < channels; ++c) bytes.push_back(static_cast<uint8_t>(random.integer(0, most)));
  return bytes;
}

// A row in a fixed number of bytes, whatever it holds; the reader gets the values that the writer's own loop went on from.
TEST(LiftedRows, WhatIsWrittenIsReadInTheBytesThatThereAre) {
  Random random(seed());
  for (int trial = 0; trial < 400; ++trial) {
    const int width = static_cast<int>(random.integer(1, 40)), channels = static_cast<int>(random.integer(1, 24));
    const uint8_t zero = static_cast<uint8_t>(random.integer(0, 1) ? random.integer(0, 255) : 0);
    const std::vector<uint8_t> row = picture_row(random, width, channels, zero), lifting = random_lifting(random, channels);
    const int64_t room = random.integer(1, static_cast<int64_t>(row.size()) * 2 + 8);
    std::vector<RowChannel> state(static_cast<size_t>(channels), RowChannel{1, 2, 3, 4});
    std::vector<LiftedChannel> shown(state.size(), LiftedChannel{5, 6, 7});
    std::vector<uint8_t> decoded(state.size(), 77), coded(static_cast<size_t>(room) + 1, 0xa5), got(row.size());
    const LiftedRows rows{{lifting.data(), channels}, zero, width, state.data(), shown.data()};
    ASSERT_TRUE(rows.lifting.sound());
    const int step = rows.encode(row.data(), decoded.data(), coded.data(), room);
    EXPECT_EQ(coded.back(), 0xa5) << "written beyond the row";
    rows.decode(coded.data(), room, got.data());
    const int worst = step == numerics::kRowFlat ? 255 : numerics::kRowSteps[step] / 2;
    for (size_t i = 0; i < row.size(); ++i) ASSERT_LE(std::abs(row[i] - got[i]), worst) << "PITH_SEED=" << seed() << " trial " << trial << " at " << i;
    if (step == numerics::kRowFlat) continue;
    EXPECT_TRUE(std::equal(decoded.begin(), decoded.end(), got.end() - channels)) << "trial " << trial;  // the last pixel
  }
}

TEST(LiftedRows, WithoutALiftingTheyAreWhatRowsAre) {
  Random random(seed());
  for (int trial = 0; trial < 100; ++trial) {
    const std::vector<uint8_t> row = picture_row(random, 20, 8, 30);
    std::vector<uint8_t> lifting(24), decoded(8), plain(static_cast<size_t>(random.integer(1, 200))), lifted(plain.size());
    for (size_t c = 0; c < 8; ++c) lifting[c] = random.integer(0, 1) ? 0 : static_cast<uint8_t>(random.integer(0, static_cast<int64_t>(c))), lifting[8 + c] = numerics::kMostRowLift;
    std::vector<RowChannel> state(8);
    std::vector<LiftedChannel> shown(8);
    encode_activation_row(row.data(), 30, 20, 8, state.data(), decoded.data(), plain.data(), static_cast<int64_t>(plain.size()));
    LiftedRows{{lifting.data(), 8}, 30, 20, state.data(), shown.data()}.encode(row.data(), decoded.data(), lifted.data(), static_cast<int64_t>(lifted.size()));
    EXPECT_EQ(plain, lifted);
  }
}

// What it is for: channels that go with others take fewer bits, by their values or by their numbers.
TEST(LiftedRows, ChannelsThatGoTogetherTakeFewerBits) {
  Random random(seed());
  constexpr int kWidth = 300, kChannels = 6;
  std::vector<uint8_t> row(kWidth * kChannels), decoded(kChannels);
  double first = 128;
  for (int x = 0; x < kWidth; ++x) {
    first = std::clamp(first + random.normal() * 12, 0.0, 255.0);
    const double size = x / 20 % 2 ? 30 : 1;  // of two that share nothing but it
    for (int c = 0; c < kChannels; ++c) row[static_cast<size_t>(x * kChannels + c)] = static_cast<uint8_t>(std::clamp(c < 3 ? first + c : 128 + random.normal() * size, 0.0, 255.0));
  }
  std::vector<RowChannel> state(kChannels);
  std::vector<LiftedChannel> shown(kChannels);
  const auto bits_with = [&](const std::vector<uint8_t>& lifting) {
    int64_t bits = 0;
    LiftedRows{{lifting.data(), kChannels}, 128, kWidth, state.data(), shown.data()}.walk(row.data(), 0, decoded.data(), [&](int number, int parameter) {
      bits += numerics::row_number_bits(number, parameter);
      return true;
    });
    return bits;
  };
  const int64_t alone = bits_with({0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0, 0, 0});
  EXPECT_LT(bits_with({0, 1, 1, 0, 0, 0, 8, 12, 12, 8, 8, 8, 0, 0, 0, 0, 0, 0}), alone * 4 / 5);
  EXPECT_LT(bits_with({0, 0, 0, 0, 1, 1, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0, 4, 4}), alone * 99 / 100);
}

TEST(LiftedRows, OnlySoundOnesAreSo) {
  const std::vector<uint8_t> sound = {0, 1, 2, 16, 0, 8, 8, 0, 3};
  EXPECT_TRUE((RowLifting{sound.data(), 3}.sound()));
  const std::vector<std::pair<size_t, uint8_t>> damages = {{0, 1}, {1, 2}, {2, 3}, {3, 17}, {6, 9}, {8, 255}};
  for (const auto& [at, value] : damages) {
    std::vector<uint8_t> bad = sound;
    bad[at] = value;
    EXPECT_FALSE((RowLifting{bad.data(), 3}.sound())) << at;
  }
}

// Small values above the zero point, as activation functions leave them: coarse steps must not move their mean.
TEST(ActivationRows, CoarseStepsKeepTheMean) {
  Random random(seed());
  const int32_t width = 400, channels = 12;
  std::vector<uint8_t> row(static_cast<size_t>(width * channels)), decoded(static_cast<size_t>(channels)), got(row.size());
  for (uint8_t& v : row) v = static_cast<uint8_t>(random.integer(0, 1) ? 9 : random.integer(9, 16));
  std::vector<RowChannel> state(static_cast<size_t>(channels));
  for (const int step : {1, 3}) {  // their indices: 2 and 4
    int64_t bits = 0;
    walk_activation_row(row.data(), step, 9, width, channels, state.data(), decoded.data(), [&](int number, int parameter) {
      bits += numerics::row_number_bits(number, parameter);
      return true;
    });
    std::vector<uint8_t> coded(static_cast<size_t>(bits / 8 + 2));
    ASSERT_EQ(encode_activation_row(row.data(), 9, width, channels, state.data(), decoded.data(), coded.data(), static_cast<int64_t>(coded.size())), step);
    decode_activation_row(coded.data(), static_cast<int64_t>(coded.size()), 9, width, channels, state.data(), got.data());
    double moved = 0;
    for (size_t i = 0; i < row.size(); ++i) moved += got[i] - row[i];
    EXPECT_LT(std::abs(moved / static_cast<double>(row.size())), step == 1 ? 0.03 : 0.12) << step;
  }
}

TEST(ActivationRows, EveryStepKeepsItsBoundAndItsCount) {
  Random random(seed());
  for (int step = 0; step < numerics::kRowStepCount; ++step) {
    const std::vector<uint8_t> row = picture_row(random, 30, 12, 30);
    std::vector<RowChannel> state(12);
    uint8_t decoded[12];
    int64_t bits = 0;
    walk_activation_row(row.data(), step, 30, 30, 12, state.data(), decoded, [&](int number, int parameter) {
      EXPECT_GE(number, 0);
      EXPECT_LE(number, 255);
      EXPECT_LE(parameter, 7);
      bits += numerics::row_number_bits(number, parameter);
      return true;
    });
    // exactly so many bytes hold it, and one fewer doesn't
    std::vector<uint8_t> coded(static_cast<size_t>(1 + (bits + 7) / 8));
    EXPECT_LE(encode_activation_row(row.data(), 30, 30, 12, state.data(), decoded, coded.data(), static_cast<int64_t>(coded.size())), step);
    if (step > 0) continue;
    EXPECT_GT(encode_activation_row(row.data(), 30, 30, 12, state.data(), decoded, coded.data(), static_cast<int64_t>(coded.size()) - 1), 0);
  }
}

TEST(ActivationRows, NoBytesHurtTheReader) {
  Random random(seed());
  for (int trial = 0; trial < 500; ++trial) {
    const int width = static_cast<int>(random.integer(1, 20)), channels = static_cast<int>(random.integer(1, 20));
    std::vector<uint8_t> coded(static_cast<size_t>(random.integer(1, 200))), values(static_cast<size_t>(width * channels));
    for (uint8_t& b : coded) b = random.integer(0, 2) ? static_cast<uint8_t>(random.next()) : 0;
    if (random.integer(0, 3)) coded[0] %= numerics::kRowStepCount + 1;
    std::vector<RowChannel> state(static_cast<size_t>(channels));
    decode_activation_row(coded.data(), static_cast<int64_t>(coded.size()), 3, width, channels, state.data(), values.data());
    std::vector<LiftedChannel> shown(state.size());
    const std::vector<uint8_t> lifting = random_lifting(random, channels);
    LiftedRows{{lifting.data(), channels}, 3, width, state.data(), shown.data()}.decode(coded.data(), static_cast<int64_t>(coded.size()), values.data());
  }
}

}  // namespace
}  // namespace pith::coding
