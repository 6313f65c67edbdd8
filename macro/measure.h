// What passes measure their proposals by: multiply-accumulates of a run, and how far answers go astray.
#pragma once

#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith {

int64_t total_macs(const ir::Graph& graph);
// What is asked for as a share, or above 1 as a number of multiply-accumulates, as a share; at most 1.
double macs_share(const ir::Graph& graph, double asked);

using Answers = std::vector<std::vector<ir::Tensor>>;  // by sample, by output
Result<Answers> answers_of(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples);

// Mean over samples, summed over outputs: squared error relative to the expected answer's squares, or with `distribution` the
// Kullback-Leibler divergence of the last axis' logits (a mean over rows).
Result<double> answer_loss(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const Answers& expected, bool distribution);

}  // namespace pith
