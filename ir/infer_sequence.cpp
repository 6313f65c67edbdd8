// Types of recurrent layers, attention, rotary embedding, non-maximum suppression.
#include <algorithm>
#include <limits>

#include "ir/infer.h"
#include "ir/recurrent.h"

namespace pith::ir {
namespace {

Result<void> need_shape(const Inference& node, size_t i, const Shape& expected) {
  if (!node.has(i)) return {};
  PITH_CHECK_OK(node.need_float(i));
  if (node.shape(i) == expected) return {};
  return node.fail(fmt::format("input {} must have the shape {}", i, to_string(expected)));
}

int64_t gate_count(Op op) { return op == Op::kLSTM ? 4 : op == Op::kGRU ? 3 : 1; }

// An attention operand seen as batch, heads, length, size.
struct Heads {
  int64_t batch, heads, length, size;
};
Result<Heads> heads_of(const Inference& node, size_t i, const char* attribute) {
  PITH_CHECK_OK(node.need_float(i));
  PITH_CHECK_OK(node.need_rank(i, 3, 4));
  if (node.rank(i) != node.rank(0)) return node.fail("q, k and v differ in rank");
  const Shape& s = node.shape(i);
  if (s.size() == 4) {
    if (node.node.has(attribute)) PITH_CHECK_OK(node.ranged(attribute, s[1], s[1], s[1]));
    return Heads{s[0], s[1], s[2], s[3]};
  }
  PITH_TRY(const int64_t heads, node.ranged(attribute, 0, 1, kLargestCount));
  if (s[2] % heads != 0) return node.fail(fmt::format("{} elements in {} heads", s[2], heads));
  return Heads{s[0], heads, s[1], s[2] / heads};
}

}  // namespace

Result<void> infer_recurrent(Inference& node) {
  for (size_t i = 0; i < 3; ++i) {
    PITH_CHECK_OK(node.need_float(i));
    PITH_CHECK_OK(node.need_rank(i, 3, 3));
  }
  PITH_TRY(const std::string direction, node.choice("direction", {"forward", "reverse", "bidirectional"}));
  PITH_TRY(const int64_t layout, node.ranged("layout", 0, 0, 1));
  const int64_t directions = direction == "bidirectional" ? 2 : 1, gates = gate_count(node.node.op);
  const Shape& x = node.shape(0);
  const int64_t steps = x[layout == 1 ? 1 : 0], batch = x[layout == 1 ? 0 : 1], hidden = node.shape(2)[2];
  PITH_CHECK_OK(node.ranged("hidden_size", hidden, hidden, hidden));
  if (hidden > kLargestCount / 16) return node.fail("the hidden state is too large");
  PITH_CHECK_OK(need_shape(node, 1, {directions, gates * hidden, x[2]}));
  PITH_CHECK_OK(need_shape(node, 2, {directions, gates * hidden, hidden}));
  PITH_CHECK_OK(need_shape(node, 3, {directions, 2 * gates * hidden}));
  if (node.has(4)) {
    PITH_CHECK_OK(node.need_dtype(4, {DType::kI32, DType::kI64}));
    if (node.shape(4) != Shape{batch}) return node.fail("one length for each sequence of the batch is needed");
  }
  const Shape state = layout == 1 ? Shape{batch, directions, hidden} : Shape{directions, batch, hidden};
  PITH_CHECK_OK(need_shape(node, 5, state));
  PITH_CHECK_OK(need_shape(node, 6, state));
  PITH_CHECK_OK(need_shape(node, 7, {directions, 3 * hidden}));
  const auto functions = recurrent_functions(node.node, directions);
  if (!functions.ok()) return node.fail(functions.error().message);

  node.output(DType::kF32,
              layout == 1 ? Shape{batch, steps, directions, hidden} : Shape{steps, directions, batch, hidden});
  node.output(DType::kF32, state);
  if (node.node.op == Op::kLSTM) node.output(DType::kF32, state);
  return {};
}

Result<void> infer_attention(Inference& node) {
  PITH_TRY(const Heads q, heads_of(node, 0, "q_num_heads"));
  PITH_TRY(const Heads k, heads_of(node, 1, "kv_num_heads"));
  PITH_TRY(const Heads v, heads_of(node, 2, "kv_num_heads"));
  if (q.batch != k.batch || q.batch != v.batch) return node.fail("q, k and v differ in batch");
  if (k.heads != v.heads || k.length != v.length) return node.fail("k and v differ in heads or length");
  if (k.heads == 0 || q.heads % k.heads != 0)
    return node.fail(fmt::format("{} query heads for {} key heads", q.heads, k.heads));
  if (q.size != k.size) return node.fail("q and k differ in the size of a head");
  int64_t past = 0;
  if (node.has(4) != node.has(5)) return node.fail("past keys and values come together");
  if (node.has(4)) {
    PITH_CHECK_OK(node.need_rank(4, 4, 4));
    past = node.shape(4)[2];
    PITH_CHECK_OK(need_shape(node, 4, {k.batch, k.heads, past, k.size}));
    PITH_CHECK_OK(need_shape(node, 5, {v.batch, v.heads, past, v.size}));
  }
  const int64_t keys = past + k.length;
  const Shape scores{q.batch, q.heads, q.length, keys};
  if (node.has(3)) {
    PITH_CHECK_OK(node.need_dtype(3, {DType::kF32, DType::kBool}));
    const Shape& mask = node.shape(3);
    // the mask may be shorter than the keys: those beyond it are masked out
    bool fits = !mask.empty() && mask.size() <= 4 && mask.back() <= keys;
    for (size_t i = 1; fits && i < mask.size(); ++i) {
      const int64_t d = mask[mask.size() - 1 - i];
      fits = d == 1 || d == scores[3 - i];
    }
    if (!fits) return node.fail("the mask must broadcast to " + to_string(scores));
  }
  PITH_CHECK_OK(node.ranged("qk_matmul_output_mode", 0, 0, 3));
  if (node.node.has("scale") && !(node.node.real("scale", 1) > 0)) return node.fail("attribute scale must be positive");

  node.output(DType::kF32, node.rank(0) == 4 ? Shape{q.batch, q.heads, q.length, v.size}
                                             : Shape{q.batch, q.length, q.heads * v.size});
  node.output(DType::kF32, {k.batch, k.heads, keys, k.size});
  node.output(DType::kF32, {v.batch, v.heads, keys, v.size});
  node.output(DType::kF32, scores);
  return {};
}

Result<void> infer_rotary(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.need_rank(0, 3, 4));
  const Shape& x = node.shape(0);
  int64_t size = x.back();
  const int64_t steps = x.size() == 4 ? x[2] : x[1];
  if (x.size() == 3) {
    PITH_TRY(const int64_t heads, node.ranged("num_heads", 0, 1, kLargestCount));
    if (size % heads != 0) return node.fail(fmt::format("{} elements in {} heads", size, heads));
    size /= heads;
  }
  PITH_TRY(int64_t rotated, node.ranged("rotary_embedding_dim", 0, 0, size));
  if (rotated == 0) rotated = size;
  if (rotated % 2 != 0) return node.fail("an odd number of elements can't be rotated in pairs");
  // partial rotation may come with tables of whole heads: their first columns count
  const int64_t columns = std::max(rotated / 2, node.rank(1) == 0 ? 0 : node.shape(1).back());
  for (size_t i : {1, 2}) {
    if (node.has(3)) {
      PITH_CHECK_OK(node.need_rank(i, 2, 2));
      PITH_CHECK_OK(need_shape(node, i, {node.shape(i)[0], columns}));
    } else {
      PITH_CHECK_OK(need_shape(node, i, {x[0], steps, columns}));
    }
  }
  if (node.has(3)) {
    PITH_CHECK_OK(node.need_dtype(3, {DType::kI64, DType::kI32}));
    if (node.shape(1) != node.shape(2)) return node.fail("cosines and sines differ in shape");
    if (node.shape(3) != Shape{x[0], steps}) return node.fail("one position for each step is needed");
  }
  node.output(DType::kF32, x);
  return {};
}

Result<void> infer_nms(Inference& node) {
  for (size_t i : {0, 1}) {
    PITH_CHECK_OK(node.need_float(i));
    PITH_CHECK_OK(node.need_rank(i, 3, 3));
  }
  const Shape &boxes = node.shape(0), &scores = node.shape(1);
  if (boxes[2] != 4 || boxes[0] != scores[0] || boxes[1] != scores[2]) {
    return node.fail("boxes must be batch x boxes x 4, scores batch x classes x boxes");
  }
  PITH_TRY(const int64_t most, node.ranged("max_output_boxes_per_class", 0, 0, std::numeric_limits<int64_t>::max()));
  PITH_CHECK_OK(node.ranged("center_point_box", 0, 0, 1));
  node.output(DType::kI64, {element_count({scores[0], scores[1], std::min(most, boxes[1])}), 3});
  return {};
}

}  // namespace pith::ir
