// Channels that carry nothing are removed from every tensor that they touched.
//
// Why: retraining leaves whole filters zero, and whole channels that no later layer reads. Removed, they take no bytes, no
// multiplications and no memory. Method: a class of channels that are one (channel_classes.h) goes when all that makes it is zero, or all that reads
// it multiplies it by zero. Removing some makes others removable, so it is repeated until nothing changes. The result
// computes the same function.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith {

// What was kept of a constant along an axis, in the order of removal.
struct ChannelCut {
  int axis = 0;
  std::vector<int64_t> kept;
};
struct ChannelReport {
  int64_t removed = 0, bytes = 0, macs = 0;  // channels; what they took: float32 weights, multiply-accumulates a run
  std::map<std::string, std::vector<ChannelCut>> cuts;  // by the constant's name
};

// Removes them from a float graph. Constants keep their names; report.cuts says how to cut what belongs to them.
Result<ChannelReport> remove_channels(ir::Graph& graph);

// The part of a tensor that a cut keeps.
ir::Tensor cut_tensor(const ir::Tensor& t, const ChannelCut& cut);
// The same to a constant of a graph, whose shape follows.
void cut_constant(ir::Graph& graph, ir::ValueId id, const ChannelCut& cut);

}  // namespace pith
