// Quantised models back to the float network they stand for.
//
// pith chooses its own codes, so a QDQ or QLinear file is read for its weights, its structure and its ranges. Dequantised
// constants have become float weights already (constant folding). Here QLinear operators are written as their float
// operator between DequantizeLinear and QuantizeLinear; dynamic quantisation around an integer product becomes the float
// product; and each QuantizeLinear, DequantizeLinear pair is taken out, its range kept in the graph's metadata
// ("qdq.range.<value>" = "low high") for whoever calibrates. A pair whose codes can't say negative values acts as a ReLU
// (quantisers drop a Relu before such a pair), so it leaves one behind.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "importers/onnx/rewriter.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

bool same_constant(const Rewriter& r, ValueId a, ValueId b) {
  if (a == b) return true;
  const Tensor *x = r.content(a), *y = r.content(b);
  return x && y && x->dtype() == y->dtype() && x->shape() == y->shape() && std::equal(x->bytes(), x->bytes() + x->byte_count(), y->bytes());
}

bool never_negative(const Rewriter& r, ValueId id) {
  const Node* n = r.maker(id);
  return n && (n->op == Op::kRelu || n->op == Op::kSigmoid || n->op == Op::kSoftmax || (n->op == Op::kClip && n->real("min", -1) >= 0));
}

// Node i = DequantizeLinear(QuantizeLinear(x, s, z), s, z) with one scale.
bool strip_pair(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  const Node* found = r.maker(n.inputs[0], Op::kQuantizeLinear);
  if (!found) return false;
  const Node q = *found;
  const auto scale = r.scalar(q.inputs[1]);
  const bool zeros_match = q.inputs.size() == n.inputs.size() && (q.inputs.size() < 3 || same_constant(r, q.inputs[2], n.inputs[2]));
  if (!scale || !(*scale > 0) || !same_constant(r, q.inputs[1], n.inputs[1]) || !zeros_match) return false;
  const bool is_signed = r.graph.value(q.outputs[0]).dtype == DType::kI8;
  const auto zero = q.inputs.size() < 3 ? std::optional(0.0) : r.scalar(q.inputs[2]);
  if (!zero) return false;
  const double low = ((is_signed ? -128 : 0) - *zero) * *scale, high = ((is_signed ? 127 : 255) - *zero) * *scale;
  const ValueId x = q.inputs[0];
  r.graph.metadata["qdq.range." + r.graph.value(n.outputs[0]).name] = fmt::format("{:.6g} {:.6g}", low, high);
  if (low == 0 && !never_negative(r, x)) return r.replace(i, Op::kRelu, {x});
  return r.bypass(i, x) || r.replace(i, Op::kIdentity, {x});
}

ValueId dequantized(Rewriter& r, size_t i, ValueId codes, ValueId scale, ValueId zero, int64_t axis) {
  Attributes a;
  if (r.rank(scale) == 1) a["axis"] = axis;
  std::vector<ValueId> operands{codes, scale};
  if (zero != ir::kNoValue) operands.push_back(zero);
  return r.insert(i, Op::kDequantizeLinear, std::move(operands), std::move(a));
}

// A zero point of one value under several scales, as long as them.
ValueId stretched_zero(Rewriter& r, ValueId zero, ValueId scale) {
  const Tensor* z = r.content(zero);
  if (!z || r.shape(zero) == r.shape(scale) || z->count() != 1) return zero;
  Tensor wide(z->dtype(), r.shape(scale));
  for (int64_t k = 0; k < wide.count(); ++k) wide.set(k, z->at(0));
  return r.constant("zero_point", std::move(wide));
}

// x, s, z at operands[from]...
ValueId dequantized_operand(Rewriter& r, size_t i, const Node& n, size_t from, int64_t axis) {
  return dequantized(r, i, n.inputs[from], n.inputs[from + 1], stretched_zero(r, n.inputs[from + 2], n.inputs[from + 1]), axis);
}

bool quantize_again(Rewriter& r, size_t i, const Node& n, ValueId real, size_t from) {
  if (real == ir::kNoValue) return false;
  return r.replace(i, Op::kQuantizeLinear, {real, n.inputs[from], n.inputs[from + 1]});
}

bool open_qlinear_matmul(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  if (r.rank(n.inputs[1]) > 1 || r.rank(n.inputs[4]) > 1 || r.rank(n.inputs[3]) < 1) return false;
  const ValueId a = dequantized_operand(r, i, n, 0, r.rank(n.inputs[0]) - 2), b = dequantized_operand(r, i, n, 3, r.rank(n.inputs[3]) - 1);
  return quantize_again(r, i, n, r.insert(i, Op::kMatMul, {a, b}), 6);
}

bool open_qlinear_conv(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  const ValueId x = dequantized_operand(r, i, n, 0, 1), w = dequantized_operand(r, i, n, 3, 0);
  std::vector<ValueId> operands{x, w};
  if (n.inputs.size() > 8 && n.inputs[8] != ir::kNoValue) {
    const Tensor *bias = r.content(n.inputs[8]), *w_scale = r.content(n.inputs[4]);
    const auto x_scale = r.scalar(n.inputs[1]);
    if (!bias || !w_scale || !x_scale) return false;
    Tensor real(DType::kF32, bias->shape());
    for (int64_t c = 0; c < bias->count(); ++c) real.set(c, bias->at(c) * *x_scale * w_scale->at(w_scale->count() == 1 ? 0 : c));
    operands.push_back(r.constant(n.name + "/bias", std::move(real)));
  }
  return quantize_again(r, i, n, r.insert(i, Op::kConv, operands, n.attributes), 6);
}

// Node i = Mul(Cast(MatMulInteger or ConvInteger(q(x), w)), scale of x * scale of w) with q(x) from DynamicQuantizeLinear.
bool strip_dynamic(Rewriter& r, size_t i) {
  const Node n = r.node(i);
  for (size_t side = 0; side < 2; ++side) {
    const Node* cast = r.maker(n.inputs[side], Op::kCast);
    const Node* found = cast ? r.maker(cast->inputs[0]) : nullptr;
    if (!found || (found->op != Op::kMatMulInteger && found->op != Op::kConvInteger)) continue;
    const Node integer = *found;
    const Node* quantize = r.maker(integer.inputs[0], Op::kDynamicQuantizeLinear);
    const Node* scales = r.maker(n.inputs[1 - side], Op::kMul);
    const Tensor* w = r.content(integer.inputs[1]);
    if (!quantize || !scales || !w || integer.inputs.size() < 3 || integer.inputs[2] != quantize->outputs[2]) continue;
    const size_t own = scales->inputs[0] == quantize->outputs[1] ? 0 : 1;
    const Tensor* w_scale = r.content(scales->inputs[1 - own]);
    const Tensor* w_zero = integer.inputs.size() > 3 ? r.content(integer.inputs[3]) : nullptr;
    if (scales->inputs[own] != quantize->outputs[1] || !w_scale || (integer.inputs.size() > 3 && !w_zero)) continue;
    const bool product = integer.op == Op::kMatMulInteger;
    const int64_t channels = product ? w->shape().back() : w->shape()[0], inner = product ? 1 : w->count() / std::max<int64_t>(channels, 1);
    if ((w_scale->count() != 1 && (!product || w_scale->count() != channels)) || (w_zero && w_zero->count() != 1 && w_zero->count() != channels)) continue;
    Tensor real(DType::kF32, w->shape());
    for (int64_t k = 0; k < w->count(); ++k) {
      const int64_t c = k / inner % channels;
      const double z = !w_zero ? 0 : w_zero->at(w_zero->count() == 1 ? 0 : c);
      real.set(k, (w->at(k) - z) * w_scale->at(w_scale->count() == 1 ? 0 : c));
    }
    const ValueId weights = r.constant(r.graph.value(integer.inputs[1]).name, std::move(real));
    return r.replace(i, product ? Op::kMatMul : Op::kConv, {quantize->inputs[0], weights}, integer.attributes);
  }
  return false;
}

}  // namespace

int strip_quantization(ir::Graph& graph) {
  Rewriter r(graph);
  for (size_t i = 0; i < r.size(); ++i) {
    if (r.is_dead(i)) continue;
    switch (r.node(i).op) {
      case Op::kQLinearMatMul: open_qlinear_matmul(r, i); break;
      case Op::kQLinearConv: open_qlinear_conv(r, i); break;
      case Op::kMul: strip_dynamic(r, i); break;
      default: break;
    }
  }
  const int opened = r.finish();
  Rewriter pairs(graph);
  for (size_t i = 0; i < pairs.size(); ++i)
    if (!pairs.is_dead(i) && pairs.node(i).op == Op::kDequantizeLinear) strip_pair(pairs, i);
  return opened + pairs.finish();
}

}  // namespace pith::importers
