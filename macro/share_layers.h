// Neighbouring layers use one set of matrices, which the file holds once.
//
// Why: layers of a transformer do alike (Lan et al., "ALBERT", 2019, shares all of them), and what two use costs once. Method: a
// layer's matrices are the weights of its products, told by names that differ in the layer's number only; norms and biases stay
// its own. At first each layer is a set of its own. Merging two neighbouring sets is a proposal, with the matrices of either or
// their mean, whichever the answers to samples bear best; the one of least distortion is taken, until so many sets are left.
// Without retraining little of the network's sense survives more than a merge or two: the original is the teacher then.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith {

struct ShareOptions {
  int64_t sets = 1;           // of matrices that are to stay
  bool distribution = false;  // the last axis of outputs holds logits: divergence instead of relative error
};
struct ShareReport {
  std::vector<std::vector<int64_t>> sets;       // numbers of layers, ascending
  std::map<std::string, ir::Tensor> matrices;   // of each set, by the name that its first layer has for them
  std::vector<double> losses;                   // of the answers, after each merge
  int64_t layers = 0, bytes = 0;                // before; float32 weights less
};
// Errors: kUsage where there are no samples, or no layers are told by their names; kDoesNotFit where layers of different shapes leave more sets.
Result<ShareReport> share_layers(ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const ShareOptions& options);

// Does the same to another form, with constants of the same names.
Result<void> share_as(ir::Graph& graph, const ShareReport& report);

}  // namespace pith
