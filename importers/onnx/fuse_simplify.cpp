// Removes what does nothing and brings what has several spellings to one: x / c -> x * (1/c), x^2 -> x * x, chains of
// reshapes and transposes to one, Clip and Relu chains to one Clip; evaluates nodes whose operands became constant; shares
// equal nodes and equal constants.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "importers/onnx/rewriter.h"
#include "ir/interpret.h"

namespace pith::importers {
namespace {

using ir::Node;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;
using Integers = std::vector<int64_t>;

bool all_equal(const Tensor* t, double value) {
  if (!t || t->count() == 0 || t->count() > 65536) return false;
  for (int64_t i = 0; i < t->count(); ++i)
    if (t->at(i) != value) return false;
  return true;
}

bool all(const Integers& v, int64_t value) {
  return std::all_of(v.begin(), v.end(), [&](int64_t x) { return x == value; });
}

Integers perm_of(const Rewriter& r, const Node& n) {
  Integers perm = n.integers("perm");
  if (!perm.empty()) return perm;
  for (int64_t d = r.rank(n.inputs[0]) - 1; d >= 0; --d) perm.push_back(d);
  return perm;
}

// Nodes that give back their first operand.
bool does_nothing(const Rewriter& r, const Node& n) {
  if (n.inputs.empty() || n.inputs[0] == ir::kNoValue || n.outputs.size() != 1 || n.activation != ir::Activation()) return false;
  const ir::Value &in = r.graph.value(n.inputs[0]), &out = r.graph.value(n.outputs[0]);
  if (in.dtype != out.dtype || in.shape != out.shape) return false;
  switch (n.op) {
    case Op::kIdentity: case Op::kReshape: case Op::kFlatten: case Op::kSqueeze: case Op::kUnsqueeze: case Op::kCast: case Op::kExpand: case Op::kTile:
      return true;
    case Op::kConcat: case Op::kSum: case Op::kMax: case Op::kMin: case Op::kMean: return n.inputs.size() == 1;
    case Op::kSplit: return true;
    case Op::kTranspose: {
      const Integers perm = perm_of(r, n);
      return std::is_sorted(perm.begin(), perm.end());
    }
    case Op::kSlice: {
      const Integers steps = n.integers("steps");
      return std::all_of(steps.begin(), steps.end(), [](int64_t s) { return s > 0; });
    }
    case Op::kPad: return all(n.integers("pads"), 0);
    case Op::kClip: return n.inputs.size() == 1 && !n.has("min") && !n.has("max");
    case Op::kMaxPool: case Op::kAveragePool:
      return all(n.integers("kernel_shape"), 1) && all(n.integers("strides"), 1) && all(n.integers("pads"), 0) && r.is_real(n.inputs[0]);
    case Op::kResize: return n.text("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize";
    case Op::kAdd: case Op::kSub: return all_equal(r.content(n.inputs[1]), 0);
    case Op::kMul: case Op::kDiv: case Op::kPow: return all_equal(r.content(n.inputs[1]), 1);
    default: return false;
  }
}

// 0 + x and 1 * x: the constant comes first.
bool first_operand_does_nothing(const Rewriter& r, const Node& n) {
  if ((n.op != Op::kAdd && n.op != Op::kMul) || n.activation != ir::Activation()) return false;
  return all_equal(r.content(n.inputs[0]), n.op == Op::kAdd ? 0 : 1) && r.shape(n.inputs[1]) == r.shape(n.outputs[0]);
}

bool simplify_reshape(Rewriter& r, size_t i) {
  const Node& n = r.node(i);
  const Node* before = r.maker(n.inputs[0]);
  if (!before || before->activation != ir::Activation()) return false;
  if (before->op != Op::kReshape && before->op != Op::kFlatten && before->op != Op::kSqueeze && before->op != Op::kUnsqueeze) return false;
  const Shape shape = r.shape(n.outputs[0]);
  Attributes a{{"shape", shape}};
  if (std::count(shape.begin(), shape.end(), 0)) a["allowzero"] = int64_t{1};
  return r.replace(i, Op::kReshape, {before->inputs[0]}, std::move(a));
}

bool simplify_transpose(Rewriter& r, size_t i) {
  const Node& n = r.node(i);
  const Node* before = r.maker(n.inputs[0], Op::kTranspose);
  if (!before) return false;
  const Integers first = perm_of(r, *before), second = perm_of(r, n);
  Integers both;
  for (const int64_t d : second) both.push_back(first[static_cast<size_t>(d)]);
  return r.replace(i, Op::kTranspose, {before->inputs[0]}, {{"perm", both}});
}

// Division by a constant is multiplication; 1 / x is Reciprocal.
bool simplify_div(Rewriter& r, size_t i) {
  const Node& n = r.node(i);
  if (!r.is_real(n.outputs[0])) return false;
  if (r.is_scalar(n.inputs[0], 1, 0) && r.shape(n.inputs[1]) == r.shape(n.outputs[0])) return r.replace(i, Op::kReciprocal, {n.inputs[1]});
  const Tensor* divisor = r.content(n.inputs[1]);
  if (!divisor) return false;
  Tensor inverse(ir::DType::kF32, divisor->shape());
  for (int64_t k = 0; k < divisor->count(); ++k) {
    if (divisor->at(k) == 0) return false;
    inverse.mut<float>()[static_cast<size_t>(k)] = static_cast<float>(1 / divisor->at(k));
  }
  const ValueId x = n.inputs[0];
  return r.replace(i, Op::kMul, {x, r.constant(n.name + "/inverse", std::move(inverse))});
}

bool simplify_pow(Rewriter& r, size_t i) {
  const Node& n = r.node(i);
  const auto p = r.with_right_scalar(&n);
  if (!p || !r.is_real(n.inputs[0])) return false;
  if (p->c == 2) return r.replace(i, Op::kMul, {p->x, p->x});
  if (p->c == 0.5) return r.replace(i, Op::kSqrt, {p->x});
  if (p->c == -1) return r.replace(i, Op::kReciprocal, {p->x});
  return false;
}

struct Bounds {
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
};

std::optional<Bounds> bounds_of(const Node* n) {
  if (!n || n->activation != ir::Activation()) return std::nullopt;
  Bounds b;
  if (n->op == Op::kRelu) b.low = 0;
  else if (n->op != Op::kClip || n->inputs.size() != 1) return std::nullopt;
  if (n->has("min")) b.low = n->real("min", 0);
  if (n->has("max")) b.high = n->real("max", 0);
  if (b.low > b.high) b.low = b.high;  // ONNX: the upper bound wins
  return b;
}

// Clip(Clip(x)), Relu(Clip(x)), Clip(Relu(x)) to one; Clip(x, 0, inf) to Relu.
bool simplify_clip(Rewriter& r, size_t i) {
  const Node& n = r.node(i);
  const auto outer = bounds_of(&n);
  if (!outer || !r.is_real(n.inputs[0])) return false;
  constexpr double kHuge = std::numeric_limits<float>::max();
  const Node* before = r.maker(n.inputs[0]);
  if (const auto inner = bounds_of(before)) {
    Attributes a;
    const double low = std::clamp(inner->low, outer->low, outer->high), high = std::clamp(inner->high, outer->low, outer->high);
    if (low > -kHuge) a["min"] = low;
    if (high < kHuge) a["max"] = high;
    return r.replace(i, Op::kClip, {before->inputs[0]}, std::move(a));
  }
  if (n.op == Op::kClip && outer->low == 0 && outer->high >= kHuge) return r.replace(i, Op::kRelu, {n.inputs[0]});
  return false;
}

std::string key_of(const Node& n) {
  std::string key = fmt::format("{}|{}|{}|{}|{}|", static_cast<int>(n.op), n.outputs.size(), static_cast<int>(n.activation.function), n.activation.a, n.activation.b);
  for (const ValueId id : n.inputs) key += fmt::format("{},", id);
  for (const auto& [name, value] : n.attributes) {
    key += "|" + name + "=";
    std::visit([&](const auto& v) {
      using T = std::decay_t<decltype(v)>;
      if constexpr (std::is_same_v<T, std::vector<int64_t>> || std::is_same_v<T, std::vector<double>>) for (const auto x : v) key += fmt::format("{},", x);
      else key += fmt::format("{}", v);
    }, value);
  }
  return key;
}

}  // namespace

int simplify(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i) {
    if (r.is_dead(i)) continue;
    const Node& n = r.node(i);
    if (does_nothing(r, n) && r.bypass(i, n.inputs[0])) continue;
    if (first_operand_does_nothing(r, n) && r.bypass(i, n.inputs[1])) continue;
    if (n.activation != ir::Activation()) continue;
    switch (n.op) {
      case Op::kReshape: case Op::kFlatten: case Op::kSqueeze: case Op::kUnsqueeze: simplify_reshape(r, i); break;
      case Op::kTranspose: simplify_transpose(r, i); break;
      case Op::kDiv: simplify_div(r, i); break;
      case Op::kPow: simplify_pow(r, i); break;
      case Op::kClip: case Op::kRelu: simplify_clip(r, i); break;
      default: break;
    }
  }
  return r.finish();
}

// A transpose that keeps the order of all dimensions larger than 1 moves no data: it is a reshape.
int flatten_transposes(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i) {
    if (r.is_dead(i) || r.node(i).op != Op::kTranspose) continue;
    const Node& n = r.node(i);
    const Shape from = r.shape(n.inputs[0]);
    Integers kept;
    for (const int64_t d : perm_of(r, n))
      if (from[static_cast<size_t>(d)] != 1) kept.push_back(d);
    if (std::is_sorted(kept.begin(), kept.end()) && ir::element_count(from) > 0)
      r.replace(i, Op::kReshape, {n.inputs[0]}, {{"shape", r.shape(n.outputs[0])}});
  }
  return r.finish();
}

int fold_constants(ir::Graph& graph) {
  int changes = 0;
  std::vector<Node> kept;
  for (Node& n : graph.nodes) {
    const bool constant = !n.inputs.empty() && std::all_of(n.inputs.begin(), n.inputs.end(), [&](ValueId id) {
      return id == ir::kNoValue || graph.value(id).is_constant();
    });
    if (constant) {
      std::vector<const Tensor*> operands;
      for (const ValueId id : n.inputs) operands.push_back(id == ir::kNoValue ? nullptr : &*graph.value(id).constant);
      Result<std::vector<Tensor>> results = ir::interpret_node(graph, n, operands);
      if (results.ok()) {
        for (size_t i = 0; i < n.outputs.size(); ++i)
          if (n.outputs[i] != ir::kNoValue) graph.value(n.outputs[i]).constant = std::move((*results)[i]);
        ++changes;
        continue;
      }
    }
    kept.push_back(std::move(n));
  }
  graph.nodes = std::move(kept);
  if (changes > 0) ir::remove_dead(graph);
  return changes;
}

int share_common(ir::Graph& graph) {
  int changes = 0;
  std::map<std::string, ValueId> constants;
  std::vector<ValueId> shared(graph.values.size());
  for (size_t v = 0; v < graph.values.size(); ++v) {
    shared[v] = static_cast<ValueId>(v);
    const ir::Value& value = graph.values[v];
    if (!value.is_constant() || value.quant || value.constant->byte_count() == 0) continue;
    const Tensor& t = *value.constant;
    const std::string_view bytes(reinterpret_cast<const char*>(t.bytes()), t.byte_count());
    const std::string key = fmt::format("{}|{}|{:x}", ir::dtype_name(t.dtype()), ir::to_string(t.shape()), std::hash<std::string_view>()(bytes));
    const auto [first, fresh] = constants.emplace(key, static_cast<ValueId>(v));
    if (fresh) continue;
    const Tensor& other = *graph.value(first->second).constant;
    if (std::memcmp(other.bytes(), t.bytes(), t.byte_count()) == 0) shared[v] = first->second;
  }
  for (Node& n : graph.nodes)
    for (ValueId& id : n.inputs)
      if (id != ir::kNoValue && shared[static_cast<size_t>(id)] != id) id = shared[static_cast<size_t>(id)], ++changes;

  Rewriter r(graph);
  std::map<std::string, size_t> nodes;
  for (size_t i = 0; i < r.size(); ++i) {
    const Node& n = r.node(i);
    if (r.is_dead(i) || n.outputs.size() != 1) continue;
    const auto [first, fresh] = nodes.emplace(key_of(n), i);
    if (!fresh) r.bypass(i, r.node(first->second).outputs[0]);
  }
  return changes + r.finish();
}

}  // namespace pith::importers
