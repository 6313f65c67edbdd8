// First grids, and the end of training: weights on their grids. No libtorch here.
#include <algorithm>
#include <cmath>
#include <set>

#include "train/trainer.h"

namespace pith::train {
namespace {

using ir::Node;
using ir::Op;

// The output channels' axis of a product's weights; nothing for other nodes.
std::optional<int> weight_axis(const ir::Graph& g, const Node& n) {
  if (n.inputs.size() < 2 || n.inputs[1] == ir::kNoValue || !g.value(n.inputs[1]).is_constant() || g.value(n.inputs[0]).is_constant()) return std::nullopt;
  const size_t rank = g.value(n.inputs[1]).shape.size();
  switch (n.op) {
    case Op::kConv: return 0;
    case Op::kConvTranspose: return n.integer("group", 1) == 1 ? std::optional<int>(1) : std::nullopt;
    case Op::kGemm: return n.integer("transB", 0) != 0 ? 0 : 1;
    case Op::kMatMul: return rank == 2 ? std::optional<int>(1) : std::nullopt;
    default: return std::nullopt;
  }
}

size_t channel_of(const ir::Shape& shape, int axis, size_t i) {
  int64_t inner = 1;
  for (size_t d = static_cast<size_t>(axis) + 1; d < shape.size(); ++d) inner *= shape[d];
  return (i / static_cast<size_t>(inner)) % static_cast<size_t>(shape[static_cast<size_t>(axis)]);
}

}  // namespace

Model start_model(const ir::Graph& canonical, bool per_channel, double share) {
  Model m;
  m.graph = canonical;
  std::set<std::string> taken;
  for (Node& n : m.graph.nodes) {
    const auto axis = weight_axis(m.graph, n);
    if (!axis) continue;
    ir::Value& v = m.graph.value(n.inputs[1]);
    if (m.steps.count(v.name)) continue;  // one tensor, several readers
    while (!taken.insert(v.name).second) v.name += "'";
    const size_t channels = per_channel ? static_cast<size_t>(v.shape[static_cast<size_t>(*axis)]) : 1;
    std::vector<double> sum(channels, 0.0), count(channels, 0.0);
    const auto x = v.constant->as<float>();
    double whole = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t c = per_channel ? channel_of(v.shape, *axis, i) : 0;
      sum[c] += static_cast<double>(x[i]) * x[i];
      whole += static_cast<double>(x[i]) * x[i];
      ++count[c];
    }
    whole = std::sqrt(whole / static_cast<double>(std::max<size_t>(1, x.size()))) + 1e-12;
    Steps steps{*axis, {}};
    for (size_t c = 0; c < channels; ++c) {
      const double deviation = std::max(std::sqrt(sum[c] / std::max(1.0, count[c])), 1e-3 * whole);
      steps.log2.push_back(static_cast<float>(std::log2(share * deviation)));
    }
    m.steps[v.name] = std::move(steps);
  }
  return m;
}

double share_for(const ir::Graph& canonical, bool per_channel, double bits) {
  const auto entropy = [&](double share) {
    double sum = 0;
    const Rounded r = round_model(start_model(canonical, per_channel, share));
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
    const auto axis = weight_axis(model.graph, n);
    if (!axis) continue;
    const std::string& name = model.graph.value(n.inputs[1]).name;
    const auto steps = model.steps.find(name);
    if (steps == model.steps.end()) continue;
    std::vector<int16_t>& codes = r.codes[name];
    codes.clear();
    for (float l : steps->second.log2) codes.push_back(static_cast<int16_t>(std::clamp(std::nearbyint(16.0 * l), -640.0, 640.0)));
    ir::Value& v = r.graph.value(n.inputs[1]);
    const auto w = model.graph.value(n.inputs[1]).constant->as<float>();
    ir::Tensor rounded(ir::DType::kF32, v.shape);
    auto out = rounded.mut<float>();
    std::vector<bool> live(static_cast<size_t>(v.shape[static_cast<size_t>(*axis)]), false);
    for (size_t i = 0; i < w.size(); ++i) {
      const size_t c = channel_of(v.shape, *axis, i);
      const double s = numerics::scale_value(codes[codes.size() == 1 ? 0 : c]);
      const double q = std::clamp(std::floor(w[i] / s + 0.5), -127.0, 127.0);
      out[i] = static_cast<float>(q * s);
      live[c] = live[c] || q != 0;
    }
    v.constant = std::move(rounded);
    const bool leaves = std::find(model.graph.outputs.begin(), model.graph.outputs.end(), n.outputs[0]) != model.graph.outputs.end();
    if (leaves || n.inputs.size() < 3 || n.inputs[2] == ir::kNoValue || !r.graph.value(n.inputs[2]).constant) continue;
    ir::Tensor& bias = *r.graph.value(n.inputs[2]).constant;
    for (size_t c = 0; c < live.size() && bias.count() == static_cast<int64_t>(live.size()); ++c) {
      if (!live[c]) bias.set(static_cast<int64_t>(c), 0);
    }
  }
  return r;
}

}  // namespace pith::train
