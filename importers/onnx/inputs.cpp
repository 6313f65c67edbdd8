// See inputs.h.
//
// Exporters write a dynamic dimension as a name ("batch", "sequence", "unk__6") or leave it out. Everything after import is
// static, so each needs a size. Asking for the batch would be tedious and its size is nearly always 1: a dimension counts
// as batch when its name says so, or when it has no name and comes first of several.
#include "importers/onnx/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "importers/onnx/element_types.h"

namespace pith::importers {
namespace {

using ir::Shape;

std::string lower(std::string s) {
  for (char& c : s) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return s;
}

bool is_batch(const SourceDimension& d, size_t position, size_t rank) {
  const std::string name = lower(d.symbol);
  if (name.empty()) return position == 0 && rank > 1;
  const bool exporter_made = name.rfind("unk__", 0) == 0 || name == "?" || name == "none" || name == "-1";
  return name.find("batch") != std::string::npos || name == "n" || name == "b" || name == "bs" || name == "bsz" ||
         (exporter_made && position == 0 && rank > 1);
}

std::string join(const std::vector<std::string>& names, const char* separator = ", ") {
  std::string all;
  for (const std::string& n : names) all += (all.empty() ? "" : separator) + n;
  return all;
}

class Resolver {
 public:
  Resolver(const SourceGraph& graph, const OnnxOptions& options) : options_(options), sizes_(options.dimensions) {
    std::set<std::string> initialised;
    for (const SourceTensor& t : graph.initializers) initialised.insert(t.name);
    for (const SourceValue& v : graph.inputs)
      if (!initialised.count(v.name)) open_.push_back(&v);
  }

  Result<std::vector<ResolvedInput>> run() {
    PITH_CHECK_OK(check_names());
    PITH_CHECK_OK(learn_sizes());
    std::vector<ResolvedInput> inputs;
    for (const SourceValue* v : open_) {
      PITH_TRY(ResolvedInput input, resolve(*v));
      inputs.push_back(std::move(input));
    }
    if (!missing_.empty())
      return usage_error(fmt::format("{} no size in the model: {}", missing_.size() == 1 ? "a dimension has" : "dimensions have", join(missing_, "; ")));
    return inputs;
  }

 private:
  // Every name in the options must be one of the model's.
  Result<void> check_names() const {
    std::vector<std::string> inputs, symbols;
    for (const SourceValue* v : open_) {
      inputs.push_back(v->name);
      for (const SourceDimension& d : v->shape.value_or(std::vector<SourceDimension>()))
        if (!d.symbol.empty()) symbols.push_back(d.symbol);
    }
    const auto known = [](const std::vector<std::string>& names, const std::string& n) { return std::find(names.begin(), names.end(), n) != names.end(); };
    const auto no_input = [&](const std::string& name) {
      return usage_error(fmt::format("the model has no input '{}'; its inputs are {}", name, join(inputs)));
    };
    for (const auto& [name, shape] : options_.input_shapes)
      if (!known(inputs, name)) return no_input(name);
    for (const auto& [name, tensor] : options_.constants)
      if (!known(inputs, name)) return no_input(name);
    for (const auto& [name, size] : options_.dimensions) {
      if (!known(symbols, name))
        return usage_error(fmt::format("the model has no symbolic dimension '{}'; it has {}", name, symbols.empty() ? "none" : join(symbols)));
      if (size < 1) return usage_error(fmt::format("dimension '{}' can't be {}; give a size of at least 1", name, size));
    }
    return {};
  }

  const Shape* stated(const std::string& name) const {
    if (const auto c = options_.constants.find(name); c != options_.constants.end()) return &c->second.shape();
    if (const auto s = options_.input_shapes.find(name); s != options_.input_shapes.end()) return &s->second;
    return nullptr;
  }

  // Sizes of symbols that follow from the stated shapes.
  Result<void> learn_sizes() {
    for (const SourceValue* v : open_) {
      const Shape* given = stated(v->name);
      if (!given) continue;
      for (const int64_t d : *given)
        if (d < 0) return usage_error(fmt::format("input '{}' can't have the shape {}; give sizes of at least 1", v->name, ir::to_string(*given)));
      if (!v->shape) continue;
      const auto contradiction = [&](const std::string& why) {
        return usage_error(fmt::format("input '{}' can't have the shape {}: {}", v->name, ir::to_string(*given), why));
      };
      if (given->size() != v->shape->size()) return contradiction(fmt::format("the model says {} dimensions; give that many", v->shape->size()));
      for (size_t i = 0; i < given->size(); ++i) {
        const SourceDimension& d = (*v->shape)[i];
        const int64_t size = (*given)[i];
        if (d.size >= 0 && d.size != size)
          return contradiction(fmt::format("the model fixes dimension {} to {}; export it with dynamic sizes or keep that one", i, d.size));
        if (d.symbol.empty()) continue;
        const auto [known, fresh] = sizes_.emplace(d.symbol, size);
        if (!fresh && known->second != size)
          return contradiction(fmt::format("dimension '{}' is {} elsewhere; give one size", d.symbol, known->second));
      }
    }
    return {};
  }

  Result<ResolvedInput> resolve(const SourceValue& v) {
    ResolvedInput input;
    input.name = v.name;
    input.element_type = v.element_type;
    const auto fixed = options_.constants.find(v.name);
    if (fixed != options_.constants.end()) input.fixed = &fixed->second;
    const auto dtype = widened(v.element_type);
    if (!v.is_tensor || !dtype)
      return error(ErrorCode::kUnsupported, fmt::format("input '{}' is {}; pith takes tensors of numbers: export the model without it", v.name,
                                                        v.is_tensor ? "a tensor of " + std::string(element_type_name(v.element_type)) : "not a tensor"));
    input.dtype = *dtype;
    const Shape* given = stated(v.name);
    if (given) {
      input.shape = *given;
    } else if (!v.shape) {
      missing_.push_back(fmt::format("input '{}' has no shape (give --input-shape {}:1x3x224x224, say)", v.name, v.name));
    } else {
      for (size_t i = 0; i < v.shape->size(); ++i) input.shape.push_back(size_of(v, i));
    }
    int64_t count = 1;
    for (const int64_t d : input.shape) {
      if (d > 0 && count > (int64_t{1} << 31) / d)
        return usage_error(fmt::format("input '{}' of shape {} is beyond 2^31 elements; give smaller sizes", v.name, ir::to_string(input.shape)));
      count *= std::max<int64_t>(d, 1);
    }
    return input;
  }

  int64_t size_of(const SourceValue& v, size_t i) {
    const SourceDimension& d = (*v.shape)[i];
    if (d.size >= 0) return d.size;
    if (const auto known = sizes_.find(d.symbol); !d.symbol.empty() && known != sizes_.end()) return known->second;
    if (is_batch(d, i, v.shape->size())) return 1;
    const std::string name = d.symbol.empty() ? "" : fmt::format("'{}', ", d.symbol);
    const std::string flag = d.symbol.empty() ? "" : fmt::format("--dimension {}=SIZE or ", d.symbol);
    missing_.push_back(fmt::format("{}dimension {} of input '{}' (give {}--input-shape {}:{})", name, i, v.name, flag, v.name, pattern(v)));
    return 1;
  }

  std::string pattern(const SourceValue& v) const {
    std::vector<std::string> parts;
    for (size_t i = 0; i < v.shape->size(); ++i) {
      const SourceDimension& d = (*v.shape)[i];
      parts.push_back(d.size >= 0 ? std::to_string(d.size) : is_batch(d, i, v.shape->size()) ? "1" : "SIZE");
    }
    return join(parts, "x");
  }

  const OnnxOptions& options_;
  std::map<std::string, int64_t> sizes_;
  std::vector<const SourceValue*> open_;
  std::vector<std::string> missing_;
};

// Does `output` read like the next step's `input`? Pairs seen in exports: state/stateN, h/hn, h0/hn, h_in/h_out,
// past_key_values.0.key/present.0.key, hidden_in/hidden_out, x/new_x, x/x_next.
bool names_next(const std::string& input, const std::string& output) {
  const std::string in = lower(input), out = lower(output);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    const size_t at = in.find(from);
    return at == std::string::npos ? std::string() : in.substr(0, at) + to + in.substr(at + from.size());
  };
  const std::string candidates[] = {in + "n", in + "_n", in + "_out", in + "_next", "new_" + in, "next_" + in, replaced("_in", "_out"),
                                    replaced("in_", "out_"), replaced("input_", "output_"), replaced("past_key_values", "present"),
                                    replaced("past", "present"), replaced("prev", "next")};
  if (std::find(std::begin(candidates), std::end(candidates), out) != std::end(candidates)) return true;
  return in.size() >= 2 && in.back() == '0' && (out == in.substr(0, in.size() - 1) + "n");
}

}  // namespace

Result<std::vector<ResolvedInput>> resolve_inputs(const SourceGraph& graph, const OnnxOptions& options) {
  return Resolver(graph, options).run();
}

Result<void> pair_state(ir::Graph& graph, const OnnxOptions& options) {
  const auto find = [&](const std::vector<ir::ValueId>& ids, const std::string& name) {
    for (const ir::ValueId id : ids)
      if (graph.value(id).name == name) return id;
    return ir::kNoValue;
  };
  const auto alike = [&](ir::ValueId a, ir::ValueId b) {
    return graph.value(a).shape == graph.value(b).shape && graph.value(a).dtype == graph.value(b).dtype;
  };
  for (const auto& [in, out] : options.state) {
    const ir::ValueId from = find(graph.inputs, in), to = find(graph.outputs, out);
    if (from == ir::kNoValue || to == ir::kNoValue)
      return usage_error(fmt::format("state {}={}: the model has no {} '{}'; name an input and an output", in, out,
                                     from == ir::kNoValue ? "input" : "output", from == ir::kNoValue ? in : out));
    if (!alike(from, to))
      return usage_error(fmt::format("state {}={}: the input is {} and the output {}; a state keeps its shape", in, out,
                                     ir::to_string(graph.value(from).shape), ir::to_string(graph.value(to).shape)));
    graph.state.emplace_back(from, to);
  }
  if (!options.recognise_state) return {};
  for (const ir::ValueId in : graph.inputs) {
    const auto taken = [&](ir::ValueId out) {
      return std::any_of(graph.state.begin(), graph.state.end(), [&](const auto& p) { return p.first == in || p.second == out; });
    };
    for (const ir::ValueId out : graph.outputs)
      if (!taken(out) && names_next(graph.value(in).name, graph.value(out).name) && alike(in, out)) graph.state.emplace_back(in, out);
  }
  return {};
}

}  // namespace pith::importers
