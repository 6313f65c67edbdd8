// Rounding a whole network's weights layer after layer, at a price per bit.
//
// What matters is the network's answer. So each product gets a price of its own: how much the answer suffers from noise at
// the product's result is measured (sensitivity), and a bit must save the same suffering wherever it is spent. Given its
// price, a product's weights get the step that is right for it and are rounded for rate with error feedback (round.h),
// under the second moments of what the product reads by then, behind all the layers rounded before it. Since those inputs
// have gone astray a little, the weights first move to what reproduces the original product from them (least squares), as in
// Frantar and Alistarh, "Optimal brain compression", 2022, and Arai and Ichikawa, arXiv 2504.09629, section 3. Rows of an
// embedding count by how often their word occurs: seldom read, coarsely coded.
//
// Samples advance together, one node at a time, through the original and the rounded network.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "micro/round.h"

namespace pith {

struct LayerwiseOptions {
  double bits_per_weight = 4;  // of all weights that are rounded, codes of scales included
  bool logits = false;         // the answer is a distribution (KL), otherwise a vector (squared error relative to its length)
  ir::ValueId row_mask = ir::kNoValue;  // an input of ones and zeros [1, rows]: which rows of [1, rows, n] values count
  std::vector<double> row_counts;       // how often each row of an embedding is read; nothing: alike
  size_t probes = 6;                    // samples on which sensitivities are measured
  WeightCodes may_be = {};  // what weights may be, where that is the better bargain
  uint64_t seed = 0;
};

struct Layerwise {
  ir::Graph graph;                                          // weights on their grids (as float), biases corrected
  std::map<std::string, std::vector<int16_t>> weight_codes;  // scales by value name, as QuantizeOptions takes them
  double bits = 0, weights = 0;                             // length of all codes, and how many weights they hold
};

// `graph` is in float, every sample one tensor per input. Errors: a sample that doesn't fit, no weights to round.
Result<Layerwise> round_layerwise(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const LayerwiseOptions& options);

// ---- its first stage ----

// How much the answer suffers per unit of squared error of one row of each value that a product or an embedding makes, in
// the order of the nodes; 0 for other nodes.
Result<std::vector<double>> sensitivities(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const LayerwiseOptions& options);

// Whether a node's weights are rounded: a plain product with constant weights, or a Gather of rows.
bool measurable(const ir::Graph& graph, const ir::Node& node);
bool is_embedding(const ir::Graph& graph, const ir::Node& node);

}  // namespace pith
