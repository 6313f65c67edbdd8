// A place in the arena for what looks at the outputs: a list of boxes, the best classes, the letters of a line.
//
// Why: post-processing needs memory when the network needs it no more. Its size follows from the head that the metadata
// declare; its place is planned like any other, beside the outputs, and travels in the metadata entry `post` as
// "offset bytes". pith_post_memory of the C API hands it out.
//
// Sizes are those of post/'s structures (a test compares them): detectors get a list of up to 1000 boxes of 28 bytes
// (post/boxes.h: nothing is lost then at ordinary thresholds; NMS works in place), classifiers probabilities and the 5 best,
// readers of text one symbol of 16 bytes for each step.
#pragma once

#include <optional>

#include "compile/compile.h"

namespace pith {

// Bytes for the declared head; 0 where there is none, or none that needs memory.
int64_t post_bytes(const Program& program);

// Where it lies (offset 0 before it was planned) and when it is in use: after the last operator, or from the first on that
// hands rows of an output over.
std::optional<StorageInterval> post_interval(const Program& program);
void set_post_place(Program& program, int64_t offset);

}  // namespace pith
