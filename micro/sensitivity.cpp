// How sensitive a network's answer is to errors at each product: noise of a known size at its result, and what becomes of
// the answer. See layerwise.h.
#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "base/random.h"
#include "ir/geometry.h"
#include "ir/interpret.h"
#include "micro/calibrate.h"
#include "micro/layerwise.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Tensor;
using ir::ValueId;

constexpr double kNoise = 0.01;      // of the value's power
constexpr double kLeastShare = 1e-4;  // of the largest sensitivity: what a few samples don't show may matter in others

// All values of one run; constants are the graph's own.
struct Trace {
  std::vector<Tensor> values;
  const Tensor* of(const Graph& g, ValueId id) const {
    if (id == ir::kNoValue) return nullptr;
    const ir::Value& v = g.value(id);
    return v.constant ? &*v.constant : &values[static_cast<size_t>(id)];
  }
};

Result<void> run_from(const Graph& g, size_t first, Trace& trace) {
  for (size_t i = first; i < g.nodes.size(); ++i) {
    const Node& n = g.nodes[i];
    std::vector<const Tensor*> operands;
    for (ValueId id : n.inputs) operands.push_back(trace.of(g, id));
    PITH_TRY(std::vector<Tensor> results, ir::interpret_node(g, n, operands));
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      if (n.outputs[k] != ir::kNoValue) trace.values[static_cast<size_t>(n.outputs[k])] = std::move(results[k]);
    }
  }
  return {};
}

double log_total(std::span<const float> x) {
  const double most = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (float v : x) sum += std::exp(v - most);
  return most + std::log(sum);
}

// KL of one distribution from another, by rows of the last dimension, or squared error relative to the squared length.
double suffering(const Tensor& wanted, const Tensor& given, bool logits) {
  const auto expected = wanted.as<float>(), got = given.as<float>();
  double sum = 0, length = 0;
  if (logits) {
    const size_t width = static_cast<size_t>(std::max<int64_t>(1, wanted.shape().back())), rows = expected.size() / width;
    for (size_t r = 0; r < rows; ++r) {
      const auto e = expected.subspan(r * width, width), g = got.subspan(r * width, width);
      const double a = log_total(e), b = log_total(g);
      for (size_t i = 0; i < width; ++i) sum += std::exp(e[i] - a) * (e[i] - a - (g[i] - b)) / static_cast<double>(rows);
    }
    return sum;
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    sum += (static_cast<double>(got[i]) - expected[i]) * (static_cast<double>(got[i]) - expected[i]);
    length += static_cast<double>(expected[i]) * expected[i];
  }
  return sum / std::max(length, 1e-30);
}

}  // namespace

bool is_embedding(const Graph& g, const Node& n) {
  return n.op == ir::Op::kGather && g.value(n.inputs[0]).is_constant() && g.value(n.inputs[0]).dtype == ir::DType::kF32 && g.value(n.inputs[0]).shape.size() == 2 &&
         n.integer("axis", 0) == 0 && !g.value(n.inputs[1]).is_constant();
}

Result<std::vector<double>> sensitivities(const Graph& g, const std::vector<std::vector<Tensor>>& samples, const LayerwiseOptions& options) {
  std::vector<double> total(g.nodes.size(), 0.0);
  const size_t count = std::min(options.probes, samples.size());
  if (count == 0 || g.outputs.empty()) return usage_error("no samples to measure sensitivities with");
  Random random(options.seed + 17);
  Progress bar("measuring sensitivities", count);
  for (size_t s = 0; s < count; ++s) {
    const auto& sample = samples[s * samples.size() / count];
    Trace clean{std::vector<Tensor>(g.values.size())};
    for (size_t i = 0; i < g.inputs.size(); ++i) clean.values[static_cast<size_t>(g.inputs[i])] = sample[i];
    PITH_CHECK_OK(run_from(g, 0, clean));
    const Tensor expected = *clean.of(g, g.outputs[0]);
    for (size_t i = 0; i < g.nodes.size(); ++i) {
      const Node& n = g.nodes[i];
      if (!is_weighted(g, n) && !is_embedding(g, n)) continue;
      Trace noisy = clean;
      Tensor& y = noisy.values[static_cast<size_t>(n.outputs[0])];
      double power = 0;
      for (float x : y.as<float>()) power += static_cast<double>(x) * x;
      const double mean = power / static_cast<double>(std::max<int64_t>(1, y.count()));
      const double size = std::sqrt(kNoise * mean);
      for (float& x : y.mut<float>()) x += static_cast<float>(size * random.normal());
      PITH_CHECK_OK(run_from(g, i + 1, noisy));
      const double width = static_cast<double>(y.shape().back());
      if (mean > 0) total[i] += suffering(expected, *noisy.of(g, g.outputs[0]), options.logits) / (kNoise * mean * width) / static_cast<double>(count);
    }
    bar.step();
  }
  const double most = *std::max_element(total.begin(), total.end());
  for (size_t i = 0; i < total.size(); ++i) {
    if (is_weighted(g, g.nodes[i]) || is_embedding(g, g.nodes[i])) total[i] = std::max({total[i], kLeastShare * most, 1e-30});
  }
  return total;
}

}  // namespace pith
