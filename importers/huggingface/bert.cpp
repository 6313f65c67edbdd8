// BERT, RoBERTa and DistilBERT: embeddings, layers of attention and of two products, each with a residual and a norm after it; then a
// masked-language head, a classifier, a sentence transformer's pooling, or nothing. Layouts and names as the class definitions
// of PyPI's `transformers` state them (modeling_bert.py, modeling_roberta.py, modeling_distilbert.py).
#include <fmt/format.h>

#include <filesystem>

#include "importers/huggingface/networks.h"
#include "importers/tokenizer/tokenizer.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::Tensor;
using Id = NetworkBuilder::Id;

// What the three call the parts of a layer.
struct Names {
  std::string layer, query, key, value, attended, attended_norm, up, down, down_norm;
};
const Names kBert = {"encoder.layer.{}.", "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                     "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"};
const Names kDistilBert = {"transformer.layer.{}.", "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
                           "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"};

struct Encoder {
  const NetworkSource& s;
  NetworkBuilder b;
  bool distil, roberta;
  int64_t width, heads, length;
  double epsilon;
  std::string function;
  Id mask = ir::kNoValue, table = ir::kNoValue;

  // Positions and (the only) token type are constants; so one addition is left.
  Id embed(Id ids) {
    table = b.constant("embeddings.word_embeddings.weight");
    const Tensor positions = b.weight("embeddings.position_embeddings.weight");
    const int64_t first = roberta ? s.integer({"pad_token_id"}, 1) + 1 : 0;
    Tensor sum(ir::DType::kF32, {1, length, width});
    if (positions.shape().size() != 2 || positions.shape()[1] != width || positions.shape()[0] < first + length) {
      b.fail(usage_error(fmt::format("'{}' has positions for {} tokens; choose --dimension sequence={} or fewer", s.folder, positions.shape().empty() ? 0 : positions.shape()[0] - first,
                                     positions.shape().empty() ? 0 : positions.shape()[0] - first)));
      return ids;
    }
    const auto out = sum.mut<float>();
    std::copy_n(positions.as<float>().begin() + first * width, length * width, out.begin());
    if (b.has("embeddings.token_type_embeddings.weight")) {
      const Tensor types = b.weight("embeddings.token_type_embeddings.weight");
      for (size_t i = 0; i < out.size() && types.count() >= width; ++i) out[i] += types.as<float>()[i % static_cast<size_t>(width)];
    }
    const Id words = b.node(Op::kGather, "words", {table, ids}, {{"axis", int64_t{0}}});
    const Id placed = b.add(words, b.constant("positions", sum), "placed");
    return b.layer_norm(placed, "embeddings.LayerNorm", epsilon);
  }

  // Added to scores: hides what is further than `most` tokens away. Attention skips what its mask hides at either end of a row.
  Tensor band(int64_t most) const {
    Tensor t(ir::DType::kF32, {1, 1, length, length});
    for (int64_t i = 0; i < t.count(); ++i) t.set(i, std::abs(i / length - i % length) > most ? -1e4 : 0);
    return t;
  }

  Id layer(Id x, int64_t index) {
    const Names& n = distil ? kDistilBert : kBert;
    const std::string at = fmt::format(fmt::runtime(n.layer), index);
    const Id attended = b.node(Op::kAttention, at + "attention", {b.linear(x, at + n.query), b.linear(x, at + n.key), b.linear(x, at + n.value), mask},
                               {{"q_num_heads", heads}, {"kv_num_heads", heads}});
    x = b.layer_norm(b.add(b.linear(attended, at + n.attended), x, at + "attended"), at + n.attended_norm, epsilon);
    const Id up = b.activation(b.linear(x, at + n.up), function, at + "activation");
    return b.layer_norm(b.add(b.linear(up, at + n.down), x, at + "sum"), at + n.down_norm, epsilon);
  }

  // Logits of the one position that is asked for, or of several.
  void masked_head(Id x) {
    const int64_t masks = s.options.masks;
    const Id position = b.input("mask_position", ir::DType::kI64, masks > 0 ? ir::Shape{1, masks} : ir::Shape{1});
    x = b.reshape(b.node(Op::kGather, "masked", {x, position}, {{"axis", int64_t{1}}}), {std::max<int64_t>(1, masks), width}, "masked_row");
    const std::string dense = distil ? "vocab_transform" : roberta ? "lm_head.dense" : "cls.predictions.transform.dense";
    const std::string norm = distil ? "vocab_layer_norm" : roberta ? "lm_head.layer_norm" : "cls.predictions.transform.LayerNorm";
    const std::string bias = distil ? "vocab_projector.bias" : roberta ? "lm_head.bias" : "cls.predictions.bias";
    x = b.layer_norm(b.activation(b.linear(x, dense), roberta ? "gelu" : function, "head.activation"), norm, epsilon);
    b.output(masks > 0 ? b.node(Op::kGemm, "head.logits", {x, table, b.constant(bias)}, {{"transB", int64_t{1}}}) : b.tied_logits(x, table, b.constant(bias), "head.logits"), "logits");
    b.graph.metadata["head"] = masks > 0 ? "tensor" : "fill-mask";
  }

  void classifier(Id x) {
    x = b.reshape(b.node(Op::kSlice, "first", {x}, {{"starts", std::vector<int64_t>{0}}, {"ends", std::vector<int64_t>{1}}, {"axes", std::vector<int64_t>{1}}}), {1, width}, "first_row");
    if (distil) {
      x = b.activation(b.linear(x, "pre_classifier"), "relu", "pre_classifier.activation");
    } else if (roberta) {
      x = b.node(Op::kTanh, "classifier.activation", {b.linear(x, "classifier.dense")});
    } else {
      x = b.node(Op::kTanh, "pooler.activation", {b.linear(x, "pooler.dense")});
    }
    b.output(b.linear(x, roberta ? "classifier.out_proj" : "classifier"), "logits");
    b.graph.metadata["head"] = "classifier";
  }

  // The mean over the tokens that count, and length 1 if the folder's modules.json says so.
  void pool(Id x, Id weights) {
    const Id sum = b.node(Op::kReduceSum, "pooled_sum", {b.multiply(x, b.reshape(weights, {1, length, 1}, "token_weights"), "weighted")}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}});
    const Id count = b.node(Op::kReduceSum, "token_count", {weights}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{1}}});
    x = b.node(Op::kDiv, "pooled", {sum, count});
    const Result<nlohmann::json> modules = read_json((std::filesystem::path(s.folder) / "modules.json").string());
    if (modules.ok() && modules->dump().find("models.Normalize") != std::string::npos) x = b.node(Op::kLpNormalization, "normalized", {x}, {{"axis", int64_t{-1}}, {"p", int64_t{2}}});
    b.output(x, "embedding");
    b.graph.metadata["head"] = "embedding";
  }

  Result<ir::Graph> build() {
    const Id ids = b.input("input_ids", ir::DType::kI64, {1, length}), given = b.input("attention_mask", ir::DType::kI64, {1, length});
    const Id weights = b.node(Op::kCast, "token_weights_f32", {given}, {{"to", std::string("f32")}});
    const Id missing = b.node(Op::kSub, "masked_tokens", {b.reshape(weights, {1, 1, 1, length}, "score_weights"), b.constant("one", Tensor::f32({1}, {1}))});
    mask = b.multiply(missing, b.constant("large", Tensor::f32({1}, {1e4f})), "score_mask");  // enough for exp() to give 0, and no trouble for 8 bits
    if (s.options.band > 0) mask = b.add(mask, b.constant("band", band(s.options.band)), "band_mask");
    Id x = embed(ids);
    const int64_t layers = s.integer({"num_hidden_layers", "n_layers"}, 12);
    for (int64_t i = 0; i < layers; ++i) x = layer(x, i);
    namespace fs = std::filesystem;
    if (b.has("cls.predictions.bias") || b.has("lm_head.bias") || b.has("vocab_projector.bias")) {
      masked_head(x);
    } else if (s.options.masks > 0) {
      return usage_error(fmt::format("'{}' has no head for masked words; leave out the dimension masks", s.folder));
    } else if (b.has("classifier.weight") || b.has("classifier.out_proj.weight")) {
      classifier(x);
    } else if (fs::exists(fs::path(s.folder) / "1_Pooling" / "config.json")) {
      PITH_TRY(const nlohmann::json pooling, read_json((fs::path(s.folder) / "1_Pooling" / "config.json").string()));
      if (!pooling.value("pooling_mode_mean_tokens", false)) return error(ErrorCode::kUnsupported, fmt::format("'{}' pools in another way than by the mean of tokens, which isn't supported", s.folder));
      pool(x, weights);
    } else {
      b.output(x, "last_hidden_state");
      b.graph.metadata["head"] = "tensor";
    }
    return b.finish();
  }
};

}  // namespace

Result<ir::Graph> import_bert(const NetworkSource& s) {
  const std::string type = s.text({"model_type"}, "bert");
  Encoder e{s, NetworkBuilder(s.weights), type == "distilbert", type == "roberta", s.integer({"hidden_size", "dim"}, 768), s.integer({"num_attention_heads", "n_heads"}, 12),
            s.options.sequence, s.real({"layer_norm_eps"}, 1e-12), s.text({"hidden_act", "activation"}, "gelu")};
  e.b.set_prefixes({"", "bert.", "roberta.", "distilbert."});
  e.b.graph.name = type;
  if (s.text({"position_embedding_type"}, "absolute") != "absolute") return error(ErrorCode::kUnsupported, fmt::format("'{}' has relative positions, which aren't supported", s.folder));
  if (e.heads < 1 || e.width % e.heads != 0 || e.length < 1) return usage_error(fmt::format("'{}': {} heads don't divide a width of {}", s.folder, e.heads, e.width));
  return e.build();
}

}  // namespace pith::importers
