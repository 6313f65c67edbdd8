// Quantisation's promises: what values may carry.
#include <algorithm>
#include <cstdlib>

#include "ir/integer.h"
#include "ir/verify.h"

namespace pith::ir {
namespace {

Result<void> check_code(const Value& v, int code) {
  if (code >= numerics::kScaleCodeMin && code <= numerics::kScaleCodeMax) return {};
  return usage_error(fmt::format("{} has the scale code {}, outside {}..{}", value_label(v), code, numerics::kScaleCodeMin, numerics::kScaleCodeMax));
}

Result<void> verify_weights(const Value& v) {
  const Quant& q = *v.quant;
  if (q.bits < 2 || q.bits > 8) return usage_error(fmt::format("{} has weights of {} bits; 2 to 8 are possible", value_label(v), q.bits));
  if (q.scale_codes.size() != 1) {
    const auto rank = static_cast<int>(v.shape.size());
    if (q.axis < 0 || q.axis >= rank) return usage_error(fmt::format("{} is quantised along axis {} of {}", value_label(v), q.axis, rank));
    const int64_t size = v.shape[static_cast<size_t>(q.axis)];
    if (static_cast<int64_t>(q.scale_codes.size()) != size) {
      return usage_error(fmt::format("{} has {} scale codes for {} channels", value_label(v), q.scale_codes.size(), size));
    }
  }
  for (int16_t code : q.scale_codes) PITH_CHECK_OK(check_code(v, code));
  const int low = -(1 << (q.bits - 1)), high = (1 << (q.bits - 1)) - 1;
  for (int8_t w : v.constant->as<int8_t>()) {
    if (w < low || w > high) return usage_error(fmt::format("{} holds {}, which {} bits can't", value_label(v), w, q.bits));
  }
  return {};
}

bool is_product(Op op) { return op == Op::kConv || op == Op::kConvTranspose || op == Op::kGemm || op == Op::kMatMul; }

const Value* operand(const Graph& graph, const Node& node, size_t i) {
  return i < node.inputs.size() && node.inputs[i] != kNoValue ? &graph.value(node.inputs[i]) : nullptr;
}

Result<void> verify_activation(const Graph& graph, const Node& node) {
  const Activation& a = node.activation;
  if (static_cast<int>(a.function) >= numerics::kUnaryCount) return usage_error(node_label(node) + " has an unknown activation");
  if (a.function == numerics::Unary::kIdentity) return {};
  if (node.outputs[0] == kNoValue || graph.value(node.outputs[0]).dtype != DType::kF32) {
    return usage_error(node_label(node) + ": an activation needs an f32 result");
  }
  if (a.a != a.a || a.b != a.b) return usage_error(node_label(node) + ": the activation's parameter isn't a number");
  if (a.function == numerics::Unary::kClip && a.a > a.b) {
    return usage_error(fmt::format("{} clips to [{}, {}]", node_label(node), a.a, a.b));
  }
  if (a.pre) PITH_CHECK_OK(check_code(graph.value(node.outputs[0]), a.pre->scale_code));
  return {};
}

}  // namespace

Result<void> verify_quant(const Value& v) {
  if (!v.quant) return {};
  const Quant& q = *v.quant;
  if (v.dtype != DType::kF32) return usage_error(fmt::format("{} is {} and quantised; only f32 can be", value_label(v), dtype_name(v.dtype)));
  const DType stored = stored_dtype(v);
  if (stored == DType::kI8) return verify_weights(v);
  if (stored != DType::kU8 && stored != DType::kI32) {
    return usage_error(fmt::format("{} is quantised and holds {}", value_label(v), dtype_name(stored)));
  }
  if (!q.scale_codes.empty()) return usage_error(value_label(v) + " has scale codes; only weights do");
  if (stored == DType::kI32) return {};
  if (q.bits != 8) return usage_error(fmt::format("{} is an activation of {} bits; 8 are possible", value_label(v), q.bits));
  return check_code(v, q.affine.scale_code);
}

Result<void> verify_quant(const Graph& graph, const Node& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value* v = operand(graph, node, i);
    if (v == nullptr || !is_bias(*v)) continue;
    const Value *x = operand(graph, node, 0), *w = operand(graph, node, 1);
    if (!is_product(node.op) || i != 2 || !is_activation(*x) || !(is_weights(*w) || is_activation(*w))) {
      return usage_error(fmt::format("{}: {} is a quantised bias, and its scale follows only from quantised x and weights", node_label(node), value_label(*v)));
    }
    const size_t channels = w->quant->scale_codes.size();
    if (channels > 1 && v->shape != Shape{static_cast<int64_t>(channels)}) {
      return usage_error(fmt::format("{}: {} must have one number per channel", node_label(node), value_label(*v)));
    }
  }
  if (node.op == Op::kRequantize) {
    const Value* y = node.outputs[0] == kNoValue ? nullptr : &graph.value(node.outputs[0]);
    if (y == nullptr || !is_activation(*y) || !is_activation(*operand(graph, node, 0))) {
      return usage_error(node_label(node) + ": input and output must be quantised activations");
    }
  }
  return verify_activation(graph, node);
}

}  // namespace pith::ir
