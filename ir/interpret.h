// The reference interpreter: executes a Graph plainly, one node after the other, float and integer.
//
// It defines what every other execution must reproduce: integer results bit for bit, float results to a stated
// tolerance. It is written to be read; only matrix products use a library (OpenBLAS), because calibration runs it on
// hundreds of pictures.
#pragma once

#include <functional>
#include <map>

#include "ir/graph.h"

namespace pith::ir {

struct InterpretOptions {
  // Called with every value as it is produced (inputs included), in real-valued or integer form as the Graph says.
  std::function<void(ValueId, const Tensor&)> observe;
};

// Runs the graph, which must be one that verify() accepts. `inputs` in the order of graph.inputs; a quantised input
// takes u8 codes or f32 (then quantised here). Returns graph.outputs in order; quantised outputs as u8 codes. Values
// are freed after their last use.
Result<std::vector<Tensor>> interpret(const Graph& graph, const std::vector<Tensor>& inputs,
                                      const InterpretOptions& options = {});

// One node on given inputs (nullptr for omitted ones). Used by constant folding and by tests.
Result<std::vector<Tensor>> interpret_node(const Graph& graph, const Node& node,
                                           const std::vector<const Tensor*>& inputs);

// dequantized(v, t): t's integers as real values, f32; a tensor of an unquantised value is returned as it is, and a
// bias (i32), whose scale only its node knows, as plain numbers. quantized(v, real): an activation's codes, u8.
Tensor dequantized(const Value& v, const Tensor& t);
Tensor quantized(const Value& v, const Tensor& real);

}  // namespace pith::ir
