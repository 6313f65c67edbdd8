// If, Loop and Scan, resolved at import: a branch with a constant condition is walked in place, a loop whose trip count and
// condition are constant is unrolled, a scan is unrolled over its static length. An If whose condition is only known at
// run time computes both branches and selects, which is the same because operators have no effects.
#include <fmt/format.h>

#include <algorithm>

#include "importers/onnx/element_types.h"
#include "importers/onnx/node_context.h"

namespace pith::importers {
namespace {

using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;
using Operands = std::vector<Operand>;

constexpr int64_t kMostTrips = 100'000;

std::string label(const NodeContext& n) { return n.node.name.empty() ? n.node.op : n.node.name; }

Operand tensor_operand(ValueId id, int32_t type = kUndefined) {
  Operand o;
  o.kind = Operand::Kind::kTensor;
  o.id = id;
  o.element_type = type;
  return o;
}

Result<void> set_outputs(NodeContext& n, const Operands& values) {
  if (values.size() < n.outputs.size()) return usage_error("its subgraph has too few outputs; export the model again");
  for (size_t i = 0; i < n.outputs.size(); ++i) n.set(i, values[i]);
  return {};
}

Result<void> select(NodeContext& n, ValueId condition, const Operands& yes, const Operands& no) {
  PITH_TRY(const ValueId flag, n.builder.reshape(condition, {}));
  for (size_t i = 0; i < n.outputs.size(); ++i) {
    if (i >= yes.size() || i >= no.size()) return usage_error("its branches have too few outputs; export the model again");
    const Operand &a = yes[i], &b = no[i];
    if (a.kind == Operand::Kind::kUnknown || b.kind == Operand::Kind::kUnknown) {
      n.set(i, a.kind == Operand::Kind::kUnknown ? a : b);
      continue;
    }
    if (a.kind != Operand::Kind::kTensor || b.kind != Operand::Kind::kTensor || n.builder.shape(a.id) != n.builder.shape(b.id))
      return unsupported("its condition is only known at run time and its branches differ in shape; fix the input that decides it");
    PITH_TRY(const ValueId chosen, n.builder.add(Op::kWhere, {flag, a.id, b.id}));
    n.set(i, chosen, a.element_type);
  }
  return {};
}

Result<void> if_node(NodeContext& n) {
  PITH_TRY(const ValueId condition, n.input(0));
  const auto then_branch = n.graph("then_branch"), else_branch = n.graph("else_branch");
  if (!then_branch || !else_branch) return usage_error("it lacks a branch; export the model again");
  if (ir::element_count(n.builder.shape(condition)) != 1) return usage_error("its condition isn't one value; export the model again");
  const auto walk = [&](const SourceGraph& g) { return n.translator.walk_graph(g, n.scope, label(n), {}); };
  if (const Tensor* known = n.content(0)) {
    PITH_TRY(const Operands results, walk(known->at(0) != 0 ? *then_branch : *else_branch));
    return set_outputs(n, results);
  }
  PITH_TRY(const Operands yes, walk(*then_branch));
  PITH_TRY(const Operands no, walk(*else_branch));
  return select(n, condition, yes, no);
}

// Per-trip results joined along a new dimension `axis`.
Result<Operand> stacked(NodeContext& n, const Operands& trips, int64_t axis, const SourceValue& formal) {
  if (trips.empty()) {
    Shape shape{0};
    for (const SourceDimension& d : formal.shape.value_or(std::vector<SourceDimension>())) shape.push_back(std::max<int64_t>(d.size, 0));
    return tensor_operand(n.builder.constant(Tensor(widened(formal.element_type).value_or(ir::DType::kF32), shape)));
  }
  std::vector<ValueId> parts;
  for (const Operand& o : trips) {
    if (o.kind == Operand::Kind::kUnknown) return o;
    if (o.kind != Operand::Kind::kTensor) return unsupported("it collects sequences, which pith can't stack; collect tensors");
    Shape shape = n.builder.shape(o.id);
    const int64_t rank = static_cast<int64_t>(shape.size()) + 1;
    const int64_t at = axis < 0 ? axis + rank : axis;
    if (at < 0 || at >= rank) return usage_error(fmt::format("scan output axis {} is out of range; export the model again", axis));
    axis = at;
    shape.insert(shape.begin() + at, 1);
    PITH_TRY(const ValueId part, n.builder.reshape(o.id, shape));
    parts.push_back(part);
  }
  if (parts.size() == 1) return tensor_operand(parts[0], trips[0].element_type);
  PITH_TRY(const ValueId all, n.builder.add(Op::kConcat, std::move(parts), {{"axis", axis}}));
  return tensor_operand(all, trips[0].element_type);
}

Result<void> loop(NodeContext& n) {
  const auto body = n.graph("body");
  const size_t carried = n.inputs.size() < 2 ? 0 : n.inputs.size() - 2;
  if (!body || body->outputs.size() < carried + 1 || body->inputs.size() < carried + 2)
    return usage_error("its body doesn't match its inputs; export the model again");
  int64_t trips = kMostTrips + 1;
  if (n.has_input(0)) {
    PITH_TRY(trips, n.constant_integer(0, "trip count"));
  }
  Operand condition = tensor_operand(n.builder.constant(Tensor::of<uint8_t>(ir::DType::kBool, {}, {1})), kBool);
  if (n.has_input(1)) condition = n.inputs[1];
  Operands state(n.inputs.begin() + static_cast<long>(std::min<size_t>(2, n.inputs.size())), n.inputs.end());
  std::vector<Operands> collected(body->outputs.size() - carried - 1);
  for (int64_t trip = 0; trip < trips; ++trip) {
    if (condition.kind == Operand::Kind::kUnknown) break;
    const Tensor* goes_on = condition.kind == Operand::Kind::kTensor ? n.builder.content(condition.id) : nullptr;
    if (!goes_on || goes_on->count() != 1)
      return unsupported("its condition is only known at run time; export with a fixed number of iterations");
    if (goes_on->at(0) == 0) break;
    if (trip >= kMostTrips) return unsupported("it runs more than 100000 times; export with fewer iterations");
    Operands inputs{tensor_operand(n.builder.constant(Tensor::i64({}, {trip})), kInt64), condition};
    inputs.insert(inputs.end(), state.begin(), state.end());
    PITH_TRY(const Operands results, n.translator.walk_graph(*body, n.scope, fmt::format("{}.{}", label(n), trip), inputs));
    condition = results[0];
    for (size_t i = 0; i < carried; ++i) state[i] = results[i + 1];
    for (size_t i = 0; i < collected.size(); ++i) collected[i].push_back(results[i + 1 + carried]);
  }
  for (size_t i = 0; i < collected.size(); ++i) {
    PITH_TRY(Operand all, stacked(n, collected[i], 0, body->outputs[i + 1 + carried]));
    state.push_back(std::move(all));
  }
  return set_outputs(n, state);
}

struct ScanAxes {
  std::vector<int64_t> input_axes, input_directions, output_axes, output_directions;
};

Result<Operands> scan_step_inputs(NodeContext& n, const Operands& state, size_t scans, const ScanAxes& axes, int64_t step, int64_t length) {
  Operands inputs = state;
  for (size_t i = 0; i < scans; ++i) {
    const size_t k = state.size() + i;
    const int64_t at = axes.input_directions[i] ? length - 1 - step : step;
    PITH_TRY(const ValueId whole, n.input(k));
    PITH_TRY(const ValueId part, n.builder.add(Op::kGather, {whole, n.builder.constant(Tensor::i64({}, {at}))}, {{"axis", axes.input_axes[i]}}));
    inputs.push_back(tensor_operand(part, n.element_type(k)));
  }
  return inputs;
}

Result<void> scan(NodeContext& n) {
  if (n.opset < 9) return unsupported("Scan of opset 8 isn't supported; export with opset 9 or newer");
  const auto body = n.graph("body");
  const int64_t count = n.integer("num_scan_inputs", 0);
  if (!body || count < 1 || count > static_cast<int64_t>(n.inputs.size())) return usage_error("it lacks a body or scan inputs; export the model again");
  const size_t scans = static_cast<size_t>(count), carried = n.inputs.size() - scans;
  if (body->outputs.size() < carried) return usage_error("its body doesn't match its inputs; export the model again");
  ScanAxes axes{n.integers("scan_input_axes"), n.integers("scan_input_directions"), n.integers("scan_output_axes"),
                n.integers("scan_output_directions")};
  const size_t results_count = body->outputs.size() - carried;
  axes.input_axes.resize(scans, 0);
  axes.input_directions.resize(scans, 0);
  axes.output_axes.resize(results_count, 0);
  axes.output_directions.resize(results_count, 0);

  PITH_TRY(const ValueId first, n.input(carried));
  const int64_t rank = n.builder.rank(first), axis = axes.input_axes[0] < 0 ? axes.input_axes[0] + rank : axes.input_axes[0];
  if (axis < 0 || axis >= rank) return usage_error("its scan axis is out of range; export the model again");
  const int64_t length = n.builder.shape(first)[static_cast<size_t>(axis)];
  if (length > kMostTrips) return unsupported("it runs more than 100000 times; give a shorter sequence");
  Operands state(n.inputs.begin(), n.inputs.begin() + static_cast<long>(carried));
  std::vector<Operands> collected(results_count);
  for (int64_t step = 0; step < length; ++step) {
    PITH_TRY(const Operands inputs, scan_step_inputs(n, state, scans, axes, step, length));
    PITH_TRY(const Operands results, n.translator.walk_graph(*body, n.scope, fmt::format("{}.{}", label(n), step), inputs));
    for (size_t i = 0; i < carried; ++i) state[i] = results[i];
    for (size_t i = 0; i < results_count; ++i) collected[i].push_back(results[carried + i]);
  }
  for (size_t i = 0; i < results_count; ++i) {
    if (axes.output_directions[i]) std::reverse(collected[i].begin(), collected[i].end());
    PITH_TRY(Operand all, stacked(n, collected[i], axes.output_axes[i], body->outputs[carried + i]));
    state.push_back(std::move(all));
  }
  return set_outputs(n, state);
}

}  // namespace

void add_control_rules(Rules& r) {
  r["If"] = {if_node};
  r["Loop"] = {loop};
  r["Scan"] = {scan};
}

}  // namespace pith::importers
