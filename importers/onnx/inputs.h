// The model's inputs with static shapes, and the pairing of recurrent state.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "importers/onnx/onnx_importer.h"
#include "importers/onnx/source.h"

namespace pith::importers {

struct ResolvedInput {
  std::string name;
  int32_t element_type = kUndefined;
  ir::DType dtype = ir::DType::kF32;
  ir::Shape shape;
  const ir::Tensor* fixed = nullptr;  // from OnnxOptions::constants
};

// The inputs that aren't initialisers, in order. A symbolic dimension takes its size from `dimensions`, or from
// `input_shapes` of any input that names it; a batch dimension is 1 when nothing says otherwise. Errors (kUsage): options
// that name what the model doesn't have or contradict it; dimensions without a size, named with the flag that gives one.
Result<std::vector<ResolvedInput>> resolve_inputs(const SourceGraph& graph, const OnnxOptions& options);

// graph.state from the options and, when asked for, from names that say so. Errors (kUsage): pairs that don't exist or
// differ in type or shape.
Result<void> pair_state(ir::Graph& graph, const OnnxOptions& options);

}  // namespace pith::importers
