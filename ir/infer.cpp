// Shape inference: the frame around the families' functions.
//
// channels_last is dealt with here, once: the activation's type is turned to channels-first, the family's function runs
// as always, and its result is turned back.
#include "ir/infer.h"

#include "ir/geometry.h"

namespace pith::ir {
namespace {

using Infer = Result<void> (*)(Inference&);
constexpr Infer kInfer[] = {
#define PITH_OP(name, least, most, outputs, family, ...) infer_##family,
#include "ir/ops.inc"
#undef PITH_OP
};

Result<void> check_operands(const Inference& node) {
  const OpTraits& traits = op_traits(node.node.op);
  const int given = static_cast<int>(node.node.inputs.size()), results = static_cast<int>(node.node.outputs.size());
  if (given < traits.least_inputs || (traits.most_inputs >= 0 && given > traits.most_inputs)) {
    return node.fail(
        fmt::format("has {} inputs, {} to {} are allowed", given, traits.least_inputs,
                    traits.most_inputs < 0 ? std::string("any number") : std::to_string(traits.most_inputs)));
  }
  for (int i = 0; i < traits.least_inputs; ++i) {
    if (!node.has(static_cast<size_t>(i))) return node.fail(fmt::format("input {} is missing", i));
  }
  if (results < 1 || (traits.most_outputs >= 0 && results > traits.most_outputs)) {
    return node.fail(fmt::format("has {} outputs", results));
  }
  return {};
}

}  // namespace

std::string to_string(const Type& type) { return fmt::format("{} {}", dtype_name(type.dtype), to_string(type.shape)); }

Error Inference::fail(std::string_view what, SourceLocation where) const {
  std::string operands;
  for (size_t i = 0; i < inputs.size(); ++i) {
    operands += (i == 0 ? " (" : ", ") + (has(i) ? to_string(inputs[i]) : std::string("-"));
  }
  return usage_error(
      fmt::format("{} '{}'{}: {}", op_name(node.op), node.name, operands.empty() ? "" : operands + ")", what), where);
}

const Tensor* Inference::constant(size_t i) const {
  if (!has(i)) return nullptr;
  const Value& v = graph.value(node.inputs[i]);
  return v.constant && !v.quant ? &*v.constant : nullptr;
}

Result<void> Inference::need_rank(size_t i, int64_t least, int64_t most) const {
  if (rank(i) >= least && rank(i) <= most) return {};
  return fail(least == most ? fmt::format("input {} must have {} dimensions", i, least)
                            : fmt::format("input {} must have {} to {} dimensions", i, least, most));
}

Result<void> Inference::need_dtype(size_t i, std::initializer_list<DType> allowed) const {
  std::string names;
  for (DType t : allowed) {
    if (dtype(i) == t) return {};
    names += (names.empty() ? "" : ", ") + std::string(dtype_name(t));
  }
  return fail(fmt::format("input {} is {}; it must be {}", i, dtype_name(dtype(i)), names));
}

Result<void> Inference::need_same_dtype(size_t a, size_t b) const {
  if (dtype(a) == dtype(b)) return {};
  return fail(fmt::format("inputs {} and {} differ in type", a, b));
}

Result<std::string> Inference::choice(const std::string& key, std::initializer_list<const char*> allowed) const {
  const std::string value = node.text(key, *allowed.begin());
  std::string names;
  for (const char* word : allowed) {
    if (value == word) return value;
    names += (names.empty() ? "" : ", ") + std::string(word);
  }
  return fail(fmt::format("attribute {} is \"{}\"; it may be {}", key, value, names));
}

Result<int64_t> Inference::ranged(const std::string& key, int64_t otherwise, int64_t low, int64_t high) const {
  const int64_t value = node.integer(key, otherwise);
  if (value >= low && value <= high) return value;
  return fail(fmt::format("attribute {} is {}; it must lie in {}..{}", key, value, low, high));
}

Result<std::vector<int64_t>> Inference::bounded(const std::string& key) const {
  if (!node.has(key)) return fail("attribute " + key + " is missing");
  auto values = node.integers(key);
  for (int64_t v : values) {
    if (v < -kLargestCount || v > kLargestCount) return fail(fmt::format("attribute {} has the value {}", key, v));
  }
  return values;
}

Result<int64_t> Inference::axis_of(int64_t axis, int64_t rank) const {
  if (axis < -rank || axis >= rank) return fail(fmt::format("axis {} doesn't exist in {} dimensions", axis, rank));
  return axis < 0 ? axis + rank : axis;
}

Result<std::vector<int64_t>> Inference::axes_of(const std::vector<int64_t>& axes, int64_t rank) const {
  std::vector<int64_t> result;
  std::vector<bool> seen(static_cast<size_t>(rank), false);
  for (int64_t axis : axes) {
    PITH_TRY(const int64_t wrapped, axis_of(axis, rank));
    if (seen[static_cast<size_t>(wrapped)]) return fail(fmt::format("axis {} is named twice", axis));
    seen[static_cast<size_t>(wrapped)] = true;
    result.push_back(wrapped);
  }
  return result;
}

Result<std::vector<Type>> infer_types(const Graph& graph, const Node& node) {
  Inference inference{graph, node, {}, {}};
  for (ValueId id : node.inputs) {
    if (id == kNoValue) {
      inference.inputs.emplace_back();
    } else {
      inference.inputs.push_back({graph.value(id).dtype, graph.value(id).shape});
    }
  }
  PITH_CHECK_OK(check_operands(inference));
  const bool last = is_channels_last(node);
  if (last) {
    if (node.outputs.size() > 1) return inference.fail("a second output isn't available with channels_last");
    inference.inputs[0].shape = channels_first(inference.inputs[0].shape);
  }
  PITH_CHECK_OK(kInfer[static_cast<size_t>(node.op)](inference));
  if (last) inference.outputs[0].shape = channels_last(inference.outputs[0].shape);
  if (inference.outputs.size() < node.outputs.size()) {
    return inference.fail(fmt::format("has {} outputs, {} exist", node.outputs.size(), inference.outputs.size()));
  }
  inference.outputs.resize(node.outputs.size());
  for (const Type& t : inference.outputs) {
    for (int64_t d : t.shape) {
      if (d < 0 || d > kLargestCount) return inference.fail("the result would have the shape " + to_string(t.shape));
    }
    if (element_count(t.shape) > kLargestCount) {
      return inference.fail("the result would have the shape " + to_string(t.shape) + ", 2^31 elements or more");
    }
  }
  return std::move(inference.outputs);
}

Result<void> infer_shapes(Graph& graph, const Node& node) {
  PITH_TRY(auto types, infer_types(graph, node));
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    Value& v = graph.value(node.outputs[i]);
    v.dtype = types[i].dtype;
    v.shape = std::move(types[i].shape);
  }
  return {};
}

Result<void> infer_shapes(Graph& graph) {
  for (const Node& node : graph.nodes) PITH_CHECK_OK(infer_shapes(graph, node));
  return {};
}

}  // namespace pith::ir
