// First grids, and the end of training: weights on their grids. No libtorch here.
#include <algorithm>
#include <cmath>
#include <set>

#include "ir/blocks.h"
#include "train/trainer.h"

namespace pith::train {
namespace {

using ir::Node;
using ir::Op;

constexpr int64_t kManyPositions = 1024;  // fewer numbers are no table
constexpr double kFineRange = 100;        // of 127, that the largest weight of a channel begins with on a fine grid
constexpr double kFineUnit = 0.5;         // as steps are where bits are few

bool is_constant(const ir::Graph& g, const Node& n, size_t slot) {
  return slot < n.inputs.size() && n.inputs[slot] != ir::kNoValue && g.value(n.inputs[slot]).is_constant() && g.value(n.inputs[slot]).dtype == ir::DType::kF32;
}

size_t channel_of(const ir::Shape& shape, int axis, size_t i) {
  int64_t inner = 1;
  for (size_t d = static_cast<size_t>(axis) + 1; d < shape.size(); ++d) inner *= shape[d];
  return (i / static_cast<size_t>(inner)) % static_cast<size_t>(shape[static_cast<size_t>(axis)]);
}

Steps first_steps(const ir::Value& v, int axis, bool per_channel, double share) {
  const size_t channels = per_channel ? static_cast<size_t>(v.shape[static_cast<size_t>(axis)]) : 1;
  std::vector<double> sum(channels, 0.0), count(channels, 0.0);
  const auto x = v.constant->as<float>();
  double whole = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = per_channel ? channel_of(v.shape, axis, i) : 0;
    sum[c] += static_cast<double>(x[i]) * x[i];
    whole += static_cast<double>(x[i]) * x[i];
    ++count[c];
  }
  whole = std::sqrt(whole / static_cast<double>(std::max<size_t>(1, x.size()))) + 1e-12;
  Steps steps{axis, {}};
  for (size_t c = 0; c < channels; ++c) {
    const double deviation = std::max(std::sqrt(sum[c] / std::max(1.0, count[c])), 1e-3 * whole);
    steps.log2.push_back(static_cast<float>(std::log2(share * deviation)));
  }
  return steps;
}

}  // namespace

bool is_product(Op op) { return op == Op::kConv || op == Op::kConvTranspose || op == Op::kGemm || op == Op::kMatMul; }

std::optional<WeightSite> weight_site(const ir::Graph& g, const Node& n) {
  if (n.op == Op::kGather && is_constant(g, n, 0) && g.value(n.inputs[0]).shape.size() == 2 && n.integer("axis", 0) == 0) return WeightSite{0, 0};
  if (n.op == Op::kAdd) {  // learned positions
    for (size_t slot : {size_t{0}, size_t{1}}) {
      if (is_constant(g, n, slot) && g.value(n.inputs[slot]).shape.size() == 3 && g.value(n.inputs[slot]).constant->count() >= kManyPositions) return WeightSite{slot, 1};
    }
  }
  if (!is_product(n.op) || !is_constant(g, n, 1) || g.value(n.inputs[0]).is_constant()) return std::nullopt;
  if (n.op == Op::kConvTranspose) return n.integer("group", 1) == 1 ? std::optional(WeightSite{1, 1}) : std::nullopt;
  if (n.op == Op::kMatMul) return g.value(n.inputs[1]).shape.size() == 2 ? std::optional(WeightSite{1, 1}) : std::nullopt;
  return WeightSite{1, n.op == Op::kConv || n.integer("transB", 0) != 0 ? 0 : 1};
}

Model start_model(const ir::Graph& canonical, bool per_channel, double share) {
  Model m;
  m.graph = canonical;
  std::set<std::string> taken;
  for (Node& n : m.graph.nodes) {
    const auto site = weight_site(m.graph, n);
    if (!site || !is_product(n.op)) continue;
    ir::Value& v = m.graph.value(n.inputs[1]);
    if (m.steps.count(v.name)) continue;  // one tensor, several readers
    while (!taken.insert(v.name).second) v.name += "'";
    m.steps[v.name] = first_steps(v, site->axis, per_channel, share);
  }
  return m;
}

Model start_fine(const ir::Graph& canonical) {
  Model m = start_model(canonical, true, 1);
  m.least_unit = kFineUnit;
  for (const ir::Value& v : m.graph.values) {
    const auto steps = m.steps.find(v.name);
    if (steps == m.steps.end()) continue;
    std::vector<float> largest(steps->second.log2.size(), 1e-12f);
    const auto w = v.constant->as<float>();
    for (size_t i = 0; i < w.size(); ++i) {
      float& most = largest[channel_of(v.shape, steps->second.axis, i)];
      most = std::max(most, std::abs(w[i]));
    }
    for (size_t c = 0; c < largest.size(); ++c) steps->second.log2[c] = std::log2(largest[c] / static_cast<float>(kFineRange));
  }
  return m;
}

void hold_zero_blocks(Model& m) {
  for (const Node& n : m.graph.nodes) {
    const auto rows = ir::product_rows(m.graph, n);
    if (!rows || !m.steps.count(m.graph.value(n.inputs[1]).name)) continue;
    const ir::Value& w = m.graph.value(n.inputs[1]);
    const std::vector<uint8_t> zeros = ir::zero_block_mask(*w.constant, *rows);
    if (zeros.empty()) continue;
    ir::Tensor open(ir::DType::kF32, w.shape);
    for (int64_t i = 0; i < open.count(); ++i) open.set(rows->at(i / rows->width, i % rows->width), zeros[static_cast<size_t>(i)] == 0);
    m.held[w.name] = std::move(open);
  }
}

Model start_transformer(const ir::Graph& canonical, bool per_channel, double share) {
  Model m;
  m.graph = canonical;
  m.dead_biases_vanish = false;
  std::set<std::string> trained;
  for (const Node& n : m.graph.nodes) {
    if (const auto site = weight_site(m.graph, n)) {
      const ir::Value& v = m.graph.value(n.inputs[site->slot]);
      if (!m.steps.count(v.name)) {
        m.steps[v.name] = first_steps(v, site->axis, per_channel && is_product(n.op), share);
      } else if (is_product(n.op) && is_constant(m.graph, n, 2) && trained.insert(m.graph.value(n.inputs[2]).name).second) {
        m.floats.push_back(m.graph.value(n.inputs[2]).name);  // of another layer with the same weights
      }
      continue;
    }
    if (n.op != Op::kLayerNormalization && n.op != Op::kRMSNormalization) continue;
    for (size_t slot : {size_t{1}, size_t{2}}) {
      if (is_constant(m.graph, n, slot) && trained.insert(m.graph.value(n.inputs[slot]).name).second) m.floats.push_back(m.graph.value(n.inputs[slot]).name);
    }
  }
  return m;
}

double share_for(const std::function<Model(double)>& start, double bits) {
  const auto entropy = [&](double share) {
    double sum = 0;
    const Rounded r = round_model(start(share));
    for (const ir::Value& v : r.graph.values) {
      const auto codes = r.codes.find(v.name);
      if (codes == r.codes.end()) continue;
      std::map<int64_t, double> counts;
      const auto w = v.constant->as<float>();
      const size_t inner = std::max<size_t>(1, w.size() / codes->second.size());
      for (size_t i = 0; i < w.size(); ++i) ++counts[std::lround(w[i] / numerics::scale_value(codes->second[std::min(i / inner, codes->second.size() - 1)]))];
      for (const auto& [q, n] : counts) sum += n * std::log2(static_cast<double>(w.size()) / n);
    }
    return sum;
  };
  double low = 0.05, high = 1.2;
  for (int i = 0; i < 10; ++i) (entropy(std::sqrt(low * high)) > bits ? low : high) = std::sqrt(low * high);
  return std::sqrt(low * high);
}

Rounded round_model(const Model& model) {
  Rounded r;
  r.graph = model.graph;
  for (const Node& n : model.graph.nodes) {
    const auto site = weight_site(model.graph, n);
    if (!site) continue;
    const ir::ValueId id = n.inputs[site->slot];
    const std::string& name = model.graph.value(id).name;
    const auto steps = model.steps.find(name);
    if (steps == model.steps.end()) continue;
    const int axis = steps->second.axis;
    std::vector<int16_t>& codes = r.codes[name];
    codes.clear();
    for (float l : steps->second.log2) codes.push_back(static_cast<int16_t>(std::clamp(std::nearbyint(16.0 * l), -640.0, 640.0)));
    ir::Value& v = r.graph.value(id);
    const auto w = model.graph.value(id).constant->as<float>();
    ir::Tensor rounded(ir::DType::kF32, v.shape);
    auto out = rounded.mut<float>();
    std::vector<bool> live(static_cast<size_t>(v.shape[static_cast<size_t>(axis)]), false);
    for (size_t i = 0; i < w.size(); ++i) {
      const size_t c = channel_of(v.shape, axis, i);
      const double s = numerics::scale_value(codes[codes.size() == 1 ? 0 : c]);
      const double q = std::clamp(std::floor(w[i] / s + 0.5), -127.0, 127.0);
      out[i] = static_cast<float>(q * s);
      live[c] = live[c] || q != 0;
    }
    v.constant = std::move(rounded);
    const bool leaves = std::find(model.graph.outputs.begin(), model.graph.outputs.end(), n.outputs[0]) != model.graph.outputs.end();
    if (leaves || !model.dead_biases_vanish || !is_product(n.op) || n.inputs.size() < 3 || n.inputs[2] == ir::kNoValue || !r.graph.value(n.inputs[2]).constant) continue;
    ir::Tensor& bias = *r.graph.value(n.inputs[2]).constant;
    for (size_t c = 0; c < live.size() && bias.count() == static_cast<int64_t>(live.size()); ++c) {
      if (!live[c]) bias.set(static_cast<int64_t>(c), 0);
    }
  }
  return r;
}

}  // namespace pith::train
