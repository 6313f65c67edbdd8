// Rotary position embedding back from its decomposition (Su et al. 2021, in the half-rotating form of Llama exports):
// x * cos + concat(-x[d/2:], x[:d/2]) * sin, where cos and sin hold each angle twice. The operator takes each angle once.
#include <algorithm>

#include "importers/onnx/rewriter.h"

namespace pith::importers {
namespace {

using ir::Node;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;
using Integers = std::vector<int64_t>;

// id = x[begin, end) along the last dimension: x
ValueId part_of(const Rewriter& r, ValueId id, bool second_half) {
  const Node* n = r.maker(id);
  if (!n || n->activation != ir::Activation() || n->inputs.empty()) return ir::kNoValue;
  const ValueId x = n->inputs[0];
  const int64_t rank = r.rank(x), size = rank > 0 ? r.shape(x).back() : 0, half = size / 2;
  if (n->op == Op::kSplit) {
    const int64_t axis = n->integer("axis", 0);
    const bool halves = n->outputs.size() == 2 && n->outputs[second_half ? 1 : 0] == id && r.shape(id).back() * 2 == size;
    return halves && (axis == rank - 1 || axis == -1) ? x : ir::kNoValue;
  }
  if (n->op != Op::kSlice || n->integers("starts").size() != 1) return ir::kNoValue;
  const Integers axes = n->integers("axes", {0}), steps = n->integers("steps", {1});
  const auto clamp = [&](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + size : v, 0, size); };
  const bool last = axes[0] == rank - 1 || axes[0] == -1;
  const int64_t begin = clamp(n->integers("starts")[0]), end = clamp(n->integers("ends")[0]);
  return last && steps[0] == 1 && begin == (second_half ? half : 0) && end == (second_half ? size : half) ? x : ir::kNoValue;
}

// id = concat(-x[d/2:], x[:d/2]): x
ValueId rotated_half(const Rewriter& r, ValueId id) {
  const Node* n = r.maker(id, Op::kConcat);
  if (!n || n->inputs.size() != 2) return ir::kNoValue;
  const int64_t axis = n->integer("axis", 0);
  const Node* neg = r.maker(n->inputs[0], Op::kNeg);
  if (!neg || (axis != -1 && axis != r.rank(id) - 1)) return ir::kNoValue;
  const ValueId x = part_of(r, neg->inputs[0], true);
  return x != ir::kNoValue && part_of(r, n->inputs[1], false) == x && r.shape(x) == r.shape(id) ? x : ir::kNoValue;
}

// A table of (1 or batch, 1, sequence, d) whose halves are equal, as (batch, sequence, d/2).
ValueId constant_angles(Rewriter& r, const Tensor& t, const Shape& x) {
  Shape s = t.shape();
  s.insert(s.begin(), s.size() < 4 ? 4 - s.size() : 0, 1);
  if (s.size() != 4 || (s[0] != 1 && s[0] != x[0]) || s[1] != 1 || s[2] != x[2] || s[3] != x[3]) return ir::kNoValue;
  const int64_t half = s[3] / 2;
  Tensor out(ir::DType::kF32, {x[0], x[2], half});
  const auto v = t.as<float>();
  const auto to = out.mut<float>();
  for (int64_t row = 0; row < x[0] * x[2]; ++row)
    for (int64_t k = 0; k < half; ++k) {
      const size_t from = static_cast<size_t>((s[0] == 1 ? row % x[2] : row) * s[3] + k);
      if (v[from] != v[from + static_cast<size_t>(half)]) return ir::kNoValue;
      to[static_cast<size_t>(row * half + k)] = v[from];
    }
  return r.constant("angles", std::move(out));
}

// Reshape(Cos(Concat(f, f))) computed at run time: Cos(f)
ValueId computed_angles(Rewriter& r, size_t i, ValueId id, const Shape& x) {
  if (const Node* n = r.maker(id, Op::kReshape)) id = n->inputs[0];
  for (const Op op : {Op::kCos, Op::kSin}) {
    const Node* f = r.maker(id, op);
    const Node* twice = f ? r.maker(f->inputs[0], Op::kConcat) : nullptr;
    if (!twice || twice->inputs.size() != 2 || twice->inputs[0] != twice->inputs[1]) continue;
    const ValueId angles = twice->inputs[0];
    if (r.shape(angles) != Shape{x[0], x[2], x[3] / 2} || r.shape(twice->outputs[0]).back() != x[3]) continue;
    return r.insert(i, op, {angles});
  }
  return ir::kNoValue;
}

ValueId angles_of(Rewriter& r, size_t i, ValueId id, const Shape& x) {
  if (const Tensor* t = r.content(id)) return t->dtype() == ir::DType::kF32 ? constant_angles(r, *t, x) : ir::kNoValue;
  return computed_angles(r, i, id, x);
}

bool fuse_add(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  for (size_t side = 0; side < 2; ++side) {
    const Node *plain = r.maker(n.inputs[side], Op::kMul), *turned = r.maker(n.inputs[1 - side], Op::kMul);
    if (!plain || !turned) return false;
    for (size_t k = 0; k < 2; ++k) {
      const ValueId x = rotated_half(r, turned->inputs[k]);
      if (x == ir::kNoValue || r.rank(x) != 4 || r.shape(x) != r.shape(n.outputs[0]) || r.shape(x).back() % 2 != 0) continue;
      const ValueId cosine = plain->inputs[0] == x ? plain->inputs[1] : plain->inputs[1] == x ? plain->inputs[0] : ir::kNoValue;
      if (cosine == ir::kNoValue) continue;
      const Shape shape = r.shape(x);
      const ValueId sine = turned->inputs[1 - k];
      const ValueId c = angles_of(r, i, cosine, shape), s = angles_of(r, i, sine, shape);
      return c != ir::kNoValue && s != ir::kNoValue && r.replace(i, Op::kRotaryEmbedding, {x, c, s});
    }
  }
  return false;
}

}  // namespace

int fuse_rotary(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i)
    if (!r.is_dead(i) && r.node(i).op == Op::kAdd && r.node(i).activation == ir::Activation()) fuse_add(r, i);
  return r.finish();
}

}  // namespace pith::importers
