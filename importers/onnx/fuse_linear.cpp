// Per-channel affine maps after a convolution or matrix product go into its weights and bias.
//
// BatchNormalization in inference, and multiplication, addition or subtraction of a per-channel constant, are y = m * x + a
// with one m and a for each output channel: w' = m * w, b' = m * b + a. Folding is exact up to rounding. Not done when
// other nodes read the same weights (shared heads), which would store them several times.
#include <algorithm>
#include <cmath>

#include "importers/onnx/rewriter.h"

namespace pith::importers {
namespace {

using ir::Node;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;

struct Affine {
  std::vector<double> multiply, add;
  bool scales = false;  // some multiply isn't 1
};

// A constant as one value for each index of dimension `axis` of a tensor of `rank` dimensions.
std::optional<std::vector<double>> per_channel(const Tensor* t, int64_t rank, int64_t axis, int64_t channels) {
  if (!t || t->dtype() != ir::DType::kF32 || static_cast<int64_t>(t->shape().size()) > rank) return std::nullopt;
  const int64_t offset = rank - static_cast<int64_t>(t->shape().size());
  for (size_t d = 0; d < t->shape().size(); ++d) {
    const int64_t size = t->shape()[d];
    if (size != 1 && (static_cast<int64_t>(d) + offset != axis || size != channels)) return std::nullopt;
  }
  std::vector<double> v(static_cast<size_t>(channels));
  for (size_t c = 0; c < v.size(); ++c) v[c] = t->at(t->count() == 1 ? 0 : static_cast<int64_t>(c));
  return v;
}

std::optional<Affine> batch_norm_affine(const Rewriter& r, const Node& n, int64_t channels) {
  const Tensor *scale = r.content(n.inputs[1]), *bias = r.content(n.inputs[2]), *mean = r.content(n.inputs[3]), *variance = r.content(n.inputs[4]);
  if (!scale || !bias || !mean || !variance || scale->count() != channels) return std::nullopt;
  Affine a;
  a.scales = true;
  for (int64_t c = 0; c < channels; ++c) {
    const double m = scale->at(c) / std::sqrt(variance->at(c) + n.real("epsilon", 1e-5));
    if (!std::isfinite(m)) return std::nullopt;
    a.multiply.push_back(m);
    a.add.push_back(bias->at(c) - m * mean->at(c));
  }
  return a;
}

// What node n does to its operand x, whose channels lie on `axis`.
std::optional<Affine> affine_of(const Rewriter& r, const Node& n, ValueId x, int64_t axis) {
  const int64_t rank = r.rank(x), channels = r.shape(x)[static_cast<size_t>(axis)];
  if (n.outputs.size() != 1 || r.shape(n.outputs[0]) != r.shape(x) || !r.is_real(x)) return std::nullopt;
  if (n.op == Op::kBatchNormalization) return axis == 1 && n.inputs[0] == x ? batch_norm_affine(r, n, channels) : std::nullopt;
  if (n.op != Op::kAdd && n.op != Op::kSub && n.op != Op::kMul) return std::nullopt;
  const size_t side = n.inputs[0] == x ? 1 : 0;
  if (n.inputs[1 - side] != x || (n.op == Op::kSub && side == 0)) return std::nullopt;
  auto constant = per_channel(r.content(n.inputs[side]), rank, axis, channels);
  if (!constant) return std::nullopt;
  Affine a;
  const size_t count = constant->size();
  a.scales = n.op == Op::kMul;
  if (n.op == Op::kSub)
    for (double& c : *constant) c = -c;
  a.multiply = n.op == Op::kMul ? *constant : std::vector<double>(count, 1);
  a.add = n.op == Op::kMul ? std::vector<double>(count, 0) : *constant;
  return a;
}

struct Linear {
  int64_t channel_axis;  // of the result
  int64_t weight_axis;   // the output channels' dimension in the weights
  int64_t repeat = 1;    // ConvTranspose: the weights hold channels of one group; output channel = group * size + index
};

std::optional<Linear> linear_of(const Rewriter& r, const Node& n) {
  if (n.activation != ir::Activation() || n.outputs.size() != 1 || n.inputs.size() < 2) return std::nullopt;
  const int64_t weight_rank = r.rank(n.inputs[1]);
  switch (n.op) {
    case Op::kConv: return Linear{1, 0};
    case Op::kConvTranspose: return Linear{1, 1, n.integer("group", 1)};
    case Op::kGemm: return Linear{1, n.integer("transB", 0) ? 0 : 1};
    case Op::kMatMul:
      if (weight_rank != 2 || r.rank(n.inputs[0]) < 2) return std::nullopt;
      return Linear{r.rank(n.outputs[0]) - 1, 1};
    default: return std::nullopt;
  }
}

// Weights times m along their output channels.
Tensor scaled_weights(const Tensor& w, const Linear& linear, const std::vector<double>& m) {
  Tensor out(ir::DType::kF32, w.shape());
  const auto from = w.as<float>();
  const auto to = out.mut<float>();
  const size_t axis = static_cast<size_t>(linear.weight_axis);
  int64_t inner = 1;
  for (size_t d = axis + 1; d < w.shape().size(); ++d) inner *= w.shape()[d];
  const int64_t size = w.shape()[axis], per_group = linear.repeat > 1 ? w.shape()[0] / linear.repeat : 0;
  for (int64_t k = 0; k < w.count(); ++k) {
    int64_t channel = k / inner % size;
    if (per_group > 0) channel += k / inner / size / per_group * size;
    to[static_cast<size_t>(k)] = static_cast<float>(from[static_cast<size_t>(k)] * m[static_cast<size_t>(channel)]);
  }
  return out;
}

// Node i, an affine map, into the linear node that makes its operand.
bool fold_affine(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  for (size_t side = 0; side < std::min<size_t>(n.inputs.size(), 2); ++side) {
    const ValueId x = n.inputs[side];
    const Node* made_by = x == ir::kNoValue ? nullptr : r.maker(x);
    const auto linear = made_by ? linear_of(r, *made_by) : std::nullopt;
    if (!linear || !r.sole(x)) continue;
    const Node before = *made_by;
    const auto affine = affine_of(r, n, x, linear->channel_axis);
    const Tensor* w = r.content(before.inputs[1]);
    const bool has_bias = before.inputs.size() > 2 && before.inputs[2] != ir::kNoValue;
    const auto bias = has_bias ? per_channel(r.content(before.inputs[2]), r.rank(before.inputs[2]), r.rank(before.inputs[2]) - 1,
                                             r.shape(x)[static_cast<size_t>(linear->channel_axis)])
                               : std::nullopt;
    if (!affine || (has_bias && !bias) || (affine->scales && (!w || !r.sole(before.inputs[1])))) continue;
    if (has_bias && r.content(before.inputs[2])->count() == 1 && before.op == Op::kConv && affine->add.size() != 1) continue;

    const double beta = before.op == Op::kGemm ? before.real("beta", 1) : 1;
    Tensor sum(ir::DType::kF32, {static_cast<int64_t>(affine->add.size())});
    for (size_t c = 0; c < affine->add.size(); ++c)
      sum.set(static_cast<int64_t>(c), (bias ? beta * (*bias)[c] * affine->multiply[c] : 0) + affine->add[c]);
    std::vector<ValueId> operands = before.inputs;
    operands.resize(3);
    if (affine->scales) operands[1] = r.constant(r.graph.value(before.inputs[1]).name, scaled_weights(*w, *linear, affine->multiply));
    operands[2] = r.constant(n.name + "/bias", std::move(sum));
    Attributes attributes = before.attributes;
    attributes.erase("beta");
    return r.replace(i, before.op, std::move(operands), std::move(attributes));
  }
  return false;
}

// alpha and a scaled bias of a Gemm go into its constants.
bool fold_gemm_factors(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  const double alpha = n.real("alpha", 1), beta = n.real("beta", 1);
  const bool has_bias = n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue;
  if (n.activation != ir::Activation() || (alpha == 1 && (beta == 1 || !has_bias))) return false;
  std::vector<ValueId> operands = n.inputs;
  const auto scale = [&](size_t k, double factor) {
    const Tensor* t = factor == 1 ? nullptr : r.content(operands[k]);
    if (!t || t->dtype() != ir::DType::kF32 || !r.sole(operands[k])) return factor == 1;
    Tensor out(ir::DType::kF32, t->shape());
    for (int64_t e = 0; e < t->count(); ++e) out.set(e, t->at(e) * factor);
    operands[k] = r.constant(r.graph.value(operands[k]).name, std::move(out));
    return true;
  };
  if (!scale(1, alpha) || (has_bias && !scale(2, beta))) return false;
  Attributes attributes = n.attributes;
  attributes.erase("alpha");
  attributes.erase("beta");
  return r.replace(i, Op::kGemm, std::move(operands), std::move(attributes));
}

}  // namespace

int fuse_linear(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i) {
    if (r.is_dead(i) || r.node(i).activation != ir::Activation()) continue;
    if (r.node(i).op == Op::kGemm) fold_gemm_factors(r, i);
    else fold_affine(r, i);
  }
  return r.finish();
}

}  // namespace pith::importers
