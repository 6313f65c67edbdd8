// GPT-2 as one decoding step, or many tokens at once: learned positions, norms before attention and products, weights stored [in, out], tanh GELU, logits by the
// embedding's own rows (modeling_gpt2.py of PyPI's `transformers`).
#include <fmt/format.h>

#include <cmath>

#include "importers/huggingface/networks.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::Tensor;
using Id = NetworkBuilder::Id;

// The columns first .. first + width - 1 of a matrix, or the elements of a vector.
Tensor columns(const Tensor& t, int64_t first, int64_t width) {
  const int64_t all = t.shape().empty() ? 0 : t.shape().back(), rows = all == 0 ? 0 : t.count() / all;
  if (first + width > all) return t;
  Tensor part(ir::DType::kF32, t.shape().size() == 1 ? ir::Shape{width} : ir::Shape{rows, width});
  for (int64_t r = 0; r < rows; ++r) std::copy_n(t.as<float>().begin() + r * all + first, width, part.mut<float>().begin() + r * width);
  return part;
}

}  // namespace

Result<ir::Graph> import_gpt2(const NetworkSource& s) {
  NetworkBuilder b(s.weights);
  b.set_prefixes({"", "transformer."});
  b.graph.name = "gpt2";
  const int64_t width = s.integer({"n_embd", "hidden_size"}, 768), heads = s.integer({"n_head", "num_attention_heads"}, 12), layers = s.integer({"n_layer", "num_hidden_layers"}, 12);
  const int64_t positions = s.integer({"n_positions", "n_ctx"}, 1024), depth = heads > 0 ? width / heads : 0;
  const double epsilon = s.real({"layer_norm_epsilon"}, 1e-5);
  if (heads < 1 || width % heads != 0) return usage_error(fmt::format("'{}': {} heads don't divide a width of {}", s.folder, heads, width));
  const int64_t context = s.options.context > 0 ? s.options.context : std::min<int64_t>(positions, 1024);
  const int64_t length = s.options.whole > 0 ? s.options.whole : 1;
  if (length > positions) return usage_error(fmt::format("the model has positions for {} tokens; choose --dimension whole={} or fewer", positions, positions));
  if (s.options.whole == 0) PITH_CHECK_OK(check_sinks(context, s.options.sinks));
  const Step step = s.options.whole > 0 ? Step{b.input("tokens", ir::DType::kI64, {1, length}), ir::kNoValue, ir::kNoValue, ir::kNoValue, 0} : begin_step(b, context, s.options.sinks);
  std::vector<int64_t> places(static_cast<size_t>(length));
  for (size_t i = 0; i < places.size(); ++i) places[i] = static_cast<int64_t>(i);
  const Id position = s.options.whole > 0 ? b.constant("places", Tensor::i64({length}, places)) : step.position;
  const Id table = b.constant("wte.weight");
  const Id words = b.node(Op::kGather, "words", {table, step.token}, {{"axis", int64_t{0}}});
  const Id place = b.node(Op::kGather, "place", {b.constant("wpe.weight"), position}, {{"axis", int64_t{0}}});
  Id x = b.add(words, b.reshape(place, {1, length, width}, "place_row"), "placed");
  for (int64_t i = 0; i < layers; ++i) {
    const std::string at = fmt::format("h.{}.", i);
    const Id normed = b.layer_norm(x, at + "ln_1", epsilon);
    const Tensor w = b.weight(at + "attn.c_attn.weight"), bias = b.weight(at + "attn.c_attn.bias");
    Id parts[3];
    for (int64_t k = 0; k < 3; ++k) {
      const std::string name = at + "attn." + (k == 0 ? "query" : k == 1 ? "key" : "value");
      parts[k] = b.linear(normed, name, columns(w, k * width, width), columns(bias, k * width, width));
      if (s.options.whole == 0) parts[k] = b.reshape(parts[k], {1, heads, 1, depth}, name + ".heads");
    }
    Id attended;
    if (s.options.whole > 0) {
      attended = b.node(Op::kAttention, at + "attention", {parts[0], parts[1], parts[2]}, {{"q_num_heads", heads}, {"kv_num_heads", heads}, {"is_causal", int64_t{1}}});
    } else {
      const Id keys = remember(b, step, parts[1], heads, depth, fmt::format("keys.{}", i)), values = remember(b, step, parts[2], heads, depth, fmt::format("values.{}", i));
      attended = b.reshape(b.node(Op::kAttention, at + "attention", {parts[0], keys, values, step.score_mask}), {1, 1, width}, at + "attended");
    }
    x = b.add(x, b.linear(attended, at + "attn.c_proj", true), at + "attended_sum");
    const Id up = b.activation(b.linear(b.layer_norm(x, at + "ln_2", epsilon), at + "mlp.c_fc", true), s.text({"activation_function"}, "gelu_new"), at + "mlp.activation");
    x = b.add(x, b.linear(up, at + "mlp.c_proj", true), at + "sum");
  }
  x = b.reshape(b.layer_norm(x, "ln_f", epsilon), {length, width}, "last");
  b.output(s.options.whole > 0 ? b.node(Op::kGemm, "head.logits", {x, table}, {{"transB", int64_t{1}}}) : b.tied_logits(x, table, ir::kNoValue, "head.logits"), "logits");
  b.graph.metadata["head"] = s.options.whole > 0 ? "tensor" : "generate";
  if (s.options.whole == 0) b.graph.metadata["positions"] = std::to_string(positions);
  return b.finish();
}

}  // namespace pith::importers
