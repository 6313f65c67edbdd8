// Baseline compression: from a float Graph to one whose weights are integers of 2-8 bits and whose activations are 8-bit.
//
// The result is the same Graph with `quant` annotations (ir/graph.h says what they mean); it verifies, the interpreter
// executes it, and the compiler turns it into a Program. Methods: per-channel symmetric weights with the scale of least
// squared error; activation ranges from calibration; cross-layer equalisation and analytic bias correction after Nagel
// et al., "Data-free quantization through weight equalization and bias correction", 2019.
#pragma once

#include "micro/calibrate.h"

namespace pith {

struct QuantizeOptions {
  int weight_bits = 8;
  RangeMethod method = RangeMethod::kMse;
  double percentile = 99.99;
  bool equalize = true;
  bool correct_bias = true;
  // What a bit of code is worth: products with long rows of weights get one step for small rows and are rounded for rate
  // (round.h) at so many times the natural price of their present steps; 0: to nearest.
  double rate_weight = 0;
  bool round_by_covariance = true;  // products with short rows of weights: moments.h
  bool float_activations = false;   // only weights become integers
  bool integer_outputs = false;     // what products hand out is 8-bit; else only results of more than 4,096 values are
  bool code_parameters = false;     // norms, positions and biases of operators in float: 8-bit integers of one scale each
  // What retraining settled, by value name: weights that lie on these grids already, ranges that it rounded with.
  std::map<std::string, std::vector<int16_t>> weight_codes;
  std::map<std::string, numerics::Affine> activations;
};

struct QuantizeReport {
  int64_t samples = 0;
  std::vector<std::string> saturating;  // values of which more than 1 % is clipped
};

// `samples` as calibrate() takes them. Where a report is wanted it warns (log_warning) when they are few or when ranges saturate:
// without, the result is a trial on fewer samples than there are.
Result<ir::Graph> quantize(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples,
                           const QuantizeOptions& options, QuantizeReport* report = nullptr);

// ---- its stages, each on its own for tests ----

// Activations that become tables stand in nodes of their own while ranges are measured, and are joined again after.
void split_activations(ir::Graph& graph);
// Scales of consecutive products are balanced where a positively homogeneous function lies between them.
void equalize(ir::Graph& graph);
// Integers, `quant` with scale codes along `axis`.
void quantize_weights(ir::Value& weights, int axis, int bits);
// A constant operand of an element-wise operator: one scale for all of it, or the given grid's.
void quantize_constant_operand(ir::Value& v, const std::vector<int16_t>* grid = nullptr);
constexpr int64_t kFewParameters = 32;  // fewer stay float with QuantizeOptions::code_parameters
// The same on a given grid, with the fewest bits that hold the integers (grid.cpp).
void place_on_grid(ir::Value& weights, int axis, const std::vector<int16_t>& scale_codes);

}  // namespace pith
