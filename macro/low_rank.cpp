// See low_rank.h.
#include "macro/low_rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/log.h"
#include "macro/measure.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::ProductRows;
using ir::ReadMoments;
using ir::Tensor;

// What a layer's split needs.
struct Layer {
  ProductRows rows;
  std::vector<double> weights, scale, mean;  // rows in the file's order; square roots of their importance; of what they read
  Eigen eigen;
  double macs = 0;
  std::vector<int64_t> ranks;  // of the options after the first, which is the whole layer
};

constexpr int kRanks = 12;

bool splittable(const Graph& g, const Node& n) {
  if (n.op != Op::kConv && n.op != Op::kGemm) return false;
  const auto rows = ir::product_rows(g, n);
  return rows && rows->groups == 1 && rows->outputs >= 8 && rows->outputs <= 1024 && rows->width >= 8;
}

// S W C W' S.
std::vector<double> weighed_covariance(const Layer& l, std::span<const double> c) {
  const int64_t n = l.rows.width, m = l.rows.outputs;
  std::vector<double> product(static_cast<size_t>(m * n), 0.0), g(static_cast<size_t>(m * m), 0.0);
  for (int64_t o = 0; o < m; ++o) {
    for (int64_t i = 0; i < n; ++i) {
      const double w = l.weights[static_cast<size_t>(o * n + i)] * l.scale[static_cast<size_t>(o)];
      for (int64_t j = 0; w != 0 && j < n; ++j) product[static_cast<size_t>(o * n + j)] += w * c[static_cast<size_t>(i * n + j)];
    }
  }
  for (int64_t a = 0; a < m; ++a) {
    for (int64_t b = 0; b <= a; ++b) {
      double sum = 0;
      for (int64_t j = 0; j < n; ++j) sum += product[static_cast<size_t>(a * n + j)] * l.weights[static_cast<size_t>(b * n + j)];
      g[static_cast<size_t>(a * m + b)] = g[static_cast<size_t>(b * m + a)] = sum * l.scale[static_cast<size_t>(b)];
    }
  }
  return g;
}

double share_of(const ProductRows& r, int64_t rank) { return static_cast<double>(rank * (r.width + r.outputs)) / static_cast<double>(r.width * r.outputs); }

Unit proposals(Layer& l, const std::string& name) {
  const double weights = 4.0 * static_cast<double>(l.rows.outputs * l.rows.width);
  Unit unit{name, {{{weights, 0, l.macs}, 0}}};
  const auto most = static_cast<int64_t>(static_cast<double>(l.rows.width * l.rows.outputs) / static_cast<double>(l.rows.width + l.rows.outputs));
  for (int i = kRanks; i-- > 0;) {
    const int64_t rank = std::max<int64_t>(1, (most - 1) * (i + 1) / kRanks);
    if (rank >= most || (!l.ranks.empty() && l.ranks.back() == rank)) continue;
    const double loss = std::accumulate(l.eigen.values.begin() + rank, l.eigen.values.end(), 0.0, [](double sum, double v) { return sum + std::max(v, 0.0); });
    l.ranks.push_back(rank);
    unit.options.push_back({{weights * share_of(l.rows, rank), 0, l.macs * share_of(l.rows, rank)}, loss});
  }
  return unit;
}

// The two factors: U' S W (rank x width), and S^-1 U (outputs x rank).
void split(Graph& g, size_t k, const Layer& l, int64_t rank, std::vector<Node>& nodes) {
  const Node whole = g.nodes[k];
  const int64_t m = l.rows.outputs, n = l.rows.width;
  const bool convolution = whole.op == Op::kConv;
  const ir::Value weights = g.value(whole.inputs[1]);
  ir::Shape first_shape = weights.shape, second_shape = convolution ? ir::Shape(weights.shape.size(), 1) : ir::Shape{m, rank};
  first_shape[static_cast<size_t>(l.rows.axis)] = rank;
  if (convolution) second_shape[0] = m, second_shape[1] = rank;
  Tensor first(ir::DType::kF32, first_shape), second(ir::DType::kF32, second_shape), bias(ir::DType::kF32, {m});
  ProductRows thin = l.rows;
  thin.outputs = rank;
  std::vector<double> kept(static_cast<size_t>(m * n), 0.0);  // the product of both
  const auto u = [&](int64_t o, int64_t r) { return l.eigen.vectors[static_cast<size_t>(o * m + r)]; };
  for (int64_t r = 0; r < rank; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (int64_t o = 0; o < m; ++o) sum += u(o, r) * l.scale[static_cast<size_t>(o)] * l.weights[static_cast<size_t>(o * n + i)];
      first.set(thin.at(r, i), sum);
      for (int64_t o = 0; o < m; ++o) kept[static_cast<size_t>(o * n + i)] += u(o, r) / l.scale[static_cast<size_t>(o)] * sum;
    }
    for (int64_t o = 0; o < m; ++o) second.set(o * rank + r, u(o, r) / l.scale[static_cast<size_t>(o)]);
  }
  const bool biased = whole.inputs.size() > 2 && whole.inputs[2] != ir::kNoValue;
  for (int64_t o = 0; o < m; ++o) {
    double value = biased ? g.value(whole.inputs[2]).constant->at(o) : 0;
    for (int64_t i = 0; i < n; ++i) value += (l.weights[static_cast<size_t>(o * n + i)] - kept[static_cast<size_t>(o * n + i)]) * l.mean[static_cast<size_t>(i)];
    bias.set(o, value);
  }
  Node thin_node = whole, wide = whole;
  thin_node.name += ".thin", wide.name += ".wide";
  thin_node.activation = {};
  ir::Value between;
  between.name = thin_node.name + ".y";
  thin_node.outputs = {g.add_value(between)};
  thin_node.inputs = {whole.inputs[0], g.add_constant(weights.name + ".thin", first)};
  wide.inputs = {thin_node.outputs[0], g.add_constant(weights.name + ".wide", second), g.add_constant(weights.name + ".bias", bias)};
  wide.attributes = convolution ? std::map<std::string, ir::Attribute>{} : std::map<std::string, ir::Attribute>{{"transB", int64_t{1}}};
  nodes.push_back(std::move(thin_node));
  nodes.push_back(std::move(wide));
}

}  // namespace

Eigen symmetric_eigen(std::vector<double> a, int64_t n) {
  const auto at = [&](int64_t i, int64_t j) -> double& { return a[static_cast<size_t>(i * n + j)]; };
  std::vector<double> v(a.size(), 0.0);  // eigenvectors by row while they turn
  for (int64_t i = 0; i < n; ++i) v[static_cast<size_t>(i * n + i)] = 1;
  for (int sweep = 0; sweep < 30; ++sweep) {
    double off = 0, diagonal = 0;
    for (int64_t i = 0; i < n; ++i) {
      diagonal += at(i, i) * at(i, i);
      for (int64_t j = 0; j < i; ++j) off += at(i, j) * at(i, j);
    }
    if (off <= 1e-18 * diagonal) break;
    for (int64_t p = 0; p < n; ++p) {
      for (int64_t q = p + 1; q < n; ++q) {
        if (std::abs(at(p, q)) <= 1e-12 * std::sqrt(std::abs(at(p, p) * at(q, q))) + 1e-300) continue;
        const double theta = (at(q, q) - at(p, p)) / (2 * at(p, q));
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::sqrt(theta * theta + 1)), c = 1 / std::sqrt(t * t + 1), s = t * c;
        double *rp = &at(p, 0), *rq = &at(q, 0), *vp = v.data() + p * n, *vq = v.data() + q * n;
        for (int64_t k = 0; k < n; ++k) {
          const double x = rp[k], y = rq[k], vx = vp[k], vy = vq[k];
          rp[k] = c * x - s * y, rq[k] = s * x + c * y;
          vp[k] = c * vx - s * vy, vq[k] = s * vx + c * vy;
        }
        for (int64_t k = 0; k < n; ++k) {
          const double x = at(k, p), y = at(k, q);
          at(k, p) = c * x - s * y, at(k, q) = s * x + c * y;
        }
      }
    }
  }
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t x, int64_t y) { return at(x, x) > at(y, y); });
  Eigen e{{}, std::vector<double>(a.size())};
  for (int64_t r = 0; r < n; ++r) {
    e.values.push_back(at(order[static_cast<size_t>(r)], order[static_cast<size_t>(r)]));
    for (int64_t o = 0; o < n; ++o) e.vectors[static_cast<size_t>(o * n + r)] = v[static_cast<size_t>(order[static_cast<size_t>(r)] * n + o)];
  }
  return e;
}

Result<LowRankReport> split_low_rank(Graph& g, const std::vector<std::vector<Tensor>>& samples, const ir::SquaredGradients& gradients, const LowRankOptions& options) {
  std::map<size_t, Layer> layers;
  std::vector<Unit> units;
  std::vector<size_t> nodes_of;
  Graph copy = g;
  Progress bar("looking for subspaces", g.nodes.size());
  PITH_CHECK_OK(ir::walk_side_by_side(g, copy, samples, [&](size_t k, const ir::SideBySide& inputs) -> Result<void> {
    bar.step();
    const Node& n = g.nodes[k];
    if (!splittable(g, n)) return {};
    Layer l;
    l.rows = *ir::product_rows(g, n);
    const ir::Value& w = g.value(n.inputs[1]);
    PITH_TRY(const ReadMoments m, ir::read_moments(g, copy, n, n, inputs, options.positions, false));
    l.weights = ir::weight_rows(*w.constant, l.rows);
    l.mean = m.mean;
    const std::vector<double> importance = ir::row_importance(*w.constant, l.rows, m, gradients, w.name).rows;
    const double mean = std::accumulate(importance.begin(), importance.end(), 0.0) / static_cast<double>(importance.size());
    for (double s : importance) l.scale.push_back(std::sqrt(std::max({s, mean / 16, 1e-30})));
    l.eigen = symmetric_eigen(weighed_covariance(l, m.covariance), l.rows.outputs);
    l.macs = static_cast<double>(ir::mac_count(g, n));
    units.push_back(proposals(l, n.name));
    nodes_of.push_back(k);
    layers[k] = std::move(l);
    return {};
  }));
  LowRankReport report;
  report.macs_before = total_macs(g);
  double fixed = 0;
  for (size_t k = 0; k < g.nodes.size(); ++k) {
    if (!layers.count(k)) fixed += static_cast<double>(ir::mac_count(g, g.nodes[k]));
  }
  const double limit = options.macs_share * static_cast<double>(report.macs_before) - fixed;
  if (limit < 0) return error(ErrorCode::kDoesNotFit, fmt::format("layers that can't be split need {:.0f} multiply-accumulates, more than may stay; ask for fewer", fixed));
  PITH_TRY(const Allocation chosen, allocate(units, {-1, -1, limit}));
  std::vector<Node> nodes;
  size_t u = 0;
  const size_t count = g.nodes.size();
  for (size_t k = 0; k < count; ++k) {
    const bool here = u < nodes_of.size() && nodes_of[u] == k;
    const size_t option = here ? chosen.option[u] : 0;
    if (option == 0) {
      nodes.push_back(g.nodes[k]);
    } else {
      const Layer& l = layers.at(k);
      const int64_t rank = l.ranks[option - 1];
      report.layers.push_back({g.nodes[k].name, rank, l.rows.outputs, units[u].options[option].loss});
      split(g, k, l, rank, nodes);
    }
    u += here;
  }
  g.nodes = std::move(nodes);
  PITH_CHECK_OK(ir::infer_shapes(g));
  ir::remove_dead(g);
  PITH_CHECK_OK(ir::verify(g));
  report.macs_after = total_macs(g);
  report.loss = chosen.loss;
  return report;
}

}  // namespace pith
