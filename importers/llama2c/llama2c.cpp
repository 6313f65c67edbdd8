// See llama2c.h. The order of the weights is that of memory_map_weights in run.c; the rotary tables in the file are passed over, being
// what build_llama computes.
#include "importers/llama2c/llama2c.h"

#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "importers/huggingface/builder.h"

namespace pith::importers {
namespace {

struct Header {
  int32_t width, hidden, layers, heads, key_heads, vocabulary, positions;
};

bool plausible(const Header& h) {
  for (int32_t x : {h.width, h.hidden, h.layers, h.heads, h.key_heads, h.positions}) {
    if (x < 1 || x > (1 << 20)) return false;
  }
  return h.vocabulary != 0 && std::abs(static_cast<int64_t>(h.vocabulary)) < (1 << 24) && h.width % h.heads == 0 && h.heads % h.key_heads == 0;
}

uint64_t floats_of(const Header& h) {
  const uint64_t width = static_cast<uint64_t>(h.width), layers = static_cast<uint64_t>(h.layers), keys = width / static_cast<uint64_t>(h.heads) * static_cast<uint64_t>(h.key_heads);
  const uint64_t table = width * static_cast<uint64_t>(std::abs(static_cast<int64_t>(h.vocabulary)));
  const uint64_t layer = 2 * width + 2 * width * width + 2 * keys * width + 3 * width * static_cast<uint64_t>(h.hidden);
  return table + layers * layer + width + static_cast<uint64_t>(h.positions) * (width / static_cast<uint64_t>(h.heads)) + (h.vocabulary < 0 ? table : 0);
}

}  // namespace

bool is_llama2c(const std::string& path) {
  Header h;
  std::error_code code;
  const uint64_t size = std::filesystem::file_size(path, code);
  std::ifstream file(path, std::ios::binary);
  return !code && file.read(reinterpret_cast<char*>(&h), sizeof h) && plausible(h) && size == sizeof h + 4 * floats_of(h);
}

Result<ir::Graph> import_llama2c(const std::string& path, const TransformerOptions& options) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  Header h;
  if (file.size() >= sizeof h) std::memcpy(&h, file.data(), sizeof h);
  if (file.size() < sizeof h || !plausible(h) || file.size() != sizeof h + 4 * floats_of(h)) return usage_error(fmt::format("'{}' is no checkpoint of llama2.c (version 0)", path));
  LlamaShape s;
  s.width = h.width;
  s.hidden = h.hidden;
  s.layers = h.layers;
  s.heads = h.heads;
  s.key_heads = h.key_heads;
  s.head_width = h.width / h.heads;
  s.vocabulary = std::abs(h.vocabulary);
  s.positions = h.positions;
  s.interleaved = true;
  s.tied = h.vocabulary > 0;
  Weights weights;
  size_t at = sizeof h;
  const auto take = [&](const std::string& name, ir::Shape shape) {
    ir::Tensor t(ir::DType::kF32, std::move(shape));
    std::memcpy(t.mutable_bytes(), file.data() + at, t.byte_count());
    at += t.byte_count();
    weights.add(name, std::move(t));
  };
  const auto layers = [&](const char* name, const ir::Shape& shape) {
    for (int64_t i = 0; i < s.layers; ++i) take(fmt::format("model.layers.{}.{}.weight", i, name), shape);
  };
  const int64_t keys = s.head_width * s.key_heads;
  take("model.embed_tokens.weight", {s.vocabulary, s.width});
  layers("input_layernorm", {s.width});
  layers("self_attn.q_proj", {s.width, s.width});
  layers("self_attn.k_proj", {keys, s.width});
  layers("self_attn.v_proj", {keys, s.width});
  layers("self_attn.o_proj", {s.width, s.width});
  layers("post_attention_layernorm", {s.width});
  layers("mlp.gate_proj", {s.hidden, s.width});
  layers("mlp.down_proj", {s.width, s.hidden});
  layers("mlp.up_proj", {s.hidden, s.width});
  take("model.norm.weight", {s.width});
  at += 4 * static_cast<size_t>(s.positions * s.head_width);  // cosines and sines
  if (!s.tied) take("lm_head.weight", {s.vocabulary, s.width});
  return build_llama(weights, s, options);
}

}  // namespace pith::importers
