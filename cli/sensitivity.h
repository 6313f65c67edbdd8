// How much the answers depend on each weight, where libtorch is there to say (train/sensitivity.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith::cli {

// In the program without libtorch: goes on as the one with it where there is one. Else does nothing.
Result<void> hand_over_for_gradients();

// Whether a head's answers are logits of classes, which a divergence compares.
inline bool answers_are_classes(const std::string& head) { return head == "classifier" || head == "ctc"; }

constexpr size_t kGradientSamples = 128;  // that are enough to measure gradients on

// `head` says what the answers are. Empty, with one line of log that says why, where the network has no gradient here.
std::map<std::string, ir::Tensor> measure_gradients(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const std::string& head, uint64_t seed);

}  // namespace pith::cli
