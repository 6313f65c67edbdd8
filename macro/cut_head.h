// Cutting a detector's decoding off its graph.
//
// Exporters append the arithmetic that turns feature maps into boxes: grids, exponentials, a concatenation of tens of
// thousands of rows in float. The post-processing library does the same from the maps themselves, 8-bit codes included,
// for a few kilobytes of memory; in the network it costs megabytes and, at 8 bits, precision.
#pragma once

#include "base/result.h"
#include "ir/graph.h"

namespace pith {

// Makes the results of the last products (nodes with constant weights after which no other one follows) the graph's
// outputs, in the order of execution, and drops what came after. Returns how many there are.
Result<int> cut_head(ir::Graph& graph);

}  // namespace pith
