// The verifier: everything that the other stages may take for granted about a Graph.
//
// It runs after every pass, so that a broken promise is found where it was broken. Structure first (ids, order,
// producers), then each constant, then each node: attributes against attributes.inc, types against shape inference,
// numbers against quantisation's rules (verify_quant.cpp).
#include "ir/verify.h"

#include <algorithm>
#include <cmath>

#include "ir/infer.h"

namespace pith::ir {
namespace {

const char* attribute_specification(Op op) {
  switch (op) {
#define PITH_ATTRIBUTES(name, specification) \
  case Op::k##name:                          \
    return specification;
#include "ir/attributes.inc"
#undef PITH_ATTRIBUTES
    default:
      return "";
  }
}

// The kind letter of attribute `name`, or 0.
char attribute_kind(Op op, const std::string& name) {
  std::string_view rest = attribute_specification(op);
  while (!rest.empty()) {
    const size_t end = rest.find(' ');
    const std::string_view entry = rest.substr(0, end);
    if (entry.size() == name.size() + 2 && entry.starts_with(name)) return entry.back();
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return 0;
}

bool kind_matches(char kind, const Attribute& a) {
  switch (kind) {
    case 'i':
      return std::holds_alternative<int64_t>(a);
    case 'r':
      return std::holds_alternative<int64_t>(a) ||
             (std::holds_alternative<double>(a) && !std::isnan(std::get<double>(a)));
    case 't':
      return std::holds_alternative<std::string>(a);
    case 'I':
      return std::holds_alternative<std::vector<int64_t>>(a);
    case 'R': {
      const auto* list = std::get_if<std::vector<double>>(&a);
      return list != nullptr && std::none_of(list->begin(), list->end(), [](double x) { return std::isnan(x); });
    }
    default:
      return false;
  }
}

Result<void> verify_attributes(const Node& node) {
  for (const auto& [name, value] : node.attributes) {
    const char kind = attribute_kind(node.op, name);
    if (kind == 0)
      return usage_error(
          fmt::format("{}: {} has no attribute {} (see ir/ops.md)", node_label(node), op_name(node.op), name));
    if (!kind_matches(kind, value))
      return usage_error(fmt::format("{}: attribute {} has the wrong kind of value", node_label(node), name));
  }
  return {};
}

bool in_range(const Graph& graph, ValueId id) { return id >= 0 && id < static_cast<ValueId>(graph.values.size()); }

Result<void> verify_value(const Value& v) {
  for (int64_t d : v.shape) {
    if (d < 0 || d > kLargestCount)
      return usage_error(fmt::format("{} has the shape {}", value_label(v), to_string(v.shape)));
  }
  if (element_count(v.shape) > kLargestCount) {
    return usage_error(fmt::format("{} has the shape {}, 2^31 elements or more", value_label(v), to_string(v.shape)));
  }
  if (v.is_constant()) {
    if (v.constant->shape() != v.shape) {
      return usage_error(fmt::format("{} is stated as {} and holds {}", value_label(v), to_string(v.shape),
                                     to_string(v.constant->shape())));
    }
    if (!v.quant && v.constant->dtype() != v.dtype) {
      return usage_error(fmt::format("{} is stated as {} and holds {}", value_label(v), dtype_name(v.dtype),
                                     dtype_name(v.constant->dtype())));
    }
  }
  return verify_quant(v);
}

// Every value is made once: by a node, by the caller (an input) or by being constant.
Result<void> verify_structure(const Graph& graph) {
  std::vector<bool> made(graph.values.size(), false);
  for (size_t i = 0; i < graph.values.size(); ++i) made[i] = graph.values[i].is_constant();
  for (ValueId id : graph.inputs) {
    if (!in_range(graph, id)) return usage_error(fmt::format("graph input {} doesn't exist", id));
    if (graph.value(id).is_constant())
      return usage_error(fmt::format("{} is both input and constant", value_label(graph.value(id))));
    if (made[static_cast<size_t>(id)])
      return usage_error(fmt::format("{} is an input twice", value_label(graph.value(id))));
    made[static_cast<size_t>(id)] = true;
  }
  for (const Node& node : graph.nodes) {
    if (static_cast<int>(node.op) >= kOpCount) return usage_error("node '" + node.name + "' has an unknown operator");
    for (ValueId id : node.inputs) {
      if (id == kNoValue) continue;
      if (!in_range(graph, id))
        return usage_error(fmt::format("{} reads value {}, which doesn't exist", node_label(node), id));
      if (!made[static_cast<size_t>(id)]) {
        return usage_error(
            fmt::format("{} reads {} before it is made", node_label(node), value_label(graph.value(id))));
      }
    }
    for (ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      if (!in_range(graph, id))
        return usage_error(fmt::format("{} makes value {}, which doesn't exist", node_label(node), id));
      if (made[static_cast<size_t>(id)]) {
        return usage_error(
            fmt::format("{} makes {}, which is made already", node_label(node), value_label(graph.value(id))));
      }
      made[static_cast<size_t>(id)] = true;
    }
  }
  if (graph.outputs.empty()) return usage_error("the graph has no outputs");
  for (ValueId id : graph.outputs) {
    if (!in_range(graph, id)) return usage_error(fmt::format("graph output {} doesn't exist", id));
    if (!made[static_cast<size_t>(id)])
      return usage_error(fmt::format("output {} is never made", value_label(graph.value(id))));
  }
  return {};
}

Result<void> verify_state(const Graph& graph) {
  const auto contains = [](const std::vector<ValueId>& list, ValueId id) {
    for (ValueId v : list) {
      if (v == id) return true;
    }
    return false;
  };
  for (const auto& [input, output] : graph.state) {
    if (!contains(graph.inputs, input) || !contains(graph.outputs, output)) {
      return usage_error(fmt::format("state ({}, {}) doesn't pair a graph input with a graph output", input, output));
    }
    const Value &from = graph.value(output), &to = graph.value(input);
    if (from.dtype != to.dtype || from.shape != to.shape || from.quant != to.quant) {
      return usage_error(fmt::format("state {} and {} differ in type", value_label(to), value_label(from)));
    }
  }
  return {};
}

Result<void> verify_types(const Graph& graph, const Node& node) {
  PITH_TRY(const std::vector<Type> types, infer_types(graph, node));
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    const Value& v = graph.value(node.outputs[i]);
    if (Type{v.dtype, v.shape} != types[i]) {
      return usage_error(fmt::format("{}: {} is stated as {}, it follows as {}", node_label(node), value_label(v),
                                     to_string(Type{v.dtype, v.shape}), to_string(types[i])));
    }
  }
  return {};
}

}  // namespace

std::string node_label(const Node& node) { return fmt::format("{} '{}'", op_name(node.op), node.name); }
std::string value_label(const Value& value) { return fmt::format("value '{}'", value.name); }

Result<void> verify(const Graph& graph) {
  PITH_CHECK_OK(verify_structure(graph));
  for (const Value& v : graph.values) PITH_CHECK_OK(verify_value(v));
  PITH_CHECK_OK(verify_state(graph));
  for (const Node& node : graph.nodes) {
    PITH_CHECK_OK(verify_attributes(node));
    PITH_CHECK_OK(verify_types(graph, node));
    PITH_CHECK_OK(verify_quant(graph, node));
  }
  return {};
}

}  // namespace pith::ir
