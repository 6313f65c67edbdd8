// See rewriter.h.
#include "importers/onnx/rewriter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ir/interpret.h"

namespace pith::importers {

using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

namespace {
constexpr int64_t kMostFoldedBytes = int64_t{1} << 30;
}

Rewriter::Rewriter(ir::Graph& g) : graph(g) {
  maker_ = ir::producers(graph);
  uses_.assign(graph.values.size(), 0);
  pinned_.assign(graph.values.size(), false);
  dead_.assign(graph.nodes.size(), false);
  for (const Node& n : graph.nodes) retain(n);
  const auto pin = [&](ValueId id) { pinned_[static_cast<size_t>(id)] = true; };
  for (const ValueId id : graph.inputs) pin(id);
  for (const ValueId id : graph.outputs) pin(id);
  for (const auto& [in, out] : graph.state) pin(in), pin(out);
}

void Rewriter::retain(const Node& node) {
  for (const ValueId id : node.inputs)
    if (id != ir::kNoValue) ++uses_[static_cast<size_t>(id)];
}

// Drops a node's reads; what nobody needs any more dies with it.
void Rewriter::release(const Node& node) {
  for (const ValueId id : node.inputs) {
    if (id == ir::kNoValue) continue;
    const size_t v = static_cast<size_t>(id);
    if (--uses_[v] > 0 || pinned_[v] || maker_[v] < 0) continue;
    const Node& made_by = graph.nodes[static_cast<size_t>(maker_[v])];
    const bool needed = std::any_of(made_by.outputs.begin(), made_by.outputs.end(), [&](ValueId o) {
      return o != ir::kNoValue && (uses_[static_cast<size_t>(o)] > 0 || pinned_[static_cast<size_t>(o)]);
    });
    if (!needed && !dead_[static_cast<size_t>(maker_[v])]) kill(static_cast<size_t>(maker_[v]));
  }
}

void Rewriter::kill(size_t i) {
  dead_[i] = true;
  release(graph.nodes[i]);
}

const Node* Rewriter::maker(ValueId id) const {
  const int i = maker_index(id);
  return i < 0 ? nullptr : &graph.nodes[static_cast<size_t>(i)];
}

const Node* Rewriter::maker(ValueId id, Op op) const {
  const Node* n = maker(id);
  return n && n->op == op && n->outputs[0] == id && n->activation == ir::Activation() ? n : nullptr;
}

bool Rewriter::sole(ValueId id) const { return uses_[static_cast<size_t>(id)] == 1 && !pinned_[static_cast<size_t>(id)]; }

const Tensor* Rewriter::content(ValueId id) const {
  if (id == ir::kNoValue) return nullptr;
  const auto& c = graph.value(id).constant;
  return c ? &*c : nullptr;
}

std::optional<double> Rewriter::scalar(ValueId id) const {
  const Tensor* t = content(id);
  return t && t->count() == 1 ? std::optional(t->at(0)) : std::nullopt;
}

bool Rewriter::is_scalar(ValueId id, double value, double tolerance) const {
  const auto s = scalar(id);
  return s && std::abs(*s - value) <= tolerance * std::max(std::abs(value), 1e-30);
}

std::optional<Rewriter::Scaled> Rewriter::with_right_scalar(const Node* n) const {
  if (!n || n->inputs.size() < 2) return std::nullopt;
  const auto c = scalar(n->inputs[1]);
  // a constant of higher rank would change the result's shape
  if (!c || rank(n->inputs[1]) > rank(n->inputs[0])) return std::nullopt;
  return Scaled{n->inputs[0], *c};
}

std::optional<Rewriter::Scaled> Rewriter::with_scalar(const Node* n) const {
  if (auto right = with_right_scalar(n)) return right;
  if (!n || n->inputs.size() < 2) return std::nullopt;
  const auto c = scalar(n->inputs[0]);
  if (!c || rank(n->inputs[0]) > rank(n->inputs[1])) return std::nullopt;
  return Scaled{n->inputs[1], *c};
}

bool Rewriter::replace(size_t i, Op op, std::vector<ValueId> inputs, Attributes attributes, ir::Activation activation) {
  const Node old = graph.nodes[i];
  while (!inputs.empty() && inputs.back() == ir::kNoValue) inputs.pop_back();
  Node now;
  now.op = op;
  now.name = old.name;
  now.inputs = std::move(inputs);
  now.outputs = {old.outputs[0]};
  now.attributes = std::move(attributes);
  now.activation = activation;
  ir::Value& result = graph.value(old.outputs[0]);
  const ir::DType dtype = result.dtype;
  const ir::Shape shape = result.shape;
  const bool fits = ir::infer_shapes(graph, now).ok() && result.dtype == dtype && result.shape == shape;
  if (!fits) {
    result.dtype = dtype;
    result.shape = shape;
    return false;
  }
  graph.nodes[i] = now;
  retain(now);
  release(old);
  ++changes_;
  return true;
}

ValueId Rewriter::constant(const std::string& name, Tensor tensor) {
  const ValueId id = graph.add_constant(fmt::format("{}/{}", name, graph.values.size()), std::move(tensor));
  maker_.resize(graph.values.size(), -1);
  uses_.resize(graph.values.size(), 0);
  pinned_.resize(graph.values.size(), false);
  return id;
}

ValueId Rewriter::insert(size_t i, Op op, std::vector<ValueId> inputs, Attributes attributes) {
  if (std::find(inputs.begin(), inputs.end(), ir::kNoValue) != inputs.end()) return ir::kNoValue;
  Node n;
  n.op = op;
  n.name = graph.nodes[i].name;
  n.inputs = std::move(inputs);
  n.attributes = std::move(attributes);
  ir::Value v;
  v.name = fmt::format("{}/{}_{}", graph.value(graph.nodes[i].outputs[0]).name, ir::op_name(op), graph.values.size());
  const ValueId id = graph.add_value(std::move(v));
  n.outputs = {id};
  maker_.resize(graph.values.size(), -1);
  uses_.resize(graph.values.size(), 0);
  pinned_.resize(graph.values.size(), false);
  if (!ir::infer_shapes(graph, n).ok()) return ir::kNoValue;
  const bool foldable = std::all_of(n.inputs.begin(), n.inputs.end(), [&](ValueId in) { return graph.value(in).is_constant(); });
  if (foldable && ir::element_count(shape(id)) * 8 < kMostFoldedBytes) {
    std::vector<const Tensor*> operands;
    for (const ValueId in : n.inputs) operands.push_back(content(in));
    Result<std::vector<Tensor>> folded = ir::interpret_node(graph, n, operands);
    if (!folded.ok()) return ir::kNoValue;
    graph.value(id).constant = std::move((*folded)[0]);
    return id;
  }
  retain(n);
  inserted_[i].push_back(std::move(n));
  return id;
}

bool Rewriter::bypass(size_t i, ValueId other) {
  const ValueId mine = graph.nodes[i].outputs[0];
  ValueId gone = mine, kept = other;
  const int made_by = maker_index(other);
  if (pinned_[static_cast<size_t>(mine)]) {
    // The result's name must stay: the other value takes it over, when it has no name of its own to keep.
    if (made_by < 0 || pinned_[static_cast<size_t>(other)]) return false;
    std::swap(gone, kept);
  }
  for (Node& n : graph.nodes) std::replace(n.inputs.begin(), n.inputs.end(), gone, kept);
  for (auto& [at, nodes] : inserted_)
    for (Node& n : nodes) std::replace(n.inputs.begin(), n.inputs.end(), gone, kept);
  uses_[static_cast<size_t>(kept)] += uses_[static_cast<size_t>(gone)];
  uses_[static_cast<size_t>(gone)] = 0;
  if (gone == other) {
    Node& source = graph.nodes[static_cast<size_t>(made_by)];
    std::replace(source.outputs.begin(), source.outputs.end(), other, mine);
    maker_[static_cast<size_t>(mine)] = made_by;
    maker_[static_cast<size_t>(other)] = -1;
    graph.nodes[i].outputs[0] = other;
    graph.nodes[i].inputs.clear();  // it read `other`, which is now `mine`
    --uses_[static_cast<size_t>(mine)];
  }
  if (!dead_[i]) kill(i);
  ++changes_;
  return true;
}

void Rewriter::absorb(size_t i, size_t successor) {
  Node &n = graph.nodes[i], &next = graph.nodes[successor];
  const ValueId result = next.outputs[0], own = n.outputs[0];
  n.outputs[0] = result;
  maker_[static_cast<size_t>(result)] = static_cast<int>(i);
  maker_[static_cast<size_t>(own)] = -1;
  next.outputs[0] = own;
  kill(successor);
  ++changes_;
}

int Rewriter::finish() {
  std::vector<Node> nodes;
  for (size_t i = 0; i < dead_.size(); ++i) {
    if (const auto extra = inserted_.find(i); extra != inserted_.end())
      nodes.insert(nodes.end(), std::make_move_iterator(extra->second.begin()), std::make_move_iterator(extra->second.end()));
    if (!dead_[i]) nodes.push_back(std::move(graph.nodes[i]));
  }
  graph.nodes = std::move(nodes);
  ir::remove_dead(graph);
  return changes_;
}

}  // namespace pith::importers
