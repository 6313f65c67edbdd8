// Fusion: decompositions and neighbours back to whole operators. Float semantics stay (to rounding).
#pragma once

#include "base/result.h"
#include "ir/graph.h"

namespace pith::importers {

// Runs all fusion passes until nothing changes, removing what is dead in between.
Result<void> fuse(ir::Graph& graph);

}  // namespace pith::importers
