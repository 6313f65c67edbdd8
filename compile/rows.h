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

// The dimension that counts rows: of pictures (1 x height x width x channels) the height, of sequences (tokens x channels,
// 1 x tokens x channels) the tokens.
inline std::optional<size_t> row_axis(const std::vector<int32_t>& dims) {
  if (dims.size() == 2) return 0;
  if ((dims.size() == 3 || dims.size() == 4) && dims[0] == 1) return 1;
  return std::nullopt;
}
inline bool has_rows(const Program& p, int32_t id) {
  return id != kNone && !is_constant(id) && tensor(p, id).alias_of == kNone && row_axis(tensor(p, id).dims).has_value();
}
inline int32_t rows_of(const ProgramTensor& t) { return t.dims[*row_axis(t.dims)]; }
inline int64_t height(const Program& p, int32_t id) { return rows_of(tensor(p, id)); }
inline int64_t row_elements(const ProgramTensor& t) {
  int64_t n = 1;
  for (size_t i = *row_axis(t.dims) + 1; i < t.dims.size(); ++i) n *= t.dims[i];
  return n;
}
inline bool is_picture(const Program& p, int32_t id) { return has_rows(p, id) && tensor(p, id).dims.size() == 4; }
inline int64_t row_bytes(const ProgramTensor& t) { return row_elements(t) * element_bytes(t.dtype); }

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
