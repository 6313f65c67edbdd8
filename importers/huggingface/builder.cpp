// See builder.h.
#include "importers/huggingface/builder.h"

#include <fmt/format.h>

#include <algorithm>

namespace pith::importers {

using ir::Op;
using ir::Tensor;

std::string NetworkBuilder::find(const std::string& name) const {
  for (const std::string& prefix : prefixes_) {
    if (weights_.has(prefix + name)) return prefix + name;
  }
  return "";
}

Tensor NetworkBuilder::weight(const std::string& name) {
  const std::string full = find(name);
  Result<Tensor> t = weights_.get(full.empty() ? name : full);
  if (!t.ok()) {
    fail(t.error());
    return Tensor::f32({0}, {});
  }
  return std::move(t).value();
}

NetworkBuilder::Id NetworkBuilder::input(const std::string& name, ir::DType dtype, ir::Shape shape) {
  ir::Value v;
  v.name = name;
  v.dtype = dtype;
  v.shape = std::move(shape);
  const Id id = graph.add_value(std::move(v));
  graph.inputs.push_back(id);
  return id;
}

void NetworkBuilder::output(Id id, const std::string& name) {
  graph.value(id).name = name;
  graph.outputs.push_back(id);
}

void NetworkBuilder::state(Id in, Id out, const std::string& name) {
  output(out, name + ".next");
  graph.state.emplace_back(in, out);
}

NetworkBuilder::Id NetworkBuilder::node(Op op, const std::string& name, std::vector<Id> inputs, std::map<std::string, ir::Attribute> attributes) {
  ir::Node n;
  n.op = op;
  n.name = name;
  n.inputs = std::move(inputs);
  n.attributes = std::move(attributes);
  ir::Value v;
  v.name = name;
  const Id id = graph.add_value(std::move(v));
  n.outputs = {id};
  if (!error_) {
    const Result<void> inferred = ir::infer_shapes(graph, n);
    if (!inferred.ok()) fail(inferred.error());
  }
  graph.nodes.push_back(std::move(n));
  return id;
}

NetworkBuilder::Id NetworkBuilder::linear(Id x, const std::string& name, const Tensor& weight, const std::optional<Tensor>& bias) {
  std::vector<Id> inputs = {x, constant(name + ".weight", weight)};
  if (bias) inputs.push_back(constant(name + ".bias", *bias));
  return node(Op::kMatMul, name, std::move(inputs));
}

NetworkBuilder::Id NetworkBuilder::linear(Id x, const std::string& name, bool transposed) {
  Tensor w = weight(name + ".weight");
  if (!transposed && w.shape().size() == 2) {
    const int64_t rows = w.shape()[0], columns = w.shape()[1];
    Tensor turned(ir::DType::kF32, {columns, rows});
    const auto from = w.as<float>();
    const auto to = turned.mut<float>();
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) to[static_cast<size_t>(c * rows + r)] = from[static_cast<size_t>(r * columns + c)];
    }
    w = std::move(turned);
  }
  return linear(x, name, w, has(name + ".bias") ? std::optional(weight(name + ".bias")) : std::nullopt);
}

NetworkBuilder::Id NetworkBuilder::layer_norm(Id x, const std::string& name, double epsilon) {
  const bool old = !has(name + ".weight") && has(name + ".gamma");
  return node(Op::kLayerNormalization, name, {x, constant(name + (old ? ".gamma" : ".weight")), constant(name + (old ? ".beta" : ".bias"))}, {{"axis", int64_t{-1}}, {"epsilon", epsilon}});
}

NetworkBuilder::Id NetworkBuilder::rms_norm(Id x, const std::string& name, double epsilon) {
  return node(Op::kRMSNormalization, name, {x, constant(name + ".weight")}, {{"axis", int64_t{-1}}, {"epsilon", epsilon}});
}

NetworkBuilder::Id NetworkBuilder::activation(Id x, const std::string& function, const std::string& name) {
  if (function == "gelu") return node(Op::kGelu, name, {x});
  if (function == "gelu_new" || function == "gelu_pytorch_tanh" || function == "gelu_fast") return node(Op::kGelu, name, {x}, {{"approximate", std::string("tanh")}});
  if (function == "relu") return node(Op::kRelu, name, {x});
  if (function == "silu" || function == "swish") return node(Op::kSilu, name, {x});
  fail(error(ErrorCode::kUnsupported, fmt::format("the activation function '{}' of config.json isn't supported; gelu, gelu_new, relu and silu are", function)));
  return x;
}

NetworkBuilder::Id NetworkBuilder::tied_logits(Id hidden, Id table, Id bias, const std::string& name) {
  std::vector<Id> inputs = {hidden, table};
  if (bias != ir::kNoValue) inputs.push_back(bias);
  const Id rows = node(Op::kGemm, name, std::move(inputs), {{"transB", int64_t{1}}});
  return reshape(rows, {graph.value(table).shape.empty() ? 0 : graph.value(table).shape[0]}, name + ".row");
}

Result<ir::Graph> NetworkBuilder::finish() {
  if (error_) return *error_;
  ir::remove_dead(graph);
  PITH_CHECK_OK(ir::verify(graph));
  return std::move(graph);
}

Result<void> check_sinks(int64_t context, int64_t sinks) {
  if (sinks < context) return {};
  return usage_error(fmt::format("of {} tokens that are remembered the first {} are kept, which leaves none for the latest; choose a smaller --dimension sinks or a larger context", context, sinks));
}

Step begin_step(NetworkBuilder& b, int64_t context, int64_t sinks) {
  Step s;
  s.context = context;
  s.token = b.input("token", ir::DType::kI64, {1, 1});
  s.position = b.input("position", ir::DType::kI64, {1});
  std::vector<int64_t> slots(static_cast<size_t>(context));
  for (size_t i = 0; i < slots.size(); ++i) slots[i] = static_cast<int64_t>(i);
  const auto range = [&](ir::Shape shape) { return b.constant("slots", Tensor::i64(std::move(shape), slots)); };
  const auto number = [&](const char* name, int64_t value) { return b.constant(name, Tensor::i64({1}, {value})); };
  auto slot = b.node(Op::kMod, "slot", {sinks == 0 ? s.position : b.node(Op::kSub, "beyond", {s.position, number("sinks", sinks)}), number("context", context - sinks)});
  if (sinks > 0) {
    const auto first = b.node(Op::kLess, "first", {s.position, number("sinks", sinks)});
    slot = b.node(Op::kWhere, "kept", {first, s.position, b.node(Op::kAdd, "rolled", {slot, number("sinks", sinks)})});
  }
  s.slot_mask = b.node(Op::kEqual, "slot_mask", {range({1, 1, context, 1}), slot});
  const auto known = b.node(Op::kLessOrEqual, "known", {range({1, 1, 1, context}), s.position});
  s.score_mask = b.node(Op::kWhere, "score_mask", {known, b.constant("zero", Tensor::f32({1}, {0})), b.constant("masked", Tensor::f32({1}, {-1e4f}))});
  return s;
}

NetworkBuilder::Id remember(NetworkBuilder& b, const Step& step, NetworkBuilder::Id fresh, int64_t heads, int64_t depth, const std::string& name) {
  const auto past = b.input(name, ir::DType::kF32, {1, heads, step.context, depth});
  const auto next = b.node(Op::kWhere, name + ".next", {step.slot_mask, fresh, past});
  b.state(past, next, name);
  return next;
}

}  // namespace pith::importers
