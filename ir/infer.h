// What the shape inference functions (infer_<family>, one per family of ops.inc) see and say.
//
// Inference is where a node is checked: it rejects every operand shape, type and attribute value that the evaluation
// functions can't handle, so that those may trust what they are given.
#pragma once

#include <fmt/format.h>

#include "ir/graph.h"

namespace pith::ir {

struct Type {
  DType dtype = DType::kF32;
  Shape shape;
  friend bool operator==(const Type&, const Type&) = default;
};
std::string to_string(const Type& type);

// No dimension and no count of elements beyond this; attribute values that enter arithmetic are held to it as well.
inline constexpr int64_t kLargestCount = (int64_t{1} << 31) - 1;

// The types of a node's outputs, in order, kNoValue ones included. Reads the types of the inputs, and the contents of
// constant inputs where ONNX lets shapes depend on them.
Result<std::vector<Type>> infer_types(const Graph& graph, const Node& node);

struct Inference {
  const Graph& graph;
  const Node& node;
  std::vector<Type> inputs;   // {} for omitted ones
  std::vector<Type> outputs;  // to be filled in

  bool has(size_t i) const { return i < node.inputs.size() && node.inputs[i] != kNoValue; }
  const Shape& shape(size_t i) const { return inputs[i].shape; }
  int64_t rank(size_t i) const { return static_cast<int64_t>(inputs[i].shape.size()); }
  DType dtype(size_t i) const { return inputs[i].dtype; }
  const Tensor* constant(size_t i) const;

  // "Conv 'name' (1x3x8x8, 4x2x3x3): what is wrong"
  Error fail(std::string_view what, SourceLocation where = SourceLocation::current()) const;
  void output(DType dtype, Shape shape) { outputs.push_back({dtype, std::move(shape)}); }

  Result<void> need_rank(size_t input, int64_t least, int64_t most) const;
  Result<void> need_dtype(size_t input, std::initializer_list<DType> allowed) const;
  Result<void> need_float(size_t input) const { return need_dtype(input, {DType::kF32}); }
  // Both operands must be there and have the same type.
  Result<void> need_same_dtype(size_t a, size_t b) const;
  // A text attribute that must be one of the given words; the first is the default.
  Result<std::string> choice(const std::string& key, std::initializer_list<const char*> allowed) const;
  // An integer attribute within [low, high].
  Result<int64_t> ranged(const std::string& key, int64_t otherwise, int64_t low, int64_t high) const;
  // A required list of integers, each within [-kLargestCount, kLargestCount].
  Result<std::vector<int64_t>> bounded(const std::string& key) const;
  // `axis` in [-rank, rank) made non-negative; a list of them, distinct.
  Result<int64_t> axis_of(int64_t axis, int64_t rank) const;
  Result<std::vector<int64_t>> axes_of(const std::vector<int64_t>& axes, int64_t rank) const;
};

#define PITH_FAMILY(family) Result<void> infer_##family(Inference& node);
#include "ir/families.inc"
#undef PITH_FAMILY

}  // namespace pith::ir
