// See torchscript.h. The walk: every value is known on zeros; those that come from an input have a name besides.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/first_line.h"
#include "importers/torchscript/call.h"
#include "importers/torchscript/torchscript.h"

namespace pith::importers {
namespace {

using c10::IValue;
using torch::jit::Block;
using torch::jit::Node;
using torch::jit::Value;

struct Known {
  IValue value;
  std::vector<std::string> names;  // of a tensor one, of a list or tuple of tensors one for each; empty: comes from no input
  bool named() const { return std::any_of(names.begin(), names.end(), [](const std::string& n) { return !n.empty(); }); }
};

constexpr int64_t kMostSteps = 1'000'000;  // of all loops together

// What may be asked of a tensor without looking at its elements.
const std::set<std::string>& questions() {
  static const std::set<std::string> kAll = {"aten::size", "aten::dim", "aten::len", "aten::numel", "aten::is_floating_point", "aten::is_complex", "aten::stride", "aten::is_contiguous", "aten::__is__", "aten::__isnot__",
                                             "aten::__contains__", "prim::dtype", "prim::device", "prim::layout", "prim::is_cuda", "prim::requires_grad", "prim::is_quantized", "prim::is_sparse", "prim::is_mkldnn"};
  return kAll;
}

const Rules& rules() {
  static const Rules kRules = [] {
    Rules all;
    add_layer_rules(all);
    add_element_rules(all);
    add_movement_rules(all);
    return all;
  }();
  return kRules;
}

bool in_place(const std::string& kind) { return kind.ends_with('_') && !kind.ends_with("__"); }

const Rule* rule_of(const std::string& kind) {
  if (!kind.starts_with("aten::")) return nullptr;
  std::string name = kind.substr(6);
  if (in_place(kind)) name.pop_back();
  const auto found = rules().find(name);
  return found == rules().end() ? nullptr : &found->second;
}

class Walk {
 public:
  explicit Walk(SourceModel& model) : script_(model) {}

  void know(const Value* v, Known k) { known_[v] = std::move(k); }
  const Known& at(const Value* v) const { return known_.at(v); }
  Script& script() { return script_; }

  Result<void> block(const Block& b) {
    for (const Node* n : b.nodes()) {
      try {
        PITH_CHECK_OK(node(*n));
      } catch (const c10::Error& e) {
        return usage_error(fmt::format("{} on inputs of the given shapes: {}", n->kind().toQualString(), first_line(e.what_without_backtrace())));
      }
    }
    return {};
  }

 private:
  static Error refused(const Node& n, const std::string& why) {
    const std::string where = n.scopeName().empty() ? "" : fmt::format(" in {}", n.scopeName());
    return error(ErrorCode::kUnsupported, fmt::format("{}{}: {}; change the network there, or export it as ONNX", n.kind().toQualString(), where, why));
  }

  Result<void> node(const Node& n) {
    const std::string kind = n.kind().toQualString();
    if (kind == "prim::Constant") return constant(n);
    if (kind == "prim::If") return branch(n);
    if (kind == "prim::Loop") return loop(n);
    if (kind == "prim::RaiseException") return refused(n, "the network raises an exception for inputs of these shapes");
    if (kind == "prim::Print" || kind == "aten::warn") return {};
    if (kind == "prim::ListConstruct" || kind == "prim::TupleConstruct" || kind == "prim::DictConstruct") return gather(n);
    if (kind == "prim::ListUnpack" || kind == "prim::TupleUnpack") return scatter(n);
    if (kind == "prim::unchecked_cast" || kind == "prim::unchecked_unwrap_optional" || kind == "aten::_unwrap_optional") {
      know(n.output(), at(n.input()));
      return {};
    }
    const Rule* rule = rule_of(kind);
    const bool tensors = std::any_of(n.outputs().begin(), n.outputs().end(), [](const Value* v) { return v->type()->kind() == c10::TypeKind::TensorType || v->type()->str() == "Tensor[]"; });
    const bool named = std::any_of(n.inputs().begin(), n.inputs().end(), [&](const Value* v) { return at(v).named(); });
    if (kind == "aten::__getitem__" && named) return pick(n);
    if (kind == "aten::append" && named) return append(n);
    if (!tensors && named && !questions().count(kind)) return refused(n, "it makes a number of an input's elements");
    if (tensors && named && rule == nullptr) return refused(n, "it isn't known");
    std::vector<IValue> out;
    PITH_TRY(out, execute(n));
    if (!named || !tensors) {
      for (size_t i = 0; i < out.size(); ++i) know(n.output(i), {out[i], {}});
      return {};
    }
    return apply(n, kind, *rule, out);
  }

  Result<std::vector<IValue>> execute(const Node& n) {
    const std::string kind = n.kind().toQualString();
    if (!kind.starts_with("aten::") && !kind.starts_with("prim::")) return refused(n, "it isn't one of torch's own operators");
    if (kind == "aten::from_file" || kind == "aten::save") return refused(n, "it reads or writes files");
    torch::jit::Stack stack;
    for (const Value* v : n.inputs()) stack.push_back(at(v).value);
    if (n.getOperator().schema().is_vararg()) stack.push_back(static_cast<int64_t>(n.inputs().size()));
    n.getOperation()(stack);
    if (stack.size() != n.outputs().size()) return refused(n, "its results can't be told apart");
    return stack;
  }

  Result<void> apply(const Node& n, const std::string& kind, const Rule& rule, const std::vector<IValue>& out) {
    std::vector<IValue> in;
    std::vector<std::vector<std::string>> names;
    for (const Value* v : n.inputs()) {
      in.push_back(at(v).value);
      names.push_back(at(v).names);
    }
    script_.begin(fmt::format("{}_{}", kind.substr(6), ++count_));
    Call call{script_, in, names, out, {}, {}};
    rule(call);
    if (!call.why.empty()) return refused(n, call.why);
    if (call.y.size() < n.outputs().size()) return refused(n, "not all of its results are known");
    for (size_t i = 0; i < n.outputs().size(); ++i) know(n.output(i), {out[i], call.y[i]});
    if (in_place(kind)) known_[n.input(0)] = {out[0], call.y[0]};  // whoever reads it later reads what it became
    return {};
  }

  Result<void> constant(const Node& n) {
    const auto value = torch::jit::toIValue(n.output());
    know(n.output(), {value ? *value : IValue(), {}});
    return {};
  }

  Result<void> branch(const Node& n) {
    if (at(n.input()).named()) return refused(n, "a condition depends on an input's elements");
    const Block* b = n.blocks()[at(n.input()).value.toBool() ? 0 : 1];
    PITH_CHECK_OK(block(*b));
    for (size_t i = 0; i < n.outputs().size(); ++i) know(n.output(i), at(b->outputs()[i]));
    return {};
  }

  Result<void> loop(const Node& n) {  // inputs: most steps, first condition, carried values; the body gives a condition and those
    const Block& b = *n.blocks()[0];
    const int64_t most = at(n.input(0)).value.toInt();
    bool go_on = at(n.input(1)).value.toBool();
    std::vector<Known> carried;
    for (size_t i = 2; i < n.inputs().size(); ++i) carried.push_back(at(n.input(i)));
    for (int64_t step = 0; step < most && go_on; ++step) {
      if (++steps_ > kMostSteps) return refused(n, "its loops take more than a million steps");
      know(b.inputs()[0], {step, {}});
      for (size_t i = 0; i < carried.size(); ++i) know(b.inputs()[i + 1], carried[i]);
      PITH_CHECK_OK(block(b));
      if (at(b.outputs()[0]).named()) return refused(n, "a condition depends on an input's elements");
      go_on = at(b.outputs()[0]).value.toBool();
      for (size_t i = 0; i < carried.size(); ++i) carried[i] = at(b.outputs()[i + 1]);
    }
    for (size_t i = 0; i < carried.size(); ++i) know(n.output(i), carried[i]);
    return {};
  }

  Result<void> gather(const Node& n) {
    Known all;
    if (n.kind() == c10::prim::DictConstruct) {
      for (const Value* v : n.inputs()) {
        if (at(v).named()) return dictionary(n);
      }
    }
    std::vector<IValue> values;
    for (const Value* v : n.inputs()) {
      if (at(v).names.size() > 1) return refused(n, "lists of lists of tensors aren't known");
      values.push_back(at(v).value);
      all.names.push_back(at(v).names.empty() ? "" : at(v).names[0]);
    }
    if (n.kind() == c10::prim::TupleConstruct) {
      all.value = c10::ivalue::Tuple::create(values);
    } else if (n.kind() == c10::prim::ListConstruct) {
      c10::impl::GenericList list(n.output()->type()->expectRef<c10::ListType>().getElementType());
      for (const IValue& v : values) list.push_back(v);
      all.value = list;
    } else {
      return refused(n, "dictionaries of numbers aren't known");
    }
    if (!all.named()) all.names.clear();
    know(n.output(), all);
    return {};
  }

  // A dictionary of results: its values in the order of writing, as a tuple.
  Result<void> dictionary(const Node& n) {
    Known all;
    std::vector<IValue> values;
    for (size_t i = 1; i < n.inputs().size(); i += 2) {
      values.push_back(at(n.input(i)).value);
      all.names.push_back(at(n.input(i)).names.empty() ? "" : at(n.input(i)).names[0]);
    }
    all.value = c10::ivalue::Tuple::create(values);
    know(n.output(), all);
    return {};
  }

  static std::vector<IValue> parts_of(const IValue& v) { return v.isTuple() ? v.toTupleRef().elements().vec() : v.toList().vec(); }

  Result<void> scatter(const Node& n) {
    const Known whole = at(n.input());
    const std::vector<IValue> parts = parts_of(whole.value);
    if (parts.size() != n.outputs().size()) return refused(n, "it unpacks another number of values than there are");
    for (size_t i = 0; i < parts.size(); ++i) know(n.output(i), {parts[i], whole.names.empty() || whole.names[i].empty() ? std::vector<std::string>{} : std::vector<std::string>{whole.names[i]}});
    return {};
  }

  Result<void> pick(const Node& n) {
    const Known whole = at(n.input(0));
    if (!whole.value.isList() || !at(n.input(1)).value.isInt()) return refused(n, "it isn't known");
    const std::vector<IValue> parts = parts_of(whole.value);
    const int64_t i = at(n.input(1)).value.toInt() + (at(n.input(1)).value.toInt() < 0 ? static_cast<int64_t>(parts.size()) : 0);
    if (i < 0 || i >= static_cast<int64_t>(parts.size())) return refused(n, "its index is outside the list");
    know(n.output(), {parts[static_cast<size_t>(i)], {whole.names[static_cast<size_t>(i)]}});
    return {};
  }

  Result<void> append(const Node& n) {  // lists are shared: the list itself changes
    Known& list = known_.at(n.input(0));
    const Known& item = at(n.input(1));
    list.names.resize(list.value.toList().size());
    list.value.toList().push_back(item.value);
    list.names.push_back(item.names.empty() ? "" : item.names[0]);
    know(n.output(), list);
    return {};
  }

  Script script_;
  std::map<const Value*, Known> known_;
  int64_t count_ = 0, steps_ = 0;
};

// Operators that are unknown for sure: all at once, so that nobody meets them one by one.
Result<void> check_known(const Block& b) {
  std::map<std::string, int> unknown;
  for (const Node* n : b.nodes()) {
    const std::string kind = n->kind().toQualString();
    const bool tensor = std::any_of(n->outputs().begin(), n->outputs().end(), [](const Value* v) { return v->type()->kind() == c10::TypeKind::TensorType; });
    const bool computed = std::any_of(n->inputs().begin(), n->inputs().end(), [](const Value* v) { return v->type()->kind() == c10::TypeKind::TensorType && v->node()->kind() != c10::prim::Constant; });
    if (tensor && computed && kind.starts_with("aten::") && rule_of(kind) == nullptr && kind != "aten::__getitem__" && kind != "aten::_unwrap_optional") ++unknown[kind];
    if (!kind.starts_with("aten::") && !kind.starts_with("prim::")) ++unknown[kind];
  }
  if (unknown.empty()) return {};
  std::vector<std::string> list;
  for (const auto& [kind, times] : unknown) list.push_back(times > 1 ? fmt::format("{} ({} times)", kind, times) : kind);
  return error(ErrorCode::kUnsupported, fmt::format("{} operator(s) that aren't known: {}; change the network there, or export it as ONNX", unknown.size(), fmt::join(list, ", ")));
}

// Indices are whole numbers; all else is real.
bool is_index(const Value* v) {
  return std::any_of(v->uses().begin(), v->uses().end(), [](const torch::jit::Use& u) {
    const std::string kind = u.user->kind().toQualString();
    return (kind == "aten::embedding" && u.offset == 1) || ((kind == "aten::to" || kind == "aten::contiguous" || kind == "aten::view") && u.offset == 0 && is_index(u.user->output()));
  });
}

Result<void> add_inputs(const torch::jit::Graph& g, const std::vector<std::string>& arguments, const OnnxOptions& options, SourceModel& model, Walk& walk) {
  for (size_t i = 1; i < g.inputs().size(); ++i) {  // 0 is the module
    const Value* v = g.inputs()[i];
    const std::string name = i < arguments.size() ? arguments[i] : v->debugName();
    if (v->type()->kind() != c10::TypeKind::TensorType) return error(ErrorCode::kUnsupported, fmt::format("its input '{}' is {}, not a tensor; wrap the network in one that takes tensors", name, v->type()->str()));
    const auto shape = options.input_shapes.find(name);
    if (shape == options.input_shapes.end()) return usage_error(fmt::format("the file doesn't say how large its input '{}' is; give --input-shape {}:1x3x224x224", name, name));
    const bool index = is_index(v);
    SourceValue s{name, true, index ? kInt64 : kFloat, std::vector<SourceDimension>()};
    for (int64_t d : shape->second) s.shape->push_back({d, ""});
    model.graph.inputs.push_back(s);
    walk.know(v, {at::zeros(shape->second, index ? at::kLong : at::kFloat), {name}});
  }
  return {};
}

// Tensors of the result, also within tuples, lists and dictionaries of one level.
Result<void> add_outputs(const torch::jit::Graph& g, SourceModel& model, Walk& walk) {
  std::vector<std::string> found;
  for (const Value* v : g.outputs()) {
    for (const std::string& name : walk.at(v).names) {
      if (name.empty()) return error(ErrorCode::kUnsupported, "one of its results doesn't depend on any input; leave it out");
      found.push_back(name);
    }
  }
  if (found.empty()) return error(ErrorCode::kUnsupported, "its result is no tensor that depends on an input");
  for (size_t i = 0; i < found.size(); ++i) {
    const std::string name = found.size() == 1 ? "output" : fmt::format("output_{}", i);
    model.graph.nodes.push_back({name, "Identity", "", "", {found[i]}, {name}, {}, {}});
    model.graph.outputs.push_back({name, true, kUndefined, std::nullopt});
  }
  return {};
}

Result<SourceModel> read(const std::string& path, const OnnxOptions& options) {
  at::NoGradGuard guard;
  torch::jit::Module module = torch::jit::load(path, c10::kCPU);
  module.eval();
  std::vector<std::string> arguments;
  for (const c10::Argument& a : module.get_method("forward").function().getSchema().arguments()) arguments.push_back(a.name());
  const torch::jit::Module frozen = torch::jit::freeze_module(module);
  const std::shared_ptr<torch::jit::Graph> graph = frozen.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  SourceModel model;
  model.opsets[""] = 21;
  model.producer = "TorchScript";
  model.graph.name = std::filesystem::path(path).stem().string();
  Walk walk(model);
  walk.know(graph->inputs()[0], {frozen._ivalue(), {}});
  PITH_CHECK_OK(add_inputs(*graph, arguments, options, model, walk));
  PITH_CHECK_OK(check_known(*graph->block()));
  PITH_CHECK_OK(walk.block(*graph->block()));
  PITH_CHECK_OK(add_outputs(*graph, model, walk));
  return model;
}

}  // namespace

Result<ir::Graph> import_torchscript(const std::string& path, const OnnxOptions& options) {
  const auto named = [&](const Error& e) { return Error{e.code, fmt::format("{}: {}", path, e.message), e.where}; };
  try {
    Result<SourceModel> model = read(path, options);
    if (!model.ok()) return named(model.error());
    Result<ir::Graph> graph = import_source(std::move(*model), options);
    return graph.ok() ? std::move(graph) : Result<ir::Graph>(named(graph.error()));
  } catch (const c10::Error& e) {
    return usage_error(fmt::format("{}: libtorch: {}", path, first_line(e.what_without_backtrace())));
  } catch (const std::exception& e) {
    return usage_error(fmt::format("{}: libtorch: {}", path, first_line(e.what())));
  }
}

}  // namespace pith::importers
