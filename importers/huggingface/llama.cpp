// Llama-type networks as one decoding step: RMS norms, rotary positions, grouped keys, gated products (Touvron et al., 2023). Hugging
// Face stores queries and keys for rotation by halves, llama2.c for rotation of neighbours; the operator knows both.
#include <fmt/format.h>

#include <cmath>

#include "importers/huggingface/networks.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::Tensor;
using Id = NetworkBuilder::Id;

Tensor rotary_table(const LlamaShape& s, int64_t positions, bool sine) {
  const int64_t half = s.head_width / 2;
  Tensor t(ir::DType::kF32, {positions, half});
  const auto out = t.mut<float>();
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < half; ++i) {
      // as both sources compute it: the frequency in float
      const float frequency = static_cast<float>(1.0 / std::pow(s.theta, static_cast<double>(2 * i) / static_cast<double>(s.head_width)));
      const double angle = static_cast<double>(static_cast<float>(p) * frequency);
      out[static_cast<size_t>(p * half + i)] = static_cast<float>(sine ? std::sin(angle) : std::cos(angle));
    }
  }
  return t;
}

}  // namespace

Result<ir::Graph> build_llama(const Weights& weights, const LlamaShape& s, const TransformerOptions& options) {
  if (s.heads < 1 || s.key_heads < 1 || s.heads % s.key_heads != 0 || s.head_width < 2 || s.head_width % 2 != 0 || s.positions < 1)
    return usage_error(fmt::format("{} heads with {} heads of keys, of {} numbers each, aren't a Llama's", s.heads, s.key_heads, s.head_width));
  NetworkBuilder b(weights);
  b.graph.name = "llama";
  const int64_t context = options.context > 0 ? options.context : std::min<int64_t>(s.positions, 1024), length = options.whole > 0 ? options.whole : 1;
  if (options.whole == 0) PITH_CHECK_OK(check_sinks(context, options.sinks));
  if (options.whole > s.positions) return usage_error(fmt::format("the model has positions for {} tokens; choose --dimension whole={} or fewer", s.positions, s.positions));
  const Step step = options.whole > 0 ? Step{b.input("tokens", ir::DType::kI64, {1, length}), ir::kNoValue, ir::kNoValue, ir::kNoValue, 0} : begin_step(b, context, options.sinks);
  const Id table = b.constant("model.embed_tokens.weight");
  const int64_t positions = options.whole > 0 ? length : s.positions;
  const Id cosines = b.constant("cosines", rotary_table(s, positions, false)), sines = b.constant("sines", rotary_table(s, positions, true));
  std::vector<int64_t> places(static_cast<size_t>(length));
  for (size_t i = 0; i < places.size(); ++i) places[i] = static_cast<int64_t>(i);
  const Id place = options.whole > 0 ? b.constant("places", Tensor::i64({1, length}, places)) : b.reshape(step.position, {1, 1}, "place");
  const auto rotated = [&](Id x, const std::string& name) {
    return b.node(Op::kRotaryEmbedding, name, {x, cosines, sines, place}, {{"interleaved", int64_t{s.interleaved}}});
  };
  // [1, length, count * width] as [1, count, length, width]
  const auto by_heads = [&](Id x, int64_t count, const std::string& name) {
    if (length == 1) return b.reshape(x, {1, count, 1, s.head_width}, name);
    return b.node(Op::kTranspose, name, {b.reshape(x, {1, length, count, s.head_width}, name + ".split")}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  };
  const auto joined = [&](Id x, const std::string& name) {
    if (length > 1) x = b.node(Op::kTranspose, name + ".turned", {x}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    return b.reshape(x, {1, length, s.heads * s.head_width}, name);
  };
  Id x = b.node(Op::kGather, "words", {table, step.token}, {{"axis", int64_t{0}}});
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string at = fmt::format("model.layers.{}.", i), own = at + "self_attn.";
    const Id normed = b.rms_norm(x, at + "input_layernorm", s.epsilon);
    const auto heads = [&](const char* name, int64_t count) { return by_heads(b.linear(normed, own + name), count, own + name + ".heads"); };
    const Id q = rotated(heads("q_proj", s.heads), own + "query");
    Id keys = rotated(heads("k_proj", s.key_heads), own + "key"), values = heads("v_proj", s.key_heads);
    if (options.whole == 0) {
      keys = remember(b, step, keys, s.key_heads, s.head_width, fmt::format("keys.{}", i));
      values = remember(b, step, values, s.key_heads, s.head_width, fmt::format("values.{}", i));
    }
    const Id attended = options.whole > 0 ? b.node(Op::kAttention, own + "attention", {q, keys, values}, {{"is_causal", int64_t{1}}})
                                          : b.node(Op::kAttention, own + "attention", {q, keys, values, step.score_mask});
    x = b.add(x, b.linear(joined(attended, own + "attended"), own + "o_proj"), at + "attended_sum");
    const Id second = b.rms_norm(x, at + "post_attention_layernorm", s.epsilon);
    const Id gate = b.activation(b.linear(second, at + "mlp.gate_proj"), s.function, at + "mlp.gate");
    x = b.add(x, b.linear(b.multiply(gate, b.linear(second, at + "mlp.up_proj"), at + "mlp.product"), at + "mlp.down_proj"), at + "sum");
  }
  x = b.reshape(b.rms_norm(x, "model.norm", s.epsilon), {length, s.width}, "last");
  const Id head = s.tied ? table : b.constant("lm_head.weight");
  b.output(options.whole > 0 ? b.node(Op::kGemm, "head.logits", {x, head}, {{"transB", int64_t{1}}}) : b.tied_logits(x, head, ir::kNoValue, "head.logits"), "logits");
  b.graph.metadata["head"] = options.whole > 0 ? "tensor" : "generate";
  if (options.whole == 0) b.graph.metadata["positions"] = std::to_string(s.positions);
  return b.finish();
}

Result<ir::Graph> import_llama(const NetworkSource& s) {
  LlamaShape shape;
  shape.width = s.integer({"hidden_size"}, 0);
  shape.hidden = s.integer({"intermediate_size"}, 0);
  shape.layers = s.integer({"num_hidden_layers"}, 0);
  shape.heads = s.integer({"num_attention_heads"}, 0);
  shape.key_heads = s.integer({"num_key_value_heads"}, shape.heads);
  shape.head_width = s.integer({"head_dim"}, shape.heads > 0 ? shape.width / shape.heads : 0);
  shape.vocabulary = s.integer({"vocab_size"}, 0);
  shape.positions = std::min<int64_t>(s.integer({"max_position_embeddings"}, 2048), 8192);
  shape.epsilon = s.real({"rms_norm_eps"}, 1e-6);
  shape.theta = s.real({"rope_theta"}, 10000);
  shape.function = s.text({"hidden_act"}, "silu");
  shape.tied = !s.weights.has("lm_head.weight");
  if (s.config.contains("rope_scaling") && !s.config.at("rope_scaling").is_null()) return error(ErrorCode::kUnsupported, fmt::format("'{}' scales its rotary positions, which isn't supported", s.folder));
  return build_llama(s.weights, shape, s.options);
}

}  // namespace pith::importers
