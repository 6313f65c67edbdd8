// Lowering of element-wise operators, reductions, normalisation and operators along one axis.
#include <fmt/format.h>

#include <algorithm>

#include "compile/lowering.h"

namespace pith {
namespace {

using ir::Op;

std::optional<int32_t> binary_kind(const ir::Node& n) {
  switch (n.op) {
    case Op::kAdd: case Op::kSum: return PITH_BINARY_ADD;
    case Op::kSub: return PITH_BINARY_SUB;
    case Op::kMul: return PITH_BINARY_MUL;
    case Op::kDiv: return PITH_BINARY_DIV;
    case Op::kPow: return PITH_BINARY_POW;
    case Op::kMin: return PITH_BINARY_MIN;
    case Op::kMax: return PITH_BINARY_MAX;
    case Op::kMod: return n.integer("fmod", 0) != 0 ? PITH_BINARY_FMOD : PITH_BINARY_MOD;
    case Op::kEqual: return PITH_BINARY_EQUAL;
    case Op::kLess: return PITH_BINARY_LESS;
    case Op::kLessOrEqual: return PITH_BINARY_LESS_EQUAL;
    case Op::kGreater: return PITH_BINARY_GREATER;
    case Op::kGreaterOrEqual: return PITH_BINARY_GREATER_EQUAL;
    case Op::kAnd: return PITH_BINARY_AND;
    case Op::kOr: return PITH_BINARY_OR;
    case Op::kXor: return PITH_BINARY_XOR;
    case Op::kPRelu: return PITH_BINARY_PRELU;
    default: return std::nullopt;
  }
}

// The operands' shapes written with the result's rank.
ir::Shape widened(const ir::Shape& s, size_t rank) {
  ir::Shape full(rank - s.size(), 1);
  full.insert(full.end(), s.begin(), s.end());
  return full;
}

// The elements of a constant in a physical order.
ir::Tensor reordered(const ir::Tensor& t, const ir::Shape& dims, const Order& order) {
  ir::Tensor out(ir::DType::kF32, t.shape());
  std::vector<int64_t> strides(dims.size(), 1), position(dims.size(), 0);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  auto to = out.mut<float>();
  for (float& x : to) {
    int64_t at = 0;
    for (int d : order) at += position[static_cast<size_t>(d)] * strides[static_cast<size_t>(d)];
    x = static_cast<float>(t.at(at));
    for (size_t k = order.size(); k-- > 0;) {
      const size_t d = static_cast<size_t>(order[k]);
      if (++position[d] < dims[d]) break;
      position[d] = 0;
    }
  }
  return out.reshaped(dims);
}

// An element-wise operand with the result's rank, in the result's order. Constants: f32, i32, or u8 codes around 128.
int32_t elementwise_operand(Lowering& l, ir::ValueId id, size_t rank, const Order& order, bool integer) {
  const ir::Value& v = l.value(id);
  const ir::Shape full = widened(v.shape, rank);
  const Dims dims = ordered_dims(full, order);
  if (!v.is_constant()) {
    View view = integer ? l.view(id) : l.real_view(id);
    const std::optional<View> wide = reshaped_view(view, full);
    return l.dense_as(*wide, order, dims);
  }
  const ir::Tensor raw = reordered(v.constant->reshaped(full), full, order);
  if (integer) {
    ProgramConstant k;
    k.name = v.name;
    k.dtype = PITH_U8;
    k.dims = dims;
    k.affine = {v.quant->scale_codes.empty() ? int16_t{0} : v.quant->scale_codes[0], 128};
    for (float q : raw.as<float>()) k.integers.push_back(static_cast<int32_t>(q) + 128);
    l.program.constants.push_back(std::move(k));
    return kConstantBase + static_cast<int32_t>(l.program.constants.size() - 1);
  }
  if (v.dtype == ir::DType::kF32 && order == identity_order(rank)) return l.float_constant(id, dims);
  if (v.dtype == ir::DType::kF32) return l.real_constant(reordered(l.real_values(id).reshaped(full), full, order), dims, v.name);
  std::vector<int32_t> integers;
  for (float q : raw.as<float>()) integers.push_back(static_cast<int32_t>(q));
  return l.integer_constant(integers, dims, v.name);
}

// The order of an element-wise result: that of its largest computed operand.
Order result_order(Lowering& l, const ir::Node& n, size_t rank) {
  Order order = identity_order(rank);
  int64_t largest = -1;
  for (ir::ValueId id : n.inputs) {
    if (id == ir::kNoValue || l.value(id).is_constant()) continue;
    const View v = l.view(id);
    const int64_t size = ir::element_count(v.dims);
    if (v.dims.size() != rank || size <= largest) continue;
    largest = size;
    order = l.natural_order(v);
  }
  return order;
}

int physical_axis(const Order& order, int64_t axis) {
  const int64_t rank = static_cast<int64_t>(order.size());
  const int wanted = static_cast<int>(axis < 0 ? axis + rank : axis);
  return static_cast<int>(std::find(order.begin(), order.end(), wanted) - order.begin());
}

}  // namespace

Result<void> Lowering::lower_unary(const ir::Node& n) {
  const ir::ValueId x = n.inputs[0];
  const std::optional<ir::Activation> form = ir::unary_function(n);
  if (!form) return unsupported(n, "no machine form");
  if (present(n, 1)) return unsupported(n, "bounds that are computed; give them as constants");
  const bool no_op = form->function == numerics::Unary::kIdentity && n.activation.function == numerics::Unary::kIdentity;
  if (no_op && dtype(x) == dtype(n.outputs[0]) && (!is_u8(x) || affine(x) == affine(n.outputs[0]))) {
    define_view(n.outputs[0], view(x));
    return {};
  }
  const bool integer = exact(n);
  const View v = integer ? view(x) : real_view(x);
  const Order order = natural_order(v);
  const int32_t input = dense(v, order);
  const bool whole = program.tensors[static_cast<size_t>(input)].dtype == PITH_I32;
  if (whole && n.op != Op::kNot && n.op != Op::kAbs && n.op != Op::kNeg && n.op != Op::kSign && n.op != Op::kClip && n.op != Op::kRelu)
    return unsupported(n, "integer data; cast it to float first");
  const int32_t output = result_tensor(n, 0, order, integer);
  ProgramOp& op = emit(PITH_OPCODE_Unary, {input}, {output}, {static_cast<int32_t>(form->function)},
                       {static_cast<float>(form->a), static_cast<float>(form->b)});
  if (!integer) set_activation(op, n, false);
  define(n, 0, output, order);
  return {};
}

Result<void> Lowering::lower_cast(const ir::Node& n) {
  const ir::DType to = value(n.outputs[0]).dtype, from = value(n.inputs[0]).dtype;
  const View v = real_view(n.inputs[0]);
  const bool both_whole = to != ir::DType::kF32 && from != ir::DType::kF32;
  if (to == ir::DType::kU8 || to == ir::DType::kI8) return unsupported(n, "casts to 8-bit integers; quantisation is pith's own business");
  if (to == from || (both_whole && to != ir::DType::kBool)) {
    define_view(n.outputs[0], v);
    return {};
  }
  const Order order = natural_order(v);
  const int32_t input = dense(v, order);
  if (to == ir::DType::kBool) {  // not (x == 0)
    const int32_t zero = from == ir::DType::kF32 ? real_constant(ir::Tensor::f32({1}, {0}), Dims(order.size(), 1), "zero")
                                                 : integer_constant({0}, Dims(order.size(), 1), "zero");
    const Dims dims = program.tensors[static_cast<size_t>(input)].dims;
    const int32_t is_zero = new_tensor(PITH_I32, dims, {}, n.name + ".zero"), output = new_tensor(PITH_I32, dims, {}, n.name);
    emit(PITH_OPCODE_Binary, {input, zero}, {is_zero}, {PITH_BINARY_EQUAL});
    emit(PITH_OPCODE_Unary, {is_zero}, {output}, {static_cast<int32_t>(numerics::Unary::kNot)}, {0, 0});
    define(n, 0, output, order);
    return {};
  }
  const int32_t output = result_tensor(n, 0, order, false);
  emit(PITH_OPCODE_Convert, {input}, {output});
  define(n, 0, output, order);
  return {};
}

Result<void> Lowering::lower_binary(const ir::Node& n) {
  const std::optional<int32_t> kind = binary_kind(n);
  if (!kind) return unsupported(n, "no machine form");
  const size_t rank = value(n.outputs[0]).shape.size();
  if (rank > PITH_MAX_RANK) return unsupported(n, fmt::format("rank {} is above {}", rank, PITH_MAX_RANK));
  const bool has_integer_form = *kind == PITH_BINARY_ADD || *kind == PITH_BINARY_SUB || *kind == PITH_BINARY_MUL || *kind == PITH_BINARY_PRELU;
  const bool integer = has_integer_form && exact(n);
  const Order order = result_order(*this, n, rank);
  const int32_t a = elementwise_operand(*this, n.inputs[0], rank, order, integer);
  const int32_t b = elementwise_operand(*this, n.inputs[1], rank, order, integer);
  const int32_t output = result_tensor(n, 0, order, integer);
  set_activation(emit(PITH_OPCODE_Binary, {a, b}, {output}, {*kind}), n, integer);
  define(n, 0, output, order);
  return {};
}

Result<void> Lowering::lower_variadic(const ir::Node& n) {
  const bool mean = n.op == Op::kMean;
  const int32_t kind = n.op == Op::kMin ? PITH_BINARY_MIN : n.op == Op::kMax ? PITH_BINARY_MAX : PITH_BINARY_ADD;
  const size_t rank = value(n.outputs[0]).shape.size();
  const Order order = result_order(*this, n, rank);
  int32_t so_far = elementwise_operand(*this, n.inputs[0], rank, order, false);
  for (size_t i = 1; i < n.inputs.size(); ++i) {
    const int32_t next = elementwise_operand(*this, n.inputs[i], rank, order, false);
    ProgramOp op;
    op.opcode = PITH_OPCODE_Binary;
    op.inputs = {so_far, next};
    const Dims dims = derived_dims(program, op)[0];
    so_far = new_tensor(dtype(n.inputs[0]) == PITH_I32 ? PITH_I32 : PITH_F32, dims, {}, n.name);
    emit(PITH_OPCODE_Binary, {op.inputs[0], next}, {so_far}, {kind});
  }
  if (is_constant(so_far)) return unsupported(n, "constants only; fold it");
  if (mean) {
    const int32_t factor = real_constant(ir::Tensor::f32({1}, {1.0f / static_cast<float>(n.inputs.size())}), Dims(rank, 1), "1/n");
    const int32_t scaled = result_tensor(n, 0, order, false);
    emit(PITH_OPCODE_Binary, {so_far, factor}, {scaled}, {PITH_BINARY_MUL});
    so_far = scaled;
  }
  if (!mean && n.inputs.size() > 1) set_activation(program.ops.back(), n, false);
  define(n, 0, so_far, order);
  return {};
}

Result<void> Lowering::lower_where(const ir::Node& n) {
  const size_t rank = value(n.outputs[0]).shape.size();
  const Order order = result_order(*this, n, rank);
  std::vector<int32_t> operands;
  for (size_t i = 0; i < 3; ++i) operands.push_back(elementwise_operand(*this, n.inputs[i], rank, order, false));
  const int32_t output = result_tensor(n, 0, order, false);
  set_activation(emit(PITH_OPCODE_Where, operands, {output}), n, false);
  define(n, 0, output, order);
  return {};
}

Result<void> Lowering::lower_reduce(const ir::Node& n) {
  static const std::map<Op, int32_t> kKinds = {
      {Op::kReduceMean, PITH_REDUCE_MEAN}, {Op::kReduceSum, PITH_REDUCE_SUM}, {Op::kReduceMax, PITH_REDUCE_MAX},
      {Op::kReduceMin, PITH_REDUCE_MIN}, {Op::kReduceProd, PITH_REDUCE_PROD}, {Op::kReduceL1, PITH_REDUCE_L1},
      {Op::kReduceL2, PITH_REDUCE_L2}, {Op::kReduceSumSquare, PITH_REDUCE_SUM_SQUARE},
      {Op::kReduceLogSum, PITH_REDUCE_LOG_SUM}, {Op::kReduceLogSumExp, PITH_REDUCE_LOG_SUM_EXP}};
  const int32_t kind = kKinds.at(n.op);
  const ir::Value& x = value(n.inputs[0]);
  const size_t rank = x.shape.size();
  if (rank > PITH_MAX_RANK) return unsupported(n, fmt::format("rank {} is above {}", rank, PITH_MAX_RANK));
  std::vector<int64_t> axes = n.integers("axes");
  if (axes.empty() && n.integer("noop_with_empty_axes", 0) == 0) {
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  const bool keeps_codes = kind == PITH_REDUCE_MAX || kind == PITH_REDUCE_MIN;
  const bool integer = exact(n) && (kind == PITH_REDUCE_MEAN || (keeps_codes && affine(n.inputs[0]) == affine(n.outputs[0])));
  const View v = integer ? view(n.inputs[0]) : real_view(n.inputs[0]);
  const Order order = natural_order(v);
  const int32_t input = dense(v, order);
  int32_t mask = 0;
  for (int64_t axis : axes) mask |= 1 << physical_axis(order, axis);
  ir::Shape reduced = x.shape;
  for (int64_t axis : axes) reduced[static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis)] = 1;
  const int32_t type = integer ? PITH_U8 : value(n.outputs[0]).dtype == ir::DType::kF32 ? PITH_F32 : PITH_I32;
  const Dims dims = ordered_dims(reduced, order);
  int32_t output = new_tensor(type, dims, affine(n.outputs[0]), value(n.outputs[0]).name);
  set_activation(emit(PITH_OPCODE_Reduce, {input}, {output}, {kind, mask}), n, integer);
  if (is_u8(n.outputs[0]) && type != PITH_U8) {
    const int32_t codes = new_tensor(PITH_U8, dims, affine(n.outputs[0]), value(n.outputs[0]).name);
    emit(PITH_OPCODE_Convert, {output}, {codes});
    output = codes;
  }
  View kept{output, 0, reduced, std::vector<int64_t>(rank, 1)};
  int64_t step = 1;
  for (size_t i = order.size(); i-- > 0;) {
    kept.strides[static_cast<size_t>(order[i])] = step;
    step *= reduced[static_cast<size_t>(order[i])];
  }
  define_view(n.outputs[0], *reshaped_view(kept, value(n.outputs[0]).shape));  // dropping ones never needs a copy
  return {};
}

Result<void> Lowering::lower_along_axis(const ir::Node& n) {
  const View v = real_view(n.inputs[0]);
  const Order order = natural_order(v);
  const int32_t input = dense(v, order);
  const bool first_axis = n.op == Op::kArgMax || n.op == Op::kArgMin || n.op == Op::kCumSum;
  const int32_t axis = physical_axis(order, n.integer("axis", first_axis ? 0 : -1));
  if (n.op == Op::kArgMax || n.op == Op::kArgMin) {
    const int64_t rank = static_cast<int64_t>(v.dims.size());
    ir::Shape reduced = v.dims;
    const int64_t logical = n.integer("axis", 0);
    reduced[static_cast<size_t>(logical < 0 ? logical + rank : logical)] = 1;
    const int32_t output = new_tensor(PITH_I32, ordered_dims(reduced, order), {}, value(n.outputs[0]).name);
    emit(PITH_OPCODE_ArgReduce, {input}, {output}, {n.op == Op::kArgMin, axis, static_cast<int32_t>(n.integer("select_last_index", 0))});
    View kept{output, 0, reduced, std::vector<int64_t>(reduced.size(), 1)};
    int64_t step = 1;
    for (size_t i = order.size(); i-- > 0;) {
      kept.strides[static_cast<size_t>(order[i])] = step;
      step *= reduced[static_cast<size_t>(order[i])];
    }
    define_view(n.outputs[0], *reshaped_view(kept, value(n.outputs[0]).shape));
    return {};
  }
  if (n.op == Op::kTopK) {
    const auto output = [&](size_t i) { return i < n.outputs.size() && n.outputs[i] != ir::kNoValue ? result_tensor(n, i, order, false) : kNone; };
    const int32_t values = output(0), indices = output(1);
    emit(PITH_OPCODE_TopK, {input}, {values, indices},
         {static_cast<int32_t>(n.integer("k", 1)), axis, static_cast<int32_t>(n.integer("largest", 1)), static_cast<int32_t>(n.integer("sorted", 1))});
    if (values != kNone) define(n, 0, values, order);
    if (indices != kNone) define(n, 1, indices, order);
    return {};
  }
  const int32_t output = result_tensor(n, 0, order, false);
  if (n.op == Op::kCumSum) {
    emit(PITH_OPCODE_CumSum, {input}, {output}, {axis, static_cast<int32_t>(n.integer("exclusive", 0)), static_cast<int32_t>(n.integer("reverse", 0))});
  } else {
    emit(PITH_OPCODE_Softmax, {input}, {output}, {n.op == Op::kSoftmax ? 0 : n.op == Op::kLogSoftmax ? 1 : 2, axis});
  }
  define(n, 0, output, order);
  return {};
}

namespace {

// Makes a constant of two rows out of a scale of one: the powers of two that a row is multiplied by first are the second.
void add_spread(ProgramConstant& k, const std::vector<int64_t>& spread) {
  k.dims = {2, static_cast<int32_t>(spread.size())};
  if (k.dtype == PITH_I8) {  // each row has a step: the second's is 1
    k.scale_codes = {k.scale_codes.at(0), 0};
    k.bits = 8;
    for (int64_t s : spread) k.integers.push_back(1 << s);
  } else {
    for (int64_t s : spread) k.reals.push_back(static_cast<float>(1 << s));
  }
}

}  // namespace

// Layer and RMS normalisation work over the trailing dimensions in logical order; instance and group normalisation on
// channels-last images.
Result<void> Lowering::lower_norm(const ir::Node& n) {
  const ir::Value& x = value(n.inputs[0]);
  const size_t rank = x.shape.size();
  if (rank > PITH_MAX_RANK) return unsupported(n, fmt::format("rank {} is above {}", rank, PITH_MAX_RANK));
  const bool images = n.op == Op::kInstanceNormalization || n.op == Op::kGroupNormalization;
  const Order order = images ? channels_last_order(rank) : identity_order(rank);
  const bool integers = (n.op == Op::kLayerNormalization || n.op == Op::kRMSNormalization) && is_u8(n.inputs[0]) && is_u8(n.outputs[0]);
  const int32_t input = dense(integers ? view(n.inputs[0]) : real_view(n.inputs[0]), order);
  for (size_t i = 1; i < n.outputs.size(); ++i) {
    if (n.outputs[i] != ir::kNoValue) return unsupported(n, "the mean or deviation as a result; only the normalised value is supported");
  }
  int32_t kind = 0, axis = 0, groups = 1;
  switch (n.op) {
    case Op::kLayerNormalization: kind = 0; break;
    case Op::kRMSNormalization: kind = 1; break;
    case Op::kInstanceNormalization: kind = 2; break;
    case Op::kGroupNormalization: kind = 3; break;
    default: kind = n.integer("p", 2) == 1 ? 4 : 5; break;
  }
  if (!images) axis = physical_axis(order, n.integer("axis", -1));
  if (kind == 3) groups = static_cast<int32_t>(n.integer("num_groups", 1));
  const auto parameter = [&](size_t slot) -> Result<int32_t> {
    if (!present(n, slot)) return kNone;
    const ir::Value& p = value(n.inputs[slot]);
    if (!p.is_constant()) return unsupported(n, "scale or bias that is computed; only constants are supported");
    ir::Tensor t = real_values(n.inputs[slot]);
    int64_t wanted = images ? x.shape[1] : 1;
    for (size_t d = static_cast<size_t>(axis); !images && d < rank; ++d) wanted *= x.shape[d];
    ir::Tensor full(ir::DType::kF32, {wanted});
    const int64_t have = t.count();
    if (have == wanted) return float_constant(n.inputs[slot], {static_cast<int32_t>(wanted)});
    // a scalar or per-group parameter is written out; ONNX broadcasts trailing dimensions, groups are runs of channels
    for (int64_t i = 0; i < wanted; ++i) full.mut<float>()[static_cast<size_t>(i)] = t.as<float>()[static_cast<size_t>(kind == 3 && have != wanted ? i / (wanted / have) : i % have)];
    return real_constant(full, {static_cast<int32_t>(wanted)}, p.name);
  };
  PITH_TRY(const int32_t scale, parameter(1));
  PITH_TRY(const int32_t bias, parameter(2));
  if (n.has("spread")) add_spread(program.constants[static_cast<size_t>(scale - kConstantBase)], n.integers("spread"));
  const int32_t output = result_tensor(n, 0, order, integers);
  set_activation(emit(PITH_OPCODE_Norm, {input, scale, bias}, {output}, {kind, axis, groups}, {static_cast<float>(n.real("epsilon", kind >= 4 ? 0 : 1e-5))}), n, integers);
  define(n, 0, output, order);
  return {};
}

}  // namespace pith
