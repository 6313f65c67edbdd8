// See levels.h. Nobody says which levels integers were rounded to: they show in the magnitudes that occur. With L levels of
// their own, the steps between the others must be multiples of the tail, and so is their greatest common divisor; which of its
// divisors the tail is matters to paths alone, whose parities must fit.
#include "coding/encode/levels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <numeric>

#include "coding/encode/weights.h"

namespace pith::coding {
namespace {

constexpr int64_t kLevelBits = 8;  // of the head

// How often each magnitude occurs; those that do.
struct Magnitudes {
  std::array<int64_t, 128> counts{};
  std::vector<int> present;

  explicit Magnitudes(std::span<const int32_t> integers) {
    for (int32_t q : integers) ++counts[static_cast<size_t>(std::abs(q))];
    for (int m = 1; m < 128; ++m) {
      if (counts[static_cast<size_t>(m)] > 0) present.push_back(m);
    }
  }
  // Those of the first `count`, and the coarsest tail that reaches the others.
  Levels levels(int count) const {
    Levels l;
    l.count = count;
    for (int i = 1; i <= count; ++i) l.of[i] = static_cast<uint8_t>(present[static_cast<size_t>(i - 1)]);
    int tail = 0;
    for (size_t i = static_cast<size_t>(count); i < present.size(); ++i) tail = std::gcd(tail, present[i] - l.of[count]);
    l.tail = static_cast<uint8_t>(tail == 0 ? 1 : tail);
    return l;
  }
  // About what the bit lengths and the bits below the leading one take.
  int64_t bits(const Levels& l) const {
    int64_t bits = 0;
    for (int m : present) bits += counts[static_cast<size_t>(m)] * 2 * std::bit_width(static_cast<uint32_t>(l.multiple(m)));
    return bits;
  }
};

bool follow_paths(std::span<const int32_t> integers, int64_t row_length, const Levels& l) { return !trellis_rows(level_multiples(integers, l), row_length).empty(); }

}  // namespace

std::optional<Levels> find_levels(std::span<const int32_t> integers, int64_t row_length, bool trellis) {
  const Magnitudes all(integers);
  const int most = std::min(Levels::kMost, static_cast<int>(all.present.size()));
  const std::span<const int32_t> first_row = integers.first(std::min(integers.size(), static_cast<size_t>(row_length)));  // tells most
  std::optional<Levels> found;
  int64_t least = all.bits(Levels()) - kLevelBits;
  for (int count = 1; count <= most; ++count) {
    Levels l = all.levels(count);
    if (!trellis) {
      const int64_t bits = all.bits(l) + kLevelBits * (count + 2);
      if (bits < least) least = bits, found = l;
      continue;
    }
    for (int part = l.tail, whole = l.tail; part >= 1; --part) {
      if (whole % part != 0) continue;
      l.tail = static_cast<uint8_t>(part);
      if (!follow_paths(first_row, row_length, l) || !follow_paths(integers, row_length, l)) continue;
      const bool even = l.of[count] == count && part == 1;
      return even ? std::nullopt : std::optional(l);
    }
  }
  return found;
}

std::vector<int32_t> level_multiples(std::span<const int32_t> integers, const Levels& levels) {
  std::vector<int32_t> multiples;
  for (int32_t q : integers) multiples.push_back(q < 0 ? -levels.multiple(-q) : levels.multiple(q));
  return multiples;
}

std::vector<uint8_t> encode_levels(const Levels& levels, int codec, const std::vector<uint8_t>& stream) {
  std::vector<uint8_t> bytes{static_cast<uint8_t>(codec + 16 * levels.count)};
  for (int i = 1; i <= levels.count; ++i) bytes.push_back(static_cast<uint8_t>(levels.of[i] - levels.of[i - 1]));
  bytes.push_back(levels.tail);
  bytes.insert(bytes.end(), stream.begin(), stream.end());
  return bytes;
}

}  // namespace pith::coding
