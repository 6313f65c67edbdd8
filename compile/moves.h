// What is in use at each step of a planned program, and what each exchange of space for time gained.
//
// Why: a compiler that saves memory must show where. Method: bytes in use are the union of the planned addresses of all
// that is alive (buffers that share memory count once); a group of layers that runs in bands of rows is compared with
// the same layers run whole.
#pragma once

#include <string>
#include <vector>

#include "compile/compile.h"
#include "program/program.h"

namespace pith {

// Of an operator's first result; empty where it has none.
std::string result_name(const Program& program, const ProgramOp& op);

// Multiply-accumulates of all operators.
int64_t macs_of(const Program& program);

// Bytes of the arena in use during each operator. Offsets must be planned.
std::vector<int64_t> occupied_bytes(const Program& program);

// One move per group. `source`: planned with whole tensors; `streamed`: what stream_rows made of it, planned; `origin`:
// for each operator of `streamed` the one of `source` that it came from.
std::vector<MemoryMove> describe_moves(const Program& source, const Program& streamed,
                                       const std::vector<StreamGroup>& groups, const std::vector<size_t>& origin);

}  // namespace pith
