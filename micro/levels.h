// Learned levels for rounding (coding/decode/levels.h): what a multiple stands for, and what it had better stand for.
// Internal to micro/.
//
// Method: entropy-constrained Lloyd (P. Chou, T. Lookabaugh and R. Gray, "Entropy-constrained vector quantization", 1989) under
// the costs that rounding has: a row is rounded, weights pay for bits and make up for errors of those before them, and every
// multiple keeps the mean of what it got, each weight counting as an error of it costs. Levels are then integers of a step
// so fine that the largest is 127, and the rows are rounded once more.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "coding/decode/levels.h"
#include "coding/decode/trellis.h"

namespace pith {

// What multiples stand for, in steps, and which one is nearest to a size: of all, or as an index of those of one of a trellis's two grids.
class LevelSizes {
 public:
  LevelSizes(const coding::Levels& levels, int limit);  // sizes are at most `limit`
  int largest() const { return static_cast<int>(sizes_.size()) - 1; }
  double of(int multiple) const { return sizes_[static_cast<size_t>(multiple)]; }
  int nearest(double size) const { return place(between_, size); }
  int nearest(double size, int grid) const { return place(of_grid_[static_cast<size_t>(grid)], size); }

 private:
  static int place(const std::vector<double>& bounds, double size);
  std::vector<double> sizes_, between_;          // by multiple; halfway to the next
  std::array<std::vector<double>, 2> of_grid_;  // halfway between neighbours of a grid
};

// What multiples got when rows were rounded.
struct LevelSums {
  std::array<double, 128> weight{}, sum{};  // of squared scales and of scales times weights, as an error of each costs
  void add(int32_t multiple, double wanted, double scale, double cost) {
    const auto m = static_cast<size_t>(multiple < 0 ? -multiple : multiple);
    weight[m] += cost * scale * scale;
    sum[m] += cost * scale * (multiple < 0 ? -wanted : wanted);
  }
  void add(const LevelSums& other, double share);
};

// Bits of a table in the file.
inline double level_bits(const coding::Levels& levels) { return levels.count > 0 ? 8 * (levels.count + 2) : 0; }

struct LearnedLevels {
  coding::Levels levels;
  int finer = 0;  // scale codes are so much smaller
};

// Levels at least as good for what was rounded to even steps, or nothing where they save less than their table costs at `lambda` a bit.
// Multiples up to `largest` stay within 127.
std::optional<LearnedLevels> learn_levels(const LevelSums& sums, int largest, double lambda);

}  // namespace pith
