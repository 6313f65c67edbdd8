// What the virtual chip computes: a Program executed operator by operator, on values.
//
// Why: the timing and energy of a chip that computes something else would be worth nothing. This is a third reading of
// the operators' meaning, beside the graph interpreter and the runtime: it shares with them only numerics/, coding/ and
// program/, so that agreement bit for bit is evidence. Method: the plainest form of each operator on the arena; products
// visit only the weights other than zero, as the chip does, which is exact since integer sums don't depend on their order.
//
// 8-bit and integer operators agree with the runtime bit for bit. Floats follow the same formulas, but sums of products
// are made in one order, while the runtime's order depends on its instruction set.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "program/program.h"

namespace pith::sim {

class Functional {
 public:
  // Error kUnsupported names every operator that the chip's program may not contain.
  static Result<Functional> create(const Program& program);

  // Logical order, as the user's model has it (NCHW ...). 8-bit inputs are quantised. An input by rows is kept here and
  // handed over row by row, as a camera does.
  Result<void> set_input(size_t index, std::span<const float> values);
  // One inference; state is carried to the next. `observer`, if given, is called before and after every operator.
  using Observer = std::function<void(size_t op, bool done)>;
  Result<void> run(const Observer& observer = {});
  // The output's elements in logical order as they are stored: u8, float32 or int32.
  std::vector<uint8_t> output_bytes(size_t index) const;
  std::vector<float> output(size_t index) const;  // dequantised

  const std::vector<uint8_t>& arena() const { return arena_; }
  uint8_t* memory() { return arena_.data(); }  // the same, for whoever writes codes as a bus does; arena_bytes of it

 private:
  explicit Functional(const Program& program) : program_(&program) {}
  const Program* program_;
  void rows_in(const ProgramOp& op);
  void rows_out(const ProgramOp& op);
  std::vector<int32_t> whole_dims(const ProgramPort& port, int32_t rows) const;

  std::vector<uint8_t> arena_;
  RowPorts rows_;
  std::vector<std::vector<float>> row_inputs_;     // of inputs by rows, all of it in logical order
  std::vector<std::vector<uint8_t>> row_outputs_;  // of outputs by rows, likewise, as stored
  std::vector<std::vector<uint8_t>> constants_;  // u8, i32 and f32 as bytes; i8 also as float32
};

}  // namespace pith::sim
