// See post_training.h.
//
// The loop: one table of (bytes, loss) by layer and price; the allocator chooses along its hull for so many bytes; the
// layers are rounded one after the other on what they really read; the real file says how many bytes came of it, and the
// target of the next round is corrected by what was off.
#include "cli/post_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/log.h"
#include "cli/curve.h"
#include "cli/sensitivity.h"
#include "macro/drop_blocks.h"
#include "macro/low_rank.h"
#include "macro/measure.h"
#include "macro/prune_channels.h"

namespace pith::cli {
namespace {

using Samples = std::vector<std::vector<ir::Tensor>>;

constexpr int64_t kLiveBytes = int64_t{3} << 29;  // that all samples may take while layers are walked, both networks together
constexpr size_t kSamples = 512, kGradientSamples = 128, kBlockSamples = 64;
constexpr int kRounds = 4;
constexpr double kNear = 0.01;  // of the target's bytes

// The largest sum of live tensors of one sample.
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

Samples first_of(const Samples& samples, size_t count) { return {samples.begin(), samples.begin() + static_cast<int64_t>(std::min(count, samples.size()))}; }

// Samples that a walk through both networks has memory for.
size_t walkable(const ir::Graph& g) { return std::min(kSamples, static_cast<size_t>(std::max<int64_t>(4, kLiveBytes / (2 * live_bytes(g))))); }

Result<void> leave_out_blocks(ir::Graph& g, const Samples& samples, const std::string& head, double asked) {
  DropOptions o;
  o.macs_share = macs_share(g, asked);
  o.distribution = head == "classifier" || head == "ctc";
  PITH_TRY(const DropReport r, drop_blocks(g, first_of(samples, kBlockSamples), o));
  for (size_t i = 0; i < r.dropped.size(); ++i) log_info(fmt::format("left out the block of '{}': loss {:.4g}", r.dropped[i], r.losses[i]));
  if (!r.dropped.empty()) log_info(fmt::format("{:.1f} of {:.1f} million multiply-accumulates stay", static_cast<double>(r.macs_after) / 1e6, static_cast<double>(r.macs_before) / 1e6));
  return {};
}

Result<void> remove_operations(ir::Graph& g, const Samples& samples, const std::string& head, uint64_t seed, double asked) {
  PruneOptions o;
  o.macs_share = macs_share(g, asked);
  if (o.macs_share == 1) return {};
  PITH_TRY(Pruned p, prune_channels(g, first_of(samples, walkable(g)), measure_gradients(g, first_of(samples, kGradientSamples), head, seed), o));
  log_info(fmt::format("removed {} channels: {:.1f} of {:.1f} million multiply-accumulates, {} of {} parameters, {} of {} activations stay", p.removed, static_cast<double>(p.macs_after) / 1e6,
                       static_cast<double>(p.macs_before) / 1e6, p.parameters_after, p.parameters_before, p.activations_after, p.activations_before));
  g = std::move(p.graph);
  return {};
}

Result<void> split_layers(ir::Graph& g, const Samples& samples, const std::string& head, uint64_t seed, double asked) {
  LowRankOptions o;
  o.macs_share = macs_share(g, asked);
  if (o.macs_share == 1) return {};
  PITH_TRY(const LowRankReport r, split_low_rank(g, first_of(samples, walkable(g)), measure_gradients(g, first_of(samples, kGradientSamples), head, seed), o));
  log_info(fmt::format("split {} layers: {:.1f} of {:.1f} million multiply-accumulates stay, at a loss of {:.4g}", r.layers.size(), static_cast<double>(r.macs_after) / 1e6, static_cast<double>(r.macs_before) / 1e6, r.loss));
  for (const auto& l : r.layers) log_verbose(fmt::format("  {}: rank {} of {}, loss {:.4g}", l.node, l.rank, l.full, l.loss));
  return {};
}

// One search: everything that stays the same from round to round.
class Search {
 public:
  Search(ir::Graph prepared, const Samples& samples, const PostTarget& target, const QuantizeOptions& options)
      : graph_(std::move(prepared)), target_(target), options_(options), all_(samples) {
    walked_ = first_of(samples, walkable(graph_));
    few_ = first_of(samples, 16);
  }

  Result<void> prepare(const std::string& head, uint64_t seed) {
    PITH_TRY(table_, level_table(graph_, walked_, measure_gradients(graph_, first_of(all_, kGradientSamples), head, seed), settings_));
    model_ = rate_distortion_curve(table_.units);
    return {};
  }

  struct Point {
    PostTrained rounded;
    Allocation chosen;
    std::vector<uint8_t> file;
    double ratio = 0;
  };

  // The file nearest to so many bytes, after a few rounds.
  Result<Point> at_bytes(double bytes) {
    Point best;
    double aim = bytes - overhead_;
    for (int round = 0; round < kRounds; ++round) {
      PITH_TRY(Point p, at_weight_bytes(std::max(aim, 1.0)));
      const double got = static_cast<double>(p.file.size()), weights = p.chosen.spent.bytes;
      log_info(fmt::format("asked for {:.0f} bytes: the file has {:.0f}, {:.0f} of them expected for weights; modelled loss {:.4g}", bytes, got, weights, p.chosen.loss));
      overhead_ = got - weights;
      const bool smaller = got <= bytes * (1 + kNear / 4);
      const bool better = best.file.empty() || (smaller ? static_cast<double>(best.file.size()) > bytes * (1 + kNear / 4) || got > static_cast<double>(best.file.size()) : got < static_cast<double>(best.file.size()));
      if (better) best = std::move(p);
      if (smaller && got >= bytes * (1 - kNear)) break;
      const double next = weights - (got - bytes * (1 - kNear / 3));
      if (next <= 0 || std::abs(next - aim) < 1) break;
      aim = next;
    }
    return best;
  }

  const LevelTable& table() const { return table_; }
  const std::vector<Allocation>& model() const { return model_; }
  double overhead() const { return overhead_; }

 private:
  Result<Point> at_weight_bytes(double bytes) {
    Point p;
    auto chosen = allocate(table_.units, {bytes, -1, -1});
    p.chosen = chosen.ok() ? *chosen : model_.back();
    std::map<std::string, int> levels;
    for (size_t u = 0; u < table_.units.size(); ++u) levels[table_.units[u].name] = table_.levels[u][p.chosen.option[u]];
    PITH_TRY(p.rounded, round_post_training(graph_, walked_, table_.importance, levels, settings_));
    QuantizeOptions o = options_;
    o.weight_codes = p.rounded.codes;
    PITH_TRY(const ir::Graph quantized, quantize(p.rounded.graph, few_, o));
    PITH_TRY(p.file, target_.write(quantized));
    p.ratio = 4.0 * static_cast<double>(target_.parameters) / static_cast<double>(p.file.size());
    return p;
  }

  ir::Graph graph_;
  const PostTarget& target_;
  QuantizeOptions options_;
  const Samples& all_;
  Samples walked_, few_;
  PostTrainingOptions settings_;
  LevelTable table_;
  std::vector<Allocation> model_;
  double overhead_ = 0;
};

// The quality of a point as its file will have it: activations calibrated on all samples.
Result<Measured> measure_whole(const Search::Point& p, const Samples& samples, const PostTarget& target, QuantizeOptions o) {
  o.weight_codes = p.rounded.codes;
  PITH_TRY(const ir::Graph quantized, quantize(p.rounded.graph, samples, o));
  PITH_TRY(const std::vector<uint8_t> file, target.write(quantized));
  return target.measure(file);
}

Result<Search::Point> smallest_within(Search& search, const Samples& samples, const PostTarget& target, const QuantizeOptions& options) {
  const double whole = 4.0 * static_cast<double>(target.parameters);
  double low = std::log(4.0), high = std::log(64.0);  // of the ratio: low is taken to be good enough
  Search::Point best;
  for (int i = 0; i < 6; ++i) {
    const double middle = 0.5 * (low + high);
    PITH_TRY(Search::Point p, search.at_bytes(whole / std::exp(middle)));
    PITH_TRY(const Measured m, measure_whole(p, samples, target, options));
    if (m.same < 0) return usage_error("--max-drop needs a head whose answers can be compared; give --head classifier or ctc, or --ratio instead");
    log_info(fmt::format("{:.1f}x: {:.2f} % of the held-back answers differ", p.ratio, m.drop()));
    const bool good = m.drop() <= target.max_drop;
    (good ? low : high) = middle;
    if (good || best.file.empty()) best = std::move(p);
  }
  return best;
}

Result<void> draw_curve(Search& search, const Samples& samples, const PostFlags& flags, const PostTarget& target, const QuantizeOptions& options) {
  Curve curve;
  const double whole = 4.0 * static_cast<double>(target.parameters);
  for (double ratio : flags.points) {
    PITH_TRY(const Search::Point p, search.at_bytes(whole / ratio));
    PITH_TRY(const Measured m, measure_whole(p, samples, target, options));
    curve.measured.push_back({static_cast<double>(p.file.size()), whole / static_cast<double>(p.file.size()), p.chosen.loss, m.cosine, m.sqnr, m.same});
    log_verbose(fmt::format("{:.1f}x: cosine {:.5f}, {:.1f} dB{}", p.ratio, m.cosine, m.sqnr, m.same < 0 ? "" : fmt::format(", same answer {:.2f} %", m.same)));
  }
  for (const Allocation& a : search.model()) {
    const double bytes = a.spent.bytes + search.overhead();
    curve.modelled.push_back({bytes, whole / bytes, a.loss, 0, 0, -1});
  }
  for (const std::string& path : flags.curves) PITH_CHECK_OK(write_curve(curve, path));
  return {};
}

}  // namespace

void add_post_flags(CLI::App* verb, PostFlags& f) {
  const std::string group = "Without retraining";
  verb->add_flag("--no-retrain", f.no_retrain, "meet --ratio or --max-drop without retraining: a step for each layer along the hull of bytes against loss, and rounding that makes up for its errors")->group(group);
  verb->add_option("--macs", f.macs, "multiply-accumulates that may stay, as a share or a number: channels that matter least are removed from every tensor, what reads their neighbours makes up for them")->check(CLI::NonNegativeNumber)->group(group);
  verb->add_option("--blocks", f.blocks, "the same as --macs (and before it) by leaving out whole residual blocks; of models that read text, attention and feed-forward blocks, before rounding or retraining")->check(CLI::NonNegativeNumber)->group(group);
  verb->add_option("--low-rank", f.low_rank, "the same as --macs (and after it) by splitting layers in two of low rank")->check(CLI::NonNegativeNumber)->group(group);
  verb->add_option("--write-graph", f.graph, "write the float graph after --blocks, --macs and --low-rank as text with its weights; pith reads it as a model (.txt)")->group(group);
  verb->add_flag("--explain", f.explain, "say for each layer what was done and why")->group(group);
  verb->add_option("--curve", f.curves, "write the curve of bytes against quality to a .csv or .svg file (with --no-retrain); may be repeated")->group(group);
  verb->add_option("--curve-points", f.points, "ratios at which the curve is measured")->delimiter(',')->group(group);
}

Result<PostResult> post_train(ir::Graph& graph, const Samples& samples, const std::string& head, uint64_t seed, const PostFlags& flags, const PostTarget& target, QuantizeOptions& options) {
  PITH_TRY(ir::Graph prepared, prepare_post_training(graph));
  if (flags.blocks > 0) PITH_CHECK_OK(leave_out_blocks(prepared, samples, head, flags.blocks));
  if (flags.macs > 0) PITH_CHECK_OK(remove_operations(prepared, samples, head, seed, flags.macs));
  if (flags.low_rank > 0) PITH_CHECK_OK(split_layers(prepared, samples, head, seed, flags.low_rank));
  if (!flags.graph.empty()) PITH_CHECK_OK(write_file(flags.graph, ir::to_text(prepared, true)));
  if (!flags.no_retrain) {
    graph = std::move(prepared);
    return PostResult{};
  }
  options.equalize = options.correct_bias = options.round_by_covariance = false;
  Search search(std::move(prepared), samples, target, options);
  PITH_CHECK_OK(search.prepare(head, seed));
  if (!flags.curves.empty()) PITH_CHECK_OK(draw_curve(search, samples, flags, target, options));
  Search::Point p;
  if (target.ratio > 0) {
    PITH_TRY(p, search.at_bytes(4.0 * static_cast<double>(target.parameters) / target.ratio));
  } else if (target.max_drop >= 0) {
    PITH_TRY(p, smallest_within(search, samples, target, options));
  } else {
    PITH_TRY(p, search.at_bytes(4.0 * static_cast<double>(target.parameters) / flags.points[flags.points.size() / 2]));
  }
  graph = p.rounded.graph;
  options.weight_codes = p.rounded.codes;
  return PostResult{search.table(), std::move(p.rounded), p.chosen.price, p.chosen.loss};
}

std::string explanation(const PostResult& r) {
  double total = 0, bits = 0;
  for (const RoundedLayer& l : r.rounded.layers) total += l.loss, bits += l.bits;
  std::string text = fmt::format("{:<34} {:>9} {:>8} {:>5} {:>6} {:>6} {:>8} {:>7} {:>6}  {}\n", "layer", "weights", "bytes", "bits", "zeros", "step", "error", "of loss", "price", "why");
  for (const RoundedLayer& l : r.rounded.layers) {
    const auto unit = std::find_if(r.table.units.begin(), r.table.units.end(), [&](const Unit& u) { return u.name == l.name; });
    const size_t u = static_cast<size_t>(unit - r.table.units.begin());
    const auto& levels = r.table.levels[u];
    const size_t at = static_cast<size_t>(std::find(levels.begin(), levels.end(), l.level) - levels.begin());
    const auto slope = [&](size_t from, size_t to) { return (unit->options[to].loss - unit->options[from].loss) / std::max(1e-9, unit->options[from].spent.bytes - unit->options[to].spent.bytes); };
    std::string why = l.empty_rows > 0 ? fmt::format("{} of {} rows empty; ", l.empty_rows, l.rows) : "";
    if (at + 1 < levels.size()) why += fmt::format("coarser: {:.0f} bytes less at {:.1e} a byte", unit->options[at].spent.bytes - unit->options[at + 1].spent.bytes, slope(at, at + 1));
    if (at > 0) why += fmt::format("; finer: {:.0f} more, saves {:.1e} a byte", unit->options[at - 1].spent.bytes - unit->options[at].spent.bytes, slope(at - 1, at));
    text += fmt::format("{:<34} {:>9} {:>8.0f} {:>5.2f} {:>5.1f}% {:>6.3f} {:>7.2f}% {:>6.1f}% {:>6.1f}  {}\n", l.node.substr(l.node.size() > 34 ? l.node.size() - 34 : 0), l.weights, l.bits / 8,
                        l.bits / static_cast<double>(l.weights), 100.0 * static_cast<double>(l.zeros) / static_cast<double>(l.weights), l.step, 100 * l.error, 100 * l.loss / std::max(total, 1e-30), 0.5 * l.level, why);
  }
  text += fmt::format("modelled loss {:.4g}, {:.0f} bytes of weights; the next byte less costs {:.2e}\n", r.modelled, bits / 8, r.price);
  return text;
}

nlohmann::json explanation_json(const PostResult& r) {
  nlohmann::json layers = nlohmann::json::array();
  for (const RoundedLayer& l : r.rounded.layers) {
    layers.push_back({{"node", l.node}, {"weights", l.weights}, {"rows", l.rows}, {"empty_rows", l.empty_rows}, {"zeros", l.zeros}, {"bytes", l.bits / 8}, {"step", l.step},
                      {"relative_error", l.error}, {"loss", l.loss}, {"log2_price", 0.5 * l.level}});
  }
  return layers;
}

}  // namespace pith::cli
