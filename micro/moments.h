// Second moments of the patches that products read, and rounding by them.
//
// A product's output is w . x over patches x of its input. Rounding w to w + e changes it by e . x; once the bias takes
// the mean of that away, what is left has the variance e' C e with C the covariance of the patches. Rounding each weight
// to its nearest integer minimises e' e, which is the same only for independent inputs of one variance. Neighbouring
// pixels are anything but: an edge filter on a nearly constant picture lives from the differences of large products,
// and MobileNet's first depthwise layer alone costs 20 dB when rounded to nearest. So small products are rounded by
// their covariance, after the observation of LeCun, Denker and Solla, "Optimal brain damage", 1989, and Nagel et al.,
// "Up or down? Adaptive rounding for post-training quantization", 2020, section 3: by plain descent from the nearest
// integers, one weight or one pair of weights at a time, under several scales. Long rows are rounded one weight after the
// other with error feedback (round.h), under the same covariance.
#pragma once

#include <span>
#include <vector>

#include "ir/graph.h"

namespace pith {

constexpr int64_t kShortRow = 64;

// Over patches of `width` numbers in the order of a row of weights: channel of the group, kernel row, kernel column.
struct PatchMoments {
  int64_t groups = 1, width = 0;
  double count = 0;
  std::vector<double> sums;      // groups x width
  std::vector<double> products;  // groups x width x width
  double mean(int64_t group, int64_t k) const;
  // width x width, with a hundredth of the mean variance on the diagonal against what few samples don't show.
  std::vector<double> covariance(int64_t group) const;
};

// Whether patches of this node are gathered: a convolution or product with constant weights, and rows that aren't too long.
bool gathers_patches(const ir::Graph& graph, const ir::Node& node);
// Adds some patches of one input, spread over its positions, until there are enough; `turn` (the sample's number) shifts them.
void add_patches(const ir::Graph& graph, const ir::Node& node, const ir::Tensor& input, int64_t turn, PatchMoments& moments);

// What is left of the mean variance of an input when those before it are known: the mean price of a squared error under
// feedback. `covariance`: n x n, positive definite.
double mean_conditional_variance(std::span<const double> covariance, int64_t n);

// Integers q in [-limit, limit] near the real row `w` (in steps), such that (q - w)' C (q - w) is small; returns it.
double round_by_covariance(std::span<const double> w, std::span<const double> covariance, int limit, std::span<int> q);

}  // namespace pith
