// The predicted code of floats: every bit pattern comes back, tables are nearly free, damage is noticed.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/random.h"
#include "coding/decode/floats.h"
#include "coding/encode/floats.h"

namespace pith::coding {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 11;
}

size_t coded_bytes(const std::vector<float>& values, const std::vector<int32_t>& dims) {
  const CodedFloats coded = encode_floats(values, dims);
  std::vector<float> back(values.size(), -7);
  EXPECT_TRUE(decode_floats(coded.bytes.data(), coded.bytes.size(), back.data(), static_cast<int64_t>(back.size()), coded.shift));
  EXPECT_TRUE(values.empty() || std::memcmp(back.data(), values.data(), values.size() * sizeof(float)) == 0) << "PITH_SEED=" << seed();
  return coded.bytes.size();
}

TEST(Floats, AnyBitsComeBack) {
  Random random(seed());
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<float> values;
    const int64_t rows = random.integer(0, 40), width = random.integer(1, 9), keep = random.integer(1, 32);
    for (int64_t i = 0; i < rows * width; ++i) {
      uint32_t bits = static_cast<uint32_t>(random.next());
      if (random.integer(0, 3) == 0) bits |= 0x7f800000u;  // infinities and NaNs
      if (random.integer(0, 3) == 0) bits &= 0x807fffffu;  // zeros and subnormal numbers
      if (random.integer(0, 1) == 0 && i > 0) bits = std::bit_cast<uint32_t>(values[static_cast<size_t>(random.integer(0, i - 1))]);
      values.push_back(std::bit_cast<float>(keep == 32 ? bits : bits >> (32 - keep) << (32 - keep)));
    }
    coded_bytes(values, {static_cast<int32_t>(rows), static_cast<int32_t>(width)});
  }
}

// One stream for each way to predict, on values made for it: chosen as intended, and close to free.
TEST(Floats, TablesAreNearlyFree) {
  std::vector<float> grid, sizes, waves, steps;
  for (int y = 0; y < 30; ++y) {
    for (int x = 0; x < 40; ++x) {
      for (int k = 0; k < 3; ++k) {
        grid.push_back((static_cast<float>(x) + 0.5f) / 40);
        grid.push_back((static_cast<float>(y) + 0.5f) / 30);
        sizes.push_back(static_cast<float>(10 + 6 * k) / 320);
        sizes.push_back(static_cast<float>(10 + 6 * k) / 240);
      }
    }
  }
  for (int t = 0; t < 512; ++t) {
    for (int k = 0; k < 4; ++k) waves.push_back(static_cast<float>(std::cos(t * std::pow(10.0, -k))));
    steps.push_back(0.1f * static_cast<float>(t) + 3);
  }
  EXPECT_LT(coded_bytes(grid, {3600, 2}), 1100u);  // of 28,800
  EXPECT_LT(coded_bytes(sizes, {3600, 2}), 100u);  // of 28,800
  EXPECT_LT(coded_bytes(waves, {512, 4}), 1000u);  // of 8,192
  EXPECT_LT(coded_bytes(steps, {512}), 250u);      // of 2,048
}

TEST(Floats, NoiseCostsItsMantissas) {
  Random random(seed());
  std::vector<float> noise(4096), halves(4096);
  for (size_t i = 0; i < noise.size(); ++i) {
    noise[i] = static_cast<float>(random.normal());
    halves[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(noise[i]) & 0xffffe000u);  // 10 bits of mantissa
  }
  EXPECT_LT(coded_bytes(noise, {64, 64}) * 8, noise.size() * 27);
  EXPECT_LT(coded_bytes(halves, {64, 64}) * 8, halves.size() * 14);
}

TEST(Floats, DamagedStreamsEndAndAreNoticed) {
  Random random(seed());
  std::vector<float> values(500), back(500);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(std::sin(static_cast<double>(i) * 0.1) + random.normal() * 1e-3);
  const CodedFloats coded = encode_floats(values, std::vector<int32_t>{100, 5});
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<uint8_t> damaged = coded.bytes;
    if (trial % 2 == 0) damaged.resize(static_cast<size_t>(random.integer(0, static_cast<int64_t>(damaged.size()) - 8)));
    if (!damaged.empty() && trial % 3 != 0) damaged[static_cast<size_t>(random.integer(0, static_cast<int64_t>(damaged.size()) - 1))] ^= static_cast<uint8_t>(random.next());
    const bool whole = decode_floats(damaged.data(), damaged.size(), back.data(), 500, trial % 6 == 0 ? coded.shift : static_cast<int>(random.integer(0, 30)));
    if (trial % 6 == 0) {
      EXPECT_FALSE(whole) << "a shortened stream passed";
    }
  }
  for (const int shift : {-1, 31}) EXPECT_FALSE(decode_floats(coded.bytes.data(), coded.bytes.size(), back.data(), 500, shift));
}

}  // namespace
}  // namespace pith::coding
