// Which multiplexer takes which input: what the counts of weights.h promise, made concrete for a datapath (sim/rtl).
//
// Multiplexer m of a filter selects from the logical inputs i with i mod adders = m, and through a second wiring from
// those with (i / per + adders / 2) mod adders = m, per = window / adders. Inputs are seated one after the other, each
// sitting one pushed on to its other place where need be (cuckoo hashing; augmenting paths of bipartite matching), so
// an input is left for the next pass exactly where no seating of all before it and itself exists.
#pragma once

#include <cstdint>
#include <vector>

#include "chip/device.h"
#include "program/program.h"

namespace pith::sim {

struct Seat {
  int32_t input = 0;    // in the window
  int multiplexer = 0;  // 0..adders-1
  int choice = 0;       // of its wires: per of the first wiring, then per of the second
};

// Passes of one filter and window: `selected` (ascending or not) are the inputs whose weight isn't zero.
std::vector<std::vector<Seat>> seat_inputs(const std::vector<int32_t>& selected, const chip::Device& device);

// Ternary weights as training to the structure leaves them: where a window's weights don't fit one pass, those that
// don't are moved to inputs of the same window and filter that do (as many weights as before, but for what is more than
// there are multiplexers: that becomes zero). US 11809515 claims at least three quarters of zeros, guaranteed by
// training, so that every weight finds a multiplexer. For structures with random weights only: it changes what a
// network computes. Returns how many weights were moved.
int64_t settle_weights(Program& program, const chip::Device& device);

}  // namespace pith::sim
