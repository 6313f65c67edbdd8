// Bytes of an ONNX file -> SourceModel. The only part of the importer that knows protobuf; safe on hostile files.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "importers/onnx/source.h"

namespace pith::importers {

// `folder` is where external data may lie; "" refuses external data. Errors (kUsage): not protobuf, no graph, no opset,
// tensors whose bytes don't match their shape, external data outside the folder or beyond its file.
Result<SourceModel> parse_model(std::span<const uint8_t> bytes, const std::string& folder);

// One serialised TensorProto (the .pb files of ONNX's test suites).
Result<SourceTensor> parse_tensor(std::span<const uint8_t> bytes);

}  // namespace pith::importers
