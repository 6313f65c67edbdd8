// Quantisation's promises: what values may carry, and that integer accumulators can't overflow.
//
// The bound: an accumulator is sum (x - zero) * w + bias with |x - zero| <= 255, so |accumulator| <=
// 255 * sum |w| + |bias| < 2^31 must hold for every output channel. It is checked with the weights themselves, which
// implies it for any order of summation. Products of two activations: 255 * 255 * depth < 2^31.
#include <algorithm>
#include <cstdlib>

#include "ir/geometry.h"
#include "ir/integer.h"
#include "ir/verify.h"

namespace pith::ir {
namespace {

Result<void> check_code(const Value& v, int code) {
  if (code >= numerics::kScaleCodeMin && code <= numerics::kScaleCodeMax) return {};
  return usage_error(fmt::format("{} has the scale code {}, outside {}..{}", value_label(v), code,
                                 numerics::kScaleCodeMin, numerics::kScaleCodeMax));
}

Result<void> verify_weights(const Value& v) {
  const Quant& q = *v.quant;
  if (q.bits < 2 || q.bits > 8)
    return usage_error(fmt::format("{} has weights of {} bits; 2 to 8 are possible", value_label(v), q.bits));
  if (q.scale_codes.size() != 1) {
    const auto rank = static_cast<int>(v.shape.size());
    if (q.axis < 0 || q.axis >= rank)
      return usage_error(fmt::format("{} is quantised along axis {} of {}", value_label(v), q.axis, rank));
    const int64_t size = v.shape[static_cast<size_t>(q.axis)];
    if (static_cast<int64_t>(q.scale_codes.size()) != size) {
      return usage_error(
          fmt::format("{} has {} scale codes for {} channels", value_label(v), q.scale_codes.size(), size));
    }
  }
  for (int16_t code : q.scale_codes) PITH_CHECK_OK(check_code(v, code));
  const int low = -(1 << (q.bits - 1)), high = (1 << (q.bits - 1)) - 1;
  for (int8_t w : v.constant->as<int8_t>()) {
    if (w < low || w > high)
      return usage_error(fmt::format("{} holds {}, which {} bits can't", value_label(v), w, q.bits));
  }
  return {};
}

bool is_product(Op op) { return op == Op::kConv || op == Op::kConvTranspose || op == Op::kGemm || op == Op::kMatMul; }

const Value* operand(const Graph& graph, const Node& node, size_t i) {
  return i < node.inputs.size() && node.inputs[i] != kNoValue ? &graph.value(node.inputs[i]) : nullptr;
}

Result<void> verify_activation(const Graph& graph, const Node& node) {
  const Activation& a = node.activation;
  if (static_cast<int>(a.function) >= numerics::kUnaryCount)
    return usage_error(node_label(node) + " has an unknown activation");
  if (a.function == numerics::Unary::kIdentity) return {};
  if (node.outputs[0] == kNoValue || graph.value(node.outputs[0]).dtype != DType::kF32) {
    return usage_error(node_label(node) + ": an activation needs an f32 result");
  }
  if (a.a != a.a || a.b != a.b) return usage_error(node_label(node) + ": the activation's parameter isn't a number");
  if (a.function == numerics::Unary::kClip && a.a > a.b) {
    return usage_error(fmt::format("{} clips to [{}, {}]", node_label(node), a.a, a.b));
  }
  const bool clamps = a.function == numerics::Unary::kRelu || a.function == numerics::Unary::kClip;
  if (has_integer_operands(graph, node) && !clamps && !a.pre) {
    return usage_error(fmt::format("{}: the activation {} needs the meaning `pre` of its argument", node_label(node),
                                   numerics::unary_name(a.function)));
  }
  if (a.pre) PITH_CHECK_OK(check_code(graph.value(node.outputs[0]), a.pre->scale_code));
  return {};
}

// Largest |accumulator| without bias for each output channel of a product with constant weights.
std::vector<int64_t> weight_bounds(const Node& node, const Value& w) {
  const int64_t channels = product_channels(node, w.shape);
  std::vector<int64_t> sums(static_cast<size_t>(channels), 0);
  const int axis = product_axis(node, w.shape);
  const AxisSplit s = axis < 0 ? AxisSplit{1, 1, element_count(w.shape)} : split_at(w.shape, axis);
  const int64_t groups = channels / std::max<int64_t>(s.size, 1), per_group = s.outer / std::max<int64_t>(groups, 1);
  const auto weights = w.constant->as<int8_t>();
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const int64_t channel = at / s.inner % s.size;
    // a transposed convolution's rows of input channels belong to its groups in turn
    const int64_t group = groups > 1 ? at / (s.inner * s.size) / per_group : 0;
    sums[static_cast<size_t>(group * s.size + channel)] += 255 * std::abs(int64_t{weights[i]});
  }
  return sums;
}

Result<void> check_bound(const Node& node, int64_t bound) {
  if (bound < (int64_t{1} << 31)) return {};
  return usage_error(fmt::format("{}: its accumulators may reach {}, beyond 32 bits; split it or use fewer bits",
                                 node_label(node), bound));
}

Result<void> verify_accumulators(const Graph& graph, const Node& node) {
  const Value& x = *operand(graph, node, 0);
  if (is_product(node.op)) {
    const Value &w = *operand(graph, node, 1), *bias = operand(graph, node, 2);
    if (!is_weights(w)) return check_bound(node, int64_t{255} * 255 * x.shape.back());
    const std::vector<int64_t> sums = weight_bounds(node, w);
    for (size_t c = 0; c < sums.size(); ++c) {
      const int64_t b = bias != nullptr ? std::abs(int64_t{bias->constant->as<int32_t>()[c]}) : 0;
      PITH_CHECK_OK(check_bound(node, sums[c] + b));
    }
  } else if (node.op == Op::kAveragePool) {
    return check_bound(node, 255 * std::min(element_count(node.integers("kernel_shape")), kLargestCount));
  } else if (node.op == Op::kReduceMean || node.op == Op::kGlobalAveragePool) {
    const int64_t results = std::max<int64_t>(element_count(graph.value(node.outputs[0]).shape), 1);
    return check_bound(node, 255 * (element_count(x.shape) / results));
  }
  return {};
}

}  // namespace

Result<void> verify_quant(const Value& v) {
  if (!v.quant) return {};
  const Quant& q = *v.quant;
  if (v.dtype != DType::kF32)
    return usage_error(fmt::format("{} is {} and quantised; only f32 can be", value_label(v), dtype_name(v.dtype)));
  const DType stored = stored_dtype(v);
  if (stored == DType::kI8) return verify_weights(v);
  if (stored != DType::kU8 && stored != DType::kI32) {
    return usage_error(fmt::format("{} is quantised and holds {}", value_label(v), dtype_name(stored)));
  }
  if (!q.scale_codes.empty()) return usage_error(value_label(v) + " has scale codes; only weights do");
  if (stored == DType::kI32) return {};
  if (q.bits != 8)
    return usage_error(fmt::format("{} is an activation of {} bits; 8 are possible", value_label(v), q.bits));
  return check_code(v, q.affine.scale_code);
}

Result<void> verify_quant(const Graph& graph, const Node& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value* v = operand(graph, node, i);
    if (v == nullptr || !is_bias(*v)) continue;
    const Value *x = operand(graph, node, 0), *w = operand(graph, node, 1);
    if (!is_product(node.op) || i != 2 || !is_activation(*x) || !(is_weights(*w) || is_activation(*w))) {
      return usage_error(
          fmt::format("{}: {} is a quantised bias, and its scale follows only from quantised x and weights",
                      node_label(node), value_label(*v)));
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
  PITH_CHECK_OK(verify_activation(graph, node));
  if (has_integer_form(graph, node)) PITH_CHECK_OK(verify_accumulators(graph, node));
  return {};
}

}  // namespace pith::ir
