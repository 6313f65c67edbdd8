// The original and a student that is being made out of it, executed side by side over all samples, node by node.
//
// Why: what compresses a layer should see what the layer really reads: the outputs of the layers before it as they are by
// now, beside what they were. So all samples go through a node before the next one is looked at, and the visitor may
// change the student's constants of a node just before it runs. Memory: every live tensor of every sample, twice.
#pragma once

#include <functional>

#include "ir/interpret.h"

namespace pith::ir {

// Operand 0 of a node in every sample.
struct SideBySide {
  std::vector<Tensor> original, student;
};

using Visitor = std::function<Result<void>(size_t node, const SideBySide& inputs)>;

// Both graphs have the same nodes and value ids; constants (and with them the student's shapes) may differ. Calls `visit`
// before each node whose operand 0 isn't constant. Graphs with state are refused.
Result<void> walk_side_by_side(const Graph& original, Graph& student, const std::vector<std::vector<Tensor>>& samples, const Visitor& visit);

// ---- the rows of a product ----

// How the weights of a Conv, Gemm or MatMul with constant weights form rows, one for each output. Along a row elements
// count in the file's order: kernel row, kernel column, channel.
struct ProductRows {
  int axis = 0;                     // of the weights: their outputs
  int64_t outputs = 1, width = 1;   // rows, elements of a row
  int64_t depth = 1, groups = 1;    // channels that a row reads
  bool contiguous = true;
  int64_t taps() const { return width / depth; }
  int64_t columns = 1;              // of the kernel
  // Where element k of row o stands in the constant; its group; the input channel that it reads.
  int64_t at(int64_t o, int64_t k) const { return contiguous ? o * width + k % depth * taps() + k / depth : k * outputs + o; }
  int64_t group(int64_t o) const { return o / (outputs / groups); }
  int64_t channel(int64_t o, int64_t k) const { return group(o) * depth + k % depth; }
};
// Nothing for other nodes, channels-last ones and transposed convolutions.
std::optional<ProductRows> product_rows(const Graph& graph, const Node& node);

// First and second moments of what rows read, group by group. Widths differ where the student lost channels.
struct ReadMoments {
  int64_t groups = 1, width = 0, original_width = 0;
  double count = 0;                              // positions looked at
  std::vector<double> mean, original_mean;       // groups x width of each
  std::vector<double> covariance;                // groups x width x width: the student's
  std::vector<double> cross;                     // groups x original_width x width: original against student
  std::span<const double> covariance_of(int64_t g) const { return {covariance.data() + g * width * width, static_cast<size_t>(width * width)}; }
  std::span<const double> cross_of(int64_t g) const { return {cross.data() + g * original_width * width, static_cast<size_t>(original_width * width)}; }
};
// At most `positions` of each sample, spread evenly. `cross` and `original_mean` only where asked for.
Result<ReadMoments> read_moments(const Graph& original, const Graph& student, const Node& original_node, const Node& student_node, const SideBySide& inputs, int64_t positions, bool with_cross);

}  // namespace pith::ir
