// ONNX files -> ir::Graph.
//
// Reads models of opsets 7 to 23 (older and newer ones where their operators mean the same), resolves symbolic dimensions,
// folds constants, expands functions and control flow with constant conditions, and fuses decompositions back to whole
// operators. Everything that pith can't execute is reported in one error that lists every offending node.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith::importers {

struct OnnxOptions {
  std::map<std::string, ir::Shape> input_shapes;     // graph input -> its static shape
  std::map<std::string, int64_t> dimensions;         // symbolic dimension -> size
  std::map<std::string, ir::Tensor> constants;       // graph input -> the contents it is fixed to; it stops being an input
  std::map<std::string, std::string> state;          // graph input -> the output that feeds it in the next run
  std::string weights;                               // a state dict (.pt, .pth, .safetensors) whose weights replace the file's (state_dict.h)
  bool recognise_state = true;                       // also pair inputs and outputs whose names say so (state/stateN, h0/hn ...)
  bool fuse = true;                                  // false: the model's operators one by one, for checking
  int64_t most_constant_bytes = int64_t{8} << 30;    // limit for constants that arise by folding
  int64_t most_nodes = 1'000'000;                    // limit for nodes after functions, branches and loops are expanded
};

// Errors: kUsage for unreadable or malformed files and wrong options (a symbolic dimension without a size is named with
// the flag that gives it one), kUnsupported for models with parts that pith doesn't have.
Result<ir::Graph> import_onnx(const std::string& path, const OnnxOptions& options = {});

// From bytes; `folder` is where external data may lie ("" = nowhere).
Result<ir::Graph> import_onnx(std::span<const uint8_t> bytes, const std::string& folder, const OnnxOptions& options = {});

// What other readers wrote as nodes of ONNX (source.h).
struct SourceModel;
Result<ir::Graph> import_source(SourceModel model, const OnnxOptions& options = {});

// A serialised TensorProto (the .pb files of ONNX's test suites), widened as the importer widens.
Result<ir::Tensor> read_onnx_tensor(const std::string& path);

// The model's own operators that the importer reads, as "Conv" or "com.microsoft.FusedConv", sorted.
std::vector<std::string> onnx_operators();

}  // namespace pith::importers
