// Operators that read or write by index, and those whose result is known at import (Shape, Range, Constant ...).
#include <fmt/format.h>

#include <algorithm>

#include "importers/onnx/element_types.h"
#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;

Result<ValueId> integer_indices(NodeContext& n, size_t i) {
  PITH_TRY(const ValueId id, n.input(i));
  const DType t = n.builder.dtype(id);
  if (t == DType::kI64 || t == DType::kI32) return id;
  return n.builder.cast(id, DType::kI64);
}

Result<void> one_hot(NodeContext& n) {
  PITH_TRY(const ValueId indices, integer_indices(n, 0));
  PITH_TRY(const Tensor depth, n.constant(1, "depth"));
  PITH_TRY(const Tensor values, n.constant(2, "values"));
  if (depth.count() != 1 || values.count() != 2) return usage_error("it needs one depth and two values; export the model again");
  const double size = depth.at(0);
  if (!(size >= 0 && size < 1e9)) return usage_error(fmt::format("its depth of {} is out of range; export the model again", size));
  Attributes a = n.copy("axis:i");
  a["depth"] = static_cast<int64_t>(size);
  a["off"] = values.at(0);
  a["on"] = values.at(1);
  a["to"] = std::string(ir::dtype_name(values.dtype()));
  return n.emit(Op::kOneHot, {indices}, std::move(a));
}

Result<void> compress(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const std::vector<int64_t> condition, n.constant_integers(1, "condition"));
  Attributes a = n.copy("axis:i");
  a["condition"] = condition;
  return n.emit(Op::kCompress, {x}, std::move(a));
}

Result<void> trilu(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  Attributes a = n.copy("upper:i");
  if (n.has_input(1)) {
    PITH_TRY(a["k"], n.constant_integer(1, "k"));
  }
  return n.emit(Op::kTrilu, {x}, std::move(a));
}

Result<void> reverse_sequence(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const ValueId lengths, integer_indices(n, 1));
  return n.emit(Op::kReverseSequence, {x, lengths}, n.copy("batch_axis:i time_axis:i"));
}

// ---- known at import ----

Result<void> shape(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  const Shape whole = n.builder.shape(x);
  const int64_t rank = n.builder.rank(x);
  int64_t start = n.integer("start", 0), end = n.integer("end", rank);
  if (start < 0) start += rank;
  if (end < 0) end += rank;
  start = std::clamp<int64_t>(start, 0, rank);
  end = std::clamp<int64_t>(end, start, rank);
  const std::vector<int64_t> part(whole.begin() + start, whole.begin() + end);
  n.set(0, n.builder.constant(Tensor::i64({end - start}, part)), kInt64);
  return {};
}

Result<void> size(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  n.set(0, n.builder.constant(Tensor::i64({}, {ir::element_count(n.builder.shape(x))})), kInt64);
  return {};
}

Result<DType> tensor_type(int32_t type) {
  if (const auto t = widened(type); t && element_bits(type) >= 8) return *t;
  return unsupported(fmt::format("tensors of {} aren't supported; export with float or int64", element_type_name(type)));
}

// A matrix like the operand; only its shape counts, so the operand's contents are replaced by zeros.
Result<void> eye_like(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  Attributes a = n.copy("k:i");
  PITH_TRY(const DType type, n.has("dtype") ? tensor_type(static_cast<int32_t>(n.integer("dtype", kFloat)))
                                            : Result<DType>(n.builder.dtype(x)));
  a["to"] = std::string(ir::dtype_name(type));
  return n.emit(Op::kEyeLike, {n.builder.constant(Tensor(type, n.builder.shape(x)))}, std::move(a));
}

Result<void> constant_of_shape(NodeContext& n) {
  PITH_TRY(const ValueId shape, n.input(0));
  PITH_TRY(const Tensor known, n.constant(0, "shape"));
  Attributes a;
  int32_t type = kFloat;
  if (const SourceTensor* value = n.tensor("value")) {
    if (!value->refusal.empty()) return unsupported(value->refusal + "; export without them");
    if (value->tensor.count() != 1) return usage_error("its value must be one number; export the model again");
    a["value"] = value->tensor.at(0);
    a["to"] = std::string(ir::dtype_name(value->tensor.dtype()));
    type = value->element_type;
  }
  PITH_CHECK_OK(n.emit(Op::kConstantOfShape, {shape}, std::move(a)));
  n.outputs[0].element_type = type;
  return {};
}

Result<void> range(NodeContext& n) {
  const char* names[] = {"start", "limit", "delta"};
  std::vector<ValueId> operands;
  n.ignore({"stash_type"});
  for (size_t i = 0; i < 3; ++i) {
    PITH_TRY(const Tensor t, n.constant(i, names[i]));
    PITH_TRY(const ValueId scalar, n.builder.reshape(n.inputs[i].id, {}));
    operands.push_back(scalar);
  }
  return n.emit(Op::kRange, std::move(operands));
}

Result<void> non_zero(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_TRY(const Tensor known, n.constant(0, "X"));
  return n.emit(Op::kNonZero, {x});
}

Result<void> constant(NodeContext& n) {
  const auto set = [&](Tensor t, int32_t type) { n.set(0, n.builder.constant(std::move(t)), type); };
  for (const char* name : {"value", "sparse_value"}) {
    const SourceTensor* t = n.tensor(name);
    if (t && !t->refusal.empty()) return unsupported(t->refusal + "; export without them");
    if (t) set(t->tensor, t->element_type);
  }
  const auto narrow = [](const std::vector<double>& v) { return std::vector<float>(v.begin(), v.end()); };
  const auto length = [](const auto& v) { return Shape{static_cast<int64_t>(v.size())}; };
  if (n.has("value_float")) set(Tensor::f32({}, narrow({n.real("value_float", 0)})), kFloat);
  if (n.has("value_floats")) set(Tensor::f32(length(n.reals("value_floats")), narrow(n.reals("value_floats"))), kFloat);
  if (n.has("value_int")) set(Tensor::i64({}, {n.integer("value_int", 0)}), kInt64);
  if (n.has("value_ints")) set(Tensor::i64(length(n.integers("value_ints")), n.integers("value_ints")), kInt64);
  if (n.outputs.empty() || n.outputs[0].kind == Operand::Kind::kOmitted)
    return unsupported("its value is a text or missing; pith holds numbers only");
  return {};
}

Result<void> top_k(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  Attributes a = n.copy("axis:i largest:i sorted:i");
  if (n.opset < 10) a["k"] = n.integer("k", 0);
  else {
    PITH_TRY(a["k"], n.constant_integer(1, "k"));
  }
  return n.emit_all(Op::kTopK, {x}, std::move(a), 2);
}

Result<void> non_max_suppression(NodeContext& n) {
  PITH_TRY(const ValueId boxes, n.input(0));
  PITH_TRY(const ValueId scores, n.input(1));
  Attributes a = n.copy("center_point_box:i");
  if (n.has_input(2)) {
    PITH_TRY(a["max_output_boxes_per_class"], n.constant_integer(2, "max_output_boxes_per_class"));
  }
  if (n.has_input(3)) {
    PITH_TRY(a["iou_threshold"], n.constant_real(3, "iou_threshold"));
  }
  if (n.has_input(4)) {
    PITH_TRY(a["score_threshold"], n.constant_real(4, "score_threshold"));
  }
  return n.emit(Op::kNonMaxSuppression, {boxes, scores}, std::move(a));
}

// Gather-like operators take int32 or int64 indices as they are.
template <Op op>
Result<void> indexed(NodeContext& n) {
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  const bool scatter = op == Op::kScatterElements || op == Op::kScatterND;
  if (op == Op::kGatherND) return n.emit(op, std::move(operands), n.copy("batch_dims:i"));
  if (op == Op::kScatterND) return n.emit(op, std::move(operands), n.copy("reduction:s"));
  return n.emit(op, std::move(operands), n.copy(scatter ? "axis:i reduction:s" : "axis:i"));
}

}  // namespace

void add_indexing_rules(Rules& r) {
  r["Gather"] = {indexed<Op::kGather>};
  r["GatherElements"] = {indexed<Op::kGatherElements>};
  r["GatherND"] = {indexed<Op::kGatherND>};
  r["ScatterND"] = {indexed<Op::kScatterND>};
  r["ScatterElements"] = {indexed<Op::kScatterElements>};
  r["Scatter"] = {indexed<Op::kScatterElements>};
  r["OneHot"] = {one_hot};
  r["Compress"] = {compress};
  r["Trilu"] = {trilu};
  r["ReverseSequence"] = {reverse_sequence};
  r["Shape"] = {shape};
  r["Size"] = {size};
  r["EyeLike"] = {eye_like};
  r["ConstantOfShape"] = {constant_of_shape};
  r["Range"] = {range};
  r["NonZero"] = {non_zero};
  r["Constant"] = {constant};
  r["TopK"] = {top_k};
  r["NonMaxSuppression"] = {non_max_suppression};
}

}  // namespace pith::importers
