// Channels that tell the answers little are removed, and what reads their neighbours makes up for them.
//
// Why: bytes, multiply-accumulates and memory fall together only where whole channels go. Method: a class of channels
// (channel_classes.h) costs what the products that read it lose once their other inputs make up for it as well as they can:
// sum over rows of importance x w_c' ((H^-1)_cc)^-1 w_c, with H the second moments of what the product reads (the "optimal
// brain surgeon" of Hassibi and Stork, 1993, for blocks). Each class is a proposal of (bytes, memory, multiply-accumulates,
// loss); the allocator takes those of least loss for what they free. A walk then zeroes what was taken, and gives every
// product the weights of least squared error towards the original's results (as ThiNet, arXiv 1707.06342, does for one layer). In
// rounds, because channels that resemble each other are only worth something together.
#pragma once

#include <string>
#include <vector>

#include "base/allocate.h"
#include "ir/compensate.h"

namespace pith {

struct PruneOptions {
  double macs_share = 0.5;  // of the multiply-accumulates that are to stay
  int rounds = 4;
  int64_t positions = 512;  // of a sample that moments look at
};

struct Pruned {
  ir::Graph graph;  // without what was removed
  int64_t removed = 0;  // classes
  int64_t macs_before = 0, macs_after = 0, parameters_before = 0, parameters_after = 0, activations_before = 0, activations_after = 0;  // activations: elements made in a run
  double loss = 0;  // as proposed, in the units of the gradients
};

// What removing each class would cost; `alive` says which are still there.
struct ChannelProposals {
  std::vector<Unit> units;    // two options: it stays, it goes
  std::vector<int> classes;   // by unit
};

// `graph` is canonical and its constants have unique names; `gradients` as ir::row_importance takes them. Error kDoesNotFit where
// so many multiply-accumulates can't be removed.
Result<Pruned> prune_channels(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const ir::SquaredGradients& gradients, const PruneOptions& options);

}  // namespace pith
