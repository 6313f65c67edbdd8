// A layer in two with the inputs in view: low rank, or separable.
//
// Why: the results of a wide layer often lie near a subspace, though its weights don't. Method: of a product y = W x the
// covariance of y, weighed by what its rows' errors cost, G = S W C W' S, has eigenvectors U; the best product of rank r on
// these inputs is S^-1 U_r U_r' S W (as ASVD and its kin do, arXiv 2312.05821; Denton et al., arXiv 1404.0736), so a k x k
// convolution becomes one of r outputs and a 1 x 1 one behind it, and what is lost is the sum of the other eigenvalues.
// The mean of what is lost goes into the bias. Beside it stand the forms of separable.h; each layer takes the form that
// loses least for the operations that it frees.
#pragma once

#include <string>
#include <vector>

#include "base/allocate.h"
#include "ir/compensate.h"

namespace pith {

struct LowRankOptions {
  double macs_share = 0.5;  // of the multiply-accumulates that are to stay
  int64_t positions = 512;
};

struct LowRankReport {
  struct Layer {
    std::string node;
    std::string form;
    int64_t rank = 0, full = 0;
    double loss = 0;
  };
  std::vector<Layer> layers;  // that were split
  int64_t macs_before = 0, macs_after = 0;
  double loss = 0;
};

// `graph` as prune_channels takes it. A layer that no rank makes cheaper stays whole. Error kDoesNotFit where so many
// multiply-accumulates can't be saved this way.
Result<LowRankReport> split_low_rank(ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const ir::SquaredGradients& gradients, const LowRankOptions& options);

}  // namespace pith
