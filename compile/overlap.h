// How far a tensor that is written part by part may reach into one that is read part by part and dies ("diagonal memory
// optimisation", Blacker et al. 2019, arXiv 2010.01668, here between bands of rows instead of within a kernel).
//
// A group of layers that runs in bands reads its input from above to below and writes its output so. What has been read
// for the last time may be written over: the output begins where the input begins or a little below, and grows into it.
// Nothing is assumed of kernels: an operator's own input and output stay apart.
#pragma once

#include <cstdint>
#include <vector>

#include "program/program.h"

namespace pith {

// Bytes [begin, end) of a tensor (counted from its own beginning) that an operator reads or writes.
struct Touch {
  int64_t op = 0, begin = 0, end = 0;
};

// By tensor (aliases count for what they are parts of), in the order of operators.
std::vector<std::vector<Touch>> touches_of(const Program& program);

// With y at or below x: the least number of bytes by which x must begin above y's beginning, so that y never covers what
// of x is still to be touched. At least 0; y's size where nothing is gained.
int64_t overlap_distance(const std::vector<Touch>& x, const std::vector<Touch>& y);

// A Copy of one element onto itself: it gives a tensor a name before parts of it are written, and touches nothing.
bool introduces(const ProgramOp& op);

}  // namespace pith
