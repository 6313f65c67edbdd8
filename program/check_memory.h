// Whether a program's operators leave each other's memory alone.
#pragma once

#include "base/result.h"
#include "program/program.h"

namespace pith {

// Ids, dimensions and parameters have been checked. Walks through the operators with a map of who owns which bytes of the
// arena: what an operator reads must have been written for the tensor that it reads, all of it, and by nobody else since.
// Where tensors overlap in part, those parts are never in use together.
Result<void> check_memory(const Program& program);

// May the operator's output take the place of an input of as many bytes that dies with it?
bool may_write_over(int opcode);

}  // namespace pith
