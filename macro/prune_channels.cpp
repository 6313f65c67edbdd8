// See prune_channels.h.
#include "macro/prune_channels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/linear.h"
#include "base/log.h"
#include "ir/compensate.h"
#include "macro/channel_classes.h"
#include "macro/channels.h"
#include "macro/make_up.h"
#include "macro/measure.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::ProductRows;
using ir::ReadMoments;
using ir::Tensor;
using ir::ValueId;

// What is still there, and what it costs.
class Pruning {
 public:
  Pruning(const Graph& original, const std::vector<std::vector<Tensor>>& samples, const ir::SquaredGradients& gradients, const PruneOptions& options)
      : original_(original), samples_(samples), gradients_(gradients), options_(options), student_(original), classes_(channel_classes(original)) {
    alive_.assign(static_cast<size_t>(classes_.count), true);
  }

  // Proposals on the student as it is now.
  Result<ChannelProposals> propose() {
    const auto count = static_cast<size_t>(classes_.count);
    std::vector<double> loss(count, 0);
    Graph copy = student_;
    Progress bar("scoring channels", student_.nodes.size());
    PITH_CHECK_OK(ir::walk_side_by_side(student_, copy, samples_, [&](size_t k, const ir::SideBySide& inputs) -> Result<void> {
      bar.step();
      return channel_role(student_, student_.nodes[k]) == ChannelRole::kProduct ? score(student_.nodes[k], inputs, loss) : Result<void>();
    }));
    std::vector<Spent> freed(count);
    for (const Node& n : student_.nodes) add_costs(n, freed);
    ChannelProposals p;
    for (size_t c = 0; c < count; ++c) {
      if (classes_.fixed[c] || !alive_[c] || freed[c].macs <= 0) continue;
      p.units.push_back({fmt::format("channel {}", c), {{freed[c], 0}, {{}, loss[c]}}});
      p.classes.push_back(static_cast<int>(c));
    }
    return p;
  }

  // Takes the proposals that get down to so many multiply-accumulates; returns the loss that they were said to cost.
  Result<double> take(const ChannelProposals& p, double macs) {
    double total = 0;
    for (const Unit& u : p.units) total += u.options[0].spent.macs;
    const double limit = total - (this->macs() - macs);
    if (limit < 0) return error(ErrorCode::kDoesNotFit, fmt::format("only {:.0f} of {:.0f} multiply-accumulates can be removed with channels; ask for fewer", total, this->macs()));
    const std::vector<Unit>& units = p.units;
    PITH_TRY(const Allocation a, allocate(units, {-1, -1, limit}));
    double loss = 0;
    for (size_t u = 0; u < units.size(); ++u) {
      if (a.option[u] == 0) continue;
      alive_[static_cast<size_t>(p.classes[u])] = false;
      loss += units[u].options[1].loss;
    }
    keep_one_each();
    return loss;
  }

  // Zeroes what is gone and lets everything else make up for it.
  Result<void> compensate() {
    student_ = original_;
    Progress bar("making up for channels", original_.nodes.size());
    return ir::walk_side_by_side(original_, student_, samples_, [&](size_t k, const ir::SideBySide& inputs) -> Result<void> {
      bar.step();
      return make_up(k, inputs);
    });
  }

  double macs() const {
    double sum = 0;
    for (const Node& n : original_.nodes) sum += static_cast<double>(ir::mac_count(original_, n)) * share_of(n, true) * share_of(n, false);
    return sum;
  }
  double loss() const { return loss_; }
  void add_loss(double loss) { loss_ += loss; }
  const Graph& student() const { return student_; }

 private:
  double share_of(const Node& n, bool outputs) const {
    const ChannelRole role = channel_role(original_, n);
    if (role != ChannelRole::kProduct && (role != ChannelRole::kDepthwise || !outputs)) return 1;
    const std::vector<int>& of = classes_.of[static_cast<size_t>(outputs ? n.outputs[0] : n.inputs[0])];
    return static_cast<double>(std::count_if(of.begin(), of.end(), [&](int c) { return alive_[static_cast<size_t>(c)]; })) / static_cast<double>(of.size());
  }

  // What goes with each class of a node's inputs and outputs.
  void add_costs(const Node& n, std::vector<Spent>& freed) const {
    const ChannelRole role = channel_role(original_, n);
    for (ValueId id : n.outputs) {
      if (id == ir::kNoValue) continue;
      const std::vector<int>& of = classes_.of[static_cast<size_t>(id)];
      const double elements = of.empty() ? 0 : static_cast<double>(ir::element_count(original_.value(id).shape)) / static_cast<double>(of.size());
      for (int c : of) freed[static_cast<size_t>(c)].ram += elements;
    }
    if (role != ChannelRole::kProduct && role != ChannelRole::kDepthwise) return;
    const double macs = static_cast<double>(ir::mac_count(original_, n)), weights = 4.0 * static_cast<double>(original_.value(n.inputs[1]).constant->count());
    for (bool outputs : {true, false}) {
      if (role == ChannelRole::kDepthwise && !outputs) continue;
      const std::vector<int>& of = classes_.of[static_cast<size_t>(outputs ? n.outputs[0] : n.inputs[0])];
      const double share = (role == ChannelRole::kDepthwise ? 1 : share_of(n, !outputs)) / static_cast<double>(of.size());
      for (int c : of) {
        freed[static_cast<size_t>(c)].macs += macs * share;
        freed[static_cast<size_t>(c)].bytes += weights * share;
      }
    }
  }

  Result<void> score(const Node& n, const ir::SideBySide& inputs, std::vector<double>& loss) const {
    const auto rows = ir::product_rows(student_, n);
    if (!rows || rows->groups != 1) return {};
    PITH_TRY(ReadMoments m, ir::read_moments(student_, student_, n, n, inputs, options_.positions, false));
    ir::shrink(m);
    const Tensor& w = *student_.value(n.inputs[1]).constant;
    const ir::Value& first = original_.value(n.inputs[1]);
    std::vector<double> importance = ir::row_importance(*first.constant, *rows, m, gradients_, first.name).rows;
    double mean = 0;  // rows that these samples don't need may be needed by others
    for (double s : importance) mean += s / static_cast<double>(importance.size());
    for (double& s : importance) s = std::max(s, mean / 4);
    const int64_t size = rows->width;
    std::vector<double> inverse(m.covariance);
    damp(inverse, size, 0.001);
    for (int64_t k = 0; k < size; ++k) inverse[static_cast<size_t>(k * (size + 1))] += 1e-5 * m.mean[static_cast<size_t>(k)] * m.mean[static_cast<size_t>(k)];
    if (!cholesky(inverse, size)) return usage_error(fmt::format("the second moments of what '{}' reads aren't positive definite; give other samples", n.name));
    const std::vector<double> blocks = inverse_blocks(inverse, *rows);
    const std::vector<int>& of = classes_.of[static_cast<size_t>(n.inputs[0])];
    const int64_t taps = rows->taps();
    std::vector<double> x(static_cast<size_t>(taps));
    for (int64_t c = 0; c < rows->depth; ++c) {
      const auto k = static_cast<size_t>(of[static_cast<size_t>(c)]);
      if (!alive_[k] || classes_.fixed[k]) continue;
      std::vector<double> block(blocks.begin() + c * taps * taps, blocks.begin() + (c + 1) * taps * taps);
      if (!cholesky(block, taps)) continue;
      for (int64_t o = 0; o < rows->outputs; ++o) {
        if (!alive_out(n, o)) continue;
        for (int64_t t = 0; t < taps; ++t) x[static_cast<size_t>(t)] = w.at(rows->at(o, t * rows->depth + c));
        const std::vector<double> before = x;
        solve_cholesky(block, taps, x);
        double cost = 0;
        for (int64_t t = 0; t < taps; ++t) cost += before[static_cast<size_t>(t)] * x[static_cast<size_t>(t)];
        loss[k] += importance[static_cast<size_t>(o)] * cost;
      }
    }
    return {};
  }

  bool alive_out(const Node& n, int64_t o) const { return alive_[static_cast<size_t>(classes_.of[static_cast<size_t>(n.outputs[0])][static_cast<size_t>(o)])]; }

  // (H^-1)_cc of every input channel c, taps x taps, out of H's Cholesky factor L: H^-1 = L^-T L^-1.
  static std::vector<double> inverse_blocks(const std::vector<double>& l, const ProductRows& rows) {
    const int64_t n = rows.width, taps = rows.taps();
    std::vector<double> inverse(l.size(), 0.0);  // L^-1
    for (int64_t i = 0; i < n; ++i) {
      double* row = inverse.data() + i * n;
      for (int64_t k = 0; k < i; ++k) {
        const double share = l[static_cast<size_t>(i * n + k)], *other = inverse.data() + k * n;
        if (share == 0) continue;
        for (int64_t j = 0; j <= k; ++j) row[j] -= share * other[j];
      }
      row[i] = 1;
      for (int64_t j = 0; j <= i; ++j) row[j] /= l[static_cast<size_t>(i * n + i)];
    }
    std::vector<double> blocks(static_cast<size_t>(rows.depth * taps * taps), 0.0);
    for (int64_t i = 0; i < n; ++i) {
      const double* row = inverse.data() + i * n;
      for (int64_t c = 0; c < rows.depth; ++c) {
        for (int64_t s = 0; s < taps; ++s) {
          for (int64_t t = 0; t < taps; ++t) blocks[static_cast<size_t>((c * taps + s) * taps + t)] += row[s * rows.depth + c] * row[t * rows.depth + c];
        }
      }
    }
    return blocks;
  }

  // No tensor loses all its channels.
  void keep_one_each() {
    for (const std::vector<int>& of : classes_.of) {
      if (!of.empty() && std::none_of(of.begin(), of.end(), [&](int c) { return alive_[static_cast<size_t>(c)]; })) alive_[static_cast<size_t>(of[0])] = true;
    }
  }

  Result<void> make_up(size_t k, const ir::SideBySide& inputs) {
    const Node& before = original_.nodes[k];
    Node& after = student_.nodes[k];
    const auto rows = ir::product_rows(original_, before);
    const ChannelRole role = channel_role(original_, before);
    if (!rows || (role != ChannelRole::kProduct && role != ChannelRole::kDepthwise)) return {};
    PITH_TRY(ReadMoments m, ir::read_moments(original_, student_, before, after, inputs, options_.positions, true));
    ir::shrink(m);
    ir::LeastSquares fit = ir::least_squares(*original_.value(before.inputs[1]).constant, *rows, m, kMakeUpDamping);
    const bool biased = before.inputs.size() > 2 && before.inputs[2] != ir::kNoValue && student_.value(after.inputs[2]).is_constant() && student_.value(after.inputs[2]).constant->count() == rows->outputs;
    for (int64_t o = 0; o < rows->outputs; ++o) {
      const bool alive = alive_out(before, o);
      if (!alive) std::fill_n(fit.weights.begin() + o * rows->width, rows->width, 0.0);
      if (!biased) continue;
      Tensor& bias = *student_.value(after.inputs[2]).constant;
      bias.set(o, alive ? bias.at(o) + fit.bias[static_cast<size_t>(o)] : 0);
    }
    set_rows(student_, after, *rows, fit.weights);
    return {};
  }

  const Graph& original_;
  const std::vector<std::vector<Tensor>>& samples_;
  const ir::SquaredGradients& gradients_;
  PruneOptions options_;
  Graph student_;
  ChannelClasses classes_;
  std::vector<bool> alive_;
  double loss_ = 0;
};

int64_t total_activations(const Graph& g) {
  int64_t sum = 0;
  for (const Node& n : g.nodes) {
    for (ValueId id : n.outputs) {
      if (id != ir::kNoValue) sum += ir::element_count(g.value(id).shape);
    }
  }
  return sum;
}

}  // namespace

Result<Pruned> prune_channels(const Graph& g, const std::vector<std::vector<Tensor>>& samples, const ir::SquaredGradients& gradients, const PruneOptions& options) {
  if (options.macs_share <= 0 || options.macs_share > 1) return usage_error(fmt::format("a share of {} of the multiply-accumulates can't stay; choose more than 0, at most 1", options.macs_share));
  Pruning p(g, samples, gradients, options);
  Pruned result;
  result.macs_before = total_macs(g), result.parameters_before = ir::parameter_count(g), result.activations_before = total_activations(g);
  const double target = options.macs_share * static_cast<double>(result.macs_before);
  // makers and readers of what goes overlap, so a round falls a little short of its aim; one or two more make up for it
  for (int round = 1; round <= options.rounds || (p.macs() > 1.01 * target && round <= options.rounds + 3); ++round) {
    PITH_TRY(const ChannelProposals proposals, p.propose());
    const double share = std::pow(options.macs_share, std::min(1.0, static_cast<double>(round) / options.rounds));
    PITH_TRY(const double loss, p.take(proposals, share * static_cast<double>(result.macs_before)));
    p.add_loss(loss);
    PITH_CHECK_OK(p.compensate());
    log_info(fmt::format("{:.0f} % of the multiply-accumulates left; the channels of this round were said to cost {:.4g}", 100 * p.macs() / static_cast<double>(result.macs_before), loss));
  }
  if (p.macs() > 1.05 * target)
    return error(ErrorCode::kDoesNotFit, fmt::format("'{}' keeps {:.0f} multiply-accumulates where {:.0f} may stay, since no layer can lose its last channel; ask for fewer", g.name, p.macs(), target));
  result.graph = p.student();
  PITH_TRY(const ChannelReport report, remove_channels(result.graph));
  result.removed = report.removed, result.loss = p.loss();
  result.macs_after = total_macs(result.graph), result.parameters_after = ir::parameter_count(result.graph), result.activations_after = total_activations(result.graph);
  return result;
}

}  // namespace pith
