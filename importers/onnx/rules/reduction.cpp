// Reductions: their axes are an attribute before opset 18 (13 for ReduceSum) and a constant input since.
#include <fmt/format.h>

#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::ValueId;

template <Op op>
Result<void> reduce(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  Attributes a = n.copy("keepdims:i noop_with_empty_axes:i axes:I");
  if (n.has_input(1)) {
    PITH_TRY(const std::vector<int64_t> axes, n.constant_integers(1, "axes"));
    if (!axes.empty()) a["axes"] = axes;
  }
  return n.emit(op, {x}, std::move(a));
}

Result<void> cum_sum(NodeContext& n) {
  PITH_TRY(const ValueId x, n.input(0));
  Attributes a = n.copy("exclusive:i reverse:i");
  PITH_TRY(a["axis"], n.constant_integer(1, "axis"));
  return n.emit(Op::kCumSum, {x}, std::move(a));
}

}  // namespace

void add_reduction_rules(Rules& r) {
  r["ReduceMean"] = {reduce<Op::kReduceMean>};
  r["ReduceSum"] = {reduce<Op::kReduceSum>};
  r["ReduceMax"] = {reduce<Op::kReduceMax>};
  r["ReduceMin"] = {reduce<Op::kReduceMin>};
  r["ReduceProd"] = {reduce<Op::kReduceProd>};
  r["ReduceL1"] = {reduce<Op::kReduceL1>};
  r["ReduceL2"] = {reduce<Op::kReduceL2>};
  r["ReduceSumSquare"] = {reduce<Op::kReduceSumSquare>};
  r["ReduceLogSum"] = {reduce<Op::kReduceLogSum>};
  r["ReduceLogSumExp"] = {reduce<Op::kReduceLogSumExp>};
  r["ArgMax"] = {nullptr, Op::kArgMax, "axis:i keepdims:i select_last_index:i"};
  r["ArgMin"] = {nullptr, Op::kArgMin, "axis:i keepdims:i select_last_index:i"};
  r["CumSum"] = {cum_sum};
}

}  // namespace pith::importers
