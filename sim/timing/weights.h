// What a layer's weights cost on cores without multipliers: counted from the weights themselves.
//
// A core sums, for each of its filters in a cycle, a window of logical inputs of which it can select as many as it has
// adders. Each input is wired to two multiplexers, so a set of inputs can be selected together when each can be given a
// multiplexer of its own: inputs are edges between multiplexers, and a set fits when no connected part has more edges
// than multiplexers (cuckoo hashing; Pagh and Rodler, 2001). Such sets form a matroid, so taking inputs in order is
// optimal for one pass; what doesn't fit goes to the next pass. A weight of more than one bit is a sum of signed powers
// of two (non-adjacent form), and each power is a pass of its own with the accumulator shifted.
#pragma once

#include <cstdint>
#include <vector>

#include "chip/device.h"
#include "program/program.h"

namespace pith::sim {

// Filters are taken in groups of as many as a core sums; a group shares windows.
struct WeightPlan {
  int64_t groups = 0, windows = 0;    // windows of a group
  std::vector<uint16_t> passes;       // [group][window]: the most that any of its filters needs; 0 = nothing to do
  std::vector<int64_t> digits;        // [group]: signed powers of two, all windows
  std::vector<int64_t> bytes;         // [group]: as stored on chip
  std::vector<int32_t> inputs;        // [window]: logical inputs in it
  int64_t weights = 0, nonzero = 0, all_digits = 0, extra_passes = 0;  // extra: beyond one for each filter and window
  int64_t stored_bytes() const;
};

// `rows` filters of `length` weights; `share`: consecutive filters that see the same inputs (all, for groups = 1).
WeightPlan plan_weights(const ProgramConstant& constant, int64_t rows, int64_t length, int64_t share, const chip::Device& device);

// Passes for one filter's window: which logical inputs (0..window-1) have a weight other than zero. For tests.
int count_passes(const std::vector<int32_t>& selected, const chip::Device& device);

}  // namespace pith::sim
