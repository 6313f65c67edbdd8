// What bands of rows know of operators: which rows of its inputs an operator needs for some rows of its output.
#pragma once

#include <optional>
#include <vector>

#include "program/program.h"

namespace pith {

struct Rows {
  int64_t from = 0, to = 0;
};

inline const ProgramTensor& tensor(const Program& p, int32_t id) { return p.tensors[static_cast<size_t>(id)]; }
inline bool is_picture(const Program& p, int32_t id) {
  return id != kNone && !is_constant(id) && tensor(p, id).alias_of == kNone && tensor(p, id).dims.size() == 4 && tensor(p, id).dims[0] == 1;
}
inline int64_t height(const Program& p, int32_t id) { return tensor(p, id).dims[1]; }
inline int64_t row_elements(const ProgramTensor& t) { return int64_t{t.dims[2]} * t.dims[3]; }
inline int64_t row_bytes(const ProgramTensor& t) { return row_elements(t) * (t.dtype == PITH_U8 ? 1 : 4); }
inline int32_t root_of(const Program& p, int32_t id) { return tensor(p, id).alias_of == kNone ? id : tensor(p, id).alias_of; }

// Where a window operator has its vertical parameters: kernel, stride, dilation, and the indices of its pads.
struct Window {
  int64_t kernel = 1, stride = 1, dilation = 1, pad_top = 0;
  size_t top = 0, bottom = 0;
};
std::optional<Window> window_of(const Program& p, const ProgramOp& op);

// For operators that run by rows (stream.h). Output rows that are made together:
int64_t grain(const Program& p, const ProgramOp& op);
// Rows of an input, before it ends above or below, that output rows [from, to) need.
Rows needed(const Program& p, const ProgramOp& op, Rows out);
// Input slots that advance with the output's rows; the others are constants and tensors of one row.
std::vector<size_t> moving_inputs(const Program& p, const ProgramOp& op);

}  // namespace pith
