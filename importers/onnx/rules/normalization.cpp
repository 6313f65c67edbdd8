// Normalisations and softmax in their inference forms.
#include <fmt/format.h>

#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::Shape;
using ir::ValueId;

Result<void> batch_normalization(NodeContext& n) {
  n.ignore({"momentum", "is_test"});
  if (n.integer("spatial", 1) != 1) return unsupported("statistics per activation (spatial = 0) aren't supported; export per channel");
  bool more = n.integer("training_mode", 0) != 0;
  for (size_t i = 1; i < n.node.outputs.size(); ++i) more = more || n.wants_output(i);
  if (more) return unsupported("it is in training mode; export the model in inference mode (model.eval())");
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  return n.emit(Op::kBatchNormalization, std::move(operands), n.copy("epsilon:f"));
}

Result<void> layer_normalization(NodeContext& n) {
  n.ignore({"stash_type"});
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  return n.emit_wanted(Op::kLayerNormalization, std::move(operands), n.copy("axis:i epsilon:f"), 3);
}

Result<void> rms_normalization(NodeContext& n) {
  n.ignore({"stash_type"});
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  return n.emit(Op::kRMSNormalization, std::move(operands), n.copy("axis:i epsilon:f"));
}

Result<void> group_normalization(NodeContext& n) {
  n.ignore({"stash_type"});
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  return n.emit(Op::kGroupNormalization, std::move(operands), n.copy("num_groups:i epsilon:f"));
}

// (x - mean) / (sqrt(mean(x^2) - mean^2) + 1e-9): ONNX's function of the operator.
Result<void> mean_variance(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  const std::vector<int64_t> axes = n.has("axes") ? n.integers("axes") : std::vector<int64_t>{0, 2, 3};
  Builder& b = n.builder;
  PITH_TRY(const ValueId mean, b.add(Op::kReduceMean, {x}, {{"axes", axes}}));
  PITH_TRY(const ValueId centred, b.add(Op::kSub, {x, mean}));
  PITH_TRY(const ValueId square, b.add(Op::kMul, {centred, centred}));
  PITH_TRY(const ValueId variance, b.add(Op::kReduceMean, {square}, {{"axes", axes}}));
  PITH_TRY(const ValueId deviation, b.add(Op::kSqrt, {variance}));
  PITH_TRY(const ValueId divisor, b.add(Op::kAdd, {deviation, b.scalar(1e-9f)}));
  return n.emit(Op::kDiv, {centred, divisor});
}

// Before opset 13 all dimensions from `axis` on (default 1) were one: flatten to a matrix and back.
template <Op op>
Result<void> softmax(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  if (n.opset >= 13) return n.emit(op, {x}, n.copy("axis:i"));
  const Shape shape = n.builder.shape(x);
  const int64_t rank = n.builder.rank(x);
  int64_t axis = n.integer("axis", 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis > rank) return usage_error(fmt::format("axis {} is outside its input's {} dimensions; export the model again", axis, rank));
  if (axis == rank - 1) return n.emit(op, {x}, {{"axis", int64_t{-1}}});
  Shape matrix{1, 1};
  for (int64_t d = 0; d < rank; ++d) matrix[d < axis ? 0 : 1] *= shape[static_cast<size_t>(d)];
  PITH_TRY(const ValueId flat, n.builder.reshape(x, matrix));
  PITH_TRY(const ValueId y, n.builder.add(op, {flat}, {{"axis", int64_t{-1}}}));
  PITH_TRY(const ValueId back, n.builder.reshape(y, shape));
  n.set(0, back);
  return {};
}

}  // namespace

void add_normalization_rules(Rules& r) {
  r["BatchNormalization"] = {batch_normalization};
  r["InstanceNormalization"] = {nullptr, Op::kInstanceNormalization, "epsilon:f"};
  r["LayerNormalization"] = {layer_normalization};
  r["RMSNormalization"] = {rms_normalization};
  r["GroupNormalization"] = {group_normalization};
  r["LpNormalization"] = {nullptr, Op::kLpNormalization, "axis:i p:i"};
  r["LRN"] = {nullptr, Op::kLRN, "size:i alpha:f beta:f bias:f"};
  r["MeanVarianceNormalization"] = {mean_variance};
  r["Softmax"] = {softmax<Op::kSoftmax>};
  r["LogSoftmax"] = {softmax<Op::kLogSoftmax>};
  r["Hardmax"] = {softmax<Op::kHardmax>};
}

}  // namespace pith::importers
