// The table of tokens as a product of two: V x d becomes V x r, looked up, times r x d.
//
// Why: rows of a table are as wide as the network, but may lie near a subspace (Lan et al., "ALBERT", 2019, has such tables
// from the start). Method: rows count by how often samples read them, so what is kept is the span of the r first eigenvectors
// of the weighed second moments of the rows (Eckart and Young), about their weighed mean, which goes into a bias; every row
// then has its best coordinates. Where the logits are made by the same table, all rows are read every time: half of the weight is
// spread evenly, and the mean stays in. The logits' product reads the r columns too, behind one of its own.
#pragma once

#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith {

struct EmbeddingFactors {
  int64_t rank = 0;
  bool tied = false;
  ir::Tensor rows, basis;  // V x r, r x d
  ir::Tensor mean;         // d; empty where tied
  double lost = 0;         // share of the weighed squared rows (about their mean) that the rank doesn't hold
};
// `counts` by row, missing ones 0. Errors (kUsage): no table that the first input looks up, a rank of no use.
Result<EmbeddingFactors> factor_embedding(const ir::Graph& graph, const std::vector<double>& counts, int64_t rank);

struct FactorChange {
  int64_t bytes = 0, macs = 0;  // float32 weights and multiply-accumulates of a run more than before
};
// Puts factors, of this graph or of another form with the same table, in place of the table.
Result<FactorChange> replace_embedding(ir::Graph& graph, const EmbeddingFactors& factors);

}  // namespace pith
