// TensorProto -> SourceTensor. Included by parse.cpp only.
#pragma once

#ifndef ONNX_ML
#define ONNX_ML 1
#endif
#ifndef ONNX_NAMESPACE
#define ONNX_NAMESPACE onnx
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <onnx/onnx_pb.h>
#pragma GCC diagnostic pop

#include "base/result.h"
#include "importers/onnx/source.h"

namespace pith::importers {

// The tensor's values, widened; external data is read from `folder`. A tensor of a type that can't be held (strings,
// complex numbers) comes back with `refusal` set. Errors (kUsage): sizes that don't match, bad external data.
Result<SourceTensor> decode_tensor(const ::onnx::TensorProto& proto, const std::string& folder);

// A sparse tensor made dense.
Result<SourceTensor> decode_sparse(const ::onnx::SparseTensorProto& proto, const std::string& folder);

}  // namespace pith::importers
