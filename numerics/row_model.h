// The model behind coded activations: what is expected of the next value of a row, and which small number says it.
//
// A row of a picture (width x channels, channels innermost) is coded at a rate that is fixed beforehand, so that an arena
// can be planned with it (coding/decode/activation_rows.h has the bits). A value is predicted from its left neighbour of
// the same channel, from the zero point, or from the middle of both: from whichever has been nearer of late in its
// channel. The difference is divided by the row's step, the same for all of its values, and the quotient's number is
// Golomb-coded with a parameter that follows the channel's recent numbers, as in LOCO-I (Weinberger, Seroussi, Sapiro,
// 2000). All of it is learnt from what is decoded; nothing is stored but the step. Step 1 loses nothing.
//
// Freestanding; integers only.
#pragma once

#include <stdint.h>

#include "numerics/arithmetic.h"

namespace pith::numerics {

inline constexpr int kRowSteps[] = {1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128};
inline constexpr int kRowStepCount = 18;
inline constexpr int kRowFlat = kRowStepCount;  // the step's index that says: all values are the zero point
inline constexpr int kRowEscape = 20;           // zeros in unary; then the number follows in 8 bits

// What a channel has shown so far, in sixteenths: the mean number, and how far each prediction was off.
struct RowChannel {
  uint16_t level, zero, left, middle;
};

// The next value of a channel: its prediction, the parameter of its number's code, and how many steps fit on both sides.
struct RowExpectation {
  int32_t prediction, parameter, both;
  bool more_above;  // beyond `both`, there is room above only (or else below only)
};

// Which way the writer rounds what lies in the middle of two steps: against the error before it in its channel (a value and
// what it became), by turns where there was none.
constexpr bool row_rounds_down(int column, int channel, int value_before, int became) {
  return became != value_before ? became > value_before : ((column + channel) & 1) != 0;
}

// Numbers of 0..255 take so many bits with a parameter.
constexpr int row_number_bits(int number, int parameter) {
  const int high = number >> parameter;
  return high < kRowEscape ? high + 1 + parameter : kRowEscape + 8;
}

// The finest step whose numbers fit: fits(step's index), kRowFlat where none does.
template <typename Fits>
constexpr int bisected_row_step(const Fits& fits) {
  int low = 0, high = kRowFlat;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (fits(middle))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

class RowModel {
 public:
  // `channels` must outlive the model; its contents don't matter.
  constexpr RowModel(RowChannel* channels, int step_index, uint8_t zero_point)
      : channels_(channels), step_(kRowSteps[step_index]), half_(step_ >> 1), even_(step_ % 2 == 0), inverse_((65536 + step_ - 1) / step_), zero_(zero_point), level_(64 / step_) {}

  // `left`: the value before in this channel, as decoded; none in the first column.
  constexpr RowExpectation expect(int channel, bool first, int left) const {
    const RowChannel& c = channels_[channel];
    return first ? about(zero_, level_) : about(nearest(c, left), c.level);
  }
  // The number of a value: differences of alternating sign while both fit, then those of the one sign that does. What lies
  // in the middle of two steps goes down or up: with step 2 that's half of all values, and away from the prediction would
  // move the mean, since most values that the zero point predicts lie above it.
  constexpr int number(const RowExpectation& e, int value, bool down) const {
    const int difference = value - e.prediction, near = down == (difference > 0) ? even_ : 0;
    const int steps = quotient((difference < 0 ? -difference : difference) - near);
    return steps > e.both ? e.both + steps : difference > 0 ? (steps > 0 ? 2 * steps - 1 : 0) : 2 * steps;
  }
  constexpr int value(const RowExpectation& e, int number) const {
    const bool one_sided = number > 2 * e.both;
    const int steps = one_sided ? number - e.both : (number + 1) >> 1;
    const bool up = one_sided ? e.more_above : (number & 1) != 0;
    return clamp(e.prediction + (up ? steps : -steps) * step_, 0, 255);
  }
  // After each value, in the order of the row.
  constexpr void learn(int channel, bool first, int left, int value, int number) {
    RowChannel& c = channels_[channel];
    const int seen = size_of(number);
    const int off_zero = distance(value, zero_) * 16;
    if (first) {
      c.level = static_cast<uint16_t>((seen + level_) >> 1);
      c.zero = static_cast<uint16_t>(off_zero >> 1);
      c.middle = static_cast<uint16_t>((off_zero + 8) >> 1);
      c.left = static_cast<uint16_t>((off_zero + 16) >> 1);
    } else {
      c.level = towards(c.level, seen, 2);
      c.zero = towards(c.zero, off_zero, 3);
      c.middle = towards(c.middle, distance(value, (left + zero_) >> 1) * 16, 3);
      c.left = towards(c.left, distance(value, left) * 16, 3);
    }
    level_ += (seen - level_) >> 3;
  }

 protected:
  // What a number counts for in a channel's level.
  static constexpr int size_of(int number) { return (number < 63 ? number : 63) * 16; }
  constexpr int nearest(const RowChannel& c, int left) const {
    int least = c.zero, prediction = zero_;
    if (c.middle < least) least = c.middle, prediction = (left + zero_) >> 1;
    return c.left < least ? left : prediction;
  }
  constexpr RowExpectation about(int prediction, int level) const {
    const int below = quotient(prediction), above = quotient(255 - prediction), t = level + (level >> 2);
    return {prediction, t > 0 ? 31 - __builtin_clz(static_cast<unsigned>((t - 1) >> 4) | 1) : 0, above > below ? below : above, above > below};
  }
  static constexpr int distance(int a, int b) { return a < b ? b - a : a - b; }
  static constexpr uint16_t towards(int mean, int x, int shift) { return static_cast<uint16_t>(mean + ((x - mean) >> shift)); }

  RowChannel* channels_;

 private:
  constexpr int quotient(int difference) const { return static_cast<int>((static_cast<unsigned>(difference + half_) * static_cast<unsigned>(inverse_)) >> 16); }  // rounded

  int step_, half_, even_, inverse_, zero_;
  int level_;  // of all channels, for those that begin
};

}  // namespace pith::numerics
