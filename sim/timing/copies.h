// Copies that need no copying: results written where they are wanted, as they are made.
//
// Why: a concatenation's parts become slices of one tensor, and a program says so with Copy operators after the
// operators that made the parts. The results of a cluster leave over a bus that aligns them to any place of a word (an
// aligning output bus, US 12093696), so such a copy rides on its producer: the slice is written at the same time, or
// instead where nobody else reads the part. It can't where somebody still needs the memory that the slice will have,
// where values change their meaning on the way, or where the source isn't copied whole; those copies stay with the DMA
// engine.
#pragma once

#include "sim/timing/work.h"

namespace pith::sim {

// Turns what can ride into additional writes of its producer; the Copy keeps its place and has nothing left to do.
// Returns how many did.
int ride_copies(const Program& program, Work& work);

}  // namespace pith::sim
