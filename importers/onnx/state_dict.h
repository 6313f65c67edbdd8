// Weights of a training checkpoint put into an ONNX file's network.
//
// Why: people train in PyTorch and keep state dicts (.pt, .pth, .safetensors); the graph was exported once. Method:
// each float initializer takes the entry of its own name (with or without the prefixes that wrappers add), else the
// only entry left of its shape, or of the transposed one, where it is the only initializer left of it. Whatever stays
// without weights is an error that lists it, so that nothing silently keeps old values.
#pragma once

#include "base/result.h"
#include "importers/huggingface/huggingface.h"
#include "importers/onnx/source.h"

namespace pith::importers {

// Replaces the initializers of `model` by `weights`. `path` is for messages. Errors: kUsage for shapes that disagree
// under one name, and for initializers of more than one element that find no entry.
Result<void> replace_weights(SourceModel& model, const Weights& weights, const std::string& path);

// The state dict in a file: safetensors by its ending, otherwise an archive of torch.save, which is read, never
// executed.
Result<Weights> read_state_dict(const std::string& path);

}  // namespace pith::importers
