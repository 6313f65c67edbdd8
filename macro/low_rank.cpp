// See low_rank.h.
#include "macro/low_rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/log.h"
#include "macro/eigen.h"
#include "macro/make_up.h"
#include "macro/measure.h"
#include "macro/separable.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::ProductRows;
using ir::ReadMoments;
using ir::Tensor;

// A way to split a layer.
struct Form {
  const Separable* separable = nullptr;  // or low rank
  int64_t rank = 0;
};

struct Layer {
  SplitProduct product;
  Eigen eigen;
  std::vector<Separable> separable;
  double macs = 0;
  std::vector<Form> forms;  // of the options after the first, which is the whole layer
};

constexpr int kRanks = 12;

bool splittable(const Graph& g, const Node& n) {
  if (n.op != Op::kConv && n.op != Op::kGemm) return false;
  const auto rows = ir::product_rows(g, n);
  return rows && stands_alone(g, n, *rows) && rows->groups == 1 && rows->outputs >= 8 && rows->outputs <= 1024 && rows->width >= 8;
}

// S W C W' S.
std::vector<double> weighed_covariance(const Layer& l, std::span<const double> c) {
  const int64_t n = l.product.rows.width, m = l.product.rows.outputs;
  std::vector<double> product(static_cast<size_t>(m * n), 0.0), g(static_cast<size_t>(m * m), 0.0);
  for (int64_t o = 0; o < m; ++o) {
    for (int64_t i = 0; i < n; ++i) {
      const double w = l.product.weights[static_cast<size_t>(o * n + i)] * l.product.scale[static_cast<size_t>(o)];
      for (int64_t j = 0; w != 0 && j < n; ++j) product[static_cast<size_t>(o * n + j)] += w * c[static_cast<size_t>(i * n + j)];
    }
  }
  for (int64_t a = 0; a < m; ++a) {
    for (int64_t b = 0; b <= a; ++b) {
      double sum = 0;
      for (int64_t j = 0; j < n; ++j) sum += product[static_cast<size_t>(a * n + j)] * l.product.weights[static_cast<size_t>(b * n + j)];
      g[static_cast<size_t>(a * m + b)] = g[static_cast<size_t>(b * m + a)] = sum * l.product.scale[static_cast<size_t>(b)];
    }
  }
  return g;
}

double share_of(const ProductRows& r, int64_t rank) { return static_cast<double>(rank * (r.width + r.outputs)) / static_cast<double>(r.width * r.outputs); }

// The whole layer, then each form at some of its ranks.
Unit proposals(Layer& l, const std::string& name) {
  const double weights = 4.0 * static_cast<double>(l.product.rows.outputs * l.product.rows.width);
  Unit unit{name, {{{weights, 0, l.macs}, 0}}};
  const auto offer = [&](const Form& form, double weights_share, double macs_share, double loss) {
    l.forms.push_back(form);
    unit.options.push_back({{weights * weights_share, 0, l.macs * macs_share}, loss});
  };
  const auto for_ranks = [&](int64_t most, const auto& each) {  // below `most`
    for (int64_t i = kRanks, before = 0; i-- > 0;) {
      const int64_t rank = std::max<int64_t>(1, (most - 1) * (i + 1) / kRanks);
      if (rank < most && rank != before) each(rank);
      before = rank;
    }
  };
  const ProductRows& r = l.product.rows;
  for_ranks(static_cast<int64_t>(static_cast<double>(r.width * r.outputs) / static_cast<double>(r.width + r.outputs)), [&](int64_t rank) {
    offer({nullptr, rank}, share_of(r, rank), share_of(r, rank), std::accumulate(l.eigen.values.begin() + rank, l.eigen.values.end(), 0.0, [](double sum, double v) { return sum + std::max(v, 0.0); }));
  });
  for (const Separable& s : l.separable) {
    const auto each = [&](int64_t rank) { offer({&s, rank}, s.weights_share(rank), s.macs_share(rank), s.loss(rank)); };
    if (s.any_rank()) for_ranks(s.most(), each);
    else each(s.most());
  }
  return unit;
}

// The factors of low rank: U' S W (rank x width), and S^-1 U (outputs x rank).
Factors thin_and_wide(const Layer& l, const Node& whole, const ir::Shape& shape, int64_t rank) {
  const int64_t m = l.product.rows.outputs, n = l.product.rows.width;
  const bool convolution = whole.op == Op::kConv;
  ir::Shape first_shape = shape, second_shape = convolution ? ir::Shape(shape.size(), 1) : ir::Shape{m, rank};
  first_shape[static_cast<size_t>(l.product.rows.axis)] = rank;
  if (convolution) second_shape[0] = m, second_shape[1] = rank;
  Factors made{Tensor(ir::DType::kF32, first_shape), second_shape, whole.attributes, {}, 1, std::vector<double>(static_cast<size_t>(rank * n)), std::vector<double>(static_cast<size_t>(m * rank))};
  if (!convolution) made.second_attributes = {{"transB", int64_t{1}}};
  ProductRows thin = l.product.rows;
  thin.outputs = rank;
  const auto u = [&](int64_t o, int64_t r) { return l.eigen.vectors[static_cast<size_t>(o * m + r)]; };
  for (int64_t r = 0; r < rank; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      double& sum = made.features[static_cast<size_t>(r * n + i)];
      for (int64_t o = 0; o < m; ++o) sum += u(o, r) * l.product.scale[static_cast<size_t>(o)] * l.product.weights[static_cast<size_t>(o * n + i)];
      made.first.set(thin.at(r, i), sum);
    }
    for (int64_t o = 0; o < m; ++o) made.mix[static_cast<size_t>(o * rank + r)] = u(o, r) / l.product.scale[static_cast<size_t>(o)];
  }
  return made;
}

std::string name_of(const Form& form) { return form.separable == nullptr ? "thin and wide" : form.separable->any_rank() ? "columns and rows" : "depthwise and pointwise"; }

Result<void> look_for_separable(const Graph& g, const Node& n, std::span<const double> covariance, Layer& l) {
  if (n.op != Op::kConv || g.value(n.inputs[1]).shape.size() != 4) return {};
  PITH_TRY(const std::vector<ir::Window> windows, ir::windows(n, ir::spatial(g.value(n.inputs[0]).shape), ir::spatial(g.value(n.inputs[1]).shape)));
  for (const auto kind : {Separable::Kind::kColumnsRows, Separable::Kind::kDepthwise}) {
    PITH_TRY(std::optional<Separable> s, Separable::make(kind, l.product, covariance, ir::as_2d(windows)));
    if (s) l.separable.push_back(std::move(*s));
  }
  return {};
}

class Splitting {
 public:
  Splitting(Graph& g, const std::vector<std::vector<Tensor>>& samples, const ir::SquaredGradients& gradients, int64_t positions) : g_(g), samples_(samples), gradients_(gradients), positions_(positions) {}

  Result<void> propose() {
    Graph copy = g_;
    Progress bar("looking for subspaces", g_.nodes.size());
    return ir::walk_side_by_side(g_, copy, samples_, [&](size_t k, const ir::SideBySide& inputs) -> Result<void> {
      bar.step();
      return splittable(g_, g_.nodes[k]) ? look(k, inputs) : Result<void>();
    });
  }

  Result<void> choose(double macs_share, LowRankReport& report) {
    report.macs_before = total_macs(g_);
    double fixed = 0;
    for (size_t k = 0; k < g_.nodes.size(); ++k) {
      if (!layers_.count(k)) fixed += static_cast<double>(ir::mac_count(g_, g_.nodes[k]));
    }
    const double limit = macs_share * static_cast<double>(report.macs_before) - fixed;
    if (limit < 0) return error(ErrorCode::kDoesNotFit, fmt::format("layers that can't be split need {:.0f} multiply-accumulates, more than may stay; ask for fewer", fixed));
    PITH_TRY(const Allocation chosen, allocate(units_, {-1, -1, limit}));
    report.loss = chosen.loss;
    size_t u = 0;
    for (const auto& [k, l] : layers_) {  // in the order of units
      if (const size_t option = chosen.option[u]; option > 0) {
        const Form& form = l.forms[option - 1];
        report.layers.push_back({g_.nodes[k].name, name_of(form), form.rank, l.product.rows.outputs, units_[u].options[option].loss});
        split_.emplace(k, form.separable != nullptr ? form.separable->factors(form.rank) : thin_and_wide(l, g_.nodes[k], g_.value(g_.nodes[k].inputs[1]).shape, form.rank));
      }
      ++u;
    }
    return {};
  }

  // Layer after layer, what is left of each comes as near to the original's results as it can on what it reads by now. Split
  // layers are whole ones here, of the weights that both halves come to.
  Result<void> make_up() {
    Graph original = g_;
    Progress bar("making up for what is lost", g_.nodes.size());
    return ir::walk_side_by_side(original, g_, samples_, [&](size_t k, const ir::SideBySide& inputs) -> Result<void> {
      bar.step();
      const auto split = split_.find(k);
      if (split == split_.end()) return pith::make_up(original, g_, k, inputs, positions_);
      PITH_TRY(ReadMoments m, ir::read_moments(original, g_, original.nodes[k], g_.nodes[k], inputs, positions_, true));
      ir::shrink(m);
      const SplitProduct& product = layers_.at(k).product;
      split->second.refit(product, m, kMakeUpDamping);
      const std::vector<double> together = split->second.together(product.rows);
      set_rows(g_, g_.nodes[k], product.rows, together);
      std::vector<double> shift(static_cast<size_t>(product.rows.outputs));
      for (size_t o = 0; o < shift.size(); ++o) {
        const auto first = static_cast<int64_t>(o) * product.rows.width;
        shift[o] = std::inner_product(m.original_mean.begin(), m.original_mean.end(), product.weights.begin() + first, 0.0) - std::inner_product(m.mean.begin(), m.mean.end(), together.begin() + first, 0.0);
      }
      add_to_bias(g_, g_.nodes[k], shift);
      return {};
    });
  }

  Result<void> replace() {
    std::vector<Node> nodes;
    const size_t count = g_.nodes.size();
    for (size_t k = 0; k < count; ++k) {
      const auto split = split_.find(k);
      if (split == split_.end()) nodes.push_back(g_.nodes[k]);
      else put(k, split->second, nodes);
    }
    g_.nodes = std::move(nodes);
    PITH_CHECK_OK(ir::infer_shapes(g_));
    ir::remove_dead(g_);
    return ir::verify(g_);
  }

 private:
  Result<void> look(size_t k, const ir::SideBySide& inputs) {
    const Node& n = g_.nodes[k];
    Layer& l = layers_[k];  // stays where it is: forms point into it
    l.product.rows = *ir::product_rows(g_, n);
    const ir::Value& w = g_.value(n.inputs[1]);
    PITH_TRY(const ReadMoments m, ir::read_moments(g_, g_, n, n, inputs, positions_, false));
    l.product.weights = ir::weight_rows(*w.constant, l.product.rows);
    const std::vector<double> importance = ir::row_importance(*w.constant, l.product.rows, m, gradients_, w.name).rows;
    const double mean = std::accumulate(importance.begin(), importance.end(), 0.0) / static_cast<double>(importance.size());
    for (double s : importance) l.product.scale.push_back(std::sqrt(std::max({s, mean / 16, 1e-30})));
    PITH_TRY(l.eigen, symmetric_eigen(weighed_covariance(l, m.covariance), l.product.rows.outputs));
    PITH_CHECK_OK(look_for_separable(g_, n, m.covariance, l));
    l.macs = static_cast<double>(ir::mac_count(g_, n));
    units_.push_back(proposals(l, n.name));
    return {};
  }

  // Both halves, behind each other; the bias is the second one's.
  void put(size_t k, const Factors& f, std::vector<Node>& nodes) {
    const Node whole = g_.nodes[k];
    const std::string weights = g_.value(whole.inputs[1]).name;
    Node first = whole, second = whole;
    first.name += ".thin", second.name += ".wide";
    first.activation = {};
    ir::Value between;
    between.name = first.name + ".y";
    first.outputs = {g_.add_value(between)};
    first.inputs = {whole.inputs[0], g_.add_constant(weights + ".thin", f.first)};
    second.inputs[0] = first.outputs[0], second.inputs[1] = g_.add_constant(weights + ".wide", f.second());
    first.attributes = f.first_attributes;
    second.attributes = f.second_attributes;
    nodes.push_back(std::move(first));
    nodes.push_back(std::move(second));
  }

  Graph& g_;
  const std::vector<std::vector<Tensor>>& samples_;
  const ir::SquaredGradients& gradients_;
  int64_t positions_;
  std::map<size_t, Layer> layers_;
  std::vector<Unit> units_;
  std::map<size_t, Factors> split_;
};

}  // namespace

Result<LowRankReport> split_low_rank(Graph& g, const std::vector<std::vector<Tensor>>& samples, const ir::SquaredGradients& gradients, const LowRankOptions& options) {
  Splitting s(g, samples, gradients, options.positions);
  LowRankReport report;
  PITH_CHECK_OK(s.propose());
  PITH_CHECK_OK(s.choose(options.macs_share, report));
  PITH_CHECK_OK(s.make_up());
  PITH_CHECK_OK(s.replace());
  report.macs_after = total_macs(g);
  return report;
}

}  // namespace pith
