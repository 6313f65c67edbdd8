// How much the answers depend on each weight: the diagonal of the Fisher information.
//
// Why: where bits may be saved is a question to the whole network, and its gradients answer it for all layers at once.
// Method: D(original, original + e) = 1/2 e' F e to second order, and F's diagonal is the mean of the squared gradients of
// log p(y) with y drawn from the original's own answers (no labels). What a distribution is, `Answers` says. This header knows no libtorch.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith::train {

enum class Answers {
  kClasses,     // the last axis holds logits of classes (or their probabilities, where a Softmax makes them)
  kDetections,  // maps of boxes: each box has 4 coordinates, an objectness and classes, all before their sigmoids (YOLOv5)
  kNumbers,     // D is half the squared error relative to the output's power
};

// By constants' names: for every float constant of two or more dimensions that a node reads as operand 1, the mean squared
// gradient of each element. `graph` is canonical; each sample has one tensor per input. Error kUnsupported names a node
// without a gradient.
Result<std::map<std::string, ir::Tensor>> squared_gradients(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, Answers answers, uint64_t seed);

}  // namespace pith::train
