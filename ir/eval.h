// What the evaluation functions (eval_<family>, one per family of ops.inc) see and fill in.
//
// Shape inference has accepted the node before: shapes, types and attribute values are as infer_<family> demands. Only
// what depends on data (indices, lengths) can still be wrong. channels_last has been dealt with: activations are
// channels-first here.
#pragma once

#include <fmt/format.h>

#include "ir/graph.h"

namespace pith::ir {

struct Evaluation {
  const Node& node;
  std::vector<const Tensor*> inputs;  // nullptr for omitted ones; real-valued (dequantised)
  std::vector<Tensor> outputs;        // of the inferred types, zero-filled

  bool has(size_t i) const { return i < inputs.size() && inputs[i] != nullptr; }
  const Tensor& in(size_t i) const { return *inputs[i]; }
  const Shape& shape(size_t i) const { return inputs[i]->shape(); }
  const float* f32(size_t i) const { return inputs[i]->as<float>().data(); }
  float* out(size_t i = 0) { return outputs[i].mut<float>().data(); }
  bool wants(size_t i) const { return i < node.outputs.size() && node.outputs[i] != kNoValue; }
  Error fail(std::string_view what, SourceLocation where = SourceLocation::current()) const {
    return usage_error(fmt::format("{} '{}': {}", op_name(node.op), node.name, what), where);
  }
};

#define PITH_FAMILY(family) Result<void> eval_##family(Evaluation& e);
#include "ir/families.inc"
#undef PITH_FAMILY

// Runs the family's function of a node on channels-first or channels-last data, as the node says.
struct Type;
Result<std::vector<Tensor>> evaluate(const Node& node, const std::vector<const Tensor*>& inputs,
                                     const std::vector<Type>& types);

// y[i] = f(x[i]); x and y may be the same.
void apply_function(const Activation& f, const float* x, float* y, size_t count);

}  // namespace pith::ir
