// See mutate.h.
#include "tests/fuzz/mutate.h"

#include "importers/onnx/onnx_importer.h"

namespace pith::fuzz {
namespace {

using importers::SourceAttribute;
using importers::SourceGraph;
using importers::SourceNode;
using importers::SourceTensor;

template <typename T>
T& pick(std::vector<T>& v, Random& r) {
  return v[static_cast<size_t>(r.integer(0, static_cast<int64_t>(v.size()) - 1))];
}

int64_t odd_integer(Random& r) {
  constexpr int64_t kOdd[] = {0, 1, -1, 2, 3, 4, 7, 8, -2, -3, 100, 65536, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, int64_t{1} << 33};
  return kOdd[r.integer(0, static_cast<int64_t>(std::size(kOdd)) - 1)];
}

double odd_real(Random& r) {
  constexpr double kOdd[] = {0, 1, -1, 0.5, 1e-30, 1e30, -1e30, 2, 1e-5};
  return kOdd[r.integer(0, static_cast<int64_t>(std::size(kOdd)) - 1)];
}

const std::vector<std::string>& operators() {
  static const std::vector<std::string> names = importers::onnx_operators();
  return names;
}

std::string any_name(const SourceGraph& g, Random& r) {
  std::vector<std::string> names{""};
  for (const auto& v : g.inputs) names.push_back(v.name);
  for (const auto& t : g.initializers) names.push_back(t.name);
  for (const auto& n : g.nodes) names.insert(names.end(), n.outputs.begin(), n.outputs.end());
  return pick(names, r);
}

void mutate_attribute(SourceAttribute& a, Random& r) {
  if (auto* v = std::get_if<int64_t>(&a)) *v = odd_integer(r);
  else if (auto* v = std::get_if<double>(&a)) *v = odd_real(r);
  else if (auto* v = std::get_if<std::vector<int64_t>>(&a)) {
    if (v->empty() || r.integer(0, 2) == 0) v->push_back(odd_integer(r));
    else if (r.integer(0, 3) == 0) v->pop_back();
    else pick(*v, r) = odd_integer(r);
  } else if (auto* v = std::get_if<std::vector<double>>(&a)) {
    if (v->empty() || r.integer(0, 2) == 0) v->push_back(odd_real(r));
    else pick(*v, r) = odd_real(r);
  } else {
    a = r.integer(0, 1) == 0 ? SourceAttribute(odd_integer(r)) : SourceAttribute(std::vector<int64_t>{odd_integer(r), odd_integer(r)});
  }
}

void mutate_node(SourceNode& n, const SourceGraph& g, Random& r) {
  static const char* const kAttributes[] = {"axis", "axes", "group", "pads", "strides", "dilations", "kernel_shape", "keepdims", "to", "perm", "block_size", "blocksize", "num_heads", "hidden_size", "layout", "k", "p", "ceil_mode", "num_outputs", "batch_dims"};
  switch (r.integer(0, 6)) {
    case 0: {
      const std::string name = operators()[static_cast<size_t>(r.integer(0, static_cast<int64_t>(operators().size()) - 1))];
      const size_t dot = name.rfind('.');
      n.op = dot == std::string::npos ? name : name.substr(dot + 1);
      n.domain = dot == std::string::npos ? "" : name.substr(0, dot);
      break;
    }
    case 1:
      if (!n.inputs.empty()) pick(n.inputs, r) = any_name(g, r);
      break;
    case 2: n.inputs.push_back(any_name(g, r)); break;
    case 3:
      if (!n.inputs.empty()) n.inputs.pop_back();
      break;
    case 4:
      if (r.integer(0, 3) == 0) n.outputs.push_back("extra" + std::to_string(r.integer(0, 99)));
      else if (!n.outputs.empty()) pick(n.outputs, r) = "";
      break;
    case 5: n.attributes[kAttributes[r.integer(0, static_cast<int64_t>(std::size(kAttributes)) - 1)]] = r.integer(0, 1) == 0 ? SourceAttribute(odd_integer(r)) : SourceAttribute(std::vector<int64_t>{odd_integer(r)}); break;
    default: {
      if (n.attributes.empty()) break;
      auto at = n.attributes.begin();
      std::advance(at, r.integer(0, static_cast<int64_t>(n.attributes.size()) - 1));
      if (r.integer(0, 4) == 0) n.attributes.erase(at);
      else mutate_attribute(at->second, r);
    }
  }
}

void mutate_tensor(SourceTensor& t, Random& r) {
  if (t.tensor.count() > 0 && r.integer(0, 2) != 0) {
    const int64_t at = r.integer(0, t.tensor.count() - 1);
    if (t.tensor.dtype() == ir::DType::kI64) t.tensor.mut<int64_t>()[static_cast<size_t>(at)] = odd_integer(r);
    else t.tensor.set(at, t.tensor.dtype() == ir::DType::kF32 ? odd_real(r) : static_cast<double>(r.integer(-3, 8)));
    return;
  }
  ir::Shape shape = t.tensor.shape();
  if (r.integer(0, 2) == 0) shape.push_back(1);
  else if (!shape.empty()) pick(shape, r) = r.integer(0, 9);
  t.tensor = ir::Tensor(t.tensor.dtype(), shape);
}

void mutate_graph(SourceGraph& g, Random& r) {
  switch (r.integer(0, 9)) {
    case 0:
      if (!g.inputs.empty()) {
        auto& v = pick(g.inputs, r);
        if (!v.shape || v.shape->empty() || r.integer(0, 3) == 0) v.shape.emplace().push_back({r.integer(0, 9), ""});
        else pick(*v.shape, r) = {r.integer(-1, 12), r.integer(0, 1) == 0 ? "n" : ""};
      }
      break;
    case 1:
      if (!g.inputs.empty()) pick(g.inputs, r).element_type = static_cast<int32_t>(r.integer(0, 27));
      break;
    case 2:
      if (!g.initializers.empty()) mutate_tensor(pick(g.initializers, r), r);
      break;
    case 3:
      if (!g.outputs.empty()) pick(g.outputs, r).name = any_name(g, r);
      break;
    case 4:
      if (!g.nodes.empty()) std::swap(pick(g.nodes, r), pick(g.nodes, r));
      break;
    default:
      if (!g.nodes.empty()) mutate_node(pick(g.nodes, r), g, r);
  }
}

}  // namespace

void mutate(importers::SourceModel& model, Random& random) {
  const int64_t changes = random.integer(1, 4);
  for (int64_t k = 0; k < changes; ++k) {
    const int64_t what = random.integer(0, 19);
    if (what == 0) model.opsets[""] = random.integer(1, 28);
    else if (what == 1) model.opsets["com.microsoft"] = 1;
    else if (what == 2 && !model.functions.empty()) mutate_node(pick(pick(model.functions, random).nodes, random), model.graph, random);
    else mutate_graph(model.graph, random);
  }
}

}  // namespace pith::fuzz
