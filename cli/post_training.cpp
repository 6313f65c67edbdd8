// See post_training.h.
//
// With --macro this is done for networks of fewer operations too, and what answers most like the original at the same size is taken.
//
// The loop: one table of (bytes, loss) by layer and price; the allocator chooses along its hull for so many bytes; the
// layers are rounded one after the other on what they really read; the real file says how many bytes came of it, and the
// target of the next round is corrected by what was off.
#include "cli/post_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "cli/curve.h"
#include "cli/sensitivity.h"
#include "macro/measure.h"

namespace pith::cli {
namespace {

using Samples = std::vector<std::vector<ir::Tensor>>;

constexpr int kRounds = 4;
constexpr double kNear = 0.01;  // of the target's bytes
constexpr double kShares[] = {1, 0.85, 0.7};  // of the operations, that --macro tries

// One search: everything that stays the same from round to round.
class Search {
 public:
  Search(ir::Graph prepared, const Samples& samples, const PostTarget& target, const QuantizeOptions& options)
      : graph_(std::move(prepared)), target_(target), options_(options), all_(samples) {
    walked_ = first_of(samples, walkable(graph_));
    few_ = first_of(samples, 16);
    settings_.may_be = target.may_be;
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

std::string layer_rows(const PostResult& r) {
  double total = 0, bits = 0;
  for (const RoundedLayer& l : r.rounded.layers) total += l.loss, bits += l.bits;
  std::string text = fmt::format("{:<34} {:>9} {:>8} {:>5} {:>6} {:>6} {:>8} {:>7} {:>6}  {:<15} {}\n", "layer", "weights", "bytes", "bits", "zeros", "step", "error", "of loss", "price", "code", "why");
  for (const RoundedLayer& l : r.rounded.layers) {
    const auto unit = std::find_if(r.table.units.begin(), r.table.units.end(), [&](const Unit& u) { return u.name == l.name; });
    const size_t u = static_cast<size_t>(unit - r.table.units.begin());
    const auto& levels = r.table.levels[u];
    const size_t at = static_cast<size_t>(std::find(levels.begin(), levels.end(), l.level) - levels.begin());
    const auto slope = [&](size_t from, size_t to) { return (unit->options[to].loss - unit->options[from].loss) / std::max(1e-9, unit->options[from].spent.bytes - unit->options[to].spent.bytes); };
    std::string why = l.empty_rows > 0 ? fmt::format("{} of {} rows empty; ", l.empty_rows, l.rows) : "";
    if (at + 1 < levels.size()) why += fmt::format("coarser: {:.0f} bytes less at {:.1e} a byte", unit->options[at].spent.bytes - unit->options[at + 1].spent.bytes, slope(at, at + 1));
    if (at > 0) why += fmt::format("; finer: {:.0f} more, saves {:.1e} a byte", unit->options[at - 1].spent.bytes - unit->options[at].spent.bytes, slope(at - 1, at));
    text += fmt::format("{:<34} {:>9} {:>8.0f} {:>5.2f} {:>5.1f}% {:>6.3f} {:>7.2f}% {:>6.1f}% {:>6.1f}  {:<15} {}\n", l.node.substr(l.node.size() > 34 ? l.node.size() - 34 : 0), l.weights, l.bits / 8,
                        l.bits / static_cast<double>(l.weights), 100.0 * static_cast<double>(l.zeros) / static_cast<double>(l.weights), l.step, 100 * l.error, 100 * l.loss / std::max(total, 1e-30), 0.5 * l.level, l.code, why);
  }
  text += fmt::format("modelled loss {:.4g}, {:.0f} bytes of weights; the next byte less costs {:.2e}\n", r.modelled, bits / 8, r.price);
  return text;
}

Result<Search::Point> met(Search& search, const Samples& samples, const PostFlags& flags, const PostTarget& target, const QuantizeOptions& options) {
  const double whole = 4.0 * static_cast<double>(target.parameters);
  if (target.ratio > 0) return search.at_bytes(whole / target.ratio);
  if (target.max_drop >= 0) return smallest_within(search, samples, target, options);
  return search.at_bytes(whole / flags.points[flags.points.size() / 2]);
}

PostResult result_of(const Search& search, Search::Point p, std::vector<Way> ways) { return PostResult{search.table(), std::move(p.rounded), p.chosen.price, p.chosen.loss, std::move(ways)}; }

// --macro: moves that save operations against coarser weights. The same target is met after fewer operations in several degrees; taken
// is what answers samples apart most like the original, or where a drop bounds the size, the smallest file.
Result<PostResult> competition(const ir::Graph& prepared, const Samples& samples, const std::string& head, uint64_t seed, const PostFlags& flags, const PostTarget& target, const QuantizeOptions& options) {
  const Apart parts = set_apart(samples);
  const bool classes = answers_are_classes(head);
  PITH_TRY(const Answers expected, answers_of(prepared, parts.apart));
  std::vector<PostResult> results;
  std::optional<Error> refusal;
  const double most = flags.fewer.macs > 0 ? macs_share(prepared, flags.fewer.macs) : 1;
  const auto attempt = [&](double share) -> Result<PostResult> {
    ir::Graph g = prepared;
    FewerFlags fewer;
    fewer.macs = share;
    PITH_TRY(const std::vector<Way> ways, fewer_operations(g, parts.looked_at, head, seed, fewer));
    Search search(g, parts.looked_at, target, options);
    PITH_CHECK_OK(search.prepare(head, seed));
    PITH_TRY(Search::Point p, met(search, parts.looked_at, flags, target, options));
    PITH_TRY(const double loss, answer_loss(p.rounded.graph, parts.apart, expected, classes));
    Way way = weighed(share < 1 ? fmt::format("{:.2f} of the operations, by {}", share, ways[0].name) : "all operations", g, loss);
    way.bytes = static_cast<int64_t>(p.file.size());
    log_info(fmt::format("{}: {} bytes, loss {:.4g} on {} samples apart", way.name, way.bytes, loss, parts.apart.size()));
    PostResult r = result_of(search, std::move(p), {way});
    r.fewer = share < 1;
    return r;
  };
  for (double part : kShares) {
    auto made = attempt(most * part);
    if (made.ok()) {
      results.push_back(std::move(*made));
    } else if (made.error().code == ErrorCode::kDoesNotFit) {
      log_info(made.error().message);
      if (!refusal) refusal = made.error();
    } else {
      return made.error();
    }
  }
  if (results.empty()) return *refusal;
  const bool by_bytes = target.ratio <= 0 && target.max_drop >= 0;
  std::stable_sort(results.begin(), results.end(), [&](const PostResult& a, const PostResult& b) { return by_bytes ? a.ways[0].bytes < b.ways[0].bytes : a.ways[0].loss < b.ways[0].loss; });
  log_info(fmt::format("taken: {}", results[0].ways[0].name));
  for (size_t i = 1; i < results.size(); ++i) results[0].ways.push_back(results[i].ways[0]);
  return std::move(results[0]);
}

}  // namespace

void add_post_flags(CLI::App* verb, PostFlags& f) {
  const std::string group = "Without retraining";
  verb->add_flag("--no-retrain", f.no_retrain, "meet --ratio or --max-drop without retraining: a step for each layer along the hull of bytes against loss, and rounding that makes up for its errors")->group(group);
  add_fewer_flags(verb, group, f.fewer);
  verb->add_flag("--macro", f.macro, "let fewer operations compete with coarser weights: all, 0.85 and 0.7 of them (of --macs) are brought to the same size, and what answers other samples most like the original is taken")->group(group);
  verb->add_option("--write-graph", f.graph, "write the float graph after --macs, --blocks, --channels, --low-rank and --sparse as text with its weights; pith reads it as a model (.txt)")->group(group);
  verb->add_flag("--explain", f.explain, "say for each layer what was done and why")->group(group);
  verb->add_option("--curve", f.curves, "write the curve of bytes against quality to a .csv or .svg file (with --no-retrain); may be repeated")->group(group);
  verb->add_option("--curve-points", f.points, "ratios at which the curve is measured")->delimiter(',')->group(group);
}

Result<PostResult> post_train(ir::Graph& graph, const Samples& samples, const std::string& head, uint64_t seed, const PostFlags& flags, const PostTarget& target, QuantizeOptions& options) {
  PITH_TRY(ir::Graph prepared, prepare_post_training(graph));
  if (flags.macro) {
    options.equalize = options.correct_bias = options.round_by_covariance = false;
    PITH_TRY(PostResult r, competition(prepared, samples, head, seed, flags, target, options));
    graph = r.rounded.graph;
    options.weight_codes = r.rounded.codes;
    return r;
  }
  PITH_TRY(std::vector<Way> ways, fewer_operations(prepared, samples, head, seed, flags.fewer));
  if (!flags.graph.empty()) PITH_CHECK_OK(write_file(flags.graph, ir::to_text(prepared, true)));
  if (!flags.no_retrain) {
    graph = std::move(prepared);
    PostResult result;
    result.ways = std::move(ways);
    return result;
  }
  options.equalize = options.correct_bias = options.round_by_covariance = false;
  Search search(std::move(prepared), samples, target, options);
  PITH_CHECK_OK(search.prepare(head, seed));
  if (!flags.curves.empty()) PITH_CHECK_OK(draw_curve(search, samples, flags, target, options));
  PITH_TRY(Search::Point p, met(search, samples, flags, target, options));
  graph = p.rounded.graph;
  options.weight_codes = p.rounded.codes;
  return result_of(search, std::move(p), std::move(ways));
}

std::string explanation(const PostResult& r) {
  std::string text;
  for (const Way& w : r.ways)
    text += fmt::format("{:<36} {:>8.1f} million multiply-accumulates, {:>9} parameters, {:>10} bytes of float activations at most, {}loss {:.4g}{}\n", w.name, static_cast<double>(w.macs) / 1e6, w.parameters,
                        w.live_bytes, w.bytes > 0 ? fmt::format("{} bytes of file, ", w.bytes) : "", w.loss, &w == &r.ways[0] ? ": taken" : "");
  return r.rounded.layers.empty() ? text : text + layer_rows(r);
}

nlohmann::json explanation_json(const PostResult& r) {
  nlohmann::json layers = nlohmann::json::array();
  for (const RoundedLayer& l : r.rounded.layers) {
    layers.push_back({{"node", l.node}, {"weights", l.weights}, {"rows", l.rows}, {"empty_rows", l.empty_rows}, {"zeros", l.zeros}, {"bytes", l.bits / 8}, {"code", l.code}, {"step", l.step},
                      {"relative_error", l.error}, {"loss", l.loss}, {"log2_price", 0.5 * l.level}});
  }
  return layers;
}

nlohmann::json ways_json(const PostResult& r) {
  nlohmann::json ways = nlohmann::json::array();
  for (const Way& w : r.ways) ways.push_back({{"moves", w.name}, {"multiply_accumulates", w.macs}, {"parameters", w.parameters}, {"float_activation_bytes", w.live_bytes}, {"bytes", w.bytes}, {"loss", w.loss}});
  return ways;
}

}  // namespace pith::cli
