// Row-wise execution of groups of layers: a few rows of every tensor at a time instead of whole tensors.
//
// Why: early layers of a vision network have large pictures and small windows. A layer needs only the rows under its
// window, so a chain of convolutions, poolings and element-wise operators can run band by band, each tensor inside the
// group being a buffer of some rows. The borders between bands are kept (moved to the buffer's start), so nothing is
// computed twice and every value is the same bit for bit.
//
// Everything is decided here: a group becomes straight-line operators on parts of tensors (aliases with an offset), and
// whoever executes a program knows nothing of bands.
#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "compile/compile.h"
#include "program/program.h"

namespace pith {

// Can this operator run on some rows of its (1 x height x width x channels) output at a time?
bool runs_by_rows(const Program& program, const ProgramOp& op);

// The program with these groups (disjoint, ascending) in bands; `origin`, if given, gets for each new operator the old
// one. With `row_ports`, inputs that one group alone reads come from the caller row by row, and outputs that are made in a
// group and not read after it go to the caller so. Nothing where a group can't run so: an operator that needs whole tensors, parts that don't begin at multiples of
// PITH_ARENA_ALIGNMENT.
// `whole`, if given, gets for each new tensor the old one that it is; kNone for buffers and parts.
std::optional<Program> stream_rows(const Program& program, const std::vector<StreamGroup>& groups, bool row_ports, std::vector<size_t>* origin = nullptr, std::vector<int32_t>* whole = nullptr);

// Which operators use and write each tensor that is no alias, in order; the end of the program counts as operator ops.size().
struct Users {
  std::vector<std::vector<size_t>> uses, writers;
};
Users users_of(const Program& program);
// Only the operators of one group in bands; tensors keep their numbers, new ones come after them.
std::optional<Program> stream_group(const Program& program, const Users& users, const StreamGroup& group, bool row_ports);

// Chooses groups until the plan fits into options.ram bytes, as few additional operators as it can (stream_choose.cpp);
// with options.least, groups under which it fits into the fewest. Error kDoesNotFit: the byte count, the layer, and what
// to change.
Result<void> fit_ram(Program& program, const CompileOptions& options, MemoryReport* report);

}  // namespace pith
