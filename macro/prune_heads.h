// Attention heads that the answers hardly need are removed, with their part of the products around them.
//
// Why: many heads of a trained transformer can go (Michel et al., "Are sixteen heads really better than one?", 2019), and a head
// is bytes, multiplications, and in a decoder keys and values that are remembered. Method: what a head is worth is measured: the
// distortion of the answers on samples without it. In rounds, since a head that resembles another one is worth more once that
// is gone, the ones of least distortion go, wherever they are, and the product behind gets the weights of least squared error
// that make up for them out of the heads that stay (as in ThiNet, arXiv 1707.06342). Where several queries share keys, they
// go together. A layer keeps one head at least; whole layers are drop_blocks' matter.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith {

struct HeadOptions {
  double share = 0.5;                   // of the heads that are to stay, of all layers together
  bool distribution = false;            // the last axis of outputs holds logits: divergence instead of relative error
  int rounds = 3;
  ir::ValueId row_mask = ir::kNoValue;  // an input of ones and zeros [1, rows]: which rows of [1, rows, n] values count
};

struct HeadCut {
  std::string attention;      // the node's name
  std::vector<int64_t> kept;  // heads of keys, ascending, with all their queries
};
struct HeadReport {
  std::vector<HeadCut> cuts;
  std::map<std::string, ir::Tensor> refitted;  // constants of the products behind, before the cut
  int64_t heads_before = 0, heads_after = 0;   // of keys
  int64_t bytes = 0, macs = 0;                 // less than before: float32 weights, multiply-accumulates of a run
  double loss = 0;                             // of the answers
};
// Errors: kUnsupported where no attention's heads can be told apart (its queries, keys and values must come from products with
// weights of their own, through reshaping, rotation, scaling and remembering only), kUsage without samples.
Result<HeadReport> prune_heads(ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const HeadOptions& options);

// Does to another form of the network, with nodes and constants of the same names, what was done to the first.
Result<void> cut_heads(ir::Graph& graph, const HeadReport& report);

}  // namespace pith
