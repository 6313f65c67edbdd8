// Fewer multiply-accumulates as `pith compress` offers them: residual blocks left out, channels removed, layers split in
// two, blocks of weights made zero, and the choice among them.
//
// Why: which of the four a network bears best can't be said beforehand, and what they model as loss isn't in one unit (blocks
// are measured, the others are predicted from gradients). So --macs really makes the network in several ways, each alone and
// together in equal parts (but for zero blocks behind split layers), and keeps the one whose answers to samples that no pass
// looked at are nearest to the original's.
#pragma once

#include <string>
#include <vector>

#include "cli/cli.h"
#include "ir/graph.h"

namespace pith::cli {

struct FewerFlags {  // what may stay: a share, or a number above 1; 0: all
  double macs = 0;
  double blocks = 0, channels = 0, low_rank = 0, sparse = 0;  // in this order
  bool named() const { return blocks > 0 || channels > 0 || low_rank > 0 || sparse > 0; }
  bool wanted() const { return macs > 0 || named(); }
};
void add_fewer_flags(CLI::App* verb, const std::string& group, FewerFlags& flags);

// One way of saving, and what came of it.
struct Way {
  std::string name;  // as in "blocks and channels"
  int64_t macs = 0, parameters = 0, live_bytes = 0;  // live_bytes: float activations, the largest sum at any time
  double loss = 0;   // of the answers to samples apart, macro/measure.h
  int64_t bytes = 0; // of the file, where one was made to compare
};

// The ways that --macs tried, the best first. `graph` is prepared for post-training (micro/post_training.h). Error kDoesNotFit
// where so few can't be reached.
Result<std::vector<Way>> fewer_operations(ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const std::string& head, uint64_t seed, const FewerFlags& flags);

// Samples of which the last are kept apart: no pass looks at them, answers to them choose.
struct Apart {
  std::vector<std::vector<ir::Tensor>> looked_at, apart;
};
Apart set_apart(const std::vector<std::vector<ir::Tensor>>& samples);
Way weighed(const std::string& name, const ir::Graph& graph, double loss);

std::vector<std::vector<ir::Tensor>> first_of(const std::vector<std::vector<ir::Tensor>>& samples, size_t count);
// Samples that a walk through two such networks side by side has memory for.
size_t walkable(const ir::Graph& graph);

}  // namespace pith::cli
