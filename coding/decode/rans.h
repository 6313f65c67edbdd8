// Rows of weights under rANS with parametric distributions: the fast code.
//
// Two interleaved states (Duda, "Asymmetric numeral systems", 2013; 16-bit renormalisation as in Giesen's rans_word) under
// up to four distributions per tensor, chosen per row: nothing is stored but a family and four widths. A symbol is found
// through the first of its 64 slots' bucket and a step or two from there: 256 bytes per table instead of a search.
//
// Freestanding.
#pragma once

#include "coding/decode/binary.h"
#include "numerics/functions.h"
#include "numerics/scale.h"

namespace pith::coding {

inline constexpr int kRansBits = 14;
inline constexpr int kRansTables = 4;
inline constexpr uint32_t kRansLow = uint32_t{1} << 16;

// Width of class w: 2^(w/4 - 2) for the distribution's scale parameter; 0 <= w < 40.
inline constexpr int kWidthClasses = 40;

// Cumulative frequencies over q = -limit..limit of a discretised symmetric distribution: family 0 Laplace, 1 logistic,
// 2 normal. cumulative[0] = 0, cumulative[2*limit+1] = 2^14; every symbol has at least frequency 1.
inline void build_rans_table(int family, int width, int limit, uint16_t cumulative[257]) {
  const double b = numerics::scale_value(width * 4 - 32);
  const auto below = [&](double x) {  // distribution function
    if (family == 0) return x < 0 ? 0.5 * numerics::exp(x / b) : 1 - 0.5 * numerics::exp(-x / b);
    if (family == 1) return numerics::sigmoid(x / b);
    return 0.5 * (1 + numerics::erf(x / b * 0.7071067811865476));
  };
  const int symbols = 2 * limit + 1;
  const int spare = (1 << kRansBits) - symbols;
  const double total = below(limit + 0.5) - below(-limit - 0.5);
  // one side; the distribution is symmetric, and zero takes what rounding leaves
  uint16_t frequency[128];
  int used = 0;
  for (int q = 1; q <= limit; ++q) {
    const double p = (below(q + 0.5) - below(q - 0.5)) / total;
    frequency[q] = static_cast<uint16_t>(1 + static_cast<int>(p * spare));
    used += 2 * frequency[q];
  }
  frequency[0] = static_cast<uint16_t>((1 << kRansBits) - used);
  uint32_t sum = 0;
  for (int i = 0; i < symbols; ++i) {
    cumulative[i] = static_cast<uint16_t>(sum);
    sum += frequency[i < limit ? limit - i : i - limit];
  }
  cumulative[symbols] = static_cast<uint16_t>(sum);
}

// A table ready to decode from.
struct RansTable {
  uint16_t cumulative[257];
  uint8_t first[256];  // the symbol at slot 64 i

  void build(int family, int width, int limit) {
    build_rans_table(family, width, limit, cumulative);
    int symbol = 0;
    for (uint32_t i = 0; i < 256; ++i) {
      while (cumulative[symbol + 1] <= 64 * i) ++symbol;
      first[i] = static_cast<uint8_t>(symbol);
    }
  }
};

// The two states that take turns, from the stream's start; false where one is malformed.
inline bool begin_rans(uint32_t (&states)[2], const uint8_t*& next, const uint8_t* end) {
  for (uint32_t& s : states) {
    s = 0;
    for (int i = 0; i < 4; ++i) s |= static_cast<uint32_t>(next < end ? *next++ : 0) << (8 * i);
    if (s < kRansLow) return false;
  }
  return true;
}
// A state that a symbol was taken from, with two more bytes where it has become small.
inline uint32_t refilled(uint32_t s, const uint8_t*& next, const uint8_t* end, bool& overrun) {
  if (s >= kRansLow) return s;
  uint32_t word = 0;
  if (end - next >= 2) {
    word = static_cast<uint32_t>(next[0] | next[1] << 8);
    next += 2;
  } else {
    overrun = true;
  }
  return s << 16 | word;
}

class RansRows {
 public:
  // Reads families, widths and the two states; false when they are malformed.
  bool begin(BinaryDecoder& side, const uint8_t* data, const uint8_t* end, int bits);
  void row(BinaryDecoder& side, int8_t* row, int64_t length);
  bool overrun() const { return overrun_; }

 private:
  RansTable table_[kRansTables];
  BitModel choice_[kRansTables];
  uint32_t state_[2] = {0, 0};
  const uint8_t* next_ = nullptr;
  const uint8_t* end_ = nullptr;
  int tables_ = 0, limit_ = 0, turn_ = 0;
  bool overrun_ = false;
};

// ---- implementation ----

inline bool RansRows::begin(BinaryDecoder& side, const uint8_t* data, const uint8_t* end, int bits) {
  next_ = data;
  end_ = end;
  const int family = static_cast<int>(side.raw_bits(2));
  limit_ = static_cast<int>(side.raw_bits(bits - 1));
  tables_ = 1 + static_cast<int>(side.raw_bits(2));
  if (family > 2) return false;
  for (int i = 0; i < tables_; ++i) {
    const int width = static_cast<int>(side.raw_bits(6));
    if (width >= kWidthClasses) return false;
    table_[i].build(family, width, limit_);
  }
  return begin_rans(state_, next_, end_);
}

inline void RansRows::row(BinaryDecoder& side, int8_t* row, int64_t length) {
  int chosen = 0;
  while (chosen < tables_ - 1 && side.bit(choice_[chosen])) ++chosen;
  const RansTable& table = table_[chosen];
  uint32_t one = state_[turn_], other = state_[turn_ ^ 1];
  for (int64_t k = 0; k < length; ++k) {
    const uint32_t slot = one & ((1u << kRansBits) - 1);
    uint32_t symbol = table.first[slot >> 6];
    while (table.cumulative[symbol + 1] <= slot) ++symbol;
    const uint32_t start = table.cumulative[symbol];
    const uint32_t s = (table.cumulative[symbol + 1] - start) * (one >> kRansBits) + slot - start;
    one = other;
    other = refilled(s, next_, end_, overrun_);
    row[k] = static_cast<int8_t>(static_cast<int>(symbol) - limit_);
  }
  turn_ ^= static_cast<int>(length & 1);
  state_[turn_] = one;
  state_[turn_ ^ 1] = other;
}

}  // namespace pith::coding
