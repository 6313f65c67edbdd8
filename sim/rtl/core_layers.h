// Layers of a program as jobs of one core.
#pragma once

#include <vector>

#include "program/program.h"
#include "sim/rtl/core_driver.h"

namespace pith::sim {

// An 8-bit convolution or dense layer of a program.
struct CoreLayer {
  const Program* program = nullptr;
  const ProgramOp* op = nullptr;

  // Nothing for any other operator.
  static bool possible(const Program& program, const ProgramOp& op);
  const ProgramConstant& weights() const;
  int64_t filters() const, length() const, positions() const;
  int64_t share() const;  // consecutive filters that see the same inputs
  // Filters [first, first + 4) of one group of inputs at the given positions of the layer's input tensor.
  CoreJob job(int64_t first, const std::vector<int64_t>& at, const std::vector<uint8_t>& input) const;
};

// What the model of sim/timing says: cycles of that job on a device with one cluster of one core.
int64_t modelled_cycles(const CoreJob& job, const chip::Device& device);

}  // namespace pith::sim
