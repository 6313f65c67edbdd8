// Compression without retraining: integers for every product, chosen layer by layer at a price of a bit.
//
// Why: retraining needs hours; this needs minutes, and gives retraining its best start. Method, for each product in the
// order of execution, on samples (after GPTQ, arXiv 2210.17323, and its asymmetric form, arXiv 2504.02692):
//
// 1. The second moments of what the student's layer reads by now, beside what the original's read.
// 2. The real weights that make the most of it: least squares towards the original's results, damped towards its weights.
//    So a layer makes up for the errors of those before it.
// 3. Steps by row, such that an error costs the same wherever it is made: proportional to (importance x moment)^-1/2.
// 4. Rounding against the adaptive coder's state with error feedback (round.h).
// 5. A bias that puts the mean of every output back.
//
// The price is a level: a bit may cost a loss of 2^(level/2), so a level is a quarter of an octave of the step. A table of (bytes, loss) by layer and level, made on the
// original's moments, is what the allocator (base/allocate.h) chooses from.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/allocate.h"
#include "ir/compensate.h"
#include "micro/round.h"

namespace pith {

// By the weights' value name: the loss per unit of mean squared error of each output of the product.
using Importance = std::map<std::string, std::vector<double>>;

// A canonical, equalised float graph whose constants have unique names: what everything below takes.
Result<ir::Graph> prepare_post_training(const ir::Graph& graph);

struct PostTrainingOptions {
  int64_t positions = 512;  // of a sample that moments look at
  double damping = 0.01;    // of moments, in mean variances
  bool compensate = true;   // step 2
  WeightCodes may_be = {};  // what weights may be, where that is the better bargain
};

struct RoundedLayer {
  std::string name, node;   // weights, node
  int64_t weights = 0, rows = 0, empty_rows = 0, zeros = 0;
  int level = 0;
  double bits = 0, loss = 0;  // of the code; by the additive model
  double step = 0;            // geometric mean over rows
  std::string code;           // what its weights are
  double error = 0;           // of the product against the original's, relative to its variance
};

// Units in the order of execution, an option for each level. Constants that several nodes read are left out.
struct LevelTable {
  std::vector<Unit> units;                // named by weights
  std::vector<std::vector<int>> levels;   // by unit, of its options
  std::vector<int64_t> weights;           // by unit
  std::vector<double> share;              // by unit: its share of the importance-weighted variance of all products
  Importance importance;                  // as it was used
};
// A row's importance is the one under which independent errors of its weights cost what the gradients say. `gradients` may lack
// layers, or be empty: their errors then count relative to their outputs' variance, times the geometric mean of the others.
Result<LevelTable> level_table(const ir::Graph& prepared, const std::vector<std::vector<ir::Tensor>>& samples, const ir::SquaredGradients& gradients, const PostTrainingOptions& options);

struct PostTrained {
  ir::Graph graph;                                     // real weights on their grids
  std::map<std::string, std::vector<int16_t>> codes;   // for QuantizeOptions::weight_codes
  std::vector<RoundedLayer> layers;
};
// Layers without a level keep their weights.
Result<PostTrained> round_post_training(const ir::Graph& prepared, const std::vector<std::vector<ir::Tensor>>& samples, const Importance& importance, const std::map<std::string, int>& levels,
                                        const PostTrainingOptions& options);

}  // namespace pith
