// A layer of weights over positions, mapped to clusters and cores.
#pragma once

#include "sim/timing/work.h"

namespace pith::sim {

// How much codes toggle, as a share of what uniformly random ones do (docs/chip_activity.csv): on buses and in input
// registers, and in multiplexers and adders.
struct Activity {
  double inputs = 1, adds = 1;
};

struct Layer {
  WeightPlan plan;
  int64_t filters = 0, positions = 0;
  double reuse = 1;            // share of a window that is new at the next position: stride / kernel width
  int slots = 2;               // passes that an activation takes
  double byte = 1;             // bytes of an activation in memory
  Activity in, out;            // of what the layer reads and writes
  double transposed_writes = 0;  // results, where they aren't filters x positions
};

// Fills jobs, counts and mapping.
void map_layer(const Layer& layer, const chip::Device& device, OpWork& work);

}  // namespace pith::sim
