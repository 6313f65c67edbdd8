// See huggingface.h.
#include "importers/huggingface/huggingface.h"

#include <fmt/format.h>

#include <filesystem>

#include "importers/huggingface/networks.h"
#include "importers/tokenizer/tokenizer.h"

namespace pith::importers {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Class names in the order of their numbers, one a line.
std::string labels_of(const json& config) {
  std::string labels;
  const auto names = config.find("id2label");
  if (names == config.end() || !names->is_object()) return "";
  for (size_t i = 0; i < names->size(); ++i) {
    const auto name = names->find(std::to_string(i));
    if (name == names->end() || !name->is_string()) return "";
    labels += (i == 0 ? "" : "\n") + name->get<std::string>();
  }
  return labels;
}

// preprocessor_config.json of picture models, as pith's own recipe.
std::string preprocess_of(const std::string& folder, const NetworkSource& s) {
  const Result<json> p = read_json((fs::path(folder) / "preprocessor_config.json").string());
  const int64_t side = s.integer({"image_size"}, 224);
  double mean = 0.5, deviation = 0.5;
  if (p.ok() && p->contains("image_mean") && p->contains("image_std") && p->at("image_mean").is_array() && !p->at("image_mean").empty()) {
    std::string means, scales;
    for (size_t i = 0; i < p->at("image_mean").size(); ++i) {
      means += fmt::format("{}{}", i == 0 ? "" : ",", 255 * p->at("image_mean")[i].get<double>());
      scales += fmt::format("{}1/{}", i == 0 ? "" : ",", 255 * p->at("image_std")[i].get<double>());
    }
    return fmt::format("image:rgb:{0}x{0}:stretch:bilinear:mean={1}:scale={2}", side, means, scales);
  }
  return fmt::format("image:rgb:{0}x{0}:stretch:bilinear:mean={1}:scale=1/{2}", side, 255 * mean, 255 * deviation);
}

}  // namespace

int64_t NetworkSource::integer(std::initializer_list<const char*> keys, int64_t otherwise) const {
  for (const char* key : keys) {
    if (config.contains(key) && config.at(key).is_number_integer()) return config.at(key).get<int64_t>();
  }
  return otherwise;
}

double NetworkSource::real(std::initializer_list<const char*> keys, double otherwise) const {
  for (const char* key : keys) {
    if (config.contains(key) && config.at(key).is_number()) return config.at(key).get<double>();
  }
  return otherwise;
}

std::string NetworkSource::text(std::initializer_list<const char*> keys, const std::string& otherwise) const {
  for (const char* key : keys) {
    if (config.contains(key) && config.at(key).is_string()) return config.at(key).get<std::string>();
  }
  return otherwise;
}

bool is_huggingface(const std::string& path) { return fs::is_directory(path) && fs::exists(fs::path(path) / "config.json"); }

Result<ir::Graph> import_huggingface(const std::string& folder, const TransformerOptions& options) {
  PITH_TRY(const json config, read_json((fs::path(folder) / "config.json").string()));
  if (!config.is_object()) return usage_error(fmt::format("'{}/config.json' isn't an object", folder));
  PITH_TRY(const Weights weights, Weights::open(folder));
  const NetworkSource source{config, weights, folder, options};
  const std::string type = source.text({"model_type"}, "");
  Result<ir::Graph> graph = usage_error("");
  if (type == "bert" || type == "roberta" || type == "distilbert" || type == "xlm-roberta") {
    graph = import_bert(source);
  } else if (type == "gpt2") {
    graph = import_gpt2(source);
  } else if (type == "llama" || type == "mistral") {
    graph = import_llama(source);
  } else if (type == "vit") {
    graph = import_vit(source);
    if (graph.ok()) graph->metadata["preprocess"] = preprocess_of(folder, source);
  } else {
    return error(ErrorCode::kUnsupported, fmt::format("'{}' is a model of type '{}'; bert, roberta, distilbert, gpt2, llama and vit are supported", folder, type));
  }
  if (graph.ok() && graph->metadata["head"] == "classifier") {
    const std::string labels = labels_of(config);
    if (!labels.empty()) graph->metadata["labels"] = labels;
  }
  return graph;
}

}  // namespace pith::importers
