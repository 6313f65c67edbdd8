// TorchScript files (torch.jit.save) -> ir::Graph.
//
// libtorch reads the file and freezes it: attributes become constants, methods one list of operators. A walk over that list
// runs it once on zeros of the given shapes, and writes down what was done to each value that comes from an input, as nodes
// of ONNX. So sizes, conditions and loops are known, and the ONNX importer does the rest. No Python is executed; operators
// that the walk doesn't know aren't either.
#pragma once

#include "importers/onnx/onnx_importer.h"

namespace pith::importers {

bool is_torchscript(const std::string& path);  // by its archive's entries; looks at the end of the file only

// Options as import_onnx() takes them; `input_shapes` must have each input, since the file doesn't know them. Errors: kUsage
// for unreadable files, missing and wrong shapes; kUnsupported lists every operator that isn't known.
// In the program without libtorch: an error.
Result<ir::Graph> import_torchscript(const std::string& path, const OnnxOptions& options);

}  // namespace pith::importers
