// What transformers need beside products and norms: rows by token, rotary positions, attention, comparisons for masks.
// Semantics are those of ir/eval_attention.cpp and ir/eval_gather.cpp, except that a query all of whose keys are masked
// attends to all of them alike instead of to none.
#include <cmath>

#include "ir/geometry.h"
#include "train/node.h"

namespace pith::train {
namespace {

using ir::Op;
using ir::Shape;
using Values = Network::Values;

constexpr double kMasked = -1e30;  // a score that exp() takes to 0, and whose row stays finite

bool is_compare(Op op) { return op == Op::kEqual || op == Op::kLess || op == Op::kLessOrEqual || op == Op::kGreater || op == Op::kGreaterOrEqual; }

at::Tensor compared(Op op, const at::Tensor& a, const at::Tensor& b) {
  switch (op) {
    case Op::kEqual: return at::eq(a, b);
    case Op::kLess: return at::lt(a, b);
    case Op::kLessOrEqual: return at::le(a, b);
    case Op::kGreater: return at::gt(a, b);
    default: return at::ge(a, b);
  }
}

Built build_compare(const NodeView& n) {
  PITH_TRY(const int axis, broadcast_axis(n));
  n.set_axis(axis);
  return std::optional<Network::Step>([op = n.node.op](const Values& in) -> Values { return {compared(op, in[0], in[1])}; });
}

Built build_where(const NodeView& n) {
  PITH_TRY(const int axis, broadcast_axis(n));
  n.set_axis(axis);
  return std::optional<Network::Step>([](const Values& in) -> Values { return {at::where(in[0].to(at::kBool), in[1], in[2])}; });
}

Built build_cast(const NodeView& n) {
  n.set_axis(n.input_axis(0));
  const ir::DType to = n.graph.value(n.node.outputs[0]).dtype;
  const at::ScalarType type = to == ir::DType::kF32 ? at::kFloat : to == ir::DType::kBool ? at::kBool : at::kLong;
  return std::optional<Network::Step>([type](const Values& in) -> Values { return {in[0].to(type)}; });
}

// Rows (or slices along another axis) that each sample names for itself: of a table that all share, or of its own values.
Built build_lookup(const NodeView& n) {
  const int64_t along = ir::wrap_axis(n.node.integer("axis", 0), n.shape(0).size()), size = n.shape(0)[static_cast<size_t>(along)];
  const Shape wanted = n.shape(1);
  const int axis = n.input_axis(0), index_axis = n.input_axis(1);
  const auto counted = [size](const at::Tensor& index) { return at::where(index < 0, index + size, index); };
  if (axis < 0) {
    n.set_axis(static_cast<int>(along) + index_axis);
    return std::optional<Network::Step>([along, counted](const Values& in) -> Values {
      const at::Tensor index = counted(in[1]);
      std::vector<int64_t> shape = in[0].sizes().vec();
      shape.erase(shape.begin() + along);
      shape.insert(shape.begin() + along, index.sizes().begin(), index.sizes().end());
      return {in[0].index_select(along, index.reshape({-1})).reshape(shape)};
    });
  }
  if (axis != 0 || n.folded(0) || along == 0 || (index_axis > 0 && !std::all_of(wanted.begin(), wanted.begin() + index_axis, [](int64_t d) { return d == 1; })))
    return n.fail("the samples aren't along its first axes");
  n.set_axis(0);
  const Shape result = n.output_shape();
  return std::optional<Network::Step>([along, counted, result](const Values& in) -> Values {
    const int64_t batch = in[0].size(0);
    std::vector<int64_t> shape = in[0].sizes().vec(), flat(shape.size(), 1);
    const at::Tensor index = counted(in[1]).reshape({batch, -1});
    flat[0] = batch;
    flat[static_cast<size_t>(along)] = shape[static_cast<size_t>(along)] = index.size(1);
    Shape whole = result;
    whole[0] = batch;
    return {in[0].gather(along, index.view(flat).expand(shape)).reshape(whole)};
  });
}

// [batch, heads, length, size] of what may be [batch, length, heads * size].
at::Tensor by_heads(const at::Tensor& x, int64_t heads) {
  return x.dim() == 4 ? x : x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

Built build_attention(const NodeView& n) {
  for (size_t i = 0; i < 3; ++i) {
    if (n.input_axis(i) != 0 || n.folded(i)) return n.fail("the samples aren't along its first axis");
  }
  if (n.has(4) || n.has(5)) return n.fail("it is given earlier keys and values");
  for (size_t i = 1; i < n.node.outputs.size(); ++i) {
    if (n.node.outputs[i] != ir::kNoValue) return n.fail("more than its result is wanted");
  }
  const bool four = n.shape(0).size() == 4, causal = n.node.integer("is_causal", 0) != 0;
  const int64_t heads = four ? n.shape(0)[1] : n.node.integer("q_num_heads", 1), key_heads = n.shape(1).size() == 4 ? n.shape(1)[1] : n.node.integer("kv_num_heads", 1);
  const int64_t keys = n.shape(1)[n.shape(1).size() == 4 ? 2 : 1], size = four ? n.shape(0)[3] : n.shape(0)[2] / heads;
  if (n.has(3) && (n.shape(3).back() != keys || (n.input_axis(3) >= 0 && (n.input_axis(3) != 0 || n.shape(3).size() != 4 || n.folded(3))))) return n.fail("its mask has another shape than batch x heads x queries x keys");
  const double scale = n.node.real("scale", 1 / std::sqrt(static_cast<double>(size))), softcap = n.node.real("softcap", 0);
  n.set_axis(0);
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    const at::Tensor q = by_heads(in[0], heads);
    at::Tensor k = by_heads(in[1], key_heads), v = by_heads(in[2], key_heads);
    if (key_heads != heads) k = k.repeat_interleave(heads / key_heads, 1), v = v.repeat_interleave(heads / key_heads, 1);
    at::Tensor scores = at::matmul(q * scale, k.transpose(2, 3));
    if (softcap > 0) scores = softcap * at::tanh(scores / softcap);
    if (in.size() > 3 && in[3].defined()) scores = in[3].is_floating_point() ? scores + in[3] : scores.masked_fill(in[3].to(at::kBool).logical_not(), kMasked);
    if (causal) scores = scores.masked_fill(at::ones({scores.size(2), scores.size(3)}, scores.options().dtype(at::kBool)).triu(1), kMasked);
    const at::Tensor y = at::matmul(at::softmax(scores, -1), v);
    return {four ? y : y.transpose(1, 2).reshape({y.size(0), y.size(2), -1})};
  });
}

Built build_rotary(const NodeView& n) {
  if (n.input_axis(0) != 0 || n.folded(0)) return n.fail("the samples aren't along its first axis");
  if (n.input_axis(1) >= 0 || n.input_axis(2) >= 0 || (n.has(3) && n.input_axis(3) > 0)) return n.fail("its angles depend on the sample");
  const bool four = n.shape(0).size() == 4, interleaved = n.node.integer("interleaved", 0) != 0;
  const int64_t heads = four ? n.shape(0)[1] : n.node.integer("num_heads", 1), size = four ? n.shape(0)[3] : n.shape(0)[2] / heads;
  const int64_t asked = n.node.integer("rotary_embedding_dim", 0), rotated = asked == 0 ? size : asked, half = rotated / 2;
  n.set_axis(0);
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    const at::Tensor x = by_heads(in[0], heads);
    const auto angles = [&](at::Tensor t) {
      if (in.size() > 3 && in[3].defined()) t = t.index_select(0, in[3].reshape({-1})).reshape({in[3].size(0), in[3].size(1), t.size(1)});
      return t.narrow(2, 0, half).unsqueeze(1);
    };
    const at::Tensor cosine = angles(in[1]), sine = angles(in[2]), turned = x.narrow(3, 0, rotated);
    const at::Tensor pairs = interleaved ? turned.reshape({x.size(0), heads, x.size(2), half, 2}).transpose(3, 4) : turned.reshape({x.size(0), heads, x.size(2), 2, half});
    const at::Tensor a = pairs.select(3, 0), b = pairs.select(3, 1), real = cosine * a - sine * b, imaginary = sine * a + cosine * b;
    at::Tensor y = interleaved ? at::stack({real, imaginary}, 4).flatten(3) : at::cat({real, imaginary}, 3);
    if (rotated < size) y = at::cat({y, x.narrow(3, rotated, size - rotated)}, 3);
    return {four ? y : y.transpose(1, 2).reshape({y.size(0), y.size(2), -1})};
  });
}

}  // namespace

Built build_sequence(const NodeView& n) {
  if (is_compare(n.node.op)) return build_compare(n);
  switch (n.node.op) {
    case Op::kWhere: return build_where(n);
    case Op::kCast: return build_cast(n);
    case Op::kAttention: return build_attention(n);
    case Op::kRotaryEmbedding: return build_rotary(n);
    case Op::kGather:
      if (n.input_axis(1) >= 0) return build_lookup(n);
      return std::optional<Network::Step>();
    default: return std::optional<Network::Step>();
  }
}

}  // namespace pith::train
