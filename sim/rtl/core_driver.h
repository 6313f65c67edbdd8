// Drives the core of core.sv, compiled by Verilator, through one job: four filters over up to 256 positions.
//
// What a command would carry is prepared here from a layer of a Program as the chip's compiler would: seats of weights
// (sim/timing/placement.h), the zero point's share taken off the bias, factors, table.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "Vcore.h"
#include "numerics/scale.h"
#include "sim/timing/placement.h"

namespace pith::sim {

inline constexpr int kCoreFilters = 4, kCoreWindow = 144, kCorePartialBits = 20;

struct CoreFilter {
  std::vector<int32_t> weights;  // as many as inputs
  int32_t bias = 0;
  numerics::Multiplier factor{0, 1};
};

struct CoreJob {
  std::vector<CoreFilter> filters;           // up to four; all see the same inputs
  std::vector<std::vector<uint8_t>> inputs;  // [position]: codes in the order of the weights, padding as the zero point
  int32_t in_zero_point = 0, out_zero_point = 0, low = 0, high = 255;
  std::array<uint8_t, 256> table{};
};

struct CoreToggles {
  double cycles = 0;  // in which a slot went in
  double inputs = 0, selected = 0, trees = 0, partial = 0;
  CoreToggles& operator+=(const CoreToggles& o) {
    cycles += o.cycles, inputs += o.inputs, selected += o.selected, trees += o.trees, partial += o.partial;
    return *this;
  }
  double all() const { return inputs + selected + trees + partial; }
};

struct CoreResult {
  std::vector<std::array<uint8_t, kCoreFilters>> outputs;  // [position]
  int64_t cycles = 0;                                      // from the first slot in to the last result taken
  CoreToggles toggles;
};

// Do the filter's sums stay within a partial sum whatever the inputs are?
bool fits_partial(const CoreFilter& filter);

class CoreDriver {
 public:
  explicit CoreDriver(const chip::Device& device) : device_(device), core_(std::make_unique<Vcore>()) {}
  CoreResult run(const CoreJob& job);

 private:
  struct Pass {
    int window = 0;
    std::array<std::vector<Seat>, kCoreFilters> seats;
    std::array<int, kCoreFilters> plane{};
  };
  std::vector<Pass> passes_of(const CoreJob& job) const;
  void clock();
  void load(const CoreJob& job, const Pass& pass, int filter);
  void configure(const CoreJob& job);

  chip::Device device_;
  std::unique_ptr<Vcore> core_;
};

}  // namespace pith::sim
