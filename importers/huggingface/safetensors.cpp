// safetensors: eight bytes of length, a JSON header of names, types, shapes and byte ranges, then the data. The format is
// stated in the README of huggingface/safetensors. float16, bfloat16 and float64 are widened or narrowed to float32.
#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "importers/huggingface/floats.h"
#include "importers/huggingface/huggingface.h"
#include "importers/tokenizer/tokenizer.h"

namespace pith::importers {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

Result<ir::Tensor> tensor_of(const json& entry, std::span<const uint8_t> data, const std::string& name, const std::string& path) {
  const std::string type = entry.at("dtype").get<std::string>();
  const ir::Shape shape = entry.at("shape").get<ir::Shape>();
  const uint64_t begin = entry.at("data_offsets").at(0).get<uint64_t>(), end = entry.at("data_offsets").at(1).get<uint64_t>();
  if (begin > end || end > data.size()) return usage_error(fmt::format("'{}': the data of '{}' lies outside the file; fetch it again", path, name));
  const std::optional<FloatKind> kind = float_kind(type);
  if (!kind) return error(ErrorCode::kUnsupported, fmt::format("'{}': '{}' has the type {}; F32, F16, BF16 and F64 are supported", path, name, type));
  return floats(*kind, data.subspan(begin, end - begin), shape, fmt::format("'{}': '{}'", path, name));
}

}  // namespace

Result<void> read_safetensors(const std::string& path, Weights& weights) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  uint64_t length = 0;
  if (file.size() >= 8) std::memcpy(&length, file.data(), 8);
  if (file.size() < 8 || length > file.size() - 8) return usage_error(fmt::format("'{}' is no safetensors file; fetch it again", path));
  const json header = json::parse(file.begin() + 8, file.begin() + 8 + static_cast<int64_t>(length), nullptr, false);
  if (header.is_discarded() || !header.is_object()) return usage_error(fmt::format("'{}' is no safetensors file: its header is no JSON", path));
  const std::span<const uint8_t> data(file.data() + 8 + length, file.size() - 8 - length);
  try {
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__" || entry.value("dtype", std::string()).starts_with("I") || entry.value("dtype", std::string()) == "BOOL") continue;  // position ids, masks
      PITH_TRY(ir::Tensor t, tensor_of(entry, data, name, path));
      weights.add(name, std::move(t));
    }
  } catch (const json::exception& e) {
    return usage_error(fmt::format("'{}' has a header that isn't as it should be: {}", path, e.what()));
  }
  return {};
}

Result<ir::Tensor> Weights::get(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return usage_error(fmt::format("'{}' has no weights called '{}'; config.json and the weights don't belong together", source_, name));
  return found->second;
}

Result<Weights> Weights::open(const std::string& folder) {
  Weights weights;
  weights.source_ = folder;
  const auto in = [&](const char* name) { return (fs::path(folder) / name).string(); };
  if (fs::exists(in("model.safetensors"))) {
    PITH_CHECK_OK(read_safetensors(in("model.safetensors"), weights));
  } else if (fs::exists(in("model.safetensors.index.json"))) {
    PITH_TRY(const json index, read_json(in("model.safetensors.index.json")));
    std::map<std::string, int> shards;
    if (index.contains("weight_map") && index["weight_map"].is_object()) {
      for (const auto& [name, file] : index["weight_map"].items()) shards[file.is_string() ? file.get<std::string>() : ""] = 1;
    }
    for (const auto& entry : shards) PITH_CHECK_OK(read_safetensors(in(fs::path(entry.first).filename().string().c_str()), weights));
  } else if (fs::exists(in("pytorch_model.bin"))) {
    PITH_CHECK_OK(read_torch_archive(in("pytorch_model.bin"), weights));
  } else {
    return usage_error(fmt::format("'{}' has no weights: neither model.safetensors nor pytorch_model.bin", folder));
  }
  return weights;
}

}  // namespace pith::importers
