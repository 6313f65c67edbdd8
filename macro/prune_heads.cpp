// See prune_heads.h.
#include "macro/prune_heads.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/linear.h"
#include "ir/interpret.h"
#include "ir/products.h"
#include "macro/attention_sites.h"
#include "macro/channel_classes.h"
#include "macro/measure.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Tensor;
using ir::ValueId;

constexpr double kDamping = 0.01;  // of the mean second moment

// What the product behind an attention reads on samples: second moments and means, about nothing.
struct Read {
  int64_t width = 0;
  double count = 0;
  std::vector<double> moments, mean;
};

class HeadPruner {
 public:
  HeadPruner(Graph& g, const std::vector<std::vector<Tensor>>& samples, const HeadOptions& options) : g_(g), samples_(samples), options_(options), sites_(attention_sites(g)) {}

  Result<HeadReport> run() {
    if (samples_.empty()) return usage_error("no samples to measure heads on; give lines of text with --samples");
    if (sites_.empty()) return error(ErrorCode::kUnsupported, fmt::format("'{}' has no attention whose heads can be told apart; leave --heads out", g_.name));
    HeadReport report;
    const int64_t parameters = ir::parameter_count(g_), macs = total_macs(g_);
    PITH_TRY(expected_, answers_of(g_, samples_));
    for (const AttentionSite& s : sites_) {
      report.heads_before += s.heads;
      alive_.emplace_back(static_cast<size_t>(s.heads), true);
    }
    const auto wanted = std::max<int64_t>(static_cast<int64_t>(sites_.size()), std::llround(options_.share * static_cast<double>(report.heads_before)));
    int64_t left = report.heads_before;
    for (int round = 0; round < options_.rounds && left > wanted; ++round) {
      const int64_t last = left - (left - wanted + (options_.rounds - round - 1)) / (options_.rounds - round);
      PITH_TRY(const int64_t gone, remove_some(left - last));
      left -= gone;
    }
    PITH_TRY(report.loss, answer_loss(g_, samples_, expected_, options_.distribution));
    for (size_t k = 0; k < sites_.size(); ++k) {
      HeadCut cut{g_.nodes[sites_[k].node].name, {}};
      for (size_t h = 0; h < alive_[k].size(); ++h) {
        if (alive_[k][h]) cut.kept.push_back(static_cast<int64_t>(h));
      }
      if (static_cast<int64_t>(cut.kept.size()) == sites_[k].heads) continue;
      for (size_t slot = 1; slot < g_.nodes[sites_[k].out].inputs.size(); ++slot) {
        const ValueId id = g_.nodes[sites_[k].out].inputs[slot];
        if (id != ir::kNoValue) report.refitted[g_.value(id).name] = *g_.value(id).constant;
      }
      report.cuts.push_back(std::move(cut));
    }
    report.heads_after = left;
    PITH_CHECK_OK(cut_heads(g_, report));
    report.bytes = 4 * (parameters - ir::parameter_count(g_));
    report.macs = macs - total_macs(g_);
    return report;
  }

 private:
  // One round: what each head is worth, those that go, and what makes up for them.
  Result<int64_t> remove_some(int64_t count) {
    struct Candidate {
      double loss;
      size_t site;
      int64_t head;
    };
    std::vector<Candidate> candidates;
    for (size_t k = 0; k < sites_.size(); ++k) {
      if (std::count(alive_[k].begin(), alive_[k].end(), true) < 2) continue;
      for (int64_t h = 0; h < sites_[k].heads; ++h) {
        if (!alive_[k][static_cast<size_t>(h)]) continue;
        Graph without = g_;
        silence(without, sites_[k], {h});
        PITH_TRY(const double loss, answer_loss(without, samples_, expected_, options_.distribution));
        candidates.push_back({loss, k, h});
      }
    }
    std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.loss < b.loss; });
    std::set<size_t> touched;
    int64_t gone = 0;
    for (const Candidate& c : candidates) {
      if (gone == count) break;
      if (std::count(alive_[c.site].begin(), alive_[c.site].end(), true) < 2) continue;
      alive_[c.site][static_cast<size_t>(c.head)] = false;
      touched.insert(c.site);
      ++gone;
    }
    PITH_CHECK_OK(refit(touched));
    return gone;
  }

  // The product behind reads nothing of some heads.
  void silence(Graph& g, const AttentionSite& s, const std::vector<int64_t>& heads) const {
    const Node& out = g.nodes[s.out];
    ir::Value& w = g.value(out.inputs[1]);
    const bool rows = weight_axis(out, false) == 0;
    const int64_t width = w.shape[1];
    const auto x = w.constant->mut<float>();
    for (int64_t h : heads) {
      for (int64_t e : elements_of_head(s, h)) {
        for (int64_t o = 0; o < w.shape[rows ? 1 : 0]; ++o) x[static_cast<size_t>(rows ? e * width + o : o * width + e)] = 0;
      }
    }
  }

  Result<std::vector<Read>> read_moments(const std::vector<size_t>& touched) const {
    std::vector<Read> all(touched.size());
    std::map<ValueId, Read*> by_value;
    for (size_t i = 0; i < touched.size(); ++i) by_value[g_.nodes[sites_[touched[i]].out].inputs[0]] = &all[i];
    const auto mask = std::find(g_.inputs.begin(), g_.inputs.end(), options_.row_mask) - g_.inputs.begin();
    for (const auto& sample : samples_) {
      ir::InterpretOptions watch;
      watch.observe = [&](ValueId id, const Tensor& t) {
        const auto found = by_value.find(id);
        if (found != by_value.end()) add(*found->second, t, static_cast<size_t>(mask) < sample.size() ? &sample[static_cast<size_t>(mask)] : nullptr);
      };
      PITH_CHECK_OK(ir::interpret(g_, sample, watch));
    }
    for (Read& r : all) {
      for (double& x : r.moments) x /= std::max(r.count, 1.0);
      for (double& x : r.mean) x /= std::max(r.count, 1.0);
    }
    return all;
  }

  static void add(Read& r, const Tensor& t, const Tensor* mask) {
    r.width = t.shape().back();
    const int64_t rows = t.count() / r.width;
    r.moments.resize(static_cast<size_t>(r.width * r.width));
    r.mean.resize(static_cast<size_t>(r.width));
    std::vector<double> counted;
    for (int64_t i = 0; i < rows; ++i) {
      if (mask != nullptr && mask->count() == rows && mask->at(i) == 0) continue;
      for (int64_t k = 0; k < r.width; ++k) {
        const double x = static_cast<double>(t.as<float>()[static_cast<size_t>(i * r.width + k)]);
        counted.push_back(x);
        r.mean[static_cast<size_t>(k)] += x;
      }
    }
    const int64_t taken = static_cast<int64_t>(counted.size()) / r.width;
    if (taken > 0) ir::gemm(true, false, r.width, r.width, taken, counted.data(), r.width, counted.data(), r.width, true, r.moments.data(), r.width);
    r.count += static_cast<double>(taken);
  }

  // Least squares for the products behind: from the elements that stay, towards what all of them made until now.
  Result<void> refit(const std::set<size_t>& touched) {
    const std::vector<size_t> order(touched.begin(), touched.end());
    PITH_TRY(const std::vector<Read> reads, read_moments(order));
    for (size_t i = 0; i < order.size(); ++i) fit(sites_[order[i]], alive_[order[i]], reads[i]);
    return {};
  }

  void fit(const AttentionSite& s, const std::vector<bool>& alive, const Read& r) {
    std::vector<int64_t> kept, gone;
    for (int64_t h = 0; h < s.heads; ++h) {
      const std::vector<int64_t> own = elements_of_head(s, h);
      if (alive[static_cast<size_t>(h)]) kept.insert(kept.end(), own.begin(), own.end());
      else gone.push_back(h);
    }
    const Node& out = g_.nodes[s.out];
    const bool biased = out.inputs.size() > 2 && out.inputs[2] != ir::kNoValue, rows = weight_axis(out, false) == 0;
    const auto n = static_cast<int64_t>(kept.size());
    const auto second = [&](int64_t a, int64_t b) { return r.moments[static_cast<size_t>(a * r.width + b)] - (biased ? r.mean[static_cast<size_t>(a)] * r.mean[static_cast<size_t>(b)] : 0); };
    std::vector<double> factor(static_cast<size_t>(n * n)), x(static_cast<size_t>(n));
    for (int64_t a = 0; a < n; ++a) {
      for (int64_t b = 0; b < n; ++b) factor[static_cast<size_t>(a * n + b)] = second(kept[static_cast<size_t>(a)], kept[static_cast<size_t>(b)]);
    }
    const double added = damp(factor, n, kDamping);
    const bool solvable = cholesky(factor, n);
    ir::Value& w = g_.value(out.inputs[1]);
    const Tensor before = *w.constant;
    const int64_t outputs = w.shape[rows ? 1 : 0];
    const auto at = [&](int64_t e, int64_t o) { return static_cast<size_t>(rows ? e * outputs + o : o * r.width + e); };
    silence(g_, s, gone);
    for (int64_t o = 0; o < outputs && solvable; ++o) {
      for (int64_t a = 0; a < n; ++a) {
        double sum = added * static_cast<double>(before.as<float>()[at(kept[static_cast<size_t>(a)], o)]);
        for (int64_t e = 0; e < r.width; ++e) sum += second(kept[static_cast<size_t>(a)], e) * static_cast<double>(before.as<float>()[at(e, o)]);
        x[static_cast<size_t>(a)] = sum;
      }
      solve_cholesky(factor, n, x);
      for (int64_t a = 0; a < n; ++a) w.constant->mut<float>()[at(kept[static_cast<size_t>(a)], o)] = static_cast<float>(x[static_cast<size_t>(a)]);
    }
    if (!biased) return;
    ir::Value& bias = g_.value(out.inputs[2]);
    for (int64_t o = 0; o < outputs; ++o) {
      double shift = 0;
      for (int64_t e = 0; e < r.width; ++e) shift += r.mean[static_cast<size_t>(e)] * (static_cast<double>(before.as<float>()[at(e, o)]) - static_cast<double>(w.constant->as<float>()[at(e, o)]));
      bias.constant->set(o, bias.constant->at(o) + shift);
    }
  }

  Graph& g_;
  const std::vector<std::vector<Tensor>>& samples_;
  const HeadOptions& options_;
  std::vector<AttentionSite> sites_;
  std::vector<std::vector<bool>> alive_;  // by site, by head of keys
  Answers expected_;
};

}  // namespace

Result<HeadReport> prune_heads(Graph& g, const std::vector<std::vector<Tensor>>& samples, const HeadOptions& options) { return HeadPruner(g, samples, options).run(); }

Result<void> cut_heads(Graph& g, const HeadReport& report) {
  for (ir::Value& v : g.values) {
    const auto found = v.constant ? report.refitted.find(v.name) : report.refitted.end();
    if (found != report.refitted.end() && found->second.shape() == v.shape) v.constant = found->second;
  }
  for (const AttentionSite& s : attention_sites(g)) {
    const auto cut = std::find_if(report.cuts.begin(), report.cuts.end(), [&](const HeadCut& c) { return c.attention == g.nodes[s.node].name; });
    if (cut != report.cuts.end()) keep_heads(g, s, cut->kept);
  }
  PITH_CHECK_OK(ir::infer_shapes(g));
  return ir::verify(g);
}

}  // namespace pith
