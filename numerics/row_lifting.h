// Lifting across the channels of a coded row: a channel may look at one earlier channel of the same pixel, which is
// decoded already.
//
// Why: channels of a picture change at the same places. A fixed linear transform of them would lose the zeros that activation
// functions leave, and needs C multiplications a value; a lifting step (Sweldens, 1996) is undone exactly, in integers,
// and needs two. Through multipliers in quarters, chosen beforehand (cli/row_lifting.h), two things are lifted:
//
//   the value  a fourth prediction beside the three of row_model.h: the left neighbour and a part of the step that the other
//              channel took from its own, where that has been nearer of late than all three
//   the level  a fourth of it is made of the other channel's number, since numbers are large and small together: what
//              is expected stays as it is, but takes fewer bits
//
// Freestanding; integers only.
#pragma once

#include <stdint.h>

#include "numerics/row_model.h"

namespace pith::numerics {

inline constexpr int kMostRowLift = 8;  // quarters: either multiplier is at most 2

// What each channel looks at, as three rows of bytes: how many channels back, 0 where none; 8 + the multiplier of steps;
// the multiplier of numbers.
struct RowLifting {
  const uint8_t* bytes;
  int32_t channels;

  constexpr int back(int c) const { return bytes[c]; }
  constexpr int step(int c) const { return bytes[channels + c] - kMostRowLift; }
  constexpr int size(int c) const { return bytes[2 * channels + c]; }
  constexpr bool sound() const {
    for (int32_t c = 0; c < channels; ++c) {
      if (back(c) > c || step(c) > kMostRowLift || size(c) > kMostRowLift) return false;
    }
    return true;
  }
};

// What a channel shows others at this pixel, and how far its prediction from another was off of late, in sixteenths.
struct LiftedChannel {
  int16_t step, size;
  uint16_t off;
};

// The finest step whose numbers fit, from the finest on: rows go value by value, and where nothing shall be lost the first fits.
template <typename Fits>
constexpr int first_row_step(const Fits& fits) {
  int step_index = 0;
  while (step_index < kRowFlat && !fits(step_index)) ++step_index;
  return step_index;
}

class LiftedRowModel : public RowModel {
 public:
  // `channels`, `lifted` and the lifting must outlive the model; what the first two hold doesn't matter.
  constexpr LiftedRowModel(RowLifting lifting, RowChannel* channels, LiftedChannel* lifted, int step_index, uint8_t zero_point)
      : RowModel(channels, step_index, zero_point), lifting_(lifting), lifted_(lifted) {}

  constexpr RowExpectation expect(int channel, bool first, int left) const {
    const RowChannel& c = channels_[channel];
    if (first || lifting_.back(channel) == 0) return RowModel::expect(channel, first, left);
    const int off = lifted_[channel].off, size = lifting_.size(channel);
    const int other = (size * shown(channel).size) >> 2;
    return about(off < c.zero && off < c.middle && off < c.left ? from_other(channel, left) : nearest(c, left),
                 size == 0 ? c.level : (3 * c.level + (other < kMostLevel ? other : kMostLevel)) >> 2);
  }
  constexpr void learn(int channel, bool first, int left, int value, int number) {
    RowModel::learn(channel, first, left, value, number);
    LiftedChannel& l = lifted_[channel];
    l.off = first ? channels_[channel].left : towards(l.off, distance(value, from_other(channel, left)) * 16, 3);
    l.step = static_cast<int16_t>(value - left);
    l.size = static_cast<int16_t>(size_of(number));
  }

 private:
  static constexpr int kMostLevel = 63 * 16;
  constexpr const LiftedChannel& shown(int channel) const { return lifted_[channel - lifting_.back(channel)]; }
  constexpr int from_other(int channel, int left) const { return clamp(left + ((lifting_.step(channel) * shown(channel).step + 2) >> 2), 0, 255); }

  RowLifting lifting_;
  LiftedChannel* lifted_;
};

}  // namespace pith::numerics
