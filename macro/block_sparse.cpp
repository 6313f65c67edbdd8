// See block_sparse.h.
#include "macro/block_sparse.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/allocate.h"
#include "base/linear.h"
#include "base/log.h"
#include "ir/blocks.h"
#include "ir/products.h"
#include "macro/eigen.h"
#include "macro/make_up.h"
#include "macro/measure.h"

namespace pith {
namespace {

using ir::Blocks;
using ir::Graph;
using ir::Node;
using ir::Op;
using ir::ReadMoments;
using ir::Tensor;

// The rows of one block, and what is left to choose from. Row-major; `size` shrinks as blocks go.
class Elimination {
 public:
  Elimination(const Blocks& b, int64_t down, std::span<const double> weights, std::span<const double> importance, const std::vector<double>& inverse)
      : rows_(b.outputs(down).count), size_(b.rows.width), live_(size_), importance_(importance.subspan(static_cast<size_t>(b.outputs(down).first), static_cast<size_t>(rows_))), inverse_(inverse) {
    const double* first = weights.data() + b.outputs(down).first * size_;
    w_.assign(first, first + rows_ * size_);
    for (int64_t across = 0; across < b.across(); ++across) places_.push_back({across, b.elements(across).first, b.elements(across).count});
  }

  struct Drop {
    int64_t across = 0, elements = 0;
    double loss = 0;
  };
  size_t left() const { return places_.size(); }
  int64_t elements() const { return live_; }
  void drop_zeros() {  // that are zero already
    for (size_t i = places_.size(); i-- > 0;) {
      if (is_zero(places_[i])) drop(i, 0);
    }
  }
  Drop drop_cheapest() {
    size_t best = 0;
    double least = -1;
    for (size_t i = 0; i < places_.size(); ++i) {
      const double loss = cost(places_[i]);
      if (least < 0 || loss < least) best = i, least = loss;
    }
    return drop(best, least);
  }

 private:
  struct Place {
    int64_t across, first, count;  // which block; where it stands now
  };

  bool is_zero(const Place& p) const {
    for (int64_t r = 0; r < rows_; ++r) {
      const double* w = w_.data() + r * size_ + p.first;
      if (std::any_of(w, w + p.count, [](double x) { return x != 0; })) return false;
    }
    return true;
  }

  std::vector<double> part(const Place& p) const {  // factor of [C^-1]_JJ
    std::vector<double> f;
    for (int64_t i = 0; i < p.count; ++i) f.insert(f.end(), inverse_.begin() + (p.first + i) * size_ + p.first, inverse_.begin() + (p.first + i) * size_ + p.first + p.count);
    if (!cholesky(f, p.count)) f.clear();
    return f;
  }

  double cost(const Place& p) const {
    const std::vector<double> factor = part(p);
    double sum = 0;
    for (int64_t r = 0; r < rows_; ++r) {
      const double* w = w_.data() + r * size_ + p.first;
      std::vector<double> x(w, w + p.count);
      if (!factor.empty()) solve_cholesky(factor, p.count, x);
      for (int64_t i = 0; i < p.count; ++i) sum += importance_[static_cast<size_t>(r)] * w[i] * x[static_cast<size_t>(i)];
    }
    return sum;
  }

  // w -= w_J ([C^-1]_JJ)^-1 [C^-1]_J and C^-1 likewise.
  Drop drop(size_t i, double loss) {
    const Place p = places_[i];
    places_.erase(places_.begin() + static_cast<int64_t>(i));
    const std::vector<double> factor = part(p);
    std::vector<double> column, share(static_cast<size_t>(p.count * size_)), x(static_cast<size_t>(p.count));
    for (int64_t k = 0; k < size_; ++k) {
      for (int64_t j = 0; j < p.count; ++j) x[static_cast<size_t>(j)] = inverse_[static_cast<size_t>(k * size_ + p.first + j)];
      column.insert(column.end(), x.begin(), x.end());
      if (!factor.empty()) solve_cholesky(factor, p.count, x);
      for (int64_t j = 0; j < p.count; ++j) share[static_cast<size_t>(j * size_ + k)] = factor.empty() ? 0 : -x[static_cast<size_t>(j)];
    }
    std::vector<double> gone;
    for (int64_t r = 0; r < rows_; ++r) gone.insert(gone.end(), w_.begin() + r * size_ + p.first, w_.begin() + r * size_ + p.first + p.count);
    ir::gemm(false, false, rows_, size_, p.count, gone.data(), p.count, share.data(), size_, true, w_.data(), size_);
    ir::gemm(false, false, size_, size_, p.count, column.data(), p.count, share.data(), size_, true, inverse_.data(), size_);
    live_ -= p.count;
    if (4 * live_ < 3 * size_) close_up();
    return {p.across, p.count, loss};
  }

  // What is gone no longer takes part.
  void close_up() {
    std::vector<int64_t> kept;
    for (Place& p : places_) {
      const auto first = static_cast<int64_t>(kept.size());
      for (int64_t j = 0; j < p.count; ++j) kept.push_back(p.first + j);
      p.first = first;
    }
    const auto gather = [&](std::vector<double>& matrix, const std::vector<int64_t>* rows, int64_t count) {
      std::vector<double> smaller;
      smaller.reserve(static_cast<size_t>(count) * kept.size());
      for (int64_t r = 0; r < count; ++r) {
        const double* row = matrix.data() + (rows != nullptr ? (*rows)[static_cast<size_t>(r)] : r) * size_;
        for (int64_t k : kept) smaller.push_back(row[k]);
      }
      matrix = std::move(smaller);
    };
    gather(w_, nullptr, rows_);
    gather(inverse_, &kept, static_cast<int64_t>(kept.size()));
    size_ = live_ = static_cast<int64_t>(kept.size());
  }

  int64_t rows_, size_, live_;  // live_: elements that are left of size_
  std::span<const double> importance_;
  std::vector<double> w_, inverse_;
  std::vector<Place> places_;
};

// Convolutions and products that may lose blocks, with their rows.
std::map<size_t, ir::ProductRows> losers(const Graph& g) {
  std::map<size_t, ir::ProductRows> found;
  for (size_t k = 0; k < g.nodes.size(); ++k) {
    const auto r = ir::product_rows(g, g.nodes[k]);
    const bool wide = r && r->groups == 1 && r->outputs >= ir::kBlockSide && r->depth >= ir::kBlockSide && r->width >= 2 * ir::kBlockSide;
    if (wide && g.nodes[k].op != Op::kMatMul && stands_alone(g, g.nodes[k], *r)) found[k] = *r;
  }
  return found;
}

// The order in which 16 rows of a layer lose their blocks.
struct Curve {
  size_t node;
  int64_t down;
  std::vector<Elimination::Drop> drops;
};

class BlockPruning {
 public:
  BlockPruning(const Graph& original, const std::vector<std::vector<Tensor>>& samples, const ir::SquaredGradients& gradients, const BlockSparseOptions& options)
      : original_(original), samples_(samples), gradients_(gradients), options_(options), products_(losers(original)) {
    for (const auto& [k, rows] : products_) {
      zeros_[k] = ir::zero_block_mask(*original.value(original.nodes[k].inputs[1]).constant, rows);
      zeros_[k].resize(static_cast<size_t>(rows.outputs * rows.width), 0);
    }
  }

  // Curves of the rows of every layer.
  Result<void> look() {
    Graph copy = original_;
    Progress bar("looking for blocks", original_.nodes.size());
    return ir::walk_side_by_side(original_, copy, samples_, [&](size_t k, const ir::SideBySide& inputs) -> Result<void> {
      bar.step();
      return products_.count(k) ? look_at(k, inputs) : Result<void>();
    });
  }

  // Takes blocks until so many multiply-accumulates are left; returns what that was said to cost.
  Result<double> take(double macs) {
    double fixed = static_cast<double>(total_macs(original_));
    for (const Unit& u : units_) fixed -= u.options[0].spent.macs;
    if (macs < fixed) return error(ErrorCode::kDoesNotFit, fmt::format("layers that can't lose blocks need {:.0f} multiply-accumulates, more than may stay; ask for fewer", fixed));
    PITH_TRY(const Allocation chosen, allocate(units_, {-1, -1, macs - fixed}));
    for (size_t u = 0; u < units_.size(); ++u) {
      const Curve& c = curves_[u];
      const Blocks b{products_.at(c.node)};
      const auto outputs = b.outputs(c.down);
      for (size_t d = 0; d < chosen.option[u]; ++d) {
        const auto elements = b.elements(c.drops[d].across);
        for (int64_t o = outputs.first; o < outputs.first + outputs.count; ++o) std::fill_n(zeros_[c.node].begin() + o * b.rows.width + elements.first, elements.count, uint8_t{1});
      }
    }
    return chosen.loss;
  }

  // Every layer's best weights and biases for what it reads by now; blocks that are gone stay zero.
  Result<Graph> made_up() const {
    Graph next = original_;
    Progress bar("making up for blocks", next.nodes.size());
    PITH_CHECK_OK(ir::walk_side_by_side(original_, next, samples_, [&](size_t k, const ir::SideBySide& inputs) -> Result<void> {
      bar.step();
      return make_up(original_, next, k, inputs, options_.positions, zeros_.count(k) ? &zeros_.at(k) : nullptr);
    }));
    return next;
  }

  std::vector<BlockSparseReport::Layer> layers() const {
    std::vector<BlockSparseReport::Layer> all;
    for (const auto& [k, rows] : products_) {
      const Blocks b{rows};
      BlockSparseReport::Layer l{original_.nodes[k].name, 0, b.down() * b.across()};
      for (int64_t i = 0; i < l.blocks; ++i) l.dropped += zeros_.at(k)[static_cast<size_t>(b.outputs(i / b.across()).first * rows.width + b.elements(i % b.across()).first)];
      if (l.dropped > 0) all.push_back(l);
    }
    return all;
  }

 private:
  Result<void> look_at(size_t k, const ir::SideBySide& inputs) {
    const Node& n = original_.nodes[k];
    const Blocks b{products_.at(k)};
    const int64_t width = b.rows.width;
    PITH_TRY(ReadMoments m, ir::read_moments(original_, original_, n, n, inputs, options_.positions, false));
    ir::shrink(m);
    const ir::Value& w = original_.value(n.inputs[1]);
    std::vector<double> importance = ir::row_importance(*w.constant, b.rows, m, gradients_, w.name).rows;
    double mean = 0;  // rows that these samples don't need may be needed by others
    for (double s : importance) mean += s / static_cast<double>(importance.size());
    for (double& s : importance) s = std::max(s, mean / 4);
    damp(m.covariance, width, 0.001);
    for (int64_t i = 0; i < width; ++i) m.covariance[static_cast<size_t>(i * (width + 1))] += 1e-5 * m.mean[static_cast<size_t>(i)] * m.mean[static_cast<size_t>(i)];
    const std::vector<double> inverse = symmetric_inverse(m.covariance, width);
    if (inverse.empty()) return usage_error(fmt::format("the second moments of what '{}' reads aren't positive definite; give other samples", n.name));
    const std::vector<double> weights = ir::weight_rows(*w.constant, b.rows);
    const double positions = static_cast<double>(ir::dense_mac_count(original_, n)) / static_cast<double>(b.rows.outputs * width);
    for (int64_t down = 0; down < b.down(); ++down) {
      Elimination e(b, down, weights, importance, inverse);
      e.drop_zeros();
      add_curve(k, down, e, positions * static_cast<double>(b.outputs(down).count));
    }
    return {};
  }

  void add_curve(size_t k, int64_t down, Elimination& e, double macs_of_element) {
    Curve c{k, down, {}};
    double elements = static_cast<double>(e.elements());
    Unit unit{fmt::format("{} {}", original_.nodes[k].name, down), {{{0, 0, macs_of_element * elements}, 0}}};
    while (e.left() > 1) {
      c.drops.push_back(e.drop_cheapest());
      elements -= static_cast<double>(c.drops.back().elements);
      unit.options.push_back({{0, 0, macs_of_element * elements}, unit.options.back().loss + c.drops.back().loss});
    }
    curves_.push_back(std::move(c));
    units_.push_back(std::move(unit));
  }

  const Graph& original_;
  const std::vector<std::vector<Tensor>>& samples_;
  const ir::SquaredGradients& gradients_;
  BlockSparseOptions options_;
  std::map<size_t, ir::ProductRows> products_;    // that may lose blocks, by node
  std::map<size_t, std::vector<uint8_t>> zeros_;  // by node: 1 where a weight is gone, rows in the file's order
  std::vector<Curve> curves_;
  std::vector<Unit> units_;  // of the same
};

}  // namespace

Result<BlockSparseReport> drop_weight_blocks(Graph& g, const std::vector<std::vector<Tensor>>& samples, const ir::SquaredGradients& gradients, const BlockSparseOptions& options) {
  if (options.macs_share <= 0 || options.macs_share > 1) return usage_error(fmt::format("a share of {} of the multiply-accumulates can't stay; choose more than 0, at most 1", options.macs_share));
  BlockSparseReport report;
  report.macs_before = total_macs(g);
  BlockPruning p(g, samples, gradients, options);
  PITH_CHECK_OK(p.look());
  PITH_TRY(report.loss, p.take(options.macs_share * static_cast<double>(report.macs_before)));
  report.layers = p.layers();
  PITH_TRY(Graph sparse, p.made_up());
  g = std::move(sparse);
  PITH_CHECK_OK(ir::verify(g));
  report.macs_after = total_macs(g);
  return report;
}

}  // namespace pith
