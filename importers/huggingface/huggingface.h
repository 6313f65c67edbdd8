// A folder as Hugging Face distributes models -> ir::Graph.
//
// config.json says what the network is; model.safetensors (or its shards) or pytorch_model.bin hold the weights. Kinds: BERT,
// RoBERTa, DistilBERT (MiniLM is one of them), GPT-2, Llama, ViT. Graphs are static:
//
//   encoders   input_ids, attention_mask [1, sequence]; with a masked-language head also mask_position [1], and the logits of that
//              position only (all of them would be sequence * vocabulary numbers); a sentence transformer's pooling is part of it
//   decoders   one step: token [1, 1], position [1]; logits [vocabulary]. Keys and values of the last `context` tokens are
//              state; the slot is position mod context, so that the window rolls where the positions allow it
//   ViT        pixel_values [1, channels, height, width]; logits, or the hidden state
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "ir/graph.h"

namespace pith::importers {

struct TransformerOptions {
  int64_t sequence = 128;  // encoders: tokens of an input
  int64_t band = 0;        // encoders: a token attends to so many on either side; 0 = to all
  int64_t context = 0;     // decoders: tokens that are remembered; 0 = as many as the model has positions, at most 1024
  int64_t sinks = 0;       // decoders: so many of the first tokens keep their place among the remembered ones, whatever comes after
  // Forms for training, with constants of the same names:
  int64_t whole = 0;       // decoders: not one step but so many tokens at once, without state: tokens [1, whole], logits [whole, vocabulary]
  int64_t masks = 0;       // masked-language heads: the logits of so many positions, mask_position [1, masks], logits [masks, vocabulary]
};

// Errors: kUsage for files that are missing or damaged, kUnsupported for kinds and settings that aren't read; they name the file.
Result<ir::Graph> import_huggingface(const std::string& folder, const TransformerOptions& options = {});

// A folder with a config.json that names a model type.
bool is_huggingface(const std::string& path);

// ---- weights by name ----

class Weights {
 public:
  static Result<Weights> open(const std::string& folder);
  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  Result<ir::Tensor> get(const std::string& name) const;  // f32
  const std::map<std::string, ir::Tensor>& all() const { return tensors_; }
  void add(const std::string& name, ir::Tensor t) { tensors_[name] = std::move(t); }

 private:
  std::map<std::string, ir::Tensor> tensors_;
  std::string source_;
};

Result<void> read_safetensors(const std::string& path, Weights& weights);
Result<void> read_torch_archive(const std::string& path, Weights& weights);

}  // namespace pith::importers
