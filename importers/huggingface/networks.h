// The networks by config.json's model_type; see huggingface.h.
#pragma once

#include <nlohmann/json.hpp>

#include "importers/huggingface/builder.h"

namespace pith::importers {

struct NetworkSource {
  const nlohmann::json& config;
  const Weights& weights;
  std::string folder;
  TransformerOptions options;
  // config.json's number under the first of these keys that is there
  int64_t integer(std::initializer_list<const char*> keys, int64_t otherwise) const;
  double real(std::initializer_list<const char*> keys, double otherwise) const;
  std::string text(std::initializer_list<const char*> keys, const std::string& otherwise) const;
};

Result<ir::Graph> import_bert(const NetworkSource& source);   // BERT, RoBERTa, DistilBERT
Result<ir::Graph> import_gpt2(const NetworkSource& source);
Result<ir::Graph> import_llama(const NetworkSource& source);
Result<ir::Graph> import_vit(const NetworkSource& source);

}  // namespace pith::importers
