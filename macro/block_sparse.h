// Block sparsity with the inputs in view: whole blocks of a product's weights become zero.
//
// Why: a kernel can't skip single zeros, but it can skip 16 x 16 of them (ir/blocks.h), and a network bears to lose such blocks
// where it bears to lose neither a channel nor a rank. Method: the block form of the optimal brain surgeon (Hassibi and Stork,
// 1993; SparseGPT, arXiv 2301.00774). With C the second moments of what a product reads, a row w that loses its elements J, and
// whose others make up for them by least squares, errs by w_J' ([C^-1]_JJ)^-1 w_J in the mean square. So the rows of a block lose
// their blocks one after the other, always the one that costs least, counted by what errors of these rows cost; w and C^-1 are
// brought up to date after each. That makes a curve of operations against loss for every 16 rows, and the allocator picks among
// all of them. Then the layers get, in order, the weights and biases of least squares for what they read by then.
#pragma once

#include <string>
#include <vector>

#include "ir/compensate.h"

namespace pith {

struct BlockSparseOptions {
  double macs_share = 0.5;  // of the multiply-accumulates that are to stay
  int64_t positions = 512;
};

struct BlockSparseReport {
  struct Layer {
    std::string node;
    int64_t dropped = 0, blocks = 0;
  };
  std::vector<Layer> layers;  // that lost blocks
  int64_t macs_before = 0, macs_after = 0;
  double loss = 0;
};

// `graph` as prune_channels takes it. Depthwise layers, those that read or make fewer than 16 channels, and the last block of any 16
// outputs stay whole. Error kDoesNotFit where so many multiply-accumulates can't be saved this way.
Result<BlockSparseReport> drop_weight_blocks(ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const ir::SquaredGradients& gradients, const BlockSparseOptions& options);

}  // namespace pith
