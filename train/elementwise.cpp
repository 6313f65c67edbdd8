// Element-wise operators. With broadcasting, batch axes are compared counted from the right, as numpy aligns shapes.
#include "train/node.h"

namespace pith::train {

using ir::Op;
using numerics::Unary;

bool has_function(Unary f) {
  switch (f) {
    case Unary::kFloor: case Unary::kCeil: case Unary::kRound: case Unary::kSign: case Unary::kShrink: case Unary::kIsNaN: case Unary::kNot:
      return false;
    default:
      return true;
  }
}

at::Tensor apply_function(const ir::Activation& f, const at::Tensor& x) {
  switch (f.function) {
    case Unary::kIdentity: return x;
    case Unary::kRelu: return at::relu(x);
    case Unary::kClip: return at::hardtanh(x, f.a, f.b);  // the same, with one walk for the gradient instead of three
    case Unary::kLeakyRelu: return at::leaky_relu(x, f.a);
    case Unary::kSigmoid: return at::sigmoid(x);
    case Unary::kTanh: return at::tanh(x);
    case Unary::kSilu: return f.a == 1 ? at::silu(x) : x * at::sigmoid(x * f.a);
    case Unary::kHardSigmoid: return at::hardtanh(x * f.a + f.b, 0, 1);
    case Unary::kHardSwish: return at::hardswish(x);
    case Unary::kGelu: return at::gelu(x);
    case Unary::kGeluTanh: return at::gelu(x, "tanh");
    case Unary::kElu: return at::elu(x, f.a);
    case Unary::kSelu: return at::elu(x, f.a, f.b);
    case Unary::kCelu: return at::celu(x, f.a);
    case Unary::kSoftplus: return at::softplus(x);
    case Unary::kSoftsign: return x / (1 + x.abs());
    case Unary::kMish: return x * at::tanh(at::softplus(x));
    case Unary::kThresholdedRelu: return x * (x > f.a).to(x.scalar_type());
    case Unary::kExp: return at::exp(x);
    case Unary::kLog: return at::log(x);
    case Unary::kSqrt: return at::sqrt(x);
    case Unary::kReciprocal: return at::reciprocal(x);
    case Unary::kAbs: return at::abs(x);
    case Unary::kNeg: return at::neg(x);
    case Unary::kSin: return at::sin(x);
    case Unary::kCos: return at::cos(x);
    case Unary::kAtan: return at::atan(x);
    case Unary::kErf: return at::erf(x);
    default: return {};
  }
}

Result<int> broadcast_axis(const NodeView& n) {
  const int rank = static_cast<int>(n.output_shape().size());
  int from_right = -1;
  int64_t places = 1;
  for (size_t i = 0; i < n.node.inputs.size(); ++i) {
    if (n.input_axis(i) < 0) continue;
    const int mine = static_cast<int>(n.shape(i).size()) - n.input_axis(i);
    if (from_right >= 0 && mine != from_right) return n.fail("its operands carry the samples along different axes");
    const int64_t here = n.shape(i)[static_cast<size_t>(n.input_axis(i))];
    if (from_right >= 0 && here != places) return n.fail("it repeats a part of a sample");
    from_right = mine;
    places = here;
  }
  if (from_right < 0) return -1;
  if (n.output_shape()[static_cast<size_t>(rank - from_right)] != places) return n.fail("it repeats a sample");
  for (size_t i = 0; places != 1 && i < n.node.inputs.size(); ++i) {
    const int missing = rank - static_cast<int>(n.shape(i).size()), at = rank - from_right - missing;
    if (n.input_axis(i) < 0 && at >= 0 && n.shape(i)[static_cast<size_t>(at)] != 1) return n.fail("an operand differs between the places of a sample, which lie along the samples' axis");
  }
  return rank - from_right;
}

namespace {

using Fold = at::Tensor (*)(const at::Tensor&, const at::Tensor&);

Fold fold_of(Op op) {
  switch (op) {
    case Op::kAdd: case Op::kSum: case Op::kMean: return [](const at::Tensor& a, const at::Tensor& b) { return a + b; };
    case Op::kSub: return [](const at::Tensor& a, const at::Tensor& b) { return a - b; };
    case Op::kMul: return [](const at::Tensor& a, const at::Tensor& b) { return a * b; };
    case Op::kDiv: return [](const at::Tensor& a, const at::Tensor& b) { return a / b; };
    case Op::kPow: return [](const at::Tensor& a, const at::Tensor& b) { return at::pow(a, b); };
    case Op::kMin: return [](const at::Tensor& a, const at::Tensor& b) { return at::minimum(a, b); };
    case Op::kMax: return [](const at::Tensor& a, const at::Tensor& b) { return at::maximum(a, b); };
    case Op::kPRelu: return [](const at::Tensor& x, const at::Tensor& slope) { return at::relu(x) - slope * at::relu(-x); };
    default: return nullptr;
  }
}

}  // namespace

Built build_elementwise(const NodeView& n) {
  if (const auto f = ir::unary_function(n.node)) {
    if (!has_function(f->function)) return n.fail("the function has no gradient");
    if (n.input(0).dtype != ir::DType::kF32) return n.fail("its input isn't of real numbers");
    n.set_axis(n.input_axis(0));
    return std::optional<Network::Step>([f = *f](const Network::Values& x) -> Network::Values { return {apply_function(f, x[0])}; });
  }
  const Fold fold = fold_of(n.node.op);
  if (fold == nullptr) return std::optional<Network::Step>();
  if (n.graph.value(n.node.outputs[0]).dtype != ir::DType::kF32 && (n.node.op == Op::kDiv || n.node.op == Op::kPow || n.node.op == Op::kMean || n.node.op == Op::kPRelu)) return n.fail("it computes with integers");
  PITH_TRY(const int axis, broadcast_axis(n));
  n.set_axis(axis);
  const double factor = n.node.op == Op::kMean ? 1.0 / static_cast<double>(n.node.inputs.size()) : 1.0;
  return std::optional<Network::Step>([fold, factor](const Network::Values& x) -> Network::Values {
    at::Tensor y = x[0];
    for (size_t i = 1; i < x.size(); ++i) y = fold(y, x[i]);
    return {factor == 1 ? y : y * factor};
  });
}

}  // namespace pith::train
