// See quantize.h.
#include "micro/quantize.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/log.h"
#include "micro/quantize_product.h"
#include "micro/smooth.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

// Marks the nodes that split_activations makes, for join_activations; no operator has an attribute of this name.
constexpr const char* kWasActivation = "pith.was_activation";

enum class Form { kExact, kTable, kMove, kFloat };

Form form_of(Op op) {
  constexpr Form exact = Form::kExact, table = Form::kTable, move = Form::kMove, whole_float = Form::kFloat;
  switch (op) {
#define float whole_float
#define PITH_OP(name, least, most, outputs, family, form, ...) \
  case Op::k##name:                                            \
    return form;
#include "ir/ops.inc"
#undef PITH_OP
#undef float
  }
  return Form::kFloat;
}

// Codes are only moved or compared: input and output share one meaning.
bool keeps_meaning(const Node& n) {
  switch (n.op) {
    case Op::kMaxPool: case Op::kReduceMax: case Op::kReduceMin: case Op::kGlobalMaxPool: case Op::kResize:
      return true;
    case Op::kConcat: case Op::kPad:
      return false;
    default:
      return form_of(n.op) == Form::kMove;
  }
}

// Nodes of ops.inc's integer forms that really can run in integers with these operands.
bool integer_capable(const Graph& g, const Node& n) {
  if (form_of(n.op) == Form::kFloat) return false;
  if (n.op == Op::kConv || n.op == Op::kConvTranspose || n.op == Op::kGemm) return is_weighted(g, n);
  if (n.op == Op::kMatMul) return is_weighted(g, n) || (!g.value(n.inputs[0]).is_constant() && !g.value(n.inputs[1]).is_constant());
  if (n.op == Op::kClip) return n.inputs.size() == 1;
  if (n.op == Op::kLayerNormalization || n.op == Op::kRMSNormalization || n.op == Op::kAttention) {
    const auto absent = [](const std::vector<ValueId>& ids, size_t from) { return std::all_of(ids.begin() + static_cast<ptrdiff_t>(std::min(from, ids.size())), ids.end(), [](ValueId id) { return id == ir::kNoValue; }); };
    if (!absent(n.outputs, 1)) return false;
    if (n.op == Op::kAttention) return absent(n.inputs, 4) && n.real("softcap", 0) == 0;
    return std::all_of(n.inputs.begin() + 1, n.inputs.end(), [&](ValueId id) { return id == ir::kNoValue || g.value(id).is_constant(); });
  }
  if (n.op == Op::kResize) return n.text("mode", "nearest") != "cubic" && n.integer("antialias", 0) == 0;
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    if (n.inputs[i] != ir::kNoValue && g.value(n.inputs[i]).is_constant() && form_of(n.op) == Form::kMove && n.op != Op::kGather) return false;
  }
  return true;
}

bool elementwise(Op op) { return op == Op::kMul || op == Op::kAdd || op == Op::kSub || op == Op::kPow || op == Op::kAbs || op == Op::kClip; }

// Values of which a root or logarithm is taken, and the product and signal that they come from: powers of a spectrum
// span orders of magnitude, which 256 evenly spaced codes can't hold (a voice detector with 8-bit powers is of no use).
// From the root's result on, they can.
std::vector<bool> delicate_values(const Graph& g) {
  std::vector<bool> delicate(g.values.size(), false), signal(g.values.size(), false);
  for (size_t i = g.nodes.size(); i-- > 0;) {
    const Node& n = g.nodes[i];
    bool before = n.op == Op::kSqrt || n.op == Op::kLog, moves = form_of(n.op) == Form::kMove || n.op == Op::kPad || n.op == Op::kConcat, from_signal = false;
    for (ValueId id : n.outputs) {
      if (id == ir::kNoValue || !delicate[static_cast<size_t>(id)]) continue;
      from_signal = from_signal || is_weighted(g, n) || (moves && signal[static_cast<size_t>(id)]);
      before = before || from_signal || (!signal[static_cast<size_t>(id)] && (moves || elementwise(n.op)));
    }
    for (ValueId id : n.inputs) {
      if (id == ir::kNoValue || !before || g.value(id).is_constant()) continue;
      delicate[static_cast<size_t>(id)] = true;
      if (from_signal) signal[static_cast<size_t>(id)] = true;
    }
  }
  return delicate;
}

// Drops choices that no arithmetic in integers profits from: codes that are only moved between float operators (a
// recurrent state on its way into its layer) lose precision for nothing.
void drop_idle(const Graph& g, std::vector<bool>& chosen) {
  const auto picked = [&](ValueId id) { return id != ir::kNoValue && chosen[static_cast<size_t>(id)]; };
  std::vector<bool> useful(g.values.size(), false);
  for (bool changed = true; changed;) {
    changed = false;
    for (const Node& n : g.nodes) {
      if (!integer_capable(g, n)) continue;
      bool works = form_of(n.op) == Form::kExact;
      for (const auto* ids : {&n.inputs, &n.outputs}) {
        for (ValueId id : *ids) works = works || (picked(id) && useful[static_cast<size_t>(id)]);
      }
      for (const auto* ids : {&n.inputs, &n.outputs}) {
        for (ValueId id : *ids) {
          if (!works || !picked(id) || useful[static_cast<size_t>(id)]) continue;
          useful[static_cast<size_t>(id)] = changed = true;
        }
      }
    }
  }
  for (size_t v = 0; v < chosen.size(); ++v) chosen[v] = chosen[v] && useful[v];
}

// Which values become 8-bit: those between integer-capable nodes on the way to another product, and large results of
// products themselves (with `integer_outputs` all of those that are handed out). What comes after the last product (scores,
// decoded boxes) stays float.
std::vector<bool> choose_values(const Graph& g, bool integer_outputs) {
  const std::vector<bool> delicate = delicate_values(g);
  std::vector<bool> leads(g.values.size(), false), chosen(g.values.size(), false);
  for (size_t i = g.nodes.size(); i-- > 0;) {
    const Node& n = g.nodes[i];
    bool onwards = is_weighted(g, n) || n.op == Op::kMatMul;
    for (ValueId id : n.outputs) onwards = onwards || (id != ir::kNoValue && leads[static_cast<size_t>(id)]);
    for (ValueId id : n.inputs) {
      if (id != ir::kNoValue && onwards) leads[static_cast<size_t>(id)] = true;
    }
  }
  const std::vector<int> made_by = ir::producers(g);
  const auto readers = ir::consumers(g);
  for (size_t v = 0; v < g.values.size(); ++v) {
    const ir::Value& value = g.values[v];
    if (value.is_constant() || value.dtype != ir::DType::kF32) continue;
    const Node* producer = made_by[v] < 0 ? nullptr : &g.nodes[static_cast<size_t>(made_by[v])];
    if (delicate[v] || (producer && !integer_capable(g, *producer))) continue;
    const bool state = std::any_of(g.state.begin(), g.state.end(), [&](const auto& s) { return s.first == static_cast<ValueId>(v) || s.second == static_cast<ValueId>(v); });
    if (state) continue;
    const bool leaves = std::find(g.outputs.begin(), g.outputs.end(), static_cast<ValueId>(v)) != g.outputs.end();
    const bool large = ir::element_count(value.shape) > 4096;
    if (leaves) {
      chosen[v] = (large || integer_outputs) && producer && is_weighted(g, *producer) && readers[v].empty();
      continue;
    }
    for (int r : readers[v]) chosen[v] = chosen[v] || integer_capable(g, g.nodes[static_cast<size_t>(r)]);
    chosen[v] = chosen[v] && leads[v];
  }
  drop_idle(g, chosen);
  return chosen;
}

// Drops choices that 256 even codes hold badly (magnitudes of a spectrum and what is computed from them, which span orders
// of magnitude) where float costs next to nothing: the products around them are small, and so are they. Badly means noise
// above a hundredth of the power; where there is state, which gathers errors from moment to moment, above 1/1600: a voice
// detector decided 1.6 % of all moments differently at a hundredth, and 0.1 % at 1/1600.
void drop_coarse(const Graph& g, const Calibration& c, RangeMethod method, double percentile, std::vector<bool>& chosen) {
  const double least_decibels = g.state.empty() ? 20 : 32;
  constexpr int64_t kMostMacs = 1'000'000, kMostElements = 4096;
  const std::vector<int> made_by = ir::producers(g);
  const auto readers = ir::consumers(g);
  bool dropped = false;
  for (size_t v = 0; v < g.values.size(); ++v) {
    if (!chosen[v] || ir::element_count(g.values[v].shape) > kMostElements) continue;
    int64_t macs = made_by[v] < 0 ? 0 : ir::mac_count(g, g.nodes[static_cast<size_t>(made_by[v])]);
    for (int r : readers[v]) macs += ir::mac_count(g, g.nodes[static_cast<size_t>(r)]);
    if (macs > kMostMacs || c.values[v].signal_to_noise(c.values[v].choose(method, percentile)) >= least_decibels) continue;
    chosen[v] = false;
    dropped = true;
  }
  if (dropped) drop_idle(g, chosen);
}

// Operators in float whose constants may travel as integers of one scale.
bool takes_coded_parameters(const Node& n) {
  return n.op == Op::kLayerNormalization || n.op == Op::kRMSNormalization || n.op == Op::kAdd || n.op == Op::kMul || n.op == Op::kRotaryEmbedding;
}

// Products whose weights' rows are outputs, by their weights: an embedding may read the same table, row by row, and
// then reads it as the product has it, so that the file holds it once.
std::map<ValueId, size_t> products_by_rows(const Graph& g) {
  std::map<ValueId, size_t> found;
  for (size_t i = 0; i < g.nodes.size(); ++i)
    if (is_weighted(g, g.nodes[i]) && g.nodes[i].op == Op::kGemm && g.nodes[i].integer("transB", 0) != 0) found.try_emplace(g.nodes[i].inputs[1], i);
  return found;
}

}  // namespace

void quantize_constant_operand(ir::Value& v, const std::vector<int16_t>* grid) {
  const ir::Shape shape = v.shape;
  v.shape = {1, v.constant->count()};
  v.constant = v.constant->reshaped(v.shape);
  grid != nullptr ? place_on_grid(v, 0, *grid) : quantize_weights(v, 0, 8);
  v.shape = shape;
  v.constant = v.constant->reshaped(shape);
}

namespace {

// One meaning for all values that share codes: from the first in order.
void unify(Graph& g, const std::vector<bool>& chosen) {
  for (Node& n : g.nodes) {
    if (!keeps_meaning(n)) continue;
    for (ValueId out : n.outputs) {
      if (out == ir::kNoValue || !chosen[static_cast<size_t>(out)] || !chosen[static_cast<size_t>(n.inputs[0])]) continue;
      if (n.activation.function == numerics::Unary::kIdentity) g.value(out).quant = g.value(n.inputs[0]).quant;
    }
  }
}

// What is all that reads each value: the function of a table node that split_activations made.
std::vector<std::optional<ir::Activation>> functions_behind(const Graph& g, const std::vector<bool>& chosen) {
  const auto readers = ir::consumers(g);
  std::vector<std::optional<ir::Activation>> found(g.values.size());
  for (const Node& n : g.nodes) {
    const auto in = static_cast<size_t>(n.inputs.empty() ? ir::kNoValue : n.inputs[0]);
    if (n.has(kWasActivation) && readers[in].size() == 1 && chosen[in] && chosen[static_cast<size_t>(n.outputs[0])]) found[in] = ir::unary_function(n);
  }
  return found;
}

// Joins the table nodes that split_activations made: the product's own meaning becomes `pre`. Values keep their ids, by
// which calibration knows them.
void join_activations(Graph& g) {
  const auto readers = ir::consumers(g);
  const std::vector<int> made_by = ir::producers(g);
  for (Node& n : g.nodes) {
    if (!n.has(kWasActivation)) continue;
    n.attributes.erase(kWasActivation);
    Node& before = g.nodes[static_cast<size_t>(made_by[static_cast<size_t>(n.inputs[0])])];
    const bool both = g.value(n.inputs[0]).quant.has_value() == g.value(n.outputs[0]).quant.has_value();
    if (!both || readers[static_cast<size_t>(n.inputs[0])].size() != 1) continue;
    before.activation = *ir::unary_function(n);
    if (g.value(n.inputs[0]).quant) before.activation.pre = g.value(n.inputs[0]).quant->affine;
    before.outputs[0] = n.outputs[0];
    n.outputs[0] = ir::kNoValue;
  }
  std::erase_if(g.nodes, [](const Node& n) { return n.outputs.size() == 1 && n.outputs[0] == ir::kNoValue; });
}

}  // namespace

void quantize_weights(ir::Value& v, int axis, int bits) {
  const Tensor real = v.constant->cast(ir::DType::kF32);
  const size_t channels = v.shape.empty() ? 1 : static_cast<size_t>(v.shape[static_cast<size_t>(axis)]);
  int64_t inner = 1;
  for (size_t d = static_cast<size_t>(axis) + 1; d < v.shape.size(); ++d) inner *= v.shape[d];
  const auto x = real.as<float>();
  const auto channel = [&](size_t i) { return (i / static_cast<size_t>(inner)) % channels; };
  std::vector<double> largest(channels, 0.0);
  for (size_t i = 0; i < x.size(); ++i) largest[channel(i)] = std::max<double>(largest[channel(i)], std::abs(x[i]));
  const int limit = (1 << (bits - 1)) - 1;
  // the step of least squared error, from covering everything down to clipping at half the range
  constexpr int kCandidates = 16;
  std::vector<std::vector<double>> errors(channels, std::vector<double>(kCandidates, 0.0));
  std::vector<int> top(channels);
  std::vector<std::array<double, kCandidates>> scales(channels);
  for (size_t c = 0; c < channels; ++c) {
    top[c] = std::clamp(numerics::scale_code_at_least(std::max(largest[c], 1e-12) / limit), -640, 640);
    for (int k = 0; k < kCandidates; ++k) scales[c][static_cast<size_t>(k)] = numerics::scale_value(top[c] - k);
  }
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = channel(i);
    double* error = errors[c].data();
    for (size_t k = 0; k < kCandidates; ++k) {
      const double scale = scales[c][k], moved = std::clamp(x[i] / scale + 0.5, -limit - 1.0, limit + 1.0);
      const int whole = static_cast<int>(moved), below = whole - (moved < whole);  // std::floor, which takes a call
      const double e = std::clamp(below, -limit, limit) * scale - x[i];
      error[k] += e * e;
    }
  }
  ir::Quant quant;
  quant.bits = bits;
  quant.axis = axis;
  for (size_t c = 0; c < channels; ++c) {
    const int best = static_cast<int>(std::min_element(errors[c].begin(), errors[c].end()) - errors[c].begin());
    quant.scale_codes.push_back(static_cast<int16_t>(top[c] - best));
  }
  Tensor integers(ir::DType::kI8, v.shape);
  auto out = integers.mut<int8_t>();
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = channel(i);
    out[i] = static_cast<int8_t>(std::clamp(numerics::round_half_up(x[i] / scales[c][static_cast<size_t>(top[c] - quant.scale_codes[c])]), -limit, limit));
  }
  v.constant = std::move(integers);
  v.quant = std::move(quant);
}

void split_activations(Graph& g) {
  std::vector<Node> nodes;
  for (Node& n : g.nodes) {
    const auto f = n.activation.function;
    const bool table = f > numerics::Unary::kClip;
    const bool floating = table && !integer_capable(g, n);
    if (!table || floating) {
      nodes.push_back(std::move(n));
      continue;
    }
    static const std::map<numerics::Unary, Op> kOps = {
        {numerics::Unary::kLeakyRelu, Op::kLeakyRelu}, {numerics::Unary::kSigmoid, Op::kSigmoid}, {numerics::Unary::kTanh, Op::kTanh},
        {numerics::Unary::kSilu, Op::kSilu}, {numerics::Unary::kHardSigmoid, Op::kHardSigmoid}, {numerics::Unary::kHardSwish, Op::kHardSwish},
        {numerics::Unary::kGelu, Op::kGelu}, {numerics::Unary::kGeluTanh, Op::kGelu}, {numerics::Unary::kElu, Op::kElu}, {numerics::Unary::kMish, Op::kMish},
        {numerics::Unary::kSoftplus, Op::kSoftplus}, {numerics::Unary::kExp, Op::kExp}};
    const auto op = kOps.find(f);
    if (op == kOps.end()) {
      nodes.push_back(std::move(n));
      continue;
    }
    Node function;
    function.op = op->second;
    function.name = n.name + ".activation";
    function.attributes[kWasActivation] = int64_t{1};
    if (f == numerics::Unary::kLeakyRelu || f == numerics::Unary::kSilu || f == numerics::Unary::kHardSigmoid || f == numerics::Unary::kElu) function.attributes["alpha"] = n.activation.a;
    if (f == numerics::Unary::kHardSigmoid) function.attributes["beta"] = n.activation.b;
    if (f == numerics::Unary::kGeluTanh) function.attributes["approximate"] = std::string("tanh");
    ir::Value before = g.value(n.outputs[0]);
    before.name += ".pre";
    function.outputs = {n.outputs[0]};
    n.outputs[0] = g.add_value(std::move(before));
    function.inputs = {n.outputs[0]};
    n.activation = {};
    nodes.push_back(std::move(n));
    nodes.push_back(std::move(function));
  }
  g.nodes = std::move(nodes);
}

Result<Graph> quantize(const Graph& source, const std::vector<std::vector<Tensor>>& samples, const QuantizeOptions& options, QuantizeReport* report) {
  if (samples.empty()) return usage_error("no calibration samples; give a folder, archive or array with --samples");
  if (options.weight_bits < 2 || options.weight_bits > 8) return usage_error(fmt::format("weights of {} bits aren't supported; choose 2 to 8", options.weight_bits));
  if (report != nullptr && samples.size() < 512 && !options.float_activations) log_warning(fmt::format("only {} calibration samples; ranges are more reliable with 512 or more", samples.size()));
  Graph g = source;
  PITH_CHECK_OK(ir::canonicalize(g));
  if (options.equalize) equalize(g);
  if (options.equalize && !options.float_activations) PITH_CHECK_OK(smooth(g, samples));
  split_activations(g);
  PITH_TRY(const Calibration c, calibrate(g, samples));

  std::vector<bool> chosen = options.float_activations ? std::vector<bool>(g.values.size(), false) : choose_values(g, options.integer_outputs);
  if (options.activations.empty() && !options.float_activations) drop_coarse(g, c, options.method, options.percentile, chosen);
  const auto functions = functions_behind(g, chosen);
  std::vector<std::string> saturating;
  for (size_t v = 0; v < c.values.size(); ++v) {
    if (!chosen[v]) continue;
    ir::Quant q;
    const auto known = options.activations.find(g.values[v].name);
    q.affine = known != options.activations.end() ? known->second : c.values[v].choose(options.method, options.percentile, functions[v] ? &*functions[v] : nullptr);
    g.values[v].quant = q;
    if (!functions[v] && c.values[v].clipped(q.affine) > 0.01) saturating.push_back(g.values[v].name);
  }
  if (report != nullptr && !saturating.empty()) log_warning(fmt::format("{} activation(s) clip more than 1 % of their values: {}", saturating.size(), fmt::join(saturating, ", ")));
  unify(g, chosen);
  join_activations(g);

  const std::map<ValueId, size_t> products = products_by_rows(g);
  std::vector<std::pair<size_t, size_t>> tied;  // embeddings, and the products that read the same table
  const size_t nodes = g.nodes.size();
  for (size_t i = 0; i < nodes; ++i) {
    Node& n = g.nodes[i];
    if (is_weighted(g, n)) {
      PITH_CHECK_OK(quantize_product(g, n, options, c));
      continue;
    }
    if (n.op == Op::kLSTM || n.op == Op::kGRU || n.op == Op::kRNN) {
      for (size_t slot : {1, 2}) {
        if (g.value(n.inputs[slot]).is_constant() && !g.value(n.inputs[slot]).quant) quantize_weights(g.value(n.inputs[slot]), 1, options.weight_bits);
      }
      continue;
    }
    const bool integer = integer_capable(g, n) && n.outputs[0] != ir::kNoValue && g.value(n.outputs[0]).quant && form_of(n.op) == Form::kExact;
    for (ValueId id : n.inputs) {
      if (id == ir::kNoValue || !g.value(id).is_constant() || g.value(id).quant || g.value(id).dtype != ir::DType::kF32) continue;
      const bool table = n.op == Op::kGather && id == n.inputs[0] && g.value(id).shape.size() == 2;
      if (table && products.count(id) && n.integer("axis", 0) == 0) {
        tied.emplace_back(i, products.at(id));
        break;
      }
      if (table) {
        ir::Value copy = g.value(id);
        const auto grid = options.weight_codes.find(copy.name);
        if (grid != options.weight_codes.end()) {
          place_on_grid(copy, 0, grid->second);
        } else {
          quantize_weights(copy, 0, options.weight_bits);
        }
        g.nodes[i].inputs[0] = g.add_value(std::move(copy));
        break;
      } else if ((integer && n.op != Op::kAttention) || (options.code_parameters && takes_coded_parameters(n) && ir::element_count(g.value(id).shape) >= kFewParameters)) {
        ir::Value copy = g.value(id);
        const auto grid = options.weight_codes.find(copy.name);
        quantize_constant_operand(copy, grid == options.weight_codes.end() ? nullptr : &grid->second);
        const ValueId fresh = g.add_value(std::move(copy));
        for (ValueId& input : g.nodes[i].inputs) {
          if (input == id) input = fresh;
        }
      }
    }
  }
  for (const auto& [embedding, product] : tied) g.nodes[embedding].inputs[0] = g.nodes[product].inputs[1];
  ir::remove_dead(g);
  PITH_CHECK_OK(ir::verify(g));
  if (report) *report = {c.samples, saturating};
  return g;
}

}  // namespace pith
