// Activation functions back from their decompositions, and activations into the node before them.
//
// Products are matched as sets of factors, because exporters multiply in any order: GELU is 0.5 * x * (1 + erf(x / sqrt 2))
// with the three factors anywhere in a chain of Mul. Constants are compared to 2e-4, the error of half precision.
// Formulas: Hendrycks and Gimpel 2016 (GELU); Ramachandran et al. 2017 (SiLU); Howard et al. 2019 (hard-swish); Misra 2019 (Mish).
#include <algorithm>
#include <cmath>
#include <limits>

#include "importers/onnx/rewriter.h"

namespace pith::importers {
namespace {

using ir::Activation;
using ir::Node;
using ir::Op;
using ir::ValueId;
using numerics::Unary;

constexpr double kClose = 2e-4;

// A chain of multiplications as its factors and one scalar.
struct Product {
  std::vector<ValueId> factors;
  double c = 1;
};

void collect(const Rewriter& r, ValueId id, int depth, Product& p) {
  const Node* n = r.maker(id, Op::kMul);
  if (const auto s = r.scalar(id)) {
    p.c *= *s;
  } else if (n && depth > 0) {
    collect(r, n->inputs[0], depth - 1, p);
    collect(r, n->inputs[1], depth - 1, p);
  } else {
    p.factors.push_back(id);
  }
}

Product product(const Rewriter& r, ValueId id) {
  Product p;
  collect(r, id, 4, p);
  return p;
}

bool near(double a, double b) { return std::abs(a - b) <= kClose * std::abs(b); }

std::vector<ValueId> sorted(std::vector<ValueId> v) {
  std::sort(v.begin(), v.end());
  return v;
}

// Is p = c * x^power? x may itself be a product.
bool is_power(const Rewriter& r, const Product& p, ValueId x, int power, double c) {
  const Product base = product(r, x);
  std::vector<ValueId> wanted;
  double scale = 1;
  for (int k = 0; k < power; ++k) {
    wanted.insert(wanted.end(), base.factors.begin(), base.factors.end());
    scale *= base.c;
  }
  return near(p.c, c * scale) && sorted(p.factors) == sorted(wanted);
}

// id = f + c: f, with c close to `value`.
ValueId plus(const Rewriter& r, ValueId id, double value) {
  const auto s = r.with_scalar(r.maker(id, Op::kAdd));
  return s && near(s->c, value) ? s->x : ir::kNoValue;
}

struct ClipBounds {
  ValueId x;
  double low, high;
};

std::optional<ClipBounds> clipped(const Rewriter& r, ValueId id) {
  const Node* n = r.maker(id, Op::kClip);
  if (!n || n->inputs.size() != 1 || !n->has("min") || !n->has("max")) return std::nullopt;
  return ClipBounds{n->inputs[0], n->real("min", 0), n->real("max", 0)};
}

// id = clip(x + 3, 0, 6): x
ValueId shifted_relu6(const Rewriter& r, ValueId id) {
  const auto c = clipped(r, id);
  return c && c->low == 0 && near(c->high, 6) ? plus(r, c->x, 3) : ir::kNoValue;
}

// u = sqrt(2/pi) * (x + 0.044715 x^3), the sum also as x * (1 + 0.044715 x^2): x
ValueId gelu_tanh_argument(const Rewriter& r, ValueId u) {
  const Product p = product(r, u);
  for (const ValueId factor : p.factors) {
    const Node* sum = r.maker(factor, Op::kAdd);
    if (!sum) continue;
    for (size_t side = 0; side < 2 && p.factors.size() == 1 && near(p.c, std::sqrt(2 / M_PI)); ++side) {
      const ValueId x = sum->inputs[side];
      const Product cube = product(r, sum->inputs[1 - side]);
      const auto power = cube.factors.size() == 1 ? r.with_right_scalar(r.maker(cube.factors[0], Op::kPow)) : std::nullopt;
      if (is_power(r, cube, x, 3, 0.044715) || (power && power->x == x && power->c == 3 && near(cube.c, 0.044715))) return x;
    }
    const ValueId quadratic = plus(r, factor, 1);
    const auto scaled = quadratic == ir::kNoValue ? std::nullopt : r.with_scalar(r.maker(quadratic, Op::kMul));
    const Node* square = scaled && near(scaled->c, 0.044715) ? r.maker(scaled->x, Op::kMul) : nullptr;
    if (!square || square->inputs[0] != square->inputs[1]) continue;
    Product rest = p;
    rest.factors.erase(std::find(rest.factors.begin(), rest.factors.end(), factor));
    if (is_power(r, rest, square->inputs[0], 1, std::sqrt(2 / M_PI))) return square->inputs[0];
  }
  return ir::kNoValue;
}

// y = c * x * gate(x)
struct Gated {
  ValueId x;
  double c;
  Op op;
  Attributes attributes;
};

// What `gate` as one factor of a product could make of the whole.
std::vector<Gated> gates(const Rewriter& r, ValueId gate) {
  std::vector<Gated> found;
  if (const Node* sigmoid = r.maker(gate, Op::kSigmoid)) {
    found.push_back({sigmoid->inputs[0], 1, Op::kSilu, {}});
    if (const auto scaled = r.with_scalar(r.maker(sigmoid->inputs[0], Op::kMul)))
      found.push_back({scaled->x, 1, Op::kSilu, {{"alpha", scaled->c}}});
  }
  if (const Node* hard = r.maker(gate, Op::kHardSigmoid); hard && near(hard->real("alpha", 0.2), 1.0 / 6) && near(hard->real("beta", 0.5), 0.5))
    found.push_back({hard->inputs[0], 1, Op::kHardSwish, {}});
  if (const ValueId x = shifted_relu6(r, gate); x != ir::kNoValue) found.push_back({x, 1.0 / 6, Op::kHardSwish, {}});
  if (const Node* tanh = r.maker(gate, Op::kTanh))
    if (const Node* softplus = r.maker(tanh->inputs[0], Op::kSoftplus)) found.push_back({softplus->inputs[0], 1, Op::kMish, {}});
  const ValueId shifted = plus(r, gate, 1);
  if (shifted == ir::kNoValue) return found;
  if (const Node* erf = r.maker(shifted, Op::kErf))
    if (const auto scaled = r.with_scalar(r.maker(erf->inputs[0], Op::kMul)); scaled && near(scaled->c, std::sqrt(0.5)))
      found.push_back({scaled->x, 0.5, Op::kGelu, {}});
  if (const Node* tanh = r.maker(shifted, Op::kTanh))
    if (const ValueId x = gelu_tanh_argument(r, tanh->inputs[0]); x != ir::kNoValue)
      found.push_back({x, 0.5, Op::kGelu, {{"approximate", std::string("tanh")}}});
  return found;
}

// Mul nodes: SiLU, Mish, GELU, hard-swish; clip(x + 3, 0, 6) / 6
bool fuse_product(Rewriter& r, size_t i) {
  const Product p = product(r, r.node(i).outputs[0]);
  if (p.factors.size() == 1 && near(p.c, 1.0 / 6)) {
    const ValueId x = shifted_relu6(r, p.factors[0]);
    return x != ir::kNoValue && r.replace(i, Op::kHardSigmoid, {x}, {{"alpha", 1.0 / 6}, {"beta", 0.5}});
  }
  for (size_t k = 0; k < p.factors.size(); ++k) {
    Product rest = p;
    rest.factors.erase(rest.factors.begin() + static_cast<long>(k));
    for (const Gated& g : gates(r, p.factors[k]))
      if (is_power(r, rest, g.x, 1, g.c) && r.replace(i, g.op, {g.x}, g.attributes)) return true;
  }
  return false;
}

// clip(x / 6 + 1/2, 0, 1)
bool fuse_hard_sigmoid(Rewriter& r, size_t i) {
  const auto c = clipped(r, r.node(i).outputs[0]);
  if (!c || c->low != 0 || !near(c->high, 1)) return false;
  const auto shifted = r.with_scalar(r.maker(c->x, Op::kAdd));
  if (!shifted || shifted->c != 0.5) return false;
  const auto scaled = r.with_scalar(r.maker(shifted->x, Op::kMul));
  return scaled && r.replace(i, Op::kHardSigmoid, {scaled->x}, {{"alpha", scaled->c}, {"beta", shifted->c}});
}

// 1 / (1 + exp(-x))
bool fuse_sigmoid(Rewriter& r, size_t i) {
  const ValueId e = plus(r, r.node(i).inputs[0], 1);
  const Node* exp = e == ir::kNoValue ? nullptr : r.maker(e, Op::kExp);
  const Node* neg = exp ? r.maker(exp->inputs[0], Op::kNeg) : nullptr;
  return neg && r.replace(i, Op::kSigmoid, {neg->inputs[0]});
}

// log(1 + exp(x))
bool fuse_softplus(Rewriter& r, size_t i) {
  const ValueId e = plus(r, r.node(i).inputs[0], 1);
  const Node* exp = e == ir::kNoValue ? nullptr : r.maker(e, Op::kExp);
  return exp && r.replace(i, Op::kSoftplus, {exp->inputs[0]});
}

// max(x, c) and min(x, c) -> Clip; max(x, a x) -> LeakyRelu
bool fuse_extremum(Rewriter& r, size_t i) {
  const Node& n = r.node(i);
  if (n.inputs.size() != 2 || !r.is_real(n.outputs[0])) return false;
  if (const auto s = r.with_scalar(&n)) return r.replace(i, Op::kClip, {s->x}, {{n.op == Op::kMax ? "min" : "max", s->c}});
  for (size_t side = 0; side < 2 && n.op == Op::kMax; ++side) {
    const auto scaled = r.with_scalar(r.maker(n.inputs[side], Op::kMul));
    if (scaled && scaled->x == n.inputs[1 - side] && scaled->c >= 0 && scaled->c < 1)
      return r.replace(i, Op::kLeakyRelu, {scaled->x}, {{"alpha", scaled->c}});
  }
  return false;
}

bool fuse_prelu(Rewriter& r, size_t i) {
  const auto slope = r.with_right_scalar(&r.node(i));
  return slope && r.is_real(slope->x) && r.replace(i, Op::kLeakyRelu, {slope->x}, {{"alpha", slope->c}});
}

std::optional<Activation> as_activation(const Node& n) {
  Activation a;
  const auto with = [&](Unary f, double x = 0, double y = 0) {
    a.function = f;
    a.a = x;
    a.b = y;
    return std::optional(a);
  };
  constexpr double kHuge = std::numeric_limits<float>::max();
  switch (n.op) {
    case Op::kRelu: return with(Unary::kRelu);
    case Op::kClip:
      if (n.inputs.size() != 1) return std::nullopt;
      return with(Unary::kClip, n.real("min", -kHuge), n.real("max", kHuge));
    case Op::kLeakyRelu: return with(Unary::kLeakyRelu, n.real("alpha", 0.01));
    case Op::kSigmoid: return with(Unary::kSigmoid);
    case Op::kTanh: return with(Unary::kTanh);
    case Op::kSilu: return with(Unary::kSilu, n.real("alpha", 1));
    case Op::kHardSigmoid: return with(Unary::kHardSigmoid, n.real("alpha", 0.2), n.real("beta", 0.5));
    case Op::kHardSwish: return with(Unary::kHardSwish);
    case Op::kGelu: return with(n.text("approximate", "none") == "tanh" ? Unary::kGeluTanh : Unary::kGelu);
    case Op::kElu: return with(Unary::kElu, n.real("alpha", 1));
    case Op::kSelu: return with(Unary::kSelu, n.real("alpha", 1.6732632423543772), n.real("gamma", 1.0507009873554805));
    case Op::kCelu: return with(Unary::kCelu, n.real("alpha", 1));
    case Op::kSoftplus: return with(Unary::kSoftplus);
    case Op::kMish: return with(Unary::kMish);
    default: return std::nullopt;
  }
}

bool takes_activation(Op op) {
  return op == Op::kConv || op == Op::kConvTranspose || op == Op::kGemm || op == Op::kMatMul || op == Op::kAdd;
}

}  // namespace

int fuse_activation_forms(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i) {
    if (r.is_dead(i) || r.node(i).activation != Activation()) continue;
    switch (r.node(i).op) {
      case Op::kMul: fuse_product(r, i); break;
      case Op::kClip: fuse_hard_sigmoid(r, i); break;
      case Op::kReciprocal: fuse_sigmoid(r, i); break;
      case Op::kLog: fuse_softplus(r, i); break;
      case Op::kMax: case Op::kMin: fuse_extremum(r, i); break;
      case Op::kPRelu: fuse_prelu(r, i); break;
      default: break;
    }
  }
  return r.finish();
}

int absorb_activations(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i) {
    if (r.is_dead(i)) continue;
    const auto activation = as_activation(r.node(i));
    if (!activation || r.node(i).activation != Activation()) continue;
    const ValueId x = r.node(i).inputs[0];
    const Node* before = r.maker(x);
    if (!before || !takes_activation(before->op) || before->activation != Activation() || !r.sole(x) || !r.is_real(x)) continue;
    const size_t at = static_cast<size_t>(r.maker_index(x));
    r.edit(at).activation = *activation;
    r.absorb(at, i);
  }
  return r.finish();
}

}  // namespace pith::importers
