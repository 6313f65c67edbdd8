// The Graph's own bookkeeping: the operator table, attributes, who reads what, and removal of what nobody reads.
#include "ir/graph.h"

#include <unordered_map>

namespace pith::ir {
namespace {

constexpr const char* kOpNames[] = {
#define PITH_OP(name, ...) #name,
#include "ir/ops.inc"
#undef PITH_OP
};

constexpr IntegerForm exact = IntegerForm::kExact, table = IntegerForm::kTable, move = IntegerForm::kMove,
                      float_ = IntegerForm::kFloat;
#define PITH_FORM_exact exact
#define PITH_FORM_table table
#define PITH_FORM_move move
#define PITH_FORM_float float_
constexpr OpTraits kOpTraits[] = {
#define PITH_OP(name, least, most, outputs, family, form, since, note) \
  {least, most, outputs, #family, PITH_FORM_##form, since, note},
#include "ir/ops.inc"
#undef PITH_OP
};

template <typename T>
T attribute_or(const Node& node, const std::string& key, T otherwise) {
  const auto it = node.attributes.find(key);
  if (it == node.attributes.end()) return otherwise;
  const T* value = std::get_if<T>(&it->second);
  return value != nullptr ? *value : otherwise;
}

}  // namespace

const char* op_name(Op op) { return kOpNames[static_cast<size_t>(op)]; }
const OpTraits& op_traits(Op op) { return kOpTraits[static_cast<size_t>(op)]; }

std::optional<Op> op_from_name(std::string_view name) {
  static const auto* const kByName = [] {
    auto* map = new std::unordered_map<std::string_view, Op>;
    for (int i = 0; i < kOpCount; ++i) (*map)[kOpNames[i]] = static_cast<Op>(i);
    return map;
  }();
  const auto it = kByName->find(name);
  if (it == kByName->end()) return std::nullopt;
  return it->second;
}

int64_t Node::integer(const std::string& key, int64_t otherwise) const { return attribute_or(*this, key, otherwise); }
double Node::real(const std::string& key, double otherwise) const {
  const auto it = attributes.find(key);
  if (it != attributes.end() && std::holds_alternative<int64_t>(it->second)) {
    return static_cast<double>(std::get<int64_t>(it->second));
  }
  return attribute_or(*this, key, otherwise);
}
std::string Node::text(const std::string& key, const std::string& otherwise) const {
  return attribute_or(*this, key, otherwise);
}
std::vector<int64_t> Node::integers(const std::string& key, std::vector<int64_t> otherwise) const {
  return attribute_or(*this, key, std::move(otherwise));
}
std::vector<double> Node::reals(const std::string& key, std::vector<double> otherwise) const {
  return attribute_or(*this, key, std::move(otherwise));
}

ValueId Graph::add_constant(std::string name_of_value, Tensor t) {
  Value v;
  v.name = std::move(name_of_value);
  v.dtype = t.dtype();
  v.shape = t.shape();
  v.constant = std::move(t);
  return add_value(std::move(v));
}

std::vector<std::vector<int>> consumers(const Graph& graph) {
  std::vector<std::vector<int>> readers(graph.values.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (ValueId id : graph.nodes[n].inputs) {
      if (id == kNoValue) continue;
      auto& of = readers[static_cast<size_t>(id)];
      if (of.empty() || of.back() != static_cast<int>(n)) of.push_back(static_cast<int>(n));
    }
  }
  return readers;
}

std::vector<int> producers(const Graph& graph) {
  std::vector<int> maker(graph.values.size(), -1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (ValueId id : graph.nodes[n].outputs) {
      if (id != kNoValue) maker[static_cast<size_t>(id)] = static_cast<int>(n);
    }
  }
  return maker;
}

void remove_dead(Graph& graph) {
  std::vector<bool> needed(graph.values.size(), false);
  const auto need = [&](ValueId id) {
    if (id != kNoValue) needed[static_cast<size_t>(id)] = true;
  };
  for (ValueId id : graph.inputs) need(id);
  for (ValueId id : graph.outputs) need(id);
  for (const auto& [input, output] : graph.state) need(input), need(output);

  std::vector<Node> kept;
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    Node& node = graph.nodes[n];
    bool alive = false;
    for (ValueId& id : node.outputs) {
      if (id == kNoValue) continue;
      if (needed[static_cast<size_t>(id)]) {
        alive = true;
      } else {
        id = kNoValue;
      }
    }
    if (!alive) continue;
    for (ValueId id : node.inputs) need(id);
    kept.push_back(std::move(node));
  }
  graph.nodes.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));

  std::vector<ValueId> renumbered(graph.values.size(), kNoValue);
  std::vector<Value> values;
  for (size_t i = 0; i < graph.values.size(); ++i) {
    if (!needed[i]) continue;
    renumbered[i] = static_cast<ValueId>(values.size());
    values.push_back(std::move(graph.values[i]));
  }
  graph.values = std::move(values);
  const auto renumber = [&](ValueId& id) {
    if (id != kNoValue) id = renumbered[static_cast<size_t>(id)];
  };
  for (Node& node : graph.nodes) {
    for (ValueId& id : node.inputs) renumber(id);
    for (ValueId& id : node.outputs) renumber(id);
  }
  for (ValueId& id : graph.inputs) renumber(id);
  for (ValueId& id : graph.outputs) renumber(id);
  for (auto& [input, output] : graph.state) renumber(input), renumber(output);
}

}  // namespace pith::ir
