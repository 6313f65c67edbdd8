// Layer, RMS and group normalisation back from their decompositions.
//
// The core (x - mean) / sqrt(var + eps) becomes the operator with a scale of ones; a following multiplication and
// addition by constants of the normalised shape are then taken in as scale and bias. In integer form the decomposition
// would square 8-bit differences; the whole operator computes in float. Sources: Ba, Kiros, Hinton 2016; Zhang and Sennrich
// 2019 (RMS); Wu and He 2018 (group).
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

Tensor filled(const Shape& shape, float value) {
  return Tensor::f32(shape, std::vector<float>(static_cast<size_t>(ir::element_count(shape)), value));
}

// The first of the trailing dimensions that a mean runs over, when it runs over exactly the trailing ones; otherwise -1.
int64_t trailing_mean_axis(const Rewriter& r, const Node* mean) {
  if (!mean || mean->op != Op::kReduceMean || mean->integer("keepdims", 1) != 1) return -1;
  const int64_t rank = r.rank(mean->inputs[0]);
  std::vector<int64_t> axes = mean->integers("axes");
  if (axes.empty()) return -1;
  for (int64_t& a : axes) a = a < 0 ? a + rank : a;
  std::sort(axes.begin(), axes.end());
  for (size_t k = 0; k < axes.size(); ++k)
    if (axes[k] != rank - static_cast<int64_t>(axes.size() - k)) return -1;
  return axes[0];
}

// id = mean(v * v) over the trailing dimensions from the result's axis on.
int64_t mean_square_axis(const Rewriter& r, ValueId id, ValueId v) {
  const Node* mean = r.maker(id, Op::kReduceMean);
  const int64_t axis = trailing_mean_axis(r, mean);
  const Node* square = axis < 0 ? nullptr : r.maker(mean->inputs[0]);
  if (!square || square->activation != ir::Activation()) return -1;
  const bool squared = square->op == Op::kMul ? square->inputs[0] == v && square->inputs[1] == v
                                              : square->op == Op::kPow && square->inputs[0] == v && r.is_scalar(square->inputs[1], 2);
  return squared ? axis : -1;
}

struct Normalized {
  ValueId v = ir::kNoValue;  // what is divided
  int64_t axis = -1;
  double epsilon = 0;
};

// deviation = sqrt(mean(v^2) + eps)
std::optional<Normalized> root_mean_square(const Rewriter& r, ValueId deviation, ValueId v) {
  const Node* root = r.maker(deviation, Op::kSqrt);
  const auto sum = root ? r.with_scalar(r.maker(root->inputs[0], Op::kAdd)) : std::nullopt;
  if (!sum) return std::nullopt;
  const int64_t axis = mean_square_axis(r, sum->x, v);
  if (axis < 0) return std::nullopt;
  return Normalized{v, axis, sum->c};
}

// Node i = v / sqrt(mean(v^2) + eps), as a division or as a product with the reciprocal or the power -1/2.
std::optional<Normalized> normalized(const Rewriter& r, size_t i) {
  const Node& n = r.node(i);
  if (n.op == Op::kDiv) return root_mean_square(r, n.inputs[1], n.inputs[0]);
  if (n.op != Op::kMul) return std::nullopt;
  for (size_t side = 0; side < 2; ++side) {
    const ValueId v = n.inputs[side], factor = n.inputs[1 - side];
    if (const Node* inverse = r.maker(factor, Op::kReciprocal))
      if (auto found = root_mean_square(r, inverse->inputs[0], v)) return found;
    const auto power = r.with_right_scalar(r.maker(factor, Op::kPow));
    const auto sum = power && power->c == -0.5 ? r.with_scalar(r.maker(power->x, Op::kAdd)) : std::nullopt;
    const int64_t axis = sum ? mean_square_axis(r, sum->x, v) : -1;
    if (axis >= 0) return Normalized{v, axis, sum->c};
  }
  return std::nullopt;
}

// v = x - mean(x) over the trailing dimensions from `axis` on: x
ValueId uncentred(const Rewriter& r, ValueId v, int64_t axis) {
  const Node* difference = r.maker(v, Op::kSub);
  const Node* mean = difference ? r.maker(difference->inputs[1], Op::kReduceMean) : nullptr;
  const bool same = mean && mean->inputs[0] == difference->inputs[0] && trailing_mean_axis(r, mean) == axis;
  return same ? difference->inputs[0] : ir::kNoValue;
}

bool fuse_core(Rewriter& r, size_t i) {
  const auto found = normalized(r, i);
  if (!found || !r.is_real(found->v)) return false;
  const Shape whole = r.shape(found->v), part(whole.begin() + found->axis, whole.end());
  const int64_t axis = found->axis - static_cast<int64_t>(whole.size());
  const ValueId ones = r.constant(r.node(i).name + "/scale", filled(part, 1));
  const ValueId x = uncentred(r, found->v, found->axis);
  if (x != ir::kNoValue) return r.replace(i, Op::kLayerNormalization, {x, ones}, {{"axis", axis}, {"epsilon", found->epsilon}});
  return r.replace(i, Op::kRMSNormalization, {found->v, ones}, {{"axis", axis}, {"epsilon", found->epsilon}});
}

// `t` as a tensor of `shape`, when it is that shape with leading ones or broadcasts to it from the right.
std::optional<Tensor> stretched(const Tensor& t, const Shape& shape) {
  Shape own = t.shape();
  while (own.size() > shape.size() && own[0] == 1) own.erase(own.begin());
  if (own.size() > shape.size()) return std::nullopt;
  own.insert(own.begin(), shape.size() - own.size(), 1);
  Tensor out(ir::DType::kF32, shape);
  for (size_t d = 0; d < shape.size(); ++d)
    if (own[d] != 1 && own[d] != shape[d]) return std::nullopt;
  for (int64_t flat = 0; flat < out.count(); ++flat) {
    int64_t rest = flat, from = 0, stride = 1;
    for (size_t d = shape.size(); d-- > 0;) {
      from += own[d] == 1 ? 0 : rest % shape[d] * stride;
      rest /= shape[d];
      stride *= own[d];
    }
    out.mut<float>()[static_cast<size_t>(flat)] = static_cast<float>(t.at(from));
  }
  return out;
}

// A constant that multiplies or adds to a normalised result, in the shape of its scale. The scale of GroupNormalization
// runs along dimension 1.
std::optional<Tensor> as_parameter(const Rewriter& r, const Node& norm, ValueId constant, const Shape& result) {
  const Tensor* t = r.content(constant);
  if (!t || t->dtype() != ir::DType::kF32 || r.rank(constant) > static_cast<int64_t>(result.size())) return std::nullopt;
  const Shape wanted = r.shape(norm.inputs[1]);
  if (norm.op != Op::kGroupNormalization) return stretched(*t, wanted);
  Shape per_channel(result.size() - 1, 1);
  per_channel[0] = result[1];
  const auto wide = stretched(*t, per_channel);
  return wide ? std::optional(wide->reshaped({result[1]})) : std::nullopt;
}

bool is_norm(const Node* n) {
  return n && (n->op == Op::kLayerNormalization || n->op == Op::kRMSNormalization || n->op == Op::kGroupNormalization) &&
         n->outputs.size() == 1 && n->activation == ir::Activation();
}

Tensor combined(const Tensor& a, const Tensor& b, bool multiply) {
  Tensor out(ir::DType::kF32, a.shape());
  for (int64_t k = 0; k < a.count(); ++k)
    out.mut<float>()[static_cast<size_t>(k)] = static_cast<float>(multiply ? a.at(k) * b.at(k) : a.at(k) + b.at(k));
  return out;
}

// Node i multiplies or adds to a normalised result.
bool take_parameter(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  for (size_t side = 0; side < 2; ++side) {
    const ValueId y = n.inputs[side];
    if (!is_norm(r.maker(y)) || !r.sole(y)) continue;
    const Node norm = *r.maker(y);
    const Tensor* scale = r.content(norm.inputs[1]);
    const Tensor* bias = norm.inputs.size() > 2 ? r.content(norm.inputs[2]) : nullptr;
    if (!scale || (norm.inputs.size() > 2 && !bias) || r.shape(y) != r.shape(n.outputs[0])) continue;
    const auto parameter = as_parameter(r, norm, n.inputs[1 - side], r.shape(y));
    if (!parameter || (n.op == Op::kAdd && norm.op == Op::kRMSNormalization)) continue;
    std::vector<ValueId> operands = norm.inputs;
    if (n.op == Op::kMul) {
      operands[1] = r.constant(n.name + "/scale", combined(*scale, *parameter, true));
      if (bias) operands[2] = r.constant(n.name + "/bias", combined(*bias, *parameter, true));
    } else {
      operands.resize(3);
      operands[2] = r.constant(n.name + "/bias", bias ? combined(*bias, *parameter, false) : *parameter);
    }
    return r.replace(i, norm.op, operands, norm.attributes);
  }
  return false;
}

// Reshape to groups, InstanceNormalization, Reshape back.
bool fuse_group(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  const Node* norm = r.maker(n.inputs[0], Op::kInstanceNormalization);
  const Node* split = norm ? r.maker(norm->inputs[0], Op::kReshape) : nullptr;
  if (!split) return false;
  const Shape whole = r.shape(n.outputs[0]), groups = r.shape(split->outputs[0]);
  if (r.shape(split->inputs[0]) != whole || whole.size() < 2 || groups.size() < 3 || groups[0] != whole[0] || groups[1] < 1 || whole[1] % groups[1] != 0)
    return false;
  const Tensor *scale = r.content(norm->inputs[1]), *bias = r.content(norm->inputs[2]);
  if (!scale || !bias) return false;
  const int64_t each = whole[1] / groups[1];
  Tensor wide_scale(ir::DType::kF32, {whole[1]}), wide_bias(ir::DType::kF32, {whole[1]});
  for (int64_t c = 0; c < whole[1]; ++c) {
    wide_scale.set(c, scale->at(c / each));
    wide_bias.set(c, bias->at(c / each));
  }
  return r.replace(i, Op::kGroupNormalization,
                   {split->inputs[0], r.constant(n.name + "/scale", wide_scale), r.constant(n.name + "/bias", wide_bias)},
                   {{"num_groups", groups[1]}, {"epsilon", norm->real("epsilon", 1e-5)}});
}

}  // namespace

int fuse_normalization(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i) {
    if (r.is_dead(i) || r.node(i).activation != ir::Activation()) continue;
    const Op op = r.node(i).op;
    if ((op == Op::kMul || op == Op::kDiv) && fuse_core(r, i)) continue;
    if (op == Op::kMul || op == Op::kAdd) take_parameter(r, i);
    if (op == Op::kReshape) fuse_group(r, i);
  }
  return r.finish();
}

}  // namespace pith::importers
