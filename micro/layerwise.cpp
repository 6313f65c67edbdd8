// See layerwise.h.
#include "micro/layerwise.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/log.h"
#include "coding/encode/weights.h"
#include "ir/blocks.h"
#include "ir/compensate.h"
#include "ir/interpret.h"
#include "ir/products.h"
#include "micro/best_code.h"
#include "micro/calibrate.h"
#include "micro/price.h"
#include "micro/round.h"
#include "numerics/scale.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

constexpr int64_t kWidest = 3072;    // inputs of a product whose second moments are taken
constexpr int64_t kFirstRows = 4096;  // that the first look takes
constexpr int64_t kBatchRows = 512;
constexpr double kDamping = 0.05;    // of the mean variance, against what few samples don't show
constexpr double kRareWord = 0.5;    // counts of a row that was never read

// What a product reads: in the original network (x) and behind rounded layers (y).
class Moments {
 public:
  Moments(int64_t n, bool centred) : n_(n), centred_(centred), x_sum_(static_cast<size_t>(n), 0.0), y_sum_(x_sum_), yy_(static_cast<size_t>(n * n), 0.0), xy_(yy_) {}

  void add(std::span<const float> x, std::span<const float> y) {
    for (size_t i = 0; i < x.size(); ++i) {
      x_sum_[i % static_cast<size_t>(n_)] += x[i];
      y_sum_[i % static_cast<size_t>(n_)] += y[i];
    }
    x_.insert(x_.end(), x.begin(), x.end());
    y_.insert(y_.end(), y.begin(), y.end());
    if (static_cast<int64_t>(y_.size()) >= kBatchRows * n_) flush();
  }

  void finish() {
    flush();
    const double rows = std::max(count_, 1.0);
    double trace = 0;
    for (int64_t i = 0; i < n_; ++i) {
      x_sum_[static_cast<size_t>(i)] /= rows;
      y_sum_[static_cast<size_t>(i)] /= rows;
    }
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < n_; ++j) {
        const size_t at = static_cast<size_t>(i * n_ + j);
        yy_[at] = yy_[at] / rows - (centred_ ? y_sum_[static_cast<size_t>(i)] * y_sum_[static_cast<size_t>(j)] : 0);
        xy_[at] = xy_[at] / rows - (centred_ ? x_sum_[static_cast<size_t>(i)] * y_sum_[static_cast<size_t>(j)] : 0);
      }
      trace += yy_[static_cast<size_t>(i * n_ + i)];
    }
    const double damping = kDamping * trace / static_cast<double>(n_) + 1e-12;
    for (int64_t i = 0; i < n_; ++i) {
      yy_[static_cast<size_t>(i * n_ + i)] += damping;
      xy_[static_cast<size_t>(i * n_ + i)] += damping;
    }
  }

  const std::vector<double>& hessian() const { return yy_; }
  const std::vector<double>& x_mean() const { return x_sum_; }
  const std::vector<double>& y_mean() const { return y_sum_; }

  // Takes rows of weights (rows x n) to what reproduces, from y, what they made of x; those that are held at zero (1) stay there.
  void move_targets(std::span<const double> upper, int64_t rows, std::vector<double>& weights, std::span<const uint8_t> zeros) const {
    std::vector<double> first(yy_.size()), map(yy_.size()), moved(weights.size());
    if (!zeros.empty()) {
      ir::gemm(false, false, rows, n_, n_, weights.data(), n_, xy_.data(), n_, false, moved.data(), n_);
      if (ir::solve_rows(yy_, n_, moved, zeros)) weights = std::move(moved);
      return;
    }
    ir::gemm(false, true, n_, n_, n_, xy_.data(), n_, upper.data(), n_, false, first.data(), n_);
    ir::gemm(false, false, n_, n_, n_, first.data(), n_, upper.data(), n_, false, map.data(), n_);
    ir::gemm(false, false, rows, n_, n_, weights.data(), n_, map.data(), n_, false, moved.data(), n_);
    weights = std::move(moved);
  }

 private:
  void flush() {
    const int64_t rows = static_cast<int64_t>(y_.size()) / n_;
    if (rows == 0) return;
    ir::gemm(true, false, n_, n_, rows, y_.data(), n_, y_.data(), n_, true, yy_.data(), n_);
    ir::gemm(true, false, n_, n_, rows, x_.data(), n_, y_.data(), n_, true, xy_.data(), n_);
    count_ += static_cast<double>(rows);
    x_.clear();
    y_.clear();
  }

  int64_t n_;
  bool centred_;
  double count_ = 0;
  std::vector<double> x_, y_, x_sum_, y_sum_, yy_, xy_;
};

// One sample on its way through both networks.
struct Lane {
  std::vector<Tensor> original, rounded;
  std::vector<uint8_t> rows;  // which count; empty: all
};

bool transposed_weights(const Node& n) { return n.op == Op::kGemm && n.integer("transB", 0) != 0; }

int64_t width_of(const Graph& g, const Node& n) { return g.value(n.inputs[1]).shape[transposed_weights(n) ? 1 : 0]; }

// Weights as rows of outputs, and back.
std::vector<double> rows_of(const Tensor& w, bool transposed) {
  const int64_t a = w.shape()[0], b = w.shape()[1];
  const auto x = w.as<float>();
  std::vector<double> rows(x.size());
  for (int64_t i = 0; i < a; ++i) {
    for (int64_t j = 0; j < b; ++j) rows[static_cast<size_t>(transposed ? i * b + j : j * a + i)] = x[static_cast<size_t>(i * b + j)];
  }
  return rows;
}

std::vector<double> largest_weights(const Tensor& w, bool by_row) {
  const auto x = w.as<float>();
  const size_t rows = by_row ? static_cast<size_t>(w.shape()[0]) : 1, width = x.size() / rows;
  std::vector<double> largest(rows, 1e-30);
  for (size_t i = 0; i < x.size(); ++i) largest[i / width] = std::max(largest[i / width], static_cast<double>(std::abs(x[i])));
  return largest;
}

using Site = RoundedSite;

class Rounding {
 public:
  Rounding(const Graph& g, const std::vector<std::vector<Tensor>>& samples, const LayerwiseOptions& options) : source_(g), samples_(samples), options_(options) { result_.graph = g; }

  Result<Layerwise> run() {
    PITH_TRY(sensitivity_, sensitivities(source_, samples_, options_));
    PITH_CHECK_OK(look());
    PITH_TRY(price_, find_price(sites_, options_.bits_per_weight, options_.may_be));
    log_info(fmt::format("a bit is worth {:.3g} of the answer", price_));
    PITH_CHECK_OK(walk(samples_.size(), true));
    return std::move(result_);
  }

 private:
  // The original network alone: how much errors at each product's inputs cost.
  Result<void> look() {
    for (size_t i = 0; i < source_.nodes.size(); ++i) {
      const Node& n = source_.nodes[i];
      if (is_embedding(source_, n)) {
        Site& s = sites_[n.inputs[0]];
        set_shape(s, n.inputs[0], true);
        s.prior = sensitivity_[i];
        s.row_weights = word_weights(source_.value(n.inputs[0]).shape[0]);
      } else if (measurable(source_, n)) {
        Site& s = sites_[n.inputs[1]];
        set_shape(s, n.inputs[1], transposed_weights(n));
        s.sensitivity += sensitivity_[i];
      }
    }
    if (sites_.empty()) return usage_error("the network has no product with weights that could be rounded");
    for (auto& [id, site] : sites_) site.largest = largest_weights(*source_.value(id).constant, site.sensitivity == 0);
    return walk(first_count(), false);
  }

  void set_shape(Site& site, ValueId id, bool transposed) const {
    const Tensor& w = *source_.value(id).constant;
    site.rows = w.shape()[transposed ? 0 : 1];
    site.width = w.shape()[transposed ? 1 : 0];
    take_part(site, rows_of(w, transposed));
  }

  // As many samples as hold kFirstRows rows that count: fewer rows than a product is wide say next to nothing of its cost.
  size_t first_count() const {
    double rows = 0;
    size_t k = 0;
    while (k < source_.inputs.size() && source_.inputs[k] != options_.row_mask) ++k;
    for (const auto& sample : samples_) {
      double counted = static_cast<double>(ir::element_count(source_.value(source_.inputs[0]).shape));
      if (k < sample.size()) {
        counted = 0;
        for (int64_t i = 0; i < sample[k].count(); ++i) counted += sample[k].at(i) != 0;
      }
      rows += counted / static_cast<double>(samples_.size());
    }
    return std::clamp<size_t>(static_cast<size_t>(kFirstRows / std::max(1.0, rows)), 1, samples_.size());
  }

  std::vector<double> word_weights(int64_t rows) const {
    std::vector<double> w(static_cast<size_t>(rows), 1.0 / static_cast<double>(rows));
    if (static_cast<int64_t>(options_.row_counts.size()) != rows) return w;
    double sum = 0;
    for (size_t i = 0; i < w.size(); ++i) sum += w[i] = options_.row_counts[i] + kRareWord;
    for (double& x : w) x /= sum;
    return w;
  }

  Result<void> walk(size_t count, bool rounding) {
    moments_.reset();
    std::vector<Lane> lanes(count);
    for (size_t s = 0; s < count; ++s) {
      const auto& sample = samples_[s * samples_.size() / count];
      if (sample.size() != source_.inputs.size()) return usage_error(fmt::format("a sample has {} tensors for {} inputs", sample.size(), source_.inputs.size()));
      lanes[s].original.resize(source_.values.size());
      for (size_t i = 0; i < sample.size(); ++i) lanes[s].original[static_cast<size_t>(source_.inputs[i])] = sample[i];
      lanes[s].rounded = lanes[s].original;
      if (options_.row_mask == ir::kNoValue) continue;
      const Tensor& mask = lanes[s].original[static_cast<size_t>(options_.row_mask)];
      for (int64_t r = 0; r < mask.count(); ++r) lanes[s].rows.push_back(mask.at(r) != 0);
    }
    std::vector<int> reads(source_.values.size(), 0);
    for (const Node& n : source_.nodes) {
      for (ValueId id : n.inputs) {
        if (id != ir::kNoValue) ++reads[static_cast<size_t>(id)];
      }
    }
    Progress bar(rounding ? "rounding" : "looking at what products read", source_.nodes.size());
    for (size_t i = 0; i < source_.nodes.size(); ++i) {
      const Node& n = source_.nodes[i];
      if (is_embedding(source_, n) && rounding) PITH_CHECK_OK(round_embedding(n));
      if (measurable(source_, n)) PITH_CHECK_OK(product(i, lanes, rounding));
      PITH_CHECK_OK(advance(i, lanes, reads));
      bar.step();
    }
    return {};
  }

  Result<void> advance(size_t index, std::vector<Lane>& lanes, std::vector<int>& reads) {
    const Node &n = source_.nodes[index], &changed = result_.graph.nodes[index];
    for (Lane& lane : lanes) {
      std::vector<const Tensor*> a, b;
      bool same = changed.inputs == n.inputs;
      for (size_t k = 0; k < n.inputs.size(); ++k) {
        const auto operand = [&](const Graph& g, ValueId id, const std::vector<Tensor>& values) -> const Tensor* {
          if (id == ir::kNoValue) return nullptr;
          return g.value(id).constant ? &*g.value(id).constant : &values[static_cast<size_t>(id)];
        };
        a.push_back(operand(source_, n.inputs[k], lane.original));
        b.push_back(operand(result_.graph, changed.inputs[k], lane.rounded));
        same = same && (a.back() == nullptr ? b.back() == nullptr : b.back() != nullptr && a.back()->bytes() == b.back()->bytes());
      }
      PITH_TRY(std::vector<Tensor> results, ir::interpret_node(source_, n, a));
      std::vector<Tensor> others = results;
      if (!same) {
        PITH_TRY(others, ir::interpret_node(result_.graph, changed, b));
      }
      for (size_t k = 0; k < n.outputs.size(); ++k) {
        if (n.outputs[k] == ir::kNoValue || reads[static_cast<size_t>(n.outputs[k])] == 0) continue;
        lane.original[static_cast<size_t>(n.outputs[k])] = std::move(results[k]);
        lane.rounded[static_cast<size_t>(n.outputs[k])] = std::move(others[k]);
      }
    }
    for (ValueId id : n.inputs) {
      if (id == ir::kNoValue || --reads[static_cast<size_t>(id)] > 0 || source_.value(id).is_constant()) continue;
      for (Lane& lane : lanes) lane.original[static_cast<size_t>(id)] = lane.rounded[static_cast<size_t>(id)] = Tensor();
    }
    return {};
  }

  // Moments of a value; products that read the same one after the other share them.
  Result<void> gather(ValueId id, int64_t n, bool centred, const std::vector<Lane>& lanes) {
    if (moments_ && moments_of_ == std::pair{id, centred}) return {};
    moments_ = std::make_unique<Moments>(n, centred);
    moments_of_ = {id, centred};
    for (const Lane& lane : lanes) {
      const auto x = lane.original[static_cast<size_t>(id)].as<float>(), y = lane.rounded[static_cast<size_t>(id)].as<float>();
      const size_t width = static_cast<size_t>(n), rows = x.size() / width;
      for (size_t r = 0; r < rows; ++r) {
        if (lane.rows.size() == rows && !lane.rows[r]) continue;
        moments_->add(x.subspan(r * width, width), y.subspan(r * width, width));
      }
    }
    moments_->finish();
    upper_ = feedback_factor(moments_->hessian(), n);
    if (upper_.empty()) return internal_error(fmt::format("the second moments of '{}' can't be inverted", source_.value(id).name));
    return {};
  }

  Result<void> product(size_t index, const std::vector<Lane>& lanes, bool rounding) {
    const Node& n = source_.nodes[index];
    const int64_t width = width_of(source_, n);
    Site& site = sites_.at(n.inputs[1]);
    if (width > kWidest) return usage_error(fmt::format("'{}' reads {} numbers, more than second moments are taken of ({})", n.name, width, kWidest));
    const bool has_bias = n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue && source_.value(n.inputs[2]).is_constant();
    if (rounding && site.done) return {};
    PITH_CHECK_OK(gather(n.inputs[0], width, has_bias, lanes));
    if (!rounding) {
      site.costs.clear();
      for (int64_t k = 0; k < width; ++k) site.costs.push_back(std::pow(upper_[static_cast<size_t>(k * width + k)], -2));
      if (!site.row_weights.empty()) site.hessian = moments_->hessian();
      return {};
    }
    const ir::Value& original = source_.value(n.inputs[1]);
    const bool transposed = transposed_weights(n);
    const int64_t outputs = original.constant->count() / width;
    const std::vector<double> before = rows_of(*original.constant, transposed);
    std::vector<double> wanted = before;
    const std::vector<uint8_t> zeros = ir::zero_block_mask(*original.constant, *ir::product_rows(source_, n));
    moments_->move_targets(upper_, outputs, wanted, zeros);
    PITH_TRY(const std::vector<double> after, rounded(n.inputs[1], site, outputs, wanted, moments_->hessian(), {}, price_ / site.sensitivity, zeros));
    set_weights(n.inputs[1], after, transposed);
    if (has_bias) correct_bias(index, before, after, outputs, width);
    return {};
  }

  void correct_bias(size_t index, const std::vector<double>& before, const std::vector<double>& after, int64_t outputs, int64_t width) {
    Node& n = result_.graph.nodes[index];
    ir::Value bias = result_.graph.value(n.inputs[2]);
    for (int64_t o = 0; o < outputs; ++o) {
      double sum = bias.constant->at(o);
      for (int64_t k = 0; k < width; ++k) {
        const size_t at = static_cast<size_t>(o * width + k), input = static_cast<size_t>(k);
        sum += before[at] * moments_->x_mean()[input] - after[at] * moments_->y_mean()[input];
      }
      bias.constant->set(o, sum);
    }
    n.inputs[2] = result_.graph.add_value(std::move(bias));
  }

  Result<void> round_embedding(const Node& n) {
    Site& site = sites_.at(n.inputs[0]);
    if (site.done) return {};
    const Tensor& table = *source_.value(n.inputs[0]).constant;
    const int64_t rows = table.shape()[0], width = table.shape()[1];
    const std::vector<double> wanted = rows_of(table, true);
    std::vector<double> hessian = site.hessian, weights;
    double lambda = price_ / std::max(site.prior, 1e-30);
    if (!hessian.empty()) {  // shared with a product: what it costs there, and here for a word of mean frequency
      for (double& h : hessian) h *= site.sensitivity;
      for (int64_t k = 0; k < width; ++k) hessian[static_cast<size_t>(k * width + k)] += site.prior / static_cast<double>(rows);
      lambda = price_;
    } else {
      weights = site.row_weights;
    }
    PITH_TRY(const std::vector<double> after, rounded(n.inputs[0], site, rows, wanted, hessian, weights, lambda, {}));
    set_weights(n.inputs[0], after, true);
    return {};
  }

  Result<std::vector<double>> rounded(ValueId id, Site& site, int64_t rows, const std::vector<double>& wanted, std::span<const double> hessian, std::span<const double> row_weights, double lambda,
                                      std::span<const uint8_t> zeros) {
    const int64_t width = static_cast<int64_t>(wanted.size()) / rows;
    const std::vector<int16_t> grid = steps_at(price_, site, false), finer = steps_at(price_, site, true);
    const RoundProblem problem{8, rows, width, wanted, grid, {width, 1}, hessian, lambda, 1, row_weights, false, zeros};
    PITH_TRY(const Rounded r, round_in_best_code(problem, finer, options_.may_be));
    const std::vector<int16_t>& codes = result_.weight_codes[source_.value(id).name] = r.scale_codes;
    std::vector<double> values(wanted.size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = r.integers[i] * numerics::scale_value(codes[codes.size() == 1 ? 0 : i / static_cast<size_t>(width)]);
    result_.bits += r.bits;
    log_verbose(fmt::format("{}: {} {:.3f} bits a weight", source_.value(id).name, code_name(r), r.bits / static_cast<double>(wanted.size())));
    result_.weights += static_cast<double>(values.size());
    site.done = true;
    return values;
  }

  void set_weights(ValueId id, const std::vector<double>& rows, bool transposed) {
    ir::Value& v = result_.graph.value(id);
    const int64_t a = v.shape[0], b = v.shape[1];
    Tensor t(ir::DType::kF32, v.shape);
    const auto to = t.mut<float>();
    for (int64_t i = 0; i < a; ++i) {
      for (int64_t j = 0; j < b; ++j) to[static_cast<size_t>(i * b + j)] = static_cast<float>(rows[static_cast<size_t>(transposed ? i * b + j : j * a + i)]);
    }
    v.constant = std::move(t);
  }

  const Graph& source_;
  const std::vector<std::vector<Tensor>>& samples_;
  const LayerwiseOptions& options_;
  Layerwise result_;
  std::vector<double> sensitivity_, upper_;
  std::map<ValueId, Site> sites_;
  std::unique_ptr<Moments> moments_;
  std::pair<ValueId, bool> moments_of_{ir::kNoValue, false};
  double price_ = 0;
};

}  // namespace

bool measurable(const Graph& g, const Node& n) {
  if (!is_weighted(g, n) || (n.op != Op::kGemm && n.op != Op::kMatMul)) return false;
  return n.op == Op::kMatMul || (n.integer("transA", 0) == 0 && n.real("alpha", 1) == 1 && n.real("beta", 1) == 1);
}

Result<Layerwise> round_layerwise(const Graph& graph, const std::vector<std::vector<Tensor>>& samples, const LayerwiseOptions& options) {
  Graph plain = graph;
  PITH_CHECK_OK(ir::canonicalize(plain));
  return Rounding(plain, samples, options).run();
}

}  // namespace pith
