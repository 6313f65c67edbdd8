// How sensitive a network's answer is to errors at each product: noise on its weights that moves its result by a known size,
// and what becomes of the answer. See layerwise.h.
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

// Noise on the weights of a node: its result in `trace` moves by kNoise of its power. Returns the mean squared length of a row's
// error. Errors of weights are alike in all rows that read alike, which sums and means further on don't take out as they would
// take out noise; what is common to all rows, though, is left to the bias. Rows that don't count are neither moved nor looked at.
Result<double> disturb(const Graph& g, const Node& n, const std::vector<bool>& counted, Random& random, Trace& trace) {
  const bool words = is_embedding(g, n);
  std::vector<Tensor> replaced(2);
  std::vector<const Tensor*> operands;
  for (ValueId id : n.inputs) operands.push_back(trace.of(g, id));
  const size_t slot = words ? 0 : 1;
  replaced[0] = Tensor(ir::DType::kF32, operands[slot]->shape());
  for (float& x : replaced[0].mut<float>()) x = static_cast<float>(random.normal());
  operands[slot] = &replaced[0];
  const bool biased = !words && operands.size() > 2 && operands[2] != nullptr;
  if (biased) operands[2] = &(replaced[1] = Tensor(ir::DType::kF32, operands[2]->shape()));
  PITH_TRY(const std::vector<Tensor> noise, ir::interpret_node(g, n, operands));
  Tensor& y = trace.values[static_cast<size_t>(n.outputs[0])];
  const auto width = static_cast<size_t>(std::max<int64_t>(1, y.shape().back()));
  const auto from = noise[0].as<float>(), to = y.as<float>();
  const size_t rows = to.size() / width;
  const auto counts = [&](size_t r) { return counted.size() != rows || counted[r]; };
  std::vector<double> mean(width, 0.0);
  double count = 0, power = 0, energy = 0;
  for (size_t r = 0; r < rows; ++r) {
    if (!counts(r)) continue;
    ++count;
    for (size_t i = 0; i < width; ++i) mean[i] += biased ? from[r * width + i] : 0;
  }
  for (double& m : mean) m /= std::max(count, 1.0);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; counts(r) && i < width; ++i) {
      power += static_cast<double>(to[r * width + i]) * to[r * width + i];
      energy += (from[r * width + i] - mean[i]) * (from[r * width + i] - mean[i]);
    }
  }
  if (!(power > 0) || !(energy > 0)) return 0.0;
  const double size = std::sqrt(kNoise * power / energy);
  const auto moved = y.mut<float>();
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; counts(r) && i < width; ++i) moved[r * width + i] += static_cast<float>(size * (from[r * width + i] - mean[i]));
  }
  return kNoise * power / count;
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
    std::vector<bool> rows;
    for (size_t i = 0; i < g.inputs.size(); ++i) {
      if (g.inputs[i] != options.row_mask) continue;
      for (int64_t r = 0; r < sample[i].count(); ++r) rows.push_back(sample[i].at(r) != 0);
    }
    for (size_t i = 0; i < g.nodes.size(); ++i) {
      const Node& n = g.nodes[i];
      if (!measurable(g, n) && !is_embedding(g, n)) continue;
      Trace noisy = clean;
      PITH_TRY(const double energy, disturb(g, n, rows, random, noisy));
      if (energy <= 0) continue;
      PITH_CHECK_OK(run_from(g, i + 1, noisy));
      total[i] += suffering(expected, *noisy.of(g, g.outputs[0]), options.logits) / energy / static_cast<double>(count);
    }
    bar.step();
  }
  const double most = *std::max_element(total.begin(), total.end());
  for (size_t i = 0; i < total.size(); ++i) {
    if (measurable(g, g.nodes[i]) || is_embedding(g, g.nodes[i])) total[i] = std::max({total[i], kLeastShare * most, 1e-30});
  }
  return total;
}

}  // namespace pith
