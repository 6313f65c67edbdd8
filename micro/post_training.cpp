// See post_training.h.
#include "micro/post_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/linear.h"
#include "base/log.h"
#include "coding/encode/levels.h"
#include "ir/blocks.h"
#include "ir/side_by_side.h"
#include "micro/best_code.h"
#include "micro/quantize.h"
#include "micro/round.h"
#include "micro/vectors.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::ProductRows;
using ir::ReadMoments;
using ir::Tensor;

constexpr double kFinest = 5, kCoarsest = -2.5;  // log2 of a layer's deviation over its step: levels of the table between
constexpr double kLeastImportance = 1.0 / 16;     // of a row, in means of its layer
constexpr double kRoundingShare = 0.7;            // of the price that rounding goes by; the step goes by all of it
constexpr double kLookedUp = 0.9;                 // bits that are looked up, against those that are decoded one weight after the other
constexpr int64_t kTableWeights = 20000;         // of a layer that the table rounds

// Nodes whose weights nobody else reads, with their rows.
std::map<size_t, ProductRows> products(const Graph& g) {
  std::vector<int> readers(g.values.size(), 0);
  for (const Node& n : g.nodes) {
    for (ir::ValueId id : n.inputs) {
      if (id != ir::kNoValue) ++readers[static_cast<size_t>(id)];
    }
  }
  std::map<size_t, ProductRows> found;
  for (size_t k = 0; k < g.nodes.size(); ++k) {
    const auto rows = ir::product_rows(g, g.nodes[k]);
    if (rows && readers[static_cast<size_t>(g.nodes[k].inputs[1])] == 1 && g.value(g.nodes[k].inputs[1]).dtype == ir::DType::kF32) found[k] = *rows;
  }
  return found;
}

// A layer with what rounding it needs.
struct Layer {
  ProductRows rows;
  std::vector<double> weights;     // rows in the file's order
  std::vector<double> hessian;     // damped, by group
  std::vector<double> importance;  // by row, bounded
  std::vector<double> log2_unit;   // by row: log2 of the step at level 0
  double log2_deviation = 0;       // mean over rows of log2(deviation / step at level 0)
  std::vector<uint8_t> zeros;      // 1 for weights of zero blocks (ir/blocks.h), which stay zero; or nothing

  std::span<const double> row(int64_t o) const { return {weights.data() + o * rows.width, static_cast<size_t>(rows.width)}; }
  std::vector<int16_t> codes(int level, bool trellis = false) const;
  double price(int level) const { return kRoundingShare * std::exp2(0.5 * level); }
  RoundProblem problem(int level, const std::vector<int16_t>& codes) const {
    return {8, rows.outputs, rows.width, weights, codes, {rows.depth, rows.columns}, hessian, price(level), rows.groups, importance, false, zeros};
  }
};

// Steps in quarters of an octave, so that their differences between rows are cheap to code; within 8 bits.
std::vector<int16_t> Layer::codes(int level, bool trellis) const {
  std::vector<int16_t> found;
  for (int64_t o = 0; o < rows.outputs; ++o) {
    double largest = 1e-30;
    for (double w : row(o)) largest = std::max(largest, std::abs(w));
    const double log2 = log2_unit[static_cast<size_t>(o)] + 0.25 * level - (trellis ? kTrellisOctaves : 0);
    int code = 4 * static_cast<int>(std::lround(4 * log2));
    const int least = numerics::scale_code_at_least(largest / 127), most = numerics::scale_code_at_least(4 * largest);  // 127, and nothing
    found.push_back(static_cast<int16_t>(std::clamp(std::clamp(code, least, most), -600, 600)));
  }
  return found;
}

// Does a node's result leave the graph, but for functions that come after it?
bool leaves(const Graph& g, const Node& n) {
  const auto readers = ir::consumers(g);
  for (ir::ValueId id = n.outputs[0];;) {
    if (std::find(g.outputs.begin(), g.outputs.end(), id) != g.outputs.end()) return true;
    const auto& next = readers[static_cast<size_t>(id)];
    if (next.size() != 1 || ir::product_rows(g, g.nodes[static_cast<size_t>(next[0])])) return false;
    id = g.nodes[static_cast<size_t>(next[0])].outputs[0];
  }
}

// The natural step at a price (round.h): step^2 = lambda / (2 ln 2 / 12 x importance x h), h being the geometric mean of what
// an error costs once the rest of the row makes up for it.
Result<Layer> make_layer(const Tensor& w, const ProductRows& rows, const ReadMoments& m, const std::vector<double>& importance, bool answers, double damping) {
  Layer l{rows, ir::weight_rows(w, rows), m.covariance, importance, {}, 0, ir::zero_block_mask(w, rows)};
  std::vector<double> h;
  for (int64_t g = 0; g < rows.groups; ++g) {
    const std::span<double> part(l.hessian.data() + g * rows.width * rows.width, static_cast<size_t>(rows.width * rows.width));
    double power = 0;  // sums of single precision: what is left of equal numbers may be a little off
    for (int64_t k = 0; k < rows.width; ++k) power += std::pow(m.mean[static_cast<size_t>(g * rows.width + k)], 2) / static_cast<double>(rows.width);
    damp(part, rows.width, damping);
    for (int64_t k = 0; k < rows.width; ++k) part[static_cast<size_t>(k * (rows.width + 1))] += 1e-5 * power;
    const std::vector<double> factor = feedback_factor(part, rows.width);
    if (factor.empty()) return usage_error("the second moments of what a layer reads aren't positive definite; give other samples");
    double sum = 0;
    for (int64_t k = 0; k < rows.width; ++k) sum -= 2 * std::log2(factor[static_cast<size_t>(k * rows.width + k)]);
    h.push_back(sum / static_cast<double>(rows.width));
  }
  // importances are measured on few samples: rows that these don't need may be needed by others, above all classes
  double mean = 0;
  for (double s : l.importance) mean += s / static_cast<double>(l.importance.size());
  for (double& s : l.importance) s = std::max({s, mean * (answers ? 0.5 : kLeastImportance), 1e-30});
  for (int64_t o = 0; o < rows.outputs; ++o) {
    const double unit = -0.5 * (std::log2(natural_lambda(1) * l.importance[static_cast<size_t>(o)]) + h[static_cast<size_t>(rows.group(o))]);
    double power = 0;
    for (double x : l.row(o)) power += x * x / static_cast<double>(rows.width);
    l.log2_unit.push_back(unit);
    l.log2_deviation += (0.5 * std::log2(power + 1e-30) - unit) / static_cast<double>(rows.outputs);
  }
  return l;
}

// Every so many rows (whole groups), so that a table is quick to make.
Layer sampled(const Layer& l, double& share) {
  const int64_t per_group = l.rows.outputs / l.rows.groups, size = l.rows.outputs * l.rows.width;
  const int64_t step = std::clamp<int64_t>(size / kTableWeights, 1, std::max<int64_t>(1, l.rows.outputs / 16));
  share = 1;
  if (step == 1 || (l.rows.groups != 1 && per_group != 1)) return l;
  Layer s{l.rows, {}, {}, {}, {}, l.log2_deviation, {}};
  const int64_t square = l.rows.width * l.rows.width;
  for (int64_t o = 0; o < l.rows.outputs; o += step) {
    s.weights.insert(s.weights.end(), l.row(o).begin(), l.row(o).end());
    if (!l.zeros.empty()) s.zeros.insert(s.zeros.end(), l.zeros.begin() + o * l.rows.width, l.zeros.begin() + (o + 1) * l.rows.width);
    s.importance.push_back(l.importance[static_cast<size_t>(o)]);
    s.log2_unit.push_back(l.log2_unit[static_cast<size_t>(o)]);
    if (l.rows.groups != 1) s.hessian.insert(s.hessian.end(), l.hessian.begin() + o * square, l.hessian.begin() + (o + 1) * square);
  }
  if (l.rows.groups == 1) s.hessian = l.hessian;
  s.rows.outputs = static_cast<int64_t>(s.importance.size());
  if (l.rows.groups != 1) s.rows.groups = s.rows.outputs;
  share = static_cast<double>(s.rows.outputs) / static_cast<double>(l.rows.outputs);
  return s;
}

// Books are made from all layers, a part of each.
VectorBooks books_of(const Graph& g, const std::map<size_t, ProductRows>& layers) {
  VectorBooks books;
  for (const auto& [k, rows] : layers) {
    const std::vector<double> weights = ir::weight_rows(*g.value(g.nodes[k].inputs[1]).constant, rows);
    const auto width = static_cast<size_t>(rows.width), step = std::max<size_t>(1, weights.size() / kTableWeights) * width;
    for (size_t first = 0; first < weights.size(); first += step) books.learn_from({weights.data() + first, width}, rows.width);
  }
  return books;
}

// Vectors out of a book instead, where that is the better bargain.
Result<void> try_vectors(VectorBooks& books, const RoundProblem& p, Rounded& rounded) {
  const std::vector<int32_t> multiples = rounded.levels.count > 0 ? coding::level_multiples(rounded.integers, rounded.levels) : rounded.integers;
  const double bits = 8.0 * static_cast<double>(coding::encode_rans({p.bits, p.rows, p.row_length, multiples, rounded.scale_codes, p.shape}).size());
  PITH_TRY(Rounded vectors, books.round(p, bits / static_cast<double>(p.weights.size())));
  if (vectors.integers.empty() || vectors.distortion + p.lambda * kLookedUp * vectors.bits >= rounded.distortion + p.lambda * bits) return {};
  books.keep();
  rounded = std::move(vectors);
  return {};
}

// A row without weights takes the others' mean step: a bias is a multiple of the step.
void settle_empty_rows(std::vector<int16_t>& codes, const Rounded& rounded, int64_t width) {
  std::vector<size_t> empty;
  double sum = 0;
  for (size_t o = 0; o < codes.size(); ++o) {
    const auto row = rounded.integers.begin() + static_cast<int64_t>(o) * width;
    if (std::all_of(row, row + width, [](int32_t q) { return q == 0; })) empty.push_back(o); else sum += codes[o];
  }
  if (empty.empty() || empty.size() == codes.size()) return;
  const int mean = 4 * static_cast<int>(std::lround(sum / static_cast<double>(codes.size() - empty.size()) / 4));
  for (size_t o : empty) codes[o] = static_cast<int16_t>(mean);
}

// A bias input where the node may have one; kNoValue where it may not.
ir::ValueId bias_of(Graph& g, Node& n, int64_t outputs) {
  if (n.op == ir::Op::kMatMul) return ir::kNoValue;
  if (n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue) return g.value(n.inputs[2]).is_constant() && g.value(n.inputs[2]).constant->count() == outputs ? n.inputs[2] : ir::kNoValue;
  n.inputs.resize(3, ir::kNoValue);
  n.inputs[2] = g.add_constant(n.name + ".bias", Tensor(ir::DType::kF32, {outputs}));
  return n.inputs[2];
}

// Puts rounded rows into the constant and the means of the outputs back where they were.
void write_layer(Graph& g, Node& n, const Layer& l, const std::vector<double>& original, const ReadMoments& m, const Rounded& rounded, const std::vector<int16_t>& codes) {
  Tensor w(ir::DType::kF32, g.value(n.inputs[1]).shape);
  const int64_t width = l.rows.width;
  const ir::ValueId bias = bias_of(g, n, l.rows.outputs);
  for (int64_t o = 0; o < l.rows.outputs; ++o) {
    const double scale = numerics::scale_value(codes[static_cast<size_t>(o)]);
    double shift = 0;
    for (int64_t k = 0; k < width; ++k) {
      const double q = rounded.integers[static_cast<size_t>(o * width + k)] * scale;
      w.set(l.rows.at(o, k), q);
      const auto at = static_cast<size_t>(l.rows.group(o) * width + k);
      shift += original[static_cast<size_t>(o * width + k)] * m.original_mean[at] - q * m.mean[at];
    }
    if (bias != ir::kNoValue) g.value(bias).constant->set(o, g.value(bias).constant->at(o) + shift);
  }
  g.value(n.inputs[1]).constant = std::move(w);
}

// Mean squared error of the products against the original's, over their variance there.
double relative_error(const Layer& l, const std::vector<double>& original, const ReadMoments& m, const Rounded& rounded, const std::vector<int16_t>& codes) {
  double error = 0, variance = 0;
  std::vector<double> e(static_cast<size_t>(l.rows.width));
  for (int64_t o = 0; o < l.rows.outputs; ++o) {
    const double scale = numerics::scale_value(codes[static_cast<size_t>(o)]);
    for (int64_t k = 0; k < l.rows.width; ++k) e[static_cast<size_t>(k)] = rounded.integers[static_cast<size_t>(o * l.rows.width + k)] * scale - l.weights[static_cast<size_t>(o * l.rows.width + k)];
    error += ir::row_energy(e, m.covariance_of(l.rows.group(o)));
    variance += ir::row_energy({original.data() + o * l.rows.width, e.size()}, m.covariance_of(l.rows.group(o)));
  }
  return error / std::max(variance, 1e-30);
}

RoundedLayer report_of(const Graph& g, const Node& n, const Layer& l, int level, const Rounded& rounded, const std::vector<int16_t>& codes) {
  RoundedLayer r;
  r.name = g.value(n.inputs[1]).name, r.node = n.name;
  r.weights = l.rows.outputs * l.rows.width, r.rows = l.rows.outputs, r.level = level;
  r.bits = rounded.bits, r.loss = rounded.distortion, r.code = code_name(rounded);
  for (int64_t o = 0; o < l.rows.outputs; ++o) {
    const auto row = rounded.integers.begin() + o * l.rows.width;
    const auto zeros = std::count(row, row + l.rows.width, 0);
    r.zeros += zeros;
    r.empty_rows += zeros == l.rows.width;
    r.step += codes[static_cast<size_t>(o)] / static_cast<double>(numerics::kScaleStepsPerOctave * l.rows.outputs);
  }
  r.step = std::exp2(r.step) * rounded.levels.tail;
  return r;
}

}  // namespace

Result<Graph> prepare_post_training(const Graph& source) {
  Graph g = source;
  PITH_CHECK_OK(ir::canonicalize(g));
  equalize(g);
  ir::remove_dead(g);
  std::set<std::string> seen;
  for (size_t v = 0; v < g.values.size(); ++v) {
    std::string& name = g.values[v].name;
    if (!seen.insert(name).second) seen.insert(name += fmt::format(".{}", v));
  }
  return g;
}

Result<LevelTable> level_table(const Graph& g, const std::vector<std::vector<Tensor>>& samples, const ir::SquaredGradients& gradients, const PostTrainingOptions& options) {
  const std::map<size_t, ProductRows> layers = products(g);
  LevelTable table;
  std::vector<Layer> made;
  std::vector<bool> measured;
  Graph copy = g;
  double known = 0;  // sum of logarithms of importance x variance
  Progress bar("measuring layers", layers.size());
  PITH_CHECK_OK(ir::walk_side_by_side(g, copy, samples, [&](size_t k, const ir::SideBySide& inputs) -> Result<void> {
    const auto found = layers.find(k);
    if (found == layers.end()) return {};
    const Node& n = g.nodes[k];
    const ir::Value& w = g.value(n.inputs[1]);
    PITH_TRY(ReadMoments m, ir::read_moments(g, copy, n, n, inputs, options.positions, false));
    ir::shrink(m);
    const ir::RowImportance importance = ir::row_importance(*w.constant, found->second, m, gradients, w.name);
    const std::vector<double>& used = importance.rows;
    const double relative = ir::relative_importance(*w.constant, found->second, m)[0];
    double mean = 0;
    for (double s : used) mean += s / static_cast<double>(used.size());
    if (!importance.relative) known += std::log2(mean / relative + 1e-300);
    measured.push_back(!importance.relative);
    table.importance[w.name] = used;
    table.units.push_back({w.name, {}});
    table.weights.push_back(w.constant->count());
    table.share.push_back(mean / relative);
    PITH_TRY(Layer l, make_layer(*w.constant, found->second, m, used, leaves(g, n), options.damping));
    double share = 1;
    const Layer part = sampled(l, share);
    table.levels.emplace_back();
    const int first = static_cast<int>(std::floor(4 * (l.log2_deviation - kFinest))), last = static_cast<int>(std::ceil(4 * (l.log2_deviation - kCoarsest)));
    for (int level = first; level <= last; ++level) {
      const std::vector<int16_t> codes = part.codes(level);
      PITH_TRY(const Rounded r, round_for_rate(part.problem(level, codes)));
      table.levels.back().push_back(level);
      table.units.back().options.push_back({{r.bits / 8 / share, 0, 0}, r.distortion / share});
    }
    bar.step();
    return {};
  }));
  if (table.units.empty()) return usage_error(fmt::format("'{}' has no product with constant weights; there is nothing to compress", g.name));
  const auto count = static_cast<double>(std::count(measured.begin(), measured.end(), true));
  const double factor = count > 0 ? std::exp2(known / count) : 1;
  const int shift = static_cast<int>(std::lround(2 * std::log2(factor)));
  for (size_t u = 0; u < table.units.size(); ++u) {
    if (measured[u] || shift == 0) continue;
    for (Option& o : table.units[u].options) o.loss *= std::exp2(0.5 * shift);
    for (int& level : table.levels[u]) level += shift;
    for (double& s : table.importance[table.units[u].name]) s *= std::exp2(0.5 * shift);
    table.share[u] *= std::exp2(0.5 * shift);
  }
  return table;
}

Result<PostTrained> round_post_training(const Graph& g, const std::vector<std::vector<Tensor>>& samples, const Importance& importance, const std::map<std::string, int>& levels,
                                        const PostTrainingOptions& options) {
  const std::map<size_t, ProductRows> layers = products(g);
  PostTrained result{g, {}, {}};
  VectorBooks books = options.may_be.vectors ? books_of(g, layers) : VectorBooks();
  Graph& student = result.graph;
  Progress bar("rounding layers", layers.size());
  PITH_CHECK_OK(ir::walk_side_by_side(g, student, samples, [&](size_t k, const ir::SideBySide& inputs) -> Result<void> {
    const auto found = layers.find(k);
    if (found == layers.end()) return {};
    const ProductRows& rows = found->second;
    const Node& before = g.nodes[k];
    const std::string& name = g.value(before.inputs[1]).name;
    const auto level = levels.find(name);
    if (level == levels.end()) return {};
    PITH_TRY(ReadMoments m, ir::read_moments(g, student, before, student.nodes[k], inputs, options.positions, true));
    ir::shrink(m);
    const Tensor& w = *g.value(before.inputs[1]).constant;
    const std::vector<double> original = ir::weight_rows(w, rows);
    PITH_TRY(Layer l, make_layer(w, rows, m, importance.at(name), leaves(g, before), options.damping));
    if (options.compensate) l.weights = ir::least_squares(w, rows, m, options.damping, l.zeros).weights;
    const std::vector<int16_t> grid = l.codes(level->second), finer = l.codes(level->second, true);
    const RoundProblem problem = l.problem(level->second, grid);
    PITH_TRY(Rounded rounded, round_in_best_code(problem, finer, options.may_be));
    if (options.may_be.vectors && l.zeros.empty()) PITH_CHECK_OK(try_vectors(books, problem, rounded));
    std::vector<int16_t> codes = rounded.scale_codes;
    settle_empty_rows(codes, rounded, rows.width);
    result.layers.push_back(report_of(g, before, l, level->second, rounded, codes));
    result.layers.back().error = relative_error(l, original, m, rounded, codes);
    write_layer(student, student.nodes[k], l, original, m, rounded, codes);
    result.codes[name] = codes;
    bar.step();
    return {};
  }));
  PITH_CHECK_OK(ir::verify(student));
  return result;
}

}  // namespace pith
