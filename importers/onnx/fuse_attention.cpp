// Scaled dot-product attention back from its decomposition (Vaswani et al. 2017).
//
// Recognised: MatMul(Softmax(mask(scale(MatMul(q, k^T)))), v) over 4-D (batch, heads, sequence, size) or 3-D (batch * heads,
// sequence, size) tensors. The scale may sit on the scores, on q, on k, or be split between them; the mask may be added or
// selected by Where; keys and values may be repeated for grouped heads (Ainslie et al. 2023). A constant mask that is
// exactly causal becomes the flag. Then, where q, k, v come from (batch, sequence, heads * size) by Reshape and Transpose
// and the result goes back that way, the 3-D form of the operator takes those directly and no data moves.
#include <algorithm>
#include <cmath>
#include <limits>

#include "importers/onnx/rewriter.h"

namespace pith::importers {
namespace {

using ir::Node;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;
using Integers = std::vector<int64_t>;

constexpr double kMasked = -1e4;  // what counts as minus infinity in a constant mask

// x * c: x, and c into the product.
ValueId peel_scale(const Rewriter& r, ValueId id, double& c) {
  while (const auto s = r.with_scalar(r.maker(id, Op::kMul))) {
    c *= s->c;
    id = s->x;
  }
  return id;
}

struct Scores {
  ValueId q = ir::kNoValue, keys = ir::kNoValue;  // keys: transposed
  double scale = 1;
  ValueId mask = ir::kNoValue;
  bool causal = false;
};

// The two last dimensions of a constant mask, one row per query: 0 keeps, kMasked or less drops.
enum class MaskKind { kOther, kCausal, kRowsKept };
MaskKind classify(const Tensor* mask, int64_t queries, int64_t keys) {
  if (!mask || mask->dtype() != ir::DType::kF32 || mask->shape().size() < 2) return MaskKind::kOther;
  const Shape& s = mask->shape();
  if (s[s.size() - 1] != keys || s[s.size() - 2] != queries || keys == 0 || queries == 0) return MaskKind::kOther;
  bool causal = queries == keys, kept = true;
  const auto v = mask->as<float>();
  for (size_t row = 0; row < v.size() / static_cast<size_t>(keys); ++row) {
    const int64_t query = static_cast<int64_t>(row) % queries;
    bool any = false;
    for (int64_t k = 0; k < keys; ++k) {
      const double m = v[row * static_cast<size_t>(keys) + static_cast<size_t>(k)];
      any = any || m == 0;
      causal = causal && (k <= query ? m == 0 : m <= kMasked);
    }
    kept = kept && any;
  }
  return causal ? MaskKind::kCausal : kept ? MaskKind::kRowsKept : MaskKind::kOther;
}

// Where(keep, scores, fill) or Where(drop, fill, scores) as an added mask; kNoValue when that wouldn't be the same.
ValueId mask_from_where(Rewriter& r, size_t i, const Node& where, size_t score_side, int64_t queries, int64_t keys) {
  const auto fill = r.scalar(where.inputs[3 - score_side]);
  if (!fill || !(*fill <= kMasked)) return ir::kNoValue;
  const ValueId zero = r.constant("zero", Tensor::f32({}, {0})), low = r.constant("masked", Tensor::f32({}, {static_cast<float>(*fill)}));
  const ValueId mask = score_side == 1 ? r.insert(i, Op::kWhere, {where.inputs[0], zero, low}) : r.insert(i, Op::kWhere, {where.inputs[0], low, zero});
  if (mask == ir::kNoValue) return mask;
  const bool exact = *fill <= -1e8 || classify(r.content(mask), queries, keys) != MaskKind::kOther;
  return exact ? mask : ir::kNoValue;
}

std::optional<Scores> scores_of(Rewriter& r, size_t i, ValueId id) {
  Scores s;
  const int64_t rank = r.rank(id);
  const int64_t queries = r.shape(id)[static_cast<size_t>(rank - 2)], keys = r.shape(id)[static_cast<size_t>(rank - 1)];
  const auto product = [&](ValueId v, double& c) { return r.maker(peel_scale(r, v, c), Op::kMatMul); };
  ValueId scores = id;
  double c = 1;
  if (const Node* add = r.maker(id, Op::kAdd)) {
    for (size_t side = 0; side < 2 && s.mask == ir::kNoValue; ++side)
      if (c = 1; product(add->inputs[side], c)) scores = add->inputs[side], s.mask = add->inputs[1 - side];
  } else if (const Node* found = r.maker(id, Op::kWhere)) {
    const Node where = *found;
    for (size_t side = 1; side < 3 && s.mask == ir::kNoValue; ++side)
      if (c = 1; product(where.inputs[side], c)) scores = where.inputs[side], s.mask = mask_from_where(r, i, where, side, queries, keys);
    if (s.mask == ir::kNoValue) return std::nullopt;
  }
  const Node* matmul = product(scores, s.scale);
  if (!matmul || matmul->inputs.size() != 2 || r.shape(scores) != r.shape(id)) return std::nullopt;
  s.q = peel_scale(r, matmul->inputs[0], s.scale);
  s.keys = peel_scale(r, matmul->inputs[1], s.scale);
  if (s.mask != ir::kNoValue && r.content(s.mask) && classify(r.content(s.mask), queries, keys) == MaskKind::kCausal) {
    s.causal = true;
    s.mask = ir::kNoValue;
  }
  return s;
}

Integers perm_of(const Rewriter& r, const Node& n) {
  Integers perm = n.integers("perm");
  for (int64_t d = r.rank(n.inputs[0]) - 1; perm.size() < r.shape(n.inputs[0]).size(); --d) perm.push_back(d);
  return perm;
}

// keys^T with its last two dimensions swapped, through an existing transpose where there is one.
ValueId untransposed(Rewriter& r, size_t i, ValueId keys) {
  Integers perm;
  ValueId source = keys;
  if (const Node* t = r.maker(keys, Op::kTranspose)) {
    perm = perm_of(r, *t);
    source = t->inputs[0];
  } else {
    for (int64_t d = 0; d < r.rank(keys); ++d) perm.push_back(d);
  }
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return std::is_sorted(perm.begin(), perm.end()) ? source : r.insert(i, Op::kTranspose, {source}, {{"perm", perm}});
}

// Keys or values that were repeated for grouped heads: Reshape(Expand(Reshape(x))): x
ValueId unrepeated(const Rewriter& r, ValueId id) {
  const Node* join = r.maker(id, Op::kReshape);
  const Node* expand = join ? r.maker(join->inputs[0], Op::kExpand) : nullptr;
  const Node* split = expand ? r.maker(expand->inputs[0], Op::kReshape) : nullptr;
  if (!split) return id;
  const Shape x = r.shape(split->inputs[0]), wide = r.shape(expand->outputs[0]), joined = r.shape(id);
  if (x.size() != 4 || wide.size() != 5 || r.shape(expand->inputs[0]) != Shape{x[0], x[1], 1, x[2], x[3]}) return id;
  const bool same = wide == Shape{x[0], x[1], wide[2], x[2], x[3]} && joined == Shape{x[0], x[1] * wide[2], x[2], x[3]};
  return same ? split->inputs[0] : id;
}

// The softmax of the scores, also through the guard against rows without a key: Where(IsNaN(p), 0, p).
const Node* softmax_of(const Rewriter& r, ValueId p, bool& guarded) {
  if (const Node* guard = r.maker(p, Op::kWhere)) {
    const Node* test = r.maker(guard->inputs[0], Op::kIsNaN);
    guarded = test && test->inputs[0] == guard->inputs[2] && r.is_scalar(guard->inputs[1], 0);
    if (guarded) p = guard->inputs[2];
  }
  const Node* n = r.maker(p, Op::kSoftmax);
  if (!n) return nullptr;
  const int64_t axis = n->integer("axis", -1);
  return axis == -1 || axis == r.rank(p) - 1 ? n : nullptr;
}

// (n, s, d) as (n, 1, s, d).
ValueId with_one_head(Rewriter& r, size_t i, ValueId id) {
  const Shape s = r.shape(id);
  return r.insert(i, Op::kReshape, {id}, {{"shape", Shape{s[0], 1, s[1], s[2]}}});
}

bool mask_fits(const Rewriter& r, const Scores& s, int64_t rank) {
  return s.mask == ir::kNoValue || (r.graph.value(s.mask).dtype == ir::DType::kF32 && (rank == 4 ? r.rank(s.mask) <= 4 : r.rank(s.mask) == 3));
}

bool fuse_core(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  if (n.inputs.size() != 2 || !r.is_real(n.inputs[0])) return false;
  bool guarded = false;
  const Node* softmax = softmax_of(r, n.inputs[0], guarded);
  const int64_t rank = r.rank(n.inputs[0]);
  if (!softmax || (rank != 3 && rank != 4) || r.rank(n.inputs[1]) != rank) return false;
  auto s = scores_of(r, i, softmax->inputs[0]);
  if (!s || r.rank(s->q) != rank || r.rank(s->keys) != rank || !mask_fits(r, *s, rank)) return false;
  const Shape whole = r.shape(n.inputs[0]);
  const bool rows_kept = s->mask == ir::kNoValue ||
                         classify(r.content(s->mask), whole[static_cast<size_t>(rank - 2)], whole[static_cast<size_t>(rank - 1)]) == MaskKind::kRowsKept;
  if (guarded && !rows_kept) return false;
  ValueId q = s->q, k = untransposed(r, i, s->keys), v = n.inputs[1], mask = s->mask;
  if (k == ir::kNoValue || r.shape(q)[0] != r.shape(k)[0] || r.shape(q)[0] != r.shape(v)[0]) return false;
  Attributes attributes{{"scale", s->scale}};
  if (s->causal) attributes["is_causal"] = int64_t{1};
  if (rank == 4) {
    const ValueId few_keys = unrepeated(r, k), few_values = unrepeated(r, v);
    if (r.shape(few_keys)[1] == r.shape(few_values)[1]) k = few_keys, v = few_values;
    if (r.shape(k)[1] != r.shape(v)[1] || r.shape(k)[1] == 0 || r.shape(q)[1] % r.shape(k)[1] != 0) return false;
    return r.replace(i, Op::kAttention, {q, k, v, mask}, std::move(attributes));
  }
  q = with_one_head(r, i, q), k = with_one_head(r, i, k), v = with_one_head(r, i, v);
  if (mask != ir::kNoValue) mask = with_one_head(r, i, mask);
  std::vector<ValueId> operands{q, k, v};
  if (mask != ir::kNoValue) operands.push_back(mask);
  const ValueId y = r.insert(i, Op::kAttention, operands, std::move(attributes));
  const Shape out = r.shape(n.outputs[0]);
  return y != ir::kNoValue && r.replace(i, Op::kReshape, {y}, {{"shape", out}});
}

// id = Transpose(Reshape(x, (b, s, h, d)), 0 2 1 3) with x of (b, s, h * d): x
ValueId joined_heads(const Rewriter& r, ValueId id) {
  const Node* t = r.maker(id, Op::kTranspose);
  const Node* split = t && perm_of(r, *t) == Integers{0, 2, 1, 3} ? r.maker(t->inputs[0], Op::kReshape) : nullptr;
  if (!split || r.rank(split->outputs[0]) != 4) return ir::kNoValue;
  const Shape s = r.shape(split->outputs[0]), x = r.shape(split->inputs[0]);
  return x == Shape{s[0], s[1], s[2] * s[3]} ? split->inputs[0] : ir::kNoValue;
}

// Node i = Reshape(Transpose(Attention(...), 0 2 1 3)) back to (b, s, h * d).
bool fuse_heads(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  const Node* t = r.maker(n.inputs[0], Op::kTranspose);
  const Node* found = t && r.rank(t->inputs[0]) == 4 && perm_of(r, *t) == Integers{0, 2, 1, 3} ? r.maker(t->inputs[0], Op::kAttention) : nullptr;
  if (!found || !r.sole(t->inputs[0]) || found->outputs.size() != 1 || found->inputs.size() > 4) return false;
  const Node attention = *found;
  const Shape y = r.shape(attention.outputs[0]);
  if (r.shape(n.outputs[0]) != Shape{y[0], y[2], y[1] * y[3]}) return false;
  std::vector<ValueId> operands = attention.inputs;
  for (size_t k = 0; k < 3; ++k) {
    operands[k] = joined_heads(r, operands[k]);
    if (operands[k] == ir::kNoValue) return false;
  }
  Attributes attributes = attention.attributes;
  attributes["q_num_heads"] = r.shape(attention.inputs[0])[1];
  attributes["kv_num_heads"] = r.shape(attention.inputs[1])[1];
  return r.replace(i, Op::kAttention, std::move(operands), std::move(attributes));
}

// ---- one of q, k, v from a joint projection: Gather k of Transpose of Reshape (b, s, 3, h, d) ----

// A scalar Gather below a transpose moves above it, and through the Reshape that split the dimension it picks from it
// becomes a Slice, so that each of q, k, v is Transpose(Reshape(Slice(x))).
bool push_gather(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  const auto index = r.scalar(n.inputs[1]);
  const Node* t = index && r.rank(n.inputs[1]) == 0 ? r.maker(n.inputs[0], Op::kTranspose) : nullptr;
  const Node* split = t ? r.maker(t->inputs[0], Op::kReshape) : nullptr;
  if (!split) return false;
  const Integers perm = perm_of(r, *t);
  const Shape parts = r.shape(split->outputs[0]), x = r.shape(split->inputs[0]);
  const int64_t rank = static_cast<int64_t>(perm.size()), axis = n.integer("axis", 0) < 0 ? n.integer("axis", 0) + rank : n.integer("axis", 0);
  const int64_t picked = perm[static_cast<size_t>(axis)], last = static_cast<int64_t>(x.size()) - 1;
  // the leading dimensions are x's own, and x's last one is split from `picked` on
  if (picked != last || !std::equal(x.begin(), x.end() - 1, parts.begin())) return false;
  const int64_t each = x.back() / std::max<int64_t>(parts[static_cast<size_t>(picked)], 1);
  int64_t at = static_cast<int64_t>(*index);
  if (at < 0) at += parts[static_cast<size_t>(picked)];
  const ValueId slice = r.insert(i, Op::kSlice, {split->inputs[0]},
                                 {{"starts", Integers{at * each}}, {"ends", Integers{(at + 1) * each}}, {"axes", Integers{last}}});
  Shape rest = parts;
  rest.erase(rest.begin() + picked);
  if (slice == ir::kNoValue) return false;
  const ValueId heads = r.insert(i, Op::kReshape, {slice}, {{"shape", rest}});
  Integers rest_perm;
  for (const int64_t d : perm)
    if (d != picked) rest_perm.push_back(d > picked ? d - 1 : d);
  return heads != ir::kNoValue && r.replace(i, Op::kTranspose, {heads}, {{"perm", rest_perm}});
}

}  // namespace

int fuse_attention(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i) {
    if (r.is_dead(i) || r.node(i).activation != ir::Activation()) continue;
    switch (r.node(i).op) {
      case Op::kMatMul: fuse_core(r, i); break;
      case Op::kReshape: fuse_heads(r, i); break;
      case Op::kGather: push_gather(r, i); break;
      default: break;
    }
  }
  return r.finish();
}

}  // namespace pith::importers
