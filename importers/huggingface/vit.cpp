// ViT: a picture's patches as tokens (a convolution), a class token before them, norms before attention and products; a classifier on the
// class token (modeling_vit.py of PyPI's `transformers`).
#include <fmt/format.h>

#include <algorithm>

#include "importers/huggingface/networks.h"

namespace pith::importers {

Result<ir::Graph> import_vit(const NetworkSource& s) {
  using ir::Op;
  using Id = NetworkBuilder::Id;
  using Ints = std::vector<int64_t>;
  NetworkBuilder b(s.weights);
  b.set_prefixes({"", "vit."});
  b.graph.name = "vit";
  const int64_t width = s.integer({"hidden_size"}, 768), heads = s.integer({"num_attention_heads"}, 12), layers = s.integer({"num_hidden_layers"}, 12);
  const int64_t side = s.integer({"image_size"}, 224), patch = s.integer({"patch_size"}, 16), channels = s.integer({"num_channels"}, 3);
  const double epsilon = s.real({"layer_norm_eps"}, 1e-12);
  if (heads < 1 || width % heads != 0 || patch < 1 || side % patch != 0) return usage_error(fmt::format("'{}': patches of {} don't divide pictures of {}, or {} heads a width of {}", s.folder, patch, side, heads, width));
  const int64_t patches = (side / patch) * (side / patch);
  const Id pixels = b.input("pixel_values", ir::DType::kF32, {1, channels, side, side});
  Id x = b.node(Op::kConv, "patches", {pixels, b.constant("embeddings.patch_embeddings.projection.weight"), b.constant("embeddings.patch_embeddings.projection.bias")}, {{"strides", Ints{patch, patch}}});
  x = b.node(Op::kTranspose, "tokens", {b.reshape(x, {1, width, patches}, "flat")}, {{"perm", Ints{0, 2, 1}}});
  const ir::Tensor first = b.weight("embeddings.cls_token");
  x = b.node(Op::kConcat, "with_class", {b.constant("class_token", first.count() == width ? first.reshaped({1, 1, width}) : first), x}, {{"axis", int64_t{1}}});
  x = b.add(x, b.constant("embeddings.position_embeddings"), "placed");
  for (int64_t i = 0; i < layers; ++i) {
    const std::string at = fmt::format("encoder.layer.{}.", i), own = at + "attention.attention.";
    const Id normed = b.layer_norm(x, at + "layernorm_before", epsilon);
    const Id attended = b.node(Op::kAttention, at + "attention", {b.linear(normed, own + "query"), b.linear(normed, own + "key"), b.linear(normed, own + "value")}, {{"q_num_heads", heads}, {"kv_num_heads", heads}});
    x = b.add(b.linear(attended, at + "attention.output.dense"), x, at + "attended");
    const Id up = b.activation(b.linear(b.layer_norm(x, at + "layernorm_after", epsilon), at + "intermediate.dense"), s.text({"hidden_act"}, "gelu"), at + "activation");
    x = b.add(b.linear(up, at + "output.dense"), x, at + "sum");
  }
  x = b.layer_norm(x, "layernorm", epsilon);
  if (!b.has("classifier.weight")) {
    b.output(x, "last_hidden_state");
    b.graph.metadata["head"] = "tensor";
    return b.finish();
  }
  x = b.reshape(b.node(Op::kSlice, "first", {x}, {{"starts", Ints{0}}, {"ends", Ints{1}}, {"axes", Ints{1}}}), {1, width}, "first_row");
  b.output(b.linear(x, "classifier"), "logits");
  b.graph.metadata["head"] = "classifier";
  return b.finish();
}

}  // namespace pith::importers
