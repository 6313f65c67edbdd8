// Rows of removed tokens leave a network's tables: that which token ids look up, and the product that makes the logits of the
// next or the masked token, whether it reads the same table or one of its own, with its bias.
//
// What a kept token is and which logit it gets stays as it was; logits of removed tokens are gone, so probabilities are those of
// the original under the condition that the token is a kept one. prune_tokens.h says which stay.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith {

struct VocabularyCut {
  int64_t tokens_before = 0, tokens_after = 0;
  int64_t bytes = 0, macs = 0;  // removed: float32 weights, multiply-accumulates of a run
};

// `kept` ascending. The first input of `graph` holds token ids. Errors: kUsage where no table is looked up by it, or the table has
// fewer rows than `kept` asks for; kUnsupported where the table is read in another way.
Result<VocabularyCut> cut_vocabulary(ir::Graph& graph, const std::vector<uint32_t>& kept);

// The table that token ids look up: a Gather by the first input. kNoValue if there is none.
ir::ValueId token_table(const ir::Graph& graph);
// The product that makes the logits, by its place among the nodes: behind it only the shape changes, up to the first
// output that is no state. -1 if there is none.
int logits_product(const ir::Graph& graph, int64_t tokens);

}  // namespace pith
