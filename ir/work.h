// What it costs to execute a node, as far as its inputs' bytes don't tell: a bound for who executes what strangers wrote.
#pragma once

#include "ir/graph.h"

namespace pith::ir {

// Steps of the reference interpreter: multiply-accumulates, results times window for pooling, pairs of boxes; otherwise
// elements of the results. At most 2^62.
int64_t work(const Graph& graph, const Node& node);

}  // namespace pith::ir
