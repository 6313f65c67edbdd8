// See fewer_operations.h.
#include "cli/fewer_operations.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

#include "base/log.h"
#include "cli/sensitivity.h"
#include "macro/block_sparse.h"
#include "macro/drop_blocks.h"
#include "macro/low_rank.h"
#include "macro/measure.h"
#include "macro/prune_channels.h"

namespace pith::cli {
namespace {

using Samples = std::vector<std::vector<ir::Tensor>>;

constexpr int64_t kLiveBytes = int64_t{3} << 29;  // that all samples may take while layers are walked, both networks together
constexpr size_t kSamples = 512, kBlockSamples = 64, kApart = 64;

// The largest sum of live tensors of one sample, in bytes of float32.
int64_t live_bytes(const ir::Graph& g) {
  std::vector<int> last(g.values.size(), -1);
  for (size_t k = 0; k < g.nodes.size(); ++k) {
    for (ir::ValueId id : g.nodes[k].inputs) {
      if (id != ir::kNoValue) last[static_cast<size_t>(id)] = static_cast<int>(k);
    }
  }
  int64_t now = 0, most = 1;
  for (size_t k = 0; k < g.nodes.size(); ++k) {
    for (ir::ValueId id : g.nodes[k].outputs) {
      if (id != ir::kNoValue) now += 4 * ir::element_count(g.value(id).shape);
    }
    most = std::max(most, now);
    for (size_t v = 0; v < last.size(); ++v) {
      if (last[v] == static_cast<int>(k) && !g.values[v].is_constant() && std::find(g.inputs.begin(), g.inputs.end(), static_cast<ir::ValueId>(v)) == g.inputs.end())
        now -= 4 * ir::element_count(g.values[v].shape);
    }
  }
  return most;
}

double millions(int64_t n) { return static_cast<double>(n) / 1e6; }

struct Maker {
  const Samples& samples;
  const std::string& head;
  uint64_t seed;

  Result<void> leave_out_blocks(ir::Graph& g, double asked) const {
    DropOptions o;
    o.macs_share = macs_share(g, asked);
    o.distribution = answers_are_classes(head);
    PITH_TRY(const DropReport r, drop_blocks(g, first_of(samples, kBlockSamples), o));
    for (size_t i = 0; i < r.dropped.size(); ++i) log_info(fmt::format("left out the block of '{}': loss {:.4g}", r.dropped[i], r.losses[i]));
    if (!r.dropped.empty()) log_info(fmt::format("{:.1f} of {:.1f} million multiply-accumulates stay", millions(r.macs_after), millions(r.macs_before)));
    return {};
  }

  Result<void> remove_channels(ir::Graph& g, double asked) const {
    PruneOptions o;
    o.macs_share = macs_share(g, asked);
    if (o.macs_share == 1) return {};
    PITH_TRY(Pruned p, prune_channels(g, first_of(samples, walkable(g)), measure_gradients(g, first_of(samples, kGradientSamples), head, seed), o));
    log_info(fmt::format("removed {} channels: {:.1f} of {:.1f} million multiply-accumulates, {} of {} parameters, {} of {} activations stay", p.removed, millions(p.macs_after), millions(p.macs_before),
                         p.parameters_after, p.parameters_before, p.activations_after, p.activations_before));
    g = std::move(p.graph);
    return {};
  }

  Result<void> split_layers(ir::Graph& g, double asked) const {
    LowRankOptions o;
    o.macs_share = macs_share(g, asked);
    if (o.macs_share == 1) return {};
    PITH_TRY(const LowRankReport r, split_low_rank(g, first_of(samples, walkable(g)), measure_gradients(g, first_of(samples, kGradientSamples), head, seed), o));
    log_info(fmt::format("split {} layers: {:.1f} of {:.1f} million multiply-accumulates stay, at a loss of {:.4g}", r.layers.size(), millions(r.macs_after), millions(r.macs_before), r.loss));
    for (const auto& l : r.layers) log_verbose(fmt::format("  {}: {}, rank {} of {}, loss {:.4g}", l.node, l.form, l.rank, l.full, l.loss));
    return {};
  }

  Result<void> make_sparse(ir::Graph& g, double asked) const {
    BlockSparseOptions o;
    o.macs_share = macs_share(g, asked);
    if (o.macs_share == 1) return {};
    PITH_TRY(const BlockSparseReport r, drop_weight_blocks(g, first_of(samples, walkable(g)), measure_gradients(g, first_of(samples, kGradientSamples), head, seed), o));
    log_info(fmt::format("{} layers lost blocks: {:.1f} of {:.1f} million multiply-accumulates stay, at a loss of {:.4g}", r.layers.size(), millions(r.macs_after), millions(r.macs_before), r.loss));
    for (const auto& l : r.layers) log_verbose(fmt::format("  {}: {} of {} blocks are zero", l.node, l.dropped, l.blocks));
    return {};
  }

  Result<void> move(ir::Graph& g, int kind, double asked) const {
    return kind == 0 ? leave_out_blocks(g, asked) : kind == 1 ? remove_channels(g, asked) : kind == 2 ? split_layers(g, asked) : make_sparse(g, asked);
  }
};

// One of the eleven ways: those moves whose bit is set, each down by an equal part of the logarithm of the share. Layers that were
// split in two have few blocks left to lose: the two are not tried together.
constexpr int kMoves = 4, kWays = 1 << kMoves, kSplitAndSparse = 4 + 8;
constexpr const char* kNames[kMoves] = {"blocks", "channels", "low rank", "block sparsity"};

std::string name_of(int way) {
  std::string name;
  for (int k = 0; k < kMoves; ++k) {
    if ((way >> k & 1) != 0) name += (name.empty() ? "" : " and ") + std::string(kNames[k]);
  }
  return name;
}

// Nothing where the moves before one have reached the share already: that is another way.
Result<std::optional<ir::Graph>> make(const ir::Graph& from, int way, double share, const Maker& maker) {
  ir::Graph g = from;
  const int moves = std::popcount(static_cast<unsigned>(way));
  const auto all = static_cast<double>(total_macs(from));
  int done = 0;
  for (int k = 0; k < kMoves; ++k) {
    if ((way >> k & 1) == 0) continue;
    const double target = all * std::pow(share, static_cast<double>(++done) / moves);
    if (static_cast<double>(total_macs(g)) <= target) return std::optional<ir::Graph>();  // blocks took more than their part
    PITH_CHECK_OK(maker.move(g, k, target));
  }
  return std::optional<ir::Graph>(std::move(g));
}

struct Made {
  ir::Graph graph;
  Way way;
};

// Every way that reaches the share, the best first.
Result<std::vector<Made>> try_ways(const ir::Graph& from, double share, const Maker& maker, const Samples& apart) {
  PITH_TRY(const Answers expected, answers_of(from, apart));
  std::vector<Made> found;
  std::optional<Error> first_refusal;
  const bool has_blocks = !residual_blocks(from).empty();
  for (int way = 1; way < kWays; ++way) {
    if (((way & 1) != 0 && !has_blocks) || (way & kSplitAndSparse) == kSplitAndSparse) continue;
    auto g = make(from, way, share, maker);
    if (!g.ok()) {
      if (g.error().code != ErrorCode::kDoesNotFit) return g.error();
      log_info(fmt::format("{}: {}", name_of(way), g.error().message));
      if (!first_refusal) first_refusal = g.error();
      continue;
    }
    if (!*g) continue;
    ir::Graph& fewer = **g;
    PITH_TRY(const double loss, answer_loss(fewer, apart, expected, answers_are_classes(maker.head)));
    const Way made = weighed(name_of(way), fewer, loss);
    log_info(fmt::format("{}: {:.1f} million multiply-accumulates, {} parameters, loss {:.4g} on {} samples apart", made.name, millions(made.macs), made.parameters, loss, apart.size()));
    found.push_back({std::move(fewer), made});
  }
  if (found.empty()) return *first_refusal;
  std::stable_sort(found.begin(), found.end(), [](const Made& a, const Made& b) { return a.way.loss < b.way.loss; });
  return found;
}

}  // namespace

Apart set_apart(const Samples& samples) {
  const size_t apart = std::min(kApart, samples.size() / 4);
  return {first_of(samples, samples.size() - apart), Samples(samples.end() - static_cast<int64_t>(apart == 0 ? samples.size() : apart), samples.end())};
}

Way weighed(const std::string& name, const ir::Graph& g, double loss) { return {name, total_macs(g), ir::parameter_count(g), live_bytes(g), loss, 0}; }

Samples first_of(const Samples& samples, size_t count) { return {samples.begin(), samples.begin() + static_cast<int64_t>(std::min(count, samples.size()))}; }

size_t walkable(const ir::Graph& g) { return std::min(kSamples, static_cast<size_t>(std::max<int64_t>(4, kLiveBytes / (2 * live_bytes(g))))); }

void add_fewer_flags(CLI::App* verb, const std::string& group, FewerFlags& f) {
  verb->add_option("--macs", f.macs, "multiply-accumulates that may stay, as a share or a number: --blocks, --channels, --low-rank and --sparse, alone and together, are tried, and what keeps the answers to other samples best is taken; with --time or --steps it is then retrained towards the original, in 8 bits or to --ratio")
      ->check(CLI::NonNegativeNumber)->group(group);
  verb->add_option("--blocks", f.blocks, "the same by leaving out whole residual blocks; of models that read text, attention and feed-forward blocks, before rounding or retraining")->check(CLI::NonNegativeNumber)->group(group);
  verb->add_option("--channels", f.channels, "the same by removing the channels that matter least from every tensor; what reads their neighbours makes up for them")->check(CLI::NonNegativeNumber)->group(group);
  verb->add_option("--low-rank", f.low_rank, "the same by splitting layers in two, of low rank or separable (columns and rows, depthwise and pointwise)")->check(CLI::NonNegativeNumber)->group(group);
  verb->add_option("--sparse", f.sparse, "the same by making blocks of 16 x 16 weights zero, which are then left out; where several of these are given, in this order")->check(CLI::NonNegativeNumber)->group(group);
}

Result<std::vector<Way>> fewer_operations(ir::Graph& g, const Samples& samples, const std::string& head, uint64_t seed, const FewerFlags& f) {
  if (f.macs > 0 && f.named()) return usage_error("--macs chooses among --blocks, --channels, --low-rank and --sparse; give it alone, or those");
  if (f.macs <= 0) {
    const Maker maker{samples, head, seed};
    if (f.blocks > 0) PITH_CHECK_OK(maker.leave_out_blocks(g, f.blocks));
    if (f.channels > 0) PITH_CHECK_OK(maker.remove_channels(g, f.channels));
    if (f.low_rank > 0) PITH_CHECK_OK(maker.split_layers(g, f.low_rank));
    if (f.sparse > 0) PITH_CHECK_OK(maker.make_sparse(g, f.sparse));
    return std::vector<Way>();
  }
  const double share = macs_share(g, f.macs);
  if (share == 1) return std::vector<Way>();
  const Apart parts = set_apart(samples);
  const Maker maker{parts.looked_at, head, seed};
  PITH_TRY(std::vector<Made> made, try_ways(g, share, maker, parts.apart));
  log_info(fmt::format("taken: {}", made[0].way.name));
  g = std::move(made[0].graph);
  std::vector<Way> ways;
  for (Made& m : made) ways.push_back(std::move(m.way));
  return ways;
}

}  // namespace pith::cli
