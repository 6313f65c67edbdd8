// Operators of the domain com.microsoft that ONNX Runtime's optimiser and its transformer exporters write, expressed with
// pith's own. Source of their meaning: ONNX Runtime, docs/ContribOperators.md.
#include <fmt/format.h>

#include <cmath>

#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;

Error not_there(const std::string& what) { return unsupported(what + " isn't supported; export without ONNX Runtime's fusions"); }

// A fused activation by its name, with its parameters in ONNX Runtime's order.
Result<ValueId> activated(NodeContext& n, ValueId x, const std::string& name, const std::vector<double>& p) {
  const auto parameter = [&](size_t i, double otherwise) { return i < p.size() ? p[i] : otherwise; };
  if (name.empty()) return x;
  if (name == "Relu") return n.builder.add(Op::kRelu, {x});
  if (name == "Tanh") return n.builder.add(Op::kTanh, {x});
  if (name == "Sigmoid") return n.builder.add(Op::kSigmoid, {x});
  if (name == "LeakyRelu") return n.builder.add(Op::kLeakyRelu, {x}, {{"alpha", parameter(0, 0.01)}});
  if (name == "Clip" && p.size() == 2) return n.builder.add(Op::kClip, {x}, {{"min", p[0]}, {"max", p[1]}});
  if (name == "HardSigmoid") return n.builder.add(Op::kHardSigmoid, {x}, {{"alpha", parameter(0, 0.2)}, {"beta", parameter(1, 0.5)}});
  if (name == "HardSwish") return n.builder.add(Op::kHardSwish, {x});
  return not_there(fmt::format("the fused activation '{}'", name));
}

Result<void> fused_conv(NodeContext& n) {
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  operands.resize(4, ir::kNoValue);
  const ValueId added = operands[3];
  operands.pop_back();
  Attributes a = n.copy("kernel_shape:I strides:I pads:I dilations:I auto_pad:s group:i");
  PITH_TRY(ValueId y, n.builder.add(Op::kConv, std::move(operands), std::move(a)));
  if (added != ir::kNoValue) {
    PITH_TRY(y, n.builder.add(Op::kAdd, {y, added}));
  }
  PITH_TRY(const ValueId out, activated(n, y, n.text("activation", ""), n.reals("activation_params")));
  n.set(0, out);
  return {};
}

Result<void> fused_gemm(NodeContext& n) {
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  PITH_TRY(const ValueId y, n.builder.add(Op::kGemm, std::move(operands), n.copy("alpha:f beta:f transA:i transB:i")));
  std::vector<double> parameters;
  for (const char* name : {"activation_alpha", "activation_beta", "activation_gamma"})
    if (n.has(name)) parameters.push_back(n.real(name, 0));
  PITH_TRY(const ValueId out, activated(n, y, n.text("activation", ""), parameters));
  n.set(0, out);
  return {};
}

// transBatchX moves the first dimension to the second-last place; transX then swaps the last two.
Result<ValueId> arranged(NodeContext& n, size_t i, bool batch, bool swap) {
  PITH_TRY(const ValueId x, n.input(i));
  std::vector<int64_t> perm;
  for (int64_t d = 0; d < n.builder.rank(x); ++d) perm.push_back(d);
  if (perm.size() < 2 || (!batch && !swap)) return x;
  if (batch) {
    perm.erase(perm.begin());
    perm.insert(perm.end() - 1, 0);
  }
  if (swap) std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return n.builder.add(Op::kTranspose, {x}, {{"perm", perm}});
}

Result<void> fused_matmul(NodeContext& n) {
  PITH_TRY(const ValueId a, arranged(n, 0, n.integer("transBatchA", 0) != 0, n.integer("transA", 0) != 0));
  PITH_TRY(const ValueId b, arranged(n, 1, n.integer("transBatchB", 0) != 0, n.integer("transB", 0) != 0));
  PITH_TRY(ValueId y, n.builder.add(Op::kMatMul, {a, b}));
  const double alpha = n.real("alpha", 1);
  if (alpha != 1) {
    PITH_TRY(y, n.builder.add(Op::kMul, {y, n.builder.scalar(static_cast<float>(alpha))}));
  }
  n.set(0, y);
  return {};
}

template <bool tanh_form>
Result<void> gelu(NodeContext& n) {
  PITH_TRY(ValueId x, n.input(0));
  PITH_TRY(const ValueId bias, n.optional(1));
  if (bias != ir::kNoValue) {
    PITH_TRY(x, n.builder.add(Op::kAdd, {x, bias}));
  }
  Attributes a;
  if (tanh_form) a["approximate"] = std::string("tanh");
  return n.emit(Op::kGelu, {x}, std::move(a));
}

Result<void> quick_gelu(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  return n.emit(Op::kSilu, {x}, {{"alpha", n.real("alpha", 1.702)}});
}

Result<void> simplified_norm(NodeContext& n) {
  n.ignore({"stash_type"});
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  return n.emit(Op::kRMSNormalization, std::move(operands), n.copy("axis:i epsilon:f"));
}

// (input + skip + bias), normalised; the sum is output 3.
template <bool rms>
Result<void> skip_norm(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId skip, n.input(1));
  PITH_TRY(const ValueId scale, n.input(2));
  PITH_TRY(const ValueId shift, rms ? Result<ValueId>(ir::kNoValue) : n.optional(3));
  PITH_TRY(const ValueId bias, n.optional(rms ? 3 : 4));
  PITH_TRY(ValueId sum, n.builder.add(Op::kAdd, {x, skip}));
  if (bias != ir::kNoValue) {
    PITH_TRY(sum, n.builder.add(Op::kAdd, {sum, bias}));
  }
  const Attributes a{{"axis", int64_t{-1}}, {"epsilon", n.real("epsilon", 1e-12)}};
  PITH_CHECK_OK(rms ? n.emit(Op::kRMSNormalization, {sum, scale}, a) : n.emit(Op::kLayerNormalization, {sum, scale, shift}, a));
  if (n.wants_output(3)) n.set(3, sum);
  return {};
}

Result<void> embed_norm(NodeContext& n) {
  n.ignore({"mask_index_type"});
  PITH_TRY(const ValueId ids, n.input(0));
  PITH_TRY(const ValueId words, n.input(2));
  PITH_TRY(const ValueId positions, n.input(3));
  PITH_TRY(const ValueId scale, n.input(5));
  PITH_TRY(const ValueId shift, n.input(6));
  if (n.builder.rank(ids) != 2) return usage_error("its ids must be (batch, sequence); export the model again");
  const int64_t sequence = n.builder.shape(ids)[1];
  PITH_TRY(ValueId sum, n.builder.add(Op::kGather, {words, ids}));
  ValueId where = ir::kNoValue;
  if (n.has_input(8)) {
    PITH_TRY(where, n.input(8));
  } else {
    std::vector<int64_t> steps;
    for (int64_t s = 0; s < sequence; ++s) steps.push_back(s);
    where = n.builder.constant(Tensor::i64({1, sequence}, steps));
  }
  PITH_TRY(const ValueId place, n.builder.add(Op::kGather, {positions, where}));
  PITH_TRY(sum, n.builder.add(Op::kAdd, {sum, place}));
  if (n.has_input(1) && n.has_input(4)) {
    PITH_TRY(const ValueId segment_ids, n.input(1));
    PITH_TRY(const ValueId segments, n.input(4));
    PITH_TRY(const ValueId part, n.builder.add(Op::kGather, {segments, segment_ids}));
    PITH_TRY(sum, n.builder.add(Op::kAdd, {sum, part}));
  }
  if (n.wants_output(2)) n.set(2, sum);
  return n.emit(Op::kLayerNormalization, {sum, scale, shift}, {{"axis", int64_t{-1}}, {"epsilon", n.real("epsilon", 1e-12)}});
}

// ---- attention ----

// A 0/1 mask over keys, (batch, keys), as an additive (batch, 1, 1, keys) one.
Result<ValueId> additive_mask(NodeContext& n, ValueId keep, double low) {
  const Shape s = n.builder.shape(keep);
  if (s.size() != 2) return not_there("a key mask that isn't (batch, keys)");
  PITH_TRY(const ValueId real, n.builder.cast(keep, DType::kF32));
  PITH_TRY(const ValueId drop, n.builder.add(Op::kSub, {n.builder.scalar(1), real}));
  PITH_TRY(const ValueId scaled, n.builder.add(Op::kMul, {drop, n.builder.scalar(static_cast<float>(low))}));
  return n.builder.reshape(scaled, {s[0], 1, 1, s[1]});
}

Result<ValueId> sum_of(NodeContext& n, ValueId a, ValueId b) {
  if (a == ir::kNoValue || b == ir::kNoValue) return a == ir::kNoValue ? b : a;
  return n.builder.add(Op::kAdd, {a, b});
}

struct Heads {
  int64_t q = 0, kv = 0;
};

Attributes attention_attributes(NodeContext& n, Heads heads, bool causal) {
  Attributes a{{"q_num_heads", heads.q}, {"kv_num_heads", heads.kv}};
  if (n.has("scale") && n.real("scale", 0) != 0) a["scale"] = n.real("scale", 0);
  if (causal) a["is_causal"] = int64_t{1};
  return a;
}

Result<void> multi_head_attention(NodeContext& n) {
  for (const size_t i : {6, 7, 8, 9})
    if (n.has_input(i)) return not_there("attention with past keys");
  if (!n.has_input(1) || !n.has_input(2)) return not_there("packed queries, keys and values");
  std::vector<ValueId> parts(3);
  for (size_t i = 0; i < 3; ++i) {
    PITH_TRY(parts[i], n.input(i));
    if (n.builder.rank(parts[i]) != 3) return not_there("keys or values by head (4-D)");
  }
  if (n.has_input(3)) {
    PITH_TRY(const ValueId bias, n.input(3));
    int64_t from = 0;
    for (ValueId& part : parts) {
      const int64_t width = n.builder.shape(part)[2];
      PITH_TRY(const ValueId own, n.builder.add(Op::kSlice, {bias}, {{"starts", std::vector<int64_t>{from}}, {"ends", std::vector<int64_t>{from + width}}}));
      PITH_TRY(part, n.builder.add(Op::kAdd, {part, own}));
      from += width;
    }
  }
  const double low = n.real("mask_filter_value", -10000);
  PITH_TRY(const ValueId keep, n.optional(4));
  PITH_TRY(const ValueId padding, keep == ir::kNoValue ? Result<ValueId>(keep) : additive_mask(n, keep, low));
  PITH_TRY(const ValueId bias, n.optional(5));
  PITH_TRY(const ValueId mask, sum_of(n, padding, bias));
  const int64_t heads = n.integer("num_heads", 0);
  return n.emit(Op::kAttention, {parts[0], parts[1], parts[2], mask},
                attention_attributes(n, {heads, heads}, n.integer("unidirectional", 0) != 0));
}

Result<void> attention(NodeContext& n) {
  if (n.has_input(4) || n.has_input(6) || n.integer("do_rotary", 0) != 0) return not_there("attention with past keys or rotation");
  n.ignore({"past_present_share_buffer", "rotary_embedding_dim"});
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId weights, n.input(1));
  PITH_TRY(const ValueId bias, n.optional(2));
  PITH_TRY(ValueId joint, n.builder.add(Op::kMatMul, {x, weights}));
  if (bias != ir::kNoValue) {
    PITH_TRY(joint, n.builder.add(Op::kAdd, {joint, bias}));
  }
  if (n.builder.shape(joint).size() != 3) return usage_error("the input must be batch x sequence x width and the weights width x 3 widths; export the model again");
  std::vector<int64_t> sizes = n.integers("qkv_hidden_sizes");
  if (sizes.empty()) sizes.assign(3, n.builder.shape(joint).back() / 3);
  PITH_TRY(const std::vector<ValueId> parts, n.builder.add_many(Op::kSplit, {joint}, {{"axis", int64_t{-1}}, {"split", sizes}}, {true, true, true}));
  if (parts.size() != 3) return usage_error("qkv_hidden_sizes needs three sizes; export the model again");
  PITH_TRY(const ValueId keep, n.optional(3));
  PITH_TRY(const ValueId padding, keep == ir::kNoValue ? Result<ValueId>(keep) : additive_mask(n, keep, n.real("mask_filter_value", -10000)));
  PITH_TRY(const ValueId extra, n.optional(5));
  PITH_TRY(const ValueId mask, sum_of(n, padding, extra));
  const int64_t heads = n.integer("num_heads", 0);
  return n.emit(Op::kAttention, {parts[0], parts[1], parts[2], mask},
                attention_attributes(n, {heads, heads}, n.integer("unidirectional", 0) != 0));
}

// Positions first, first + 1 ... for every batch entry.
ValueId positions(NodeContext& n, int64_t batch, int64_t sequence, int64_t first) {
  std::vector<int64_t> p;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t s = 0; s < sequence; ++s) p.push_back(first + s);
  return n.builder.constant(Tensor::i64({batch, sequence}, p));
}

Result<void> rotary(NodeContext& n) {
  if (n.integer("is_packed_batching", 0) != 0 || n.real("scale", 1) != 1) return not_there("packed or scaled rotation");
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(ValueId where, n.input(1));
  PITH_TRY(const ValueId cosine, n.input(2));
  PITH_TRY(const ValueId sine, n.input(3));
  const Shape s = n.builder.shape(x);
  if (s.size() < 3 || n.builder.rank(cosine) != 2) return usage_error("its operands have unexpected dimensions; export the model again");
  if (n.builder.rank(where) != 2) {
    PITH_TRY(const int64_t first, n.constant_integer(1, "position_ids"));
    where = positions(n, s[0], s[s.size() - 2], first);
  }
  Attributes a = n.copy("interleaved:i rotary_embedding_dim:i");
  int64_t heads = n.integer("num_heads", 0);
  if (heads == 0 && s.size() == 3) heads = s[2] / std::max<int64_t>(1, 2 * n.builder.shape(cosine)[1]);
  if (s.size() == 3) a["num_heads"] = heads;
  return n.emit(Op::kRotaryEmbedding, {x, cosine, sine, where}, std::move(a));
}

// Without past: causal attention with grouped heads, optionally rotating queries and keys first.
Result<void> group_query_attention(NodeContext& n) {
  n.ignore({"kv_cache_bit_width", "k_quant_type", "v_quant_type"});
  const auto empty = [&](size_t i) { return !n.has_input(i) || (n.inputs[i].kind == Operand::Kind::kTensor && ir::element_count(n.builder.shape(n.inputs[i].id)) == 0); };
  if (!empty(3) || !empty(4)) return not_there("grouped attention with past keys");
  if (n.integer("local_window_size", -1) != -1 || n.integer("smooth_softmax", 0) != 0 || n.has_input(9) || n.has_input(10) || n.has_input(11))
    return not_there("grouped attention with windows, sinks or own positions");
  const Heads heads{n.integer("num_heads", 0), n.integer("kv_num_heads", 0)};
  PITH_TRY(ValueId q, n.input(0));
  if (!n.has_input(1) || !n.has_input(2)) return not_there("packed queries, keys and values");
  PITH_TRY(ValueId k, n.input(1));
  PITH_TRY(const ValueId v, n.input(2));
  const Shape s = n.builder.shape(q), ks = n.builder.shape(k);
  if (s.size() != 3 || ks.size() != 3 || heads.kv <= 0 || ks[2] % heads.kv != 0) return usage_error("its operands have unexpected dimensions; export the model again");
  const bool interleaved = n.integer("rotary_interleaved", 0) != 0;
  if (n.integer("do_rotary", 0) != 0) {
    PITH_TRY(const ValueId cosine, n.input(7));
    PITH_TRY(const ValueId sine, n.input(8));
    const ValueId where = positions(n, s[0], s[1], 0);
    const auto turned = [&](ValueId x, int64_t count) {
      return n.builder.add(Op::kRotaryEmbedding, {x, cosine, sine, where}, {{"num_heads", count}, {"interleaved", int64_t{interleaved}}});
    };
    PITH_TRY(q, turned(q, heads.q));
    PITH_TRY(k, turned(k, heads.kv));
  }
  Attributes a = attention_attributes(n, heads, true);
  if (n.real("softcap", 0) != 0) a["softcap"] = n.real("softcap", 0);
  PITH_CHECK_OK(n.emit(Op::kAttention, {q, k, v}, std::move(a)));
  for (size_t i = 1; i < 3; ++i) {
    if (!n.wants_output(i)) continue;
    PITH_TRY(const ValueId split, n.builder.reshape(i == 1 ? k : v, {ks[0], ks[1], heads.kv, ks[2] / heads.kv}));
    PITH_TRY(const ValueId present, n.builder.add(Op::kTranspose, {split}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}));
    n.set(i, present);
  }
  return {};
}

}  // namespace

void add_microsoft_rules(Rules& r) {
  const auto add = [&](const char* name, Result<void> (*rule)(NodeContext&)) { r[std::string("com.microsoft.") + name] = {rule}; };
  add("FusedConv", fused_conv);
  add("FusedGemm", fused_gemm);
  add("FusedMatMul", fused_matmul);
  add("TransposeMatMul", fused_matmul);
  add("Gelu", gelu<false>);
  add("BiasGelu", gelu<false>);
  add("FastGelu", gelu<true>);
  add("QuickGelu", quick_gelu);
  add("SkipLayerNormalization", skip_norm<false>);
  add("SkipSimplifiedLayerNormalization", skip_norm<true>);
  add("EmbedLayerNormalization", embed_norm);
  add("MultiHeadAttention", multi_head_attention);
  add("Attention", attention);
  add("GroupQueryAttention", group_query_attention);
  add("RotaryEmbedding", rotary);
  r["SimplifiedLayerNormalization"] = {simplified_norm};  // ONNX Runtime registers it in ONNX's domain
  add_microsoft_quantized_rules(r);
}

}  // namespace pith::importers
