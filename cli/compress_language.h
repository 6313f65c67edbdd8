// `pith compress` of a model that reads text: calibration and agreement on lines of a text file.
#pragma once

#include <optional>

#include "cli/cli.h"
#include "cli/retrain.h"
#include "cli/shrink_language.h"
#include "compile/compile.h"
#include "ir/graph.h"
#include "micro/quantize.h"
#include "program/program.h"

namespace pith::cli {

struct LanguageCompression {
  std::string samples, output;  // a text file; the .pith to write
  size_t count = 1024, held_back = 64;
  QuantizeOptions options;
  double bits_per_weight = 0;  // 0: weights of options.weight_bits, else rounded layer after layer (micro/layerwise.h)
  CodecChoice codec = CodecChoice::kSmallest;
  bool integers = false;       // 8-bit activations: products, attention and normalisations run in integers
  std::optional<ir::Graph> whole;  // another form, for many tokens or masks at once, with constants of the same names
  CompileOptions placing;          // where it lies in memory, and how keys and values are remembered
  RetrainFlags retrain;            // wanted(): retrained in that form (an embedding in its own)
  ShrinkFlags shrink;
  Tokenizer tokenizer;             // what the graph carries coded; needed where tokens are left out
};

// `graph` carries its vocabulary as the metadata "tokenizer".
bool is_language(const ir::Graph& graph);
Result<void> compress_language(const ir::Graph& graph, const LanguageCompression& flags, const Global& global);

}  // namespace pith::cli
