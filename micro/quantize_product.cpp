// See quantize_product.h. The bias correction is analytic: (w_q - w) applied to the mean of what the product reads
// (Nagel et al. 2019, section 4.2), by patches where they were gathered, so that borders count, else by channels.
#include "micro/quantize_product.h"

#include "ir/blocks.h"
#include "micro/round.h"

#include <algorithm>
#include <cmath>

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Tensor;

// Where weight k of output o stands, and which group and input channel it reads.
struct Rows {
  int axis;
  int64_t outputs, width, depth, group_outputs;
  bool contiguous;
  int64_t at(int64_t o, int64_t k) const { return contiguous ? o * width + k : k * outputs + o; }
  int64_t group(int64_t o) const { return o / group_outputs; }
  int64_t channel(int64_t o, int64_t k) const { return group(o) * depth + k / (width / depth); }
  // The file has the input channel last, the graph first.
  int64_t in_graph(int64_t k) const { return k % depth * (width / depth) + k / depth; }
};

Rows rows_of(const Node& n, const ir::Value& weights) {
  Rows r{};
  r.axis = n.op == Op::kConv ? 0 : n.op == Op::kConvTranspose ? 1 : n.op == Op::kGemm && n.integer("transB", 0) != 0 ? 0 : 1;
  r.outputs = weights.shape[static_cast<size_t>(r.axis)];
  r.width = weights.constant->count() / r.outputs;
  r.depth = n.op == Op::kConv ? weights.shape[1] : r.width;
  r.group_outputs = r.outputs / std::max<int64_t>(1, n.op == Op::kConv ? n.integer("group", 1) : 1);
  r.contiguous = r.axis == 0;
  return r;
}

// Scales large enough that no bias leaves 32 bits: channels of tiny weights.
bool raise_scales(std::vector<int16_t>& codes, const std::vector<double>& bias, int in) {
  bool changed = false;
  for (size_t i = 0; i < bias.size(); ++i) {
    int16_t& code = codes[i % codes.size()];
    const int least = numerics::scale_code_at_least(std::abs(bias[i]) / (1 << 28)) - in;
    if (bias[i] == 0 || code >= least) continue;
    code = static_cast<int16_t>(least);
    changed = true;
  }
  return changed;
}

// New integers under the scales that `weights` has.
void round_to_nearest(ir::Value& weights, const Tensor& original, int axis, int limit) {
  const auto& codes = weights.quant->scale_codes;
  int64_t inner = 1;
  for (size_t d = static_cast<size_t>(axis) + 1; d < weights.shape.size(); ++d) inner *= weights.shape[d];
  for (int64_t i = 0; i < original.count(); ++i) {
    const double scale = numerics::scale_value(codes[static_cast<size_t>(i / inner) % codes.size()]);
    weights.constant->set(i, std::clamp(numerics::round_half_up(original.at(i) / scale), -limit, limit));
  }
}

// Row by row, the scale near the present one and the integers that lose least; those of zero blocks stay zero (`zeros`: 1, rows
// in the file's order, or nothing).
void round_by_patches(ir::Value& weights, const Tensor& original, const Rows& rows, const PatchMoments& moments, int limit, const std::vector<int16_t>& least, const std::vector<uint8_t>& zeros) {
  auto& codes = weights.quant->scale_codes;
  std::vector<double> whole, covariance, real;
  std::vector<int64_t> open;  // elements of a row that may differ from zero
  std::vector<int> q, best_q;
  int64_t group = -1;
  for (int64_t o = 0; o < rows.outputs; ++o) {
    std::vector<int64_t> now;
    for (int64_t k = 0; k < rows.width; ++k) {
      if (zeros.empty() || zeros[static_cast<size_t>(o * rows.width + k)] == 0) now.push_back(rows.in_graph(k));
    }
    std::sort(now.begin(), now.end());
    if (rows.group(o) != group || now != open) {
      if (rows.group(o) != group) whole = moments.covariance(group = rows.group(o));
      open = now, covariance.clear(), real.resize(open.size()), q.resize(open.size());
      for (int64_t i : open) {
        for (int64_t j : open) covariance.push_back(whole[static_cast<size_t>(i * rows.width + j)]);
      }
    }
    int16_t& code = codes[static_cast<size_t>(o)];
    int best_code = code;
    double best = -1;
    for (int candidate = std::max<int>(code - 4, least[static_cast<size_t>(o)]); candidate <= code + 2; ++candidate) {
      const double scale = numerics::scale_value(candidate);
      for (size_t i = 0; i < open.size(); ++i) real[i] = original.at(rows.at(o, open[i])) / scale;
      const double error = round_by_covariance(real, covariance, limit, q) * scale * scale;
      if (best >= 0 && error >= best) continue;
      best = error;
      best_code = candidate;
      best_q = q;
    }
    code = static_cast<int16_t>(best_code);
    for (int64_t k = 0; k < rows.width; ++k) weights.constant->set(rows.at(o, k), 0);
    for (size_t i = 0; i < open.size(); ++i) weights.constant->set(rows.at(o, open[i]), best_q[i]);
  }
}

// Long rows: finer steps than the price of a bit asks for are raised to it, and the integers chosen for rate. Errors of all
// outputs count alike, so that at high rates one step for all is right (and costs no side information). Where the inputs'
// covariance is known, later weights of a row make up for the errors of earlier ones.
Result<void> round_long_rows(ir::Value& weights, const Tensor& original, const Rows& rows, const PatchMoments* patches, int bits, double rate_weight, const std::vector<uint8_t>& zeros) {
  auto& codes = weights.quant->scale_codes;
  double log_step = 0;
  for (int16_t code : codes) log_step += code;
  const double step = std::exp2(log_step / static_cast<double>(codes.size()) / numerics::kScaleStepsPerOctave);
  std::vector<double> hessian;
  double price = 1;
  if (patches) {
    const std::vector<double> covariance = patches->covariance(0);
    for (int64_t i = 0; i < rows.width; ++i) {
      for (int64_t j = 0; j < rows.width; ++j) hessian.push_back(covariance[static_cast<size_t>(rows.in_graph(i) * rows.width + rows.in_graph(j))]);
    }
    price = mean_conditional_variance(hessian, rows.width);
  }
  const double lambda = rate_weight * natural_lambda(step) * price;
  const int coarse = rate_weight > 0 ? numerics::scale_code_at_least(step * std::sqrt(rate_weight)) : numerics::kScaleCodeMin;
  for (int16_t& code : codes) code = static_cast<int16_t>(std::max<int>(code, coarse));
  const auto place = [&](int64_t o, int64_t k) { return rows.at(o, rows.in_graph(k)); };
  std::vector<double> real;
  for (int64_t o = 0; o < rows.outputs; ++o) {
    for (int64_t k = 0; k < rows.width; ++k) real.push_back(original.at(place(o, k)));
  }
  const int64_t columns = weights.shape.size() == 4 ? weights.shape[3] : 1;
  PITH_TRY(const Rounded rounded, round_for_rate({bits, rows.outputs, rows.width, real, codes, {rows.depth, columns}, hessian, lambda, 1, {}, false, zeros}));
  for (int64_t o = 0; o < rows.outputs; ++o) {
    for (int64_t k = 0; k < rows.width; ++k) weights.constant->set(place(o, k), rounded.integers[static_cast<size_t>(o * rows.width + k)]);
  }
  return {};
}

void correct_bias(std::vector<double>& bias, const ir::Value& weights, const Tensor& original, const Rows& rows, const Calibration& c, ir::ValueId input, const PatchMoments* patches) {
  const auto means = c.channel_means.find(input);
  if (!patches && means == c.channel_means.end()) return;
  for (int64_t o = 0; o < rows.outputs; ++o) {
    const auto& codes = weights.quant->scale_codes;
    const double scale = numerics::scale_value(codes[codes.size() == 1 ? 0 : static_cast<size_t>(o)]);
    for (int64_t k = 0; k < rows.width; ++k) {
      const double error = weights.constant->at(rows.at(o, k)) * scale - original.at(rows.at(o, k));
      const double mean = patches ? patches->mean(rows.group(o), k) : means->second[static_cast<size_t>(rows.channel(o, k))];
      bias[static_cast<size_t>(o)] -= error * mean;
    }
  }
}

// Rounding biases to multiples of 2^k costs less than 1/8 of an output step and saves k bits each.
int spare_bias_bits(const Node& n, const Graph& g, const std::vector<int16_t>& weight_codes) {
  const numerics::Affine out = n.activation.pre ? *n.activation.pre : g.value(n.outputs[0]).quant->affine;
  const int in = g.value(n.inputs[0]).quant->affine.scale_code;
  int least = 30;
  for (int16_t w : weight_codes) least = std::min(least, numerics::scale_octave(out.scale_code - in - w) - 3);
  return std::max(least, 0);
}

void set_bias(ir::Value& b, const std::vector<double>& bias, const std::vector<int16_t>& codes, int in, int spare) {
  b.constant = Tensor(ir::DType::kI32, b.shape);
  b.quant = ir::Quant{};
  b.quant->bits = 32;
  for (size_t i = 0; i < bias.size(); ++i) {
    const double step = numerics::scale_value(std::clamp(in + codes[i % codes.size()], numerics::kScaleCodeMin, numerics::kScaleCodeMax)) * std::exp2(spare);
    const double q = std::clamp(std::floor(bias[i] / step + 0.5), -std::exp2(29 - spare), std::exp2(29 - spare));
    b.constant->set(static_cast<int64_t>(i), q * std::exp2(spare));
  }
}

}  // namespace

Result<void> quantize_product(Graph& g, Node& n, const QuantizeOptions& options, const Calibration& c) {
  const ir::Value original = g.value(n.inputs[1]);
  const Rows rows = rows_of(n, original);
  const auto product = ir::product_rows(g, n);
  const std::vector<uint8_t> zeros = product ? ir::zero_block_mask(*original.constant, *product) : std::vector<uint8_t>();
  ir::Value weights = original;
  const auto grid = options.weight_codes.find(original.name);
  const bool settled = grid != options.weight_codes.end();  // by retraining
  if (settled) {
    place_on_grid(weights, rows.axis, grid->second);
  } else {
    quantize_weights(weights, rows.axis, options.weight_bits);
  }
  auto& codes = weights.quant->scale_codes;
  const bool has_bias = n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue;
  const bool integer = g.value(n.inputs[0]).quant && g.value(n.outputs[0]).quant;
  const int in = integer ? g.value(n.inputs[0]).quant->affine.scale_code : 0, limit = (1 << (weights.quant->bits - 1)) - 1;
  std::vector<double> bias(static_cast<size_t>(rows.outputs * (n.op == Op::kConvTranspose ? n.integer("group", 1) : 1)), 0.0);
  for (size_t i = 0; i < bias.size() && has_bias; ++i) bias[i] = g.value(n.inputs[2]).constant->at(static_cast<int64_t>(i));
  if (integer && raise_scales(codes, bias, in)) round_to_nearest(weights, *original.constant, rows.axis, limit);

  const auto gathered = c.patches.find({n.inputs[0], n.inputs[1]});
  const PatchMoments* patches = gathered == c.patches.end() ? nullptr : &gathered->second;
  const bool short_rows = patches && patches->width <= kShortRow;
  if (short_rows && options.round_by_covariance && !settled) {
    std::vector<int16_t> least(codes.size(), numerics::kScaleCodeMin);
    if (integer) raise_scales(least, bias, in);
    round_by_patches(weights, *original.constant, rows, *patches, limit, least, zeros);
  }
  const PatchMoments* known = options.round_by_covariance ? patches : nullptr;
  if (!short_rows && !settled && (options.rate_weight > 0 || known) && n.op != Op::kConvTranspose && static_cast<int64_t>(codes.size()) == rows.outputs) {
    PITH_CHECK_OK(round_long_rows(weights, *original.constant, rows, known, options.weight_bits, options.rate_weight, zeros));
  }
  if (options.correct_bias && n.op != Op::kConvTranspose) correct_bias(bias, weights, *original.constant, rows, c, n.inputs[0], patches);

  n.inputs[1] = g.add_value(weights);
  n.inputs.resize(std::max<size_t>(n.inputs.size(), 3), ir::kNoValue);
  ir::Value b;
  b.name = has_bias ? g.value(n.inputs[2]).name : n.name + ".bias";
  b.shape = {static_cast<int64_t>(bias.size())};
  if (integer) {
    set_bias(b, bias, codes, in, spare_bias_bits(n, g, codes));
  } else {
    b.constant = Tensor(ir::DType::kF32, b.shape);
    for (size_t i = 0; i < bias.size(); ++i) b.constant->set(static_cast<int64_t>(i), bias[i]);
    const bool empty = std::all_of(bias.begin(), bias.end(), [](double x) { return std::abs(x) < 1e-6; });
    if (options.code_parameters && !has_bias && empty) return {};  // none was there, none is needed
    if (options.code_parameters && static_cast<int64_t>(bias.size()) >= kFewParameters) quantize_constant_operand(b);
  }
  n.inputs[2] = g.add_value(std::move(b));
  return {};
}

}  // namespace pith
