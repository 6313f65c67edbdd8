// See translator.h.
#include "importers/onnx/translator.h"

#include <fmt/format.h>

#include <algorithm>

#include "importers/onnx/node_context.h"

namespace pith::importers {

using ir::ValueId;

namespace {

constexpr int kDeepest = 48;  // nested functions and subgraphs

std::string key_of(const SourceNode& node) { return node.domain.empty() ? node.op : node.domain + "." + node.op; }

Error too_deep() { return unsupported("functions or subgraphs are nested more than 48 deep; simplify the model"); }

}  // namespace

const Rules& rules() {
  static const Rules table = [] {
    Rules r;
    add_elementwise_rules(r);
    add_convolution_rules(r);
    add_normalization_rules(r);
    add_movement_rules(r);
    add_resize_rules(r);
    add_indexing_rules(r);
    add_reduction_rules(r);
    add_quantization_rules(r);
    add_recurrent_rules(r);
    add_attention_rules(r);
    add_control_rules(r);
    add_sequence_rules(r);
    add_microsoft_rules(r);
    return r;
  }();
  return table;
}

const Operand* Scope::find(const std::string& name) const {
  for (const Scope* s = this; s; s = s->parent) {
    const auto found = s->names.find(name);
    if (found != s->names.end()) return &found->second;
  }
  return nullptr;
}

void Translator::add_initializers(const SourceGraph& graph, Scope& scope) {
  for (const SourceTensor& t : graph.initializers) {
    Operand o;
    o.element_type = t.element_type;
    o.refusal = t.refusal;
    o.kind = t.refusal.empty() ? Operand::Kind::kTensor : Operand::Kind::kUnknown;
    if (t.refusal.empty()) o.id = builder.constant(t.tensor, scope.prefix + t.name);
    scope.names[t.name] = o;
  }
}

Result<void> Translator::walk(const std::vector<SourceNode>& nodes, Scope& scope) {
  if (scope.depth > kDeepest) return too_deep();
  for (const SourceNode& node : nodes) PITH_CHECK_OK(visit(node, scope));
  return {};
}

Result<std::vector<Operand>> Translator::walk_graph(const SourceGraph& graph, const Scope& outer, const std::string& name,
                                                    const std::vector<Operand>& inputs) {
  if (--nodes_left_ < 0) return unsupported("the model's functions and loops expand to too many nodes; simplify the model");
  Scope scope;
  scope.parent = &outer;
  scope.opsets = outer.opsets;
  scope.attributes = outer.attributes;
  scope.prefix = outer.prefix + name + "/";
  scope.depth = outer.depth + 1;
  for (size_t i = 0; i < graph.inputs.size() && i < inputs.size(); ++i) scope.names[graph.inputs[i].name] = inputs[i];
  add_initializers(graph, scope);
  PITH_CHECK_OK(walk(graph.nodes, scope));
  std::vector<Operand> outputs;
  for (const SourceValue& v : graph.outputs) {
    const Operand* o = scope.find(v.name);
    if (!o) return usage_error(fmt::format("its subgraph's output '{}' is made by nothing; export the model again", v.name));
    outputs.push_back(*o);
  }
  return outputs;
}

const SourceFunction* Translator::function(const SourceNode& node) const {
  for (const SourceFunction& f : model_.functions)
    if (f.name == node.op && f.domain == node.domain && f.overload == node.overload) return &f;
  return nullptr;
}

void Translator::refuse(const SourceNode& node, const Scope& scope, const Error& why) {
  Refusal r;
  r.node = scope.prefix + (node.name.empty() && !node.outputs.empty() ? "making " + node.outputs[0] : node.name);
  const std::string domain = node.domain.empty() ? "ai.onnx" : node.domain;
  const auto version = scope.opsets->find(node.domain);
  r.op = version == scope.opsets->end() ? fmt::format("{}, {}", node.op, domain)
                                        : fmt::format("{}, {} {}", node.op, domain, version->second);
  r.reason = why.message;
  r.code = why.code;
  refusals.push_back(r);
}

void Translator::bind_outputs(const SourceNode& node, Scope& scope, const std::vector<Operand>& outputs) {
  for (size_t i = 0; i < node.outputs.size(); ++i)
    if (!node.outputs[i].empty()) scope.names[node.outputs[i]] = outputs[i];
}

Result<void> Translator::call(const SourceFunction& f, const SourceNode& node, Scope& scope, const std::vector<Operand>& inputs) {
  if (scope.depth >= kDeepest) return too_deep();
  std::map<std::string, SourceAttribute> attributes = f.defaults;
  for (const auto& [name, value] : node.attributes) attributes[name] = value;
  Scope inner;
  inner.opsets = f.opsets.empty() ? scope.opsets : &f.opsets;
  inner.attributes = &attributes;
  inner.prefix = scope.prefix + (node.name.empty() ? node.op : node.name) + "/";
  inner.depth = scope.depth + 1;
  for (size_t i = 0; i < f.inputs.size(); ++i) inner.names[f.inputs[i]] = i < inputs.size() ? inputs[i] : Operand();
  PITH_CHECK_OK(walk(f.nodes, inner));
  std::vector<Operand> outputs(node.outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Operand* o = i < f.outputs.size() ? inner.find(f.outputs[i]) : nullptr;
    if (o) outputs[i] = *o;
    if (!o && !node.outputs[i].empty())
      return usage_error(fmt::format("function '{}' doesn't make output {}; export the model again", f.name, i));
  }
  bind_outputs(node, scope, outputs);
  return {};
}

namespace {

// Runs a node's rule. Names the values that arose in it after the model.
Result<void> apply(NodeContext& context, const Rule& rule) {
  const ValueId first = context.builder.next_id();
  if (rule.translate) {
    PITH_CHECK_OK(rule.translate(context));
  } else {
    PITH_TRY(std::vector<ValueId> operands, context.all_inputs());
    PITH_CHECK_OK(context.emit(rule.op, std::move(operands), context.copy(rule.attributes)));
  }
  if (const std::string problem = context.attribute_problem(); !problem.empty()) return unsupported(problem);
  for (size_t i = 0; i < context.outputs.size(); ++i) {
    const Operand& o = context.outputs[i];
    if (context.wants_output(i) && o.kind == Operand::Kind::kOmitted)
      return unsupported(fmt::format("its output {} ('{}') isn't supported; export without it", i, context.node.outputs[i]));
    if (context.wants_output(i) && o.kind == Operand::Kind::kTensor && o.id >= first)
      context.builder.rename(o.id, context.scope.prefix + context.node.outputs[i]);
  }
  return {};
}

// A function's attributes put in place of the references to them.
SourceNode resolved(const SourceNode& node, const Scope& scope) {
  SourceNode out = node;
  for (const auto& [name, reference] : node.references) {
    if (!scope.attributes) continue;
    const auto found = scope.attributes->find(reference);
    if (found != scope.attributes->end()) out.attributes[name] = found->second;
  }
  return out;
}

}  // namespace

Result<void> Translator::visit(const SourceNode& plain, Scope& scope) {
  if (--nodes_left_ < 0) return unsupported("the model's functions and loops expand to too many nodes; simplify the model");
  SourceNode copy;
  if (!plain.references.empty()) copy = resolved(plain, scope);
  const SourceNode& node = plain.references.empty() ? plain : copy;

  const SourceFunction* local = function(node);
  const auto rule = rules().find(key_of(node));
  std::vector<Operand> inputs;
  std::optional<Error> failed;
  bool unknown = false;
  for (const std::string& name : node.inputs) {
    const Operand* o = name.empty() ? nullptr : scope.find(name);
    if (!name.empty() && !o)
      failed = usage_error(fmt::format("it reads '{}', which nothing before it makes; sort the model's nodes or export it again", name));
    if (o && o->kind == Operand::Kind::kUnknown && !o->refusal.empty()) failed = unsupported(o->refusal + "; export without them");
    unknown = unknown || failed || (o && o->kind == Operand::Kind::kUnknown);
    inputs.push_back(o ? *o : Operand());
  }
  const auto version = scope.opsets->find(node.domain);
  if (!local && rule == rules().end())
    failed = unsupported("pith has no such operator; replace it in the model or fold it into a constant");
  else if (!local && version == scope.opsets->end() && node.domain.empty())
    failed = usage_error("the model states no opset version; export it again");

  if (!failed && !unknown) {
    builder.begin(scope.prefix + (node.name.empty() ? node.op : node.name));
    NodeContext context(*this, node, scope, version == scope.opsets->end() ? 1 : version->second, inputs);
    const Result<void> done = local ? call(*local, node, scope, inputs) : apply(context, rule->second);
    if (nodes_left_ < 0 || (!done.ok() && scope.depth >= kDeepest)) return done;
    if (done.ok() && !local) bind_outputs(node, scope, context.outputs);
    if (done.ok()) return {};
    failed = done.error();
  }
  if (failed) refuse(node, scope, *failed);
  Operand lost;
  lost.kind = Operand::Kind::kUnknown;
  bind_outputs(node, scope, std::vector<Operand>(node.outputs.size(), lost));
  return {};
}

Error one_error(const std::vector<Refusal>& refusals) {
  const bool any = std::any_of(refusals.begin(), refusals.end(), [](const Refusal& r) { return r.code != ErrorCode::kUsage; });
  const ErrorCode code = any ? ErrorCode::kUnsupported : ErrorCode::kUsage;
  const auto line = [](const Refusal& r) { return fmt::format("node '{}' ({}): {}", r.node, r.op, r.reason); };
  if (refusals.size() == 1) return error(code, line(refusals[0]));
  std::string all = fmt::format("{} nodes of the model can't be imported:", refusals.size());
  for (const Refusal& r : refusals) all += "\n  " + line(r);
  return error(code, all);
}

}  // namespace pith::importers
