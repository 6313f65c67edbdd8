// See center_keys.h.
#include "micro/center_keys.h"

#include <algorithm>
#include <cmath>

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

constexpr int kMostExponent = 6;  // factors of 1 to 64, exact in 8 bits with one scale

// Keys of one layer: what attends to them, what renews them, and the state that they lie in before.
struct Keys {
  size_t attention, renewal, input;
  int64_t heads, depth;
};

std::vector<Keys> remembered_keys(const Graph& g) {
  const std::vector<int> made_by = ir::producers(g);
  const auto readers = ir::consumers(g);
  std::vector<Keys> found;
  for (const auto& [past, next] : g.state) {
    const int maker = made_by[static_cast<size_t>(next)];
    const auto& users = readers[static_cast<size_t>(next)];
    if (maker < 0 || users.size() != 1 || readers[static_cast<size_t>(past)].size() != 1) continue;
    const Node &renewal = g.nodes[static_cast<size_t>(maker)], &attention = g.nodes[static_cast<size_t>(users[0])];
    if (renewal.op != Op::kWhere || renewal.inputs[2] != past || attention.op != Op::kAttention || attention.inputs[1] != next) continue;
    if (std::count(attention.inputs.begin(), attention.inputs.end(), next) != 1 || attention.real("softcap", 0) != 0) continue;
    const ir::Shape &key = g.value(renewal.inputs[1]).shape, &query = g.value(attention.inputs[0]).shape;
    if (key.size() != 4 || query.size() != 4 || key[0] != 1 || key[2] != 1 || query[1] % key[1] != 0 || query[3] != key[3] || g.value(next).shape[2] < 2) continue;
    const auto input = std::find(g.inputs.begin(), g.inputs.end(), past);
    found.push_back({static_cast<size_t>(users[0]), static_cast<size_t>(maker), static_cast<size_t>(input - g.inputs.begin()), key[1], key[3]});
  }
  return found;
}

// Of each channel of each head.
struct Spread {
  std::vector<double> mean;
  std::vector<int> exponent;  // of the factor
};

// Calls f(head * depth, the row) for rows that were written.
template <typename F>
void each_row(Tensor& state, const Keys& k, F f) {
  const int64_t rows = state.shape()[2];
  float* x = state.mut<float>().data();
  for (int64_t h = 0; h < k.heads; ++h) {
    for (int64_t t = 0; t < rows; ++t, x += k.depth) {
      if (std::any_of(x, x + k.depth, [](float v) { return v != 0; })) f(static_cast<size_t>(h * k.depth), x);
    }
  }
}

Spread spread_of(const Keys& k, std::vector<std::vector<Tensor>>& samples) {
  const auto depth = static_cast<size_t>(k.depth), channels = static_cast<size_t>(k.heads) * depth;
  std::vector<double> sum(channels, 0.0), squares(channels, 0.0), count(channels, 0.0);
  for (auto& sample : samples) {
    each_row(sample[k.input], k, [&](size_t first, const float* row) {
      for (size_t d = 0; d < depth; ++d) {
        sum[first + d] += row[d];
        squares[first + d] += static_cast<double>(row[d]) * row[d];
        count[first + d] += 1;
      }
    });
  }
  Spread s{std::vector<double>(channels, 0.0), std::vector<int>(channels, 0)};
  for (size_t first = 0; first < channels; first += depth) {
    double widest = 0;
    std::vector<double> deviation(depth, 0.0);
    for (size_t d = 0; d < depth && count[first] > 1; ++d) {
      const double mean = sum[first + d] / count[first];
      s.mean[first + d] = mean;
      deviation[d] = std::sqrt(std::max(squares[first + d] / count[first] - mean * mean, 0.0));
      widest = std::max(widest, deviation[d]);
    }
    for (size_t d = 0; d < depth && widest > 0; ++d)
      s.exponent[first + d] = std::clamp(static_cast<int>(std::lround(std::log2(widest / std::max(deviation[d], 1e-9)))), 0, kMostExponent);
  }
  return s;
}

// Powers of two as 8-bit integers of one scale, which are exact.
ValueId factors(Graph& g, const std::string& name, const std::vector<int>& exponents, int64_t depth, int scale_exponent) {
  ir::Value v;
  v.name = name;
  v.shape = {1, static_cast<int64_t>(exponents.size()) / depth, 1, depth};
  Tensor t(ir::DType::kI8, v.shape);
  for (size_t i = 0; i < exponents.size(); ++i) t.set(static_cast<int64_t>(i), 1 << exponents[i]);
  v.constant = std::move(t);
  v.quant = ir::Quant{8, {}, 0, {static_cast<int16_t>(scale_exponent * numerics::kScaleStepsPerOctave)}};
  return g.add_value(std::move(v));
}

ValueId before(Graph& g, std::vector<Node>& inserted, Op op, const std::string& name, ValueId x, ValueId constant) {
  ir::Value v = g.value(x);
  v.name = name;
  Node n;
  n.op = op;
  n.name = name;
  n.inputs = {x, constant};
  n.outputs = {g.add_value(std::move(v))};
  inserted.push_back(n);
  return n.outputs[0];
}

}  // namespace

Result<int64_t> center_keys(Graph& g, std::vector<std::vector<Tensor>>& samples) {
  const std::vector<Keys> all = remembered_keys(g);
  std::map<size_t, std::vector<Node>> inserted;  // before which node
  for (const Keys& k : all) {
    const Spread s = spread_of(k, samples);
    Node &renewal = g.nodes[k.renewal], &attention = g.nodes[k.attention];
    const std::string name = g.value(g.inputs[k.input]).name;
    Tensor center(ir::DType::kF32, {1, k.heads, 1, k.depth});
    for (size_t i = 0; i < s.mean.size(); ++i) center.set(static_cast<int64_t>(i), -std::ldexp(s.mean[i], s.exponent[i]));
    const int64_t group = g.value(attention.inputs[0]).shape[1] / k.heads;
    std::vector<int> inverse;  // of queries: heads that share keys follow each other
    for (size_t h = 0; h < s.exponent.size(); h += static_cast<size_t>(k.depth)) {
      for (int64_t i = 0; i < group; ++i) {
        for (int64_t d = 0; d < k.depth; ++d) inverse.push_back(kMostExponent - s.exponent[h + static_cast<size_t>(d)]);
      }
    }
    const ValueId fresh = renewal.inputs[1], query = attention.inputs[0];
    const ValueId wide = before(g, inserted[k.renewal], Op::kMul, name + ".scaled", fresh, factors(g, name + ".factors", s.exponent, k.depth, 0));
    renewal.inputs[1] = before(g, inserted[k.renewal], Op::kAdd, name + ".centered", wide, g.add_constant(name + ".center", center));
    attention.inputs[0] = before(g, inserted[k.attention], Op::kMul, name + ".queries", query, factors(g, name + ".inverse", inverse, k.depth, -kMostExponent));
    for (auto& sample : samples) {
      each_row(sample[k.input], k, [&](size_t first, float* row) {
        for (size_t d = 0; d < static_cast<size_t>(k.depth); ++d) row[d] = static_cast<float>(std::ldexp(row[d] - s.mean[first + d], s.exponent[first + d]));
      });
    }
  }
  std::vector<Node> nodes;
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    for (Node& n : inserted[i]) nodes.push_back(std::move(n));
    nodes.push_back(std::move(g.nodes[i]));
  }
  g.nodes = std::move(nodes);
  PITH_CHECK_OK(ir::verify(g));
  return static_cast<int64_t>(all.size());
}

}  // namespace pith
