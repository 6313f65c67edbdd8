// See share_layers.h.
#include "macro/share_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include "macro/channel_classes.h"
#include "macro/measure.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Tensor;
using ir::ValueId;

struct Numbered {
  std::string before, after;
  int64_t layer = 0;
};

// "encoder.layer.3.output.weight": the first part between dots that is a number.
std::optional<Numbered> numbered(const std::string& name) {
  for (size_t at = 0; at < name.size();) {
    const size_t end = std::min(name.find('.', at), name.size());
    if (end > at && end - at < 6 && end < name.size() && std::all_of(name.begin() + static_cast<std::ptrdiff_t>(at), name.begin() + static_cast<std::ptrdiff_t>(end), [](unsigned char c) { return std::isdigit(c) != 0; }))
      return Numbered{name.substr(0, at), name.substr(end), std::stoll(name.substr(at, end - at))};
    at = end + 1;
  }
  return std::nullopt;
}

// By layer: its matrices, by their name without the number.
using Layers = std::map<int64_t, std::map<std::string, ValueId>>;

Layers layers_of(const Graph& g) {
  Layers layers;
  for (const Node& n : g.nodes) {
    if (!reads_matrix(g, n)) continue;
    if (const auto name = numbered(g.value(n.inputs[1]).name)) layers[name->layer][name->before + "#" + name->after] = n.inputs[1];
  }
  return layers;
}

bool alike(const Graph& g, const std::map<std::string, ValueId>& a, const std::map<std::string, ValueId>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const auto& x, const auto& y) { return x.first == y.first && g.value(x.second).shape == g.value(y.second).shape; });
}

Tensor mean_of(const Tensor& a, const Tensor& b, double share) {
  Tensor t(ir::DType::kF32, a.shape());
  for (size_t i = 0; i < t.as<float>().size(); ++i) t.mut<float>()[i] = static_cast<float>(share * static_cast<double>(a.as<float>()[i]) + (1 - share) * static_cast<double>(b.as<float>()[i]));
  return t;
}

using Sets = std::vector<std::vector<int64_t>>;

// All layers of a set read these matrices, given by name without the number.
void give(Graph& g, const Layers& layers, const std::vector<int64_t>& set, const std::map<std::string, Tensor>& matrices) {
  for (int64_t layer : set) {
    for (const auto& [name, id] : layers.at(layer)) g.value(id).constant = matrices.at(name);
  }
}

std::map<std::string, Tensor> matrices_of(const Graph& g, const Layers& layers, int64_t layer) {
  std::map<std::string, Tensor> all;
  for (const auto& [name, id] : layers.at(layer)) all[name] = *g.value(id).constant;
  return all;
}

// Products of a set read the first layer's constants.
Result<void> join(Graph& g, const Layers& layers, const Sets& sets) {
  std::map<ValueId, ValueId> first;
  for (const std::vector<int64_t>& set : sets) {
    for (int64_t layer : set) {
      for (const auto& [name, id] : layers.at(layer)) first[id] = layers.at(set[0]).at(name);
    }
  }
  for (Node& n : g.nodes) {
    for (size_t slot = 1; slot < n.inputs.size(); ++slot) {
      const auto found = first.find(n.inputs[slot]);
      if (found != first.end()) n.inputs[slot] = found->second;
    }
  }
  ir::remove_dead(g);
  return ir::verify(g);
}

}  // namespace

Result<ShareReport> share_layers(Graph& g, const std::vector<std::vector<Tensor>>& samples, const ShareOptions& options) {
  if (samples.empty()) return usage_error("no samples to measure shared layers on; give lines of text with --samples");
  const Layers layers = layers_of(g);
  if (layers.size() < 2) return usage_error(fmt::format("'{}' has no two layers whose weights are told by a number in their names; leave --share-layers out", g.name));
  ShareReport report;
  report.layers = static_cast<int64_t>(layers.size());
  for (const auto& [layer, matrices] : layers) report.sets.push_back({layer});
  const int64_t parameters = ir::parameter_count(g);
  PITH_TRY(const Answers expected, answers_of(g, samples));
  while (static_cast<int64_t>(report.sets.size()) > std::max<int64_t>(1, options.sets)) {
    std::optional<double> least;
    size_t taken = 0;
    Graph best;
    for (size_t k = 0; k + 1 < report.sets.size(); ++k) {
      const std::vector<int64_t>&a = report.sets[k], &b = report.sets[k + 1];
      if (!alike(g, layers.at(a[0]), layers.at(b[0]))) continue;
      const auto x = matrices_of(g, layers, a[0]), y = matrices_of(g, layers, b[0]);
      std::map<std::string, Tensor> mean;
      for (const auto& [name, t] : x) mean[name] = mean_of(t, y.at(name), static_cast<double>(a.size()) / static_cast<double>(a.size() + b.size()));
      for (const std::map<std::string, Tensor>* matrices : {&x, &y, &std::as_const(mean)}) {
        Graph merged = g;
        give(merged, layers, a, *matrices);
        give(merged, layers, b, *matrices);
        PITH_TRY(const double loss, answer_loss(merged, samples, expected, options.distribution));
        if (least && loss >= *least) continue;
        least = loss, taken = k;
        best = std::move(merged);
      }
    }
    if (!least) return error(ErrorCode::kDoesNotFit, fmt::format("layers of different shapes leave {} sets of matrices, not {}; give --share-layers {}", report.sets.size(), options.sets, report.sets.size()));
    g = std::move(best);
    report.losses.push_back(*least);
    report.sets[taken].insert(report.sets[taken].end(), report.sets[taken + 1].begin(), report.sets[taken + 1].end());
    report.sets.erase(report.sets.begin() + static_cast<std::ptrdiff_t>(taken) + 1);
  }
  for (const std::vector<int64_t>& set : report.sets) {
    for (const auto& [name, id] : layers.at(set[0])) report.matrices[g.value(id).name] = *g.value(id).constant;
  }
  PITH_CHECK_OK(join(g, layers, report.sets));
  report.bytes = 4 * (parameters - ir::parameter_count(g));
  return report;
}

Result<void> share_as(Graph& g, const ShareReport& report) {
  const Layers layers = layers_of(g);
  for (const std::vector<int64_t>& set : report.sets) {
    for (int64_t layer : set) {
      if (layers.count(layer) == 0 || layers.count(set[0]) == 0 || !alike(g, layers.at(layer), layers.at(set[0]))) return internal_error(fmt::format("layer {} isn't in both forms of '{}'", layer, g.name));
    }
  }
  PITH_CHECK_OK(join(g, layers, report.sets));
  for (ir::Value& v : g.values) {
    const auto found = v.constant ? report.matrices.find(v.name) : report.matrices.end();
    if (found != report.matrices.end()) v.constant = found->second;
  }
  return {};
}

}  // namespace pith
