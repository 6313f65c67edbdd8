// ONNX's quantised operators. 8-bit forms are pith operators; 16-bit, 4-bit and 8-bit-float forms are written with float
// operators: y = clip(round(x / scale) + zero, low, high), x = (y - zero) * scale.
#include <fmt/format.h>

#include "importers/onnx/element_types.h"
#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Op;
using ir::Shape;
using ir::ValueId;

// A per-axis parameter shaped so that it broadcasts against the data.
Result<ValueId> along_axis(NodeContext& n, ValueId data, ValueId parameter, int64_t axis) {
  const Shape shape = n.builder.shape(parameter);
  if (ir::element_count(shape) == 1) return n.builder.reshape(parameter, {});
  const int64_t rank = n.builder.rank(data);
  if (axis < 0) axis += rank;
  if (shape.size() != 1 || axis < 0 || axis >= rank)
    return unsupported("blocked quantisation is supported for int8 and uint8 only; dequantise the model first");
  Shape wide(static_cast<size_t>(rank), 1);
  wide[static_cast<size_t>(axis)] = shape[0];
  return n.builder.reshape(parameter, wide);
}

// A zero point of one element has its scale's shape.
Result<ValueId> matching_zero(NodeContext& n) {
  PITH_TRY(const ValueId scale, n.input(1));
  PITH_TRY(const ValueId zero, n.optional(2));
  if (zero == ir::kNoValue || ir::element_count(n.builder.shape(zero)) != 1 || ir::element_count(n.builder.shape(scale)) != 1) return zero;
  return n.builder.reshape(zero, n.builder.shape(scale));
}

Result<void> quantize_by_formula(NodeContext& n, ValueId x, int32_t type, int64_t axis) {
  const int64_t bits = element_bits(type);
  const bool is_signed = type == kInt16 || type == kInt4 || type == kInt2;
  const double low = is_signed ? -static_cast<double>(int64_t{1} << (bits - 1)) : 0;
  const double high = low + static_cast<double>((int64_t{1} << bits) - 1);
  Builder& b = n.builder;
  PITH_TRY(const ValueId flat_scale, n.input(1));
  PITH_TRY(const ValueId scale, along_axis(n, x, flat_scale, axis));
  PITH_TRY(const ValueId ratio, b.add(Op::kDiv, {x, scale}));
  PITH_TRY(ValueId code, b.add(Op::kRound, {ratio}));
  if (n.has_input(2)) {
    PITH_TRY(const ValueId flat_zero, n.input(2));
    PITH_TRY(const ValueId zero, along_axis(n, x, flat_zero, axis));
    PITH_TRY(const ValueId real_zero, b.cast(zero, DType::kF32));
    PITH_TRY(code, b.add(Op::kAdd, {code, real_zero}));
  }
  PITH_TRY(const ValueId clipped, b.add(Op::kClip, {code}, {{"min", low}, {"max", high}}));
  PITH_TRY(const ValueId y, b.cast(clipped, *widened(type)));
  n.set(0, y, type);
  return {};
}

Result<void> quantize(NodeContext& n) {
  n.ignore({"saturate", "precision"});
  PITH_TRY(const ValueId input, n.input(0));
  PITH_TRY(const ValueId x, n.builder.cast(input, DType::kF32));
  PITH_TRY(const ValueId scale, n.input(1));
  PITH_TRY(const ValueId zero, matching_zero(n));
  int32_t type = static_cast<int32_t>(n.integer("output_dtype", 0));
  if (zero != ir::kNoValue) {
    type = n.element_type(2);
    if (type == kUndefined) type = n.builder.dtype(zero) == DType::kI8 ? kInt8 : kUint8;
  }
  if (type == kUndefined) type = kUint8;
  const int64_t axis = n.integer("axis", 1);
  Attributes a = n.copy("axis:i block_size:i");
  switch (type) {
    case kUint8: case kInt8: break;
    case kUint16: case kInt16: case kUint4: case kInt4: case kUint2: case kInt2: return quantize_by_formula(n, x, type, axis);
    default: return unsupported(fmt::format("quantising to {} isn't supported; use int8 or uint8", element_type_name(type)));
  }
  a["to"] = std::string(type == kInt8 ? "i8" : "u8");
  PITH_CHECK_OK(n.emit(Op::kQuantizeLinear, {x, scale, zero}, std::move(a)));
  n.outputs[0].element_type = type;
  return {};
}

Result<void> dequantize(NodeContext& n) {
  n.ignore({"output_dtype"});
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId scale, n.input(1));
  PITH_TRY(const ValueId zero, matching_zero(n));
  Attributes a = n.copy("axis:i block_size:i");
  if (n.content(0) && n.content(0)->count() > 1)  // the float weights' origin, for whoever chooses their codes
    n.builder.graph.metadata["qdq.weight." + n.scope.prefix + n.node.outputs[0]] = ir::dtype_name(n.builder.dtype(x));
  if (n.builder.dtype(x) != DType::kF32) return n.emit(Op::kDequantizeLinear, {x, scale, zero}, std::move(a));
  const int64_t axis = n.integer("axis", 1);  // 8-bit floats, widened: their zero point can only be 0
  PITH_TRY(const ValueId wide, along_axis(n, x, scale, axis));
  return n.emit(Op::kMul, {x, wide});
}

Result<void> dynamic_quantize(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  return n.emit_all(Op::kDynamicQuantizeLinear, {x}, {}, 3);
}

template <Op op>
Result<void> convolution(NodeContext& n) {
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  return n.emit(op, std::move(operands), n.copy("kernel_shape:I strides:I pads:I dilations:I auto_pad:s group:i"));
}

}  // namespace

void add_quantization_rules(Rules& r) {
  for (const char* domain : {"", "com.microsoft."}) {
    r[std::string(domain) + "QuantizeLinear"] = {quantize};
    r[std::string(domain) + "DequantizeLinear"] = {dequantize};
  }
  r["DynamicQuantizeLinear"] = {dynamic_quantize};
  r["MatMulInteger"] = {nullptr, Op::kMatMulInteger, ""};
  r["ConvInteger"] = {convolution<Op::kConvInteger>};
  r["QLinearMatMul"] = {nullptr, Op::kQLinearMatMul, ""};
  r["QLinearConv"] = {convolution<Op::kQLinearConv>};
}

}  // namespace pith::importers
