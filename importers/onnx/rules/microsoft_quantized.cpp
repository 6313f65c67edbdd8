// Quantised operators of com.microsoft. Those with quantised results are written as their float operator between
// DequantizeLinear and QuantizeLinear; integer products of dynamically quantised activations become the float product; n-bit
// block-quantised weights become float constants. Source: ONNX Runtime, docs/ContribOperators.md.
#include <fmt/format.h>

#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;

// The tensor at input i with its scale and zero point after it, as real numbers.
Result<ValueId> real_input(NodeContext& n, size_t i, int64_t axis = 1) {
  PITH_TRY(const ValueId x, n.input(i));
  PITH_TRY(const ValueId scale, n.input(i + 1));
  PITH_TRY(const ValueId zero, n.optional(i + 2));
  return n.builder.add(Op::kDequantizeLinear, {x, scale, zero}, {{"axis", axis}});
}

Result<void> quantized_result(NodeContext& n, ValueId real, size_t i) {
  PITH_TRY(const ValueId scale, n.input(i));
  PITH_TRY(const ValueId zero, n.optional(i + 1));
  return n.emit(Op::kQuantizeLinear, {real, scale, zero});
}

template <Op op>
Result<void> binary(NodeContext& n) {
  PITH_TRY(const ValueId a, real_input(n, 0));
  PITH_TRY(const ValueId b, real_input(n, 3));
  PITH_TRY(const ValueId y, n.builder.add(op, {a, b}));
  return quantized_result(n, y, 6);
}

template <Op op>
Result<void> unary(NodeContext& n) {
  n.ignore({"opset"});
  if (n.integer("channels_last", 0) != 0) return unsupported("channels last isn't supported; export without ONNX Runtime's layout changes");
  PITH_TRY(const ValueId x, real_input(n, 0));
  const char* attributes = op == Op::kLeakyRelu ? "alpha:f" : op == Op::kSoftmax ? "axis:i"
                           : op == Op::kAveragePool ? "kernel_shape:I strides:I pads:I auto_pad:s ceil_mode:i count_include_pad:i" : "";
  PITH_TRY(const ValueId y, n.builder.add(op, {x}, n.copy(attributes)));
  return quantized_result(n, y, 3);
}

Result<void> concat(NodeContext& n) {
  std::vector<ValueId> parts;
  for (size_t i = 2; i + 2 < n.inputs.size(); i += 3) {
    PITH_TRY(const ValueId part, real_input(n, i));
    parts.push_back(part);
  }
  PITH_TRY(const ValueId y, n.builder.add(Op::kConcat, std::move(parts), {{"axis", n.integer("axis", 1)}}));
  return quantized_result(n, y, 0);
}

Result<void> gemm(NodeContext& n) {
  const bool trans_b = n.integer("transB", 0) != 0;
  PITH_TRY(const ValueId a, real_input(n, 0));
  PITH_TRY(const ValueId b, real_input(n, 3, trans_b ? 0 : 1));
  ValueId c = ir::kNoValue;
  if (n.has_input(6)) {  // its scale is alpha times the product of the operands' scales, and Gemm adds it unscaled
    PITH_TRY(const Tensor codes, n.constant(6, "C"));
    PITH_TRY(const std::vector<double> a_scale, n.constant_reals(1, "a_scale"));
    PITH_TRY(const std::vector<double> b_scale, n.constant_reals(4, "b_scale"));
    if (a_scale.size() != 1 || b_scale.empty()) return usage_error("its scales have unexpected sizes; export the model again");
    Tensor real(DType::kF32, codes.shape());
    const double alpha = n.real("alpha", 1);
    for (int64_t k = 0; k < codes.count(); ++k)
      real.set(k, alpha * codes.at(k) * a_scale[0] * b_scale[static_cast<size_t>(k) % b_scale.size()]);
    c = n.builder.constant(std::move(real));
  }
  PITH_TRY(const ValueId y, n.builder.add(Op::kGemm, {a, b, c}, n.copy("alpha:f transA:i transB:i")));
  if (n.has_input(7)) return quantized_result(n, y, 7);
  n.set(0, y);
  return {};
}

Result<ValueId> with_bias(NodeContext& n, ValueId y, size_t i) {
  PITH_TRY(const ValueId bias, n.optional(i));
  if (bias == ir::kNoValue) return y;
  return n.builder.add(Op::kAdd, {y, bias});
}

Result<ValueId> real_weights(NodeContext& n, size_t weights, size_t scale, size_t zero) {
  PITH_TRY(const ValueId w, n.input(weights));
  PITH_TRY(const ValueId s, n.input(scale));
  PITH_TRY(const ValueId z, n.optional(zero));
  return n.builder.add(Op::kDequantizeLinear, {w, s, z}, {{"axis", n.builder.rank(w) - 1}});
}

// A real activation that ONNX Runtime would quantise on the fly: the float product is what it approximates.
Result<void> dynamic_matmul(NodeContext& n) {
  PITH_TRY(const ValueId a, n.input(0));
  PITH_TRY(const ValueId b, real_weights(n, 1, 2, 3));
  PITH_TRY(const ValueId product, n.builder.add(Op::kMatMul, {a, b}));
  PITH_TRY(const ValueId y, with_bias(n, product, 4));
  n.set(0, y);
  return {};
}

Result<void> integer_to_float(NodeContext& n) {
  PITH_TRY(const ValueId a, real_weights(n, 0, 2, 4));
  PITH_TRY(const ValueId b, real_weights(n, 1, 3, 5));
  PITH_TRY(const ValueId product, n.builder.add(Op::kMatMul, {a, b}));
  PITH_TRY(const ValueId y, with_bias(n, product, 6));
  n.set(0, y);
  return {};
}

// ---- MatMulNBits: weights (N, blocks, block_size * bits / 8), the first code in the lowest bits ----

int code_at(const Tensor& bytes, int64_t position, int64_t bits) {
  const int64_t per_byte = 8 / bits;
  const int byte = static_cast<int>(bytes.at(position / per_byte));
  return (byte >> (position % per_byte * bits)) & ((1 << bits) - 1);
}

Result<void> matmul_n_bits(NodeContext& n) {
  n.ignore({"accuracy_level", "weight_prepacked"});
  const int64_t k = n.integer("K", 0), columns = n.integer("N", 0), bits = n.integer("bits", 4), block = n.integer("block_size", 0);
  if ((bits != 2 && bits != 4 && bits != 8) || block < 8 || k < 1 || columns < 1 || k > (int64_t{1} << 24) || columns > (int64_t{1} << 24) || block > (int64_t{1} << 24))
    return unsupported("its bits, block_size, K or N aren't supported; export with 2, 4 or 8 bits");
  if (n.has_input(4)) return unsupported("reordered weights (g_idx) aren't supported; export without act_order");
  PITH_TRY(const ValueId a, n.input(0));
  PITH_TRY(const Tensor codes, n.constant(1, "B"));
  PITH_TRY(const Tensor scales, n.constant(2, "scales"));
  const int64_t blocks = (k + block - 1) / block;
  const int64_t row_bytes = blocks * (block * bits / 8), zero_bytes = (blocks * bits + 7) / 8;
  Tensor zeros;
  if (n.has_input(3)) {
    PITH_TRY(zeros, n.constant(3, "zero_points"));
  }
  const bool packed = zeros.dtype() == DType::kU8 && zeros.count() == columns * zero_bytes;
  const bool plain = n.has_input(3) && zeros.count() == columns * blocks && !(packed && bits < 8);
  if (codes.dtype() != DType::kU8 || codes.count() != columns * row_bytes || scales.count() != columns * blocks || (n.has_input(3) && !packed && !plain))
    return usage_error("its weights, scales or zero points don't have the stated sizes; export the model again");
  Tensor real(DType::kF32, {k, columns});
  const auto out = real.mut<float>();
  for (int64_t c = 0; c < columns; ++c)
    for (int64_t row = 0; row < k; ++row) {
      const int64_t in_block = row / block;
      double zero = static_cast<double>(int64_t{1} << (bits - 1));
      if (plain) zero = zeros.at(c * blocks + in_block);
      else if (packed) zero = code_at(zeros, c * zero_bytes * (8 / bits) + in_block, bits);
      const int code = code_at(codes, c * row_bytes * (8 / bits) + row, bits);
      out[static_cast<size_t>(row * columns + c)] = static_cast<float>((code - zero) * scales.at(c * blocks + in_block));
    }
  const ValueId weights = n.builder.constant(std::move(real), n.node.inputs[1] + "/float");
  n.builder.graph.metadata["qdq.weight." + n.builder.graph.value(weights).name] = fmt::format("{} bits, blocks of {}", bits, block);
  PITH_TRY(const ValueId product, n.builder.add(Op::kMatMul, {a, weights}));
  PITH_TRY(const ValueId y, with_bias(n, product, 5));
  n.set(0, y);
  return {};
}

}  // namespace

void add_microsoft_quantized_rules(Rules& r) {
  const auto add = [&](const char* name, Result<void> (*rule)(NodeContext&)) { r[std::string("com.microsoft.") + name] = {rule}; };
  add("QLinearAdd", binary<Op::kAdd>);
  add("QLinearMul", binary<Op::kMul>);
  add("QLinearSigmoid", unary<Op::kSigmoid>);
  add("QLinearLeakyRelu", unary<Op::kLeakyRelu>);
  add("QLinearSoftmax", unary<Op::kSoftmax>);
  add("QLinearGlobalAveragePool", unary<Op::kGlobalAveragePool>);
  add("QLinearAveragePool", unary<Op::kAveragePool>);
  add("QLinearConcat", concat);
  add("QGemm", gemm);
  add("DynamicQuantizeMatMul", dynamic_matmul);
  add("MatMulIntegerToFloat", integer_to_float);
  add("MatMulNBits", matmul_n_bits);
}

}  // namespace pith::importers
