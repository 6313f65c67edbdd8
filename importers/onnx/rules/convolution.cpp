// Convolutions, pooling and matrix products. Their attributes carry over; what changed with the opsets is Gemm's
// broadcasting (before 7), LpPool's real-valued p (before 2) and which attributes exist at all.
#include <fmt/format.h>

#include <cmath>

#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::Shape;
using ir::ValueId;

constexpr const char* kWindow = "kernel_shape:I strides:I pads:I dilations:I auto_pad:s";

Result<void> check_spatial(const NodeContext& n, ValueId x) {
  const int64_t spatial = n.builder.rank(x) - 2;
  if (spatial == 1 || spatial == 2) return {};
  return unsupported(fmt::format("it works on {} spatial dimensions; pith has 1-D and 2-D: reshape the data in the model",
                                 std::max<int64_t>(spatial, 0)));
}

Result<void> conv(NodeContext& n) {
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  PITH_TRY(const ValueId x, n.input(0));
  PITH_CHECK_OK(check_spatial(n, x));
  Attributes attributes = n.copy(kWindow);
  attributes.merge(n.copy("group:i"));
  return n.emit(Op::kConv, std::move(operands), std::move(attributes));
}

Result<void> conv_transpose(NodeContext& n) {
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  PITH_TRY(const ValueId x, n.input(0));
  PITH_CHECK_OK(check_spatial(n, x));
  Attributes attributes = n.copy(kWindow);
  attributes.merge(n.copy("group:i output_padding:I output_shape:I"));
  return n.emit(Op::kConvTranspose, std::move(operands), std::move(attributes));
}

template <Op op>
Result<void> pool(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  PITH_CHECK_OK(check_spatial(n, x));
  Attributes attributes = n.copy(kWindow);
  attributes.merge(n.copy("ceil_mode:i"));
  if (op == Op::kMaxPool) attributes.merge(n.copy("storage_order:i"));
  if (op == Op::kAveragePool) attributes.merge(n.copy("count_include_pad:i"));
  if (op == Op::kLpPool && n.has("p")) attributes["p"] = n.opset < 2 ? static_cast<int64_t>(n.real("p", 2)) : n.integer("p", 2);
  return n.emit_wanted(op, {x}, std::move(attributes), op == Op::kMaxPool ? 2 : 1);
}

// The p-norm over all spatial positions.
Result<void> global_lp_pool(NodeContext& n) {
  const int64_t p = n.opset < 2 ? static_cast<int64_t>(n.real("p", 2)) : n.integer("p", 2);
  if (p != 1 && p != 2) return unsupported(fmt::format("p = {} isn't supported; pith has 1 and 2", p));
  PITH_TRY(const ValueId x, n.input(0));
  std::vector<int64_t> axes;
  for (int64_t d = 2; d < n.builder.rank(x); ++d) axes.push_back(d);
  if (axes.empty()) return usage_error("its input has no spatial dimensions; export the model again");
  return n.emit(p == 1 ? Op::kReduceL1 : Op::kReduceL2, {x}, {{"axes", axes}});
}

Result<void> gemm(NodeContext& n) {
  PITH_TRY(std::vector<ValueId> operands, n.all_inputs());
  n.ignore({"broadcast"});  // before opset 7; numpy's rule covers what it allowed
  return n.emit(Op::kGemm, std::move(operands), n.copy("alpha:f beta:f transA:i transB:i"));
}

}  // namespace

void add_convolution_rules(Rules& r) {
  r["Conv"] = {conv};
  r["ConvTranspose"] = {conv_transpose};
  r["MaxPool"] = {pool<Op::kMaxPool>};
  r["AveragePool"] = {pool<Op::kAveragePool>};
  r["LpPool"] = {pool<Op::kLpPool>};
  r["GlobalAveragePool"] = {nullptr, Op::kGlobalAveragePool, ""};
  r["GlobalMaxPool"] = {nullptr, Op::kGlobalMaxPool, ""};
  r["GlobalLpPool"] = {global_lp_pool};
  r["Gemm"] = {gemm};
  r["MatMul"] = {nullptr, Op::kMatMul, ""};
  r["Einsum"] = {nullptr, Op::kEinsum, "equation:s"};
}

}  // namespace pith::importers
