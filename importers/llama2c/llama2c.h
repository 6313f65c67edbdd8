// Checkpoints of llama2.c (Karpathy's run.c, version 0): seven numbers, then float32 weights, layer after layer of each kind.
#pragma once

#include "importers/huggingface/huggingface.h"

namespace pith::importers {

// A .bin file whose header describes a Llama and whose size is what that header says.
bool is_llama2c(const std::string& path);
Result<ir::Graph> import_llama2c(const std::string& path, const TransformerOptions& options = {});

}  // namespace pith::importers
