// Weights on two grids that take turns: trellis-coded quantisation.
//
// Why: rounding each weight by itself packs space in cubes, and the best packing would lose 1.53 dB less, a quarter of a bit
// a weight. An automaton of eight states gets two thirds of that at no cost to the decoder: in every second state the grid is
// the even multiples of the step, in the others zero and the odd ones, and the parity of the index that was read says which
// state follows. An index costs what a step twice as wide would cost, while the encoder, which searches the paths
// (micro/trellis.h), finds points nearly as near as those of the finer grid. (M. Marcellin and T. Fischer, "Trellis coded
// quantization of memoryless and Gauss-Markov sources", 1990; H. Schwarz et al., "Hybrid video coding with trellis-coded
// quantization", 2019, whose two grids both hold zero; for networks P. Haase et al., "Dependent scalar quantization for neural
// network compression", 2020.)
//
// A row begins in state 0, so that rows stay independent of each other. Freestanding.
#pragma once

#include <stdint.h>

namespace pith::coding {

class Trellis {
 public:
  static constexpr int kStates = 8;
  static constexpr uint8_t kNext[kStates][2] = {{0, 2}, {5, 7}, {1, 3}, {6, 4}, {2, 0}, {4, 6}, {3, 1}, {7, 5}};

  int grid() const { return state_ & 1; }  // 0: the even multiples; 1: zero and the odd ones
  void follow(int32_t index) { state_ = kNext[state_][index & 1]; }
  int state() const { return state_; }

 private:
  uint8_t state_ = 0;
};

// The multiple of the step that an index stands for, and back: of either grid.
constexpr int32_t trellis_value(int32_t index, int grid) { return index == 0 ? 0 : index > 0 ? 2 * index - grid : 2 * index + grid; }
constexpr int32_t trellis_index(int32_t value) { return value < 0 ? -((1 - value) >> 1) : (value + 1) >> 1; }

// Rows of indices and rows of multiples, in place; no multiple is larger than `limit`.
inline void trellis_values(int8_t* row, int64_t length, int32_t limit) {
  Trellis path;
  for (int64_t k = 0; k < length; ++k) {
    const int32_t index = row[k], value = trellis_value(index, path.grid());
    row[k] = static_cast<int8_t>(value < -limit ? -limit : value > limit ? limit : value);
    path.follow(index);
  }
}
inline void trellis_indices(int8_t* row, int64_t length) {
  for (int64_t k = 0; k < length; ++k) row[k] = static_cast<int8_t>(trellis_index(row[k]));
}

}  // namespace pith::coding
