// Whole residual blocks are removed where the answers hardly need them.
//
// Why: y = x + F(x) is x plus a correction, and some corrections are small; without F the network is shorter, not only
// thinner. Method: every block that can be left out is a proposal, whose loss is measured on the samples with that block
// left out (no model of it: there are few blocks); the allocator takes those of least loss for the multiply-accumulates that they
// free, one after the other, since what a block is worth depends on those that are left.
#pragma once

#include <string>
#include <vector>

#include "base/allocate.h"
#include "ir/graph.h"

namespace pith {

struct Block {
  size_t join = 0;                // the addition
  ir::ValueId around = -1;        // what stays of its operands
  std::vector<size_t> nodes;      // that only this block needs
};
// Additions whose one operand is made out of the other (and of what doesn't come from the first input: masks, positions, states of
// their own), by nodes that nobody else reads.
std::vector<Block> residual_blocks(const ir::Graph& graph);
// The graph without a block, and without what only it remembered.
Result<ir::Graph> without_block(const ir::Graph& graph, const Block& block);

// Without those that end in additions of these names, one after the other: another form of a network that lost them.
Result<void> leave_out_blocks(ir::Graph& graph, const std::vector<std::string>& joins);

struct DropOptions {
  double macs_share = 0.8;     // of the multiply-accumulates that are to stay
  bool distribution = false;   // the last axis of outputs holds logits of classes: divergence instead of relative error
};
struct DropReport {
  std::vector<std::string> dropped;  // additions' names
  std::vector<double> losses;        // of the whole, after each
  int64_t macs_before = 0, macs_after = 0;
};
// Error kDoesNotFit where the blocks together don't free so many.
Result<DropReport> drop_blocks(ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const DropOptions& options);

}  // namespace pith
