// See rows.h.
#include "compile/rows.h"

#include <algorithm>

#include "compile/stream.h"
#include "program/schema.h"

namespace pith {
namespace {

// A copy whose outermost loop walks down both pictures, `source` rows of the one and `target` rows of the other at a time:
// a part of a concatenation (1 and 1), a picture enlarged by repetition (1 and 2), space to depth (2 and 1).
struct CopyRows {
  int64_t source = 1, target = 1;
};
std::optional<CopyRows> copies_rows(const Program& p, const ProgramOp& op) {
  const ProgramTensor &x = tensor(p, op.inputs[0]), &y = tensor(p, op.outputs[0]);
  const auto& v = op.ints;
  const int64_t extent = v[format::kCopyExtents], steps = std::min(rows_of(x), rows_of(y));
  if (v[format::kCopyRank] < 1 || op.inputs[0] == op.outputs[0] || rows_of(x) % steps != 0 || rows_of(y) % steps != 0 || extent % steps != 0) return std::nullopt;
  const CopyRows rows{rows_of(x) / steps, rows_of(y) / steps};
  for (int side = 0; side < 2; ++side) {
    const size_t strides = side == 0 ? format::kCopySourceStrides : format::kCopyTargetStrides;
    const int64_t step = side == 0 ? row_elements(x) * rows.source : row_elements(y) * rows.target;
    if (extent / steps * v[strides] != step) return std::nullopt;
    int64_t low = v[side == 0 ? format::kCopySourceOffset : format::kCopyTargetOffset], high = low;
    for (int i = 0; i < v[format::kCopyRank]; ++i) {
      const int64_t count = i == 0 ? extent / steps : v[format::kCopyExtents + static_cast<size_t>(i)];
      const int64_t reach = (count - 1) * v[strides + static_cast<size_t>(i)];
      (reach < 0 ? low : high) += reach;
    }
    if (low < 0 || high >= step) return std::nullopt;
  }
  return rows;
}

}  // namespace

std::optional<Window> window_of(const Program& p, const ProgramOp& op) {
  const auto& v = op.ints;
  if (op.opcode == PITH_OPCODE_Conv2d && is_constant(op.inputs[1]))
    return Window{p.constants[static_cast<size_t>(op.inputs[1] - kConstantBase)].dims[1], v[0], v[2], v[4], 4, 6};
  if (op.opcode == PITH_OPCODE_Pool2d) return Window{v[1], v[3], v[5], v[7], 7, 9};
  return std::nullopt;
}

int64_t grain(const Program& p, const ProgramOp& op) { return op.opcode == PITH_OPCODE_Copy ? copies_rows(p, op)->target : 1; }

Rows needed(const Program& p, const ProgramOp& op, Rows out) {
  if (op.opcode == PITH_OPCODE_Copy) {
    const CopyRows rows = *copies_rows(p, op);
    return {out.from / rows.target * rows.source, (out.to + rows.target - 1) / rows.target * rows.source};
  }
  const auto w = window_of(p, op);
  if (!w) return out;
  return {out.from * w->stride - w->pad_top, (out.to - 1) * w->stride - w->pad_top + (w->kernel - 1) * w->dilation + 1};
}

std::vector<size_t> moving_inputs(const Program& p, const ProgramOp& op) {
  if (op.opcode != PITH_OPCODE_Binary) return {0};
  std::vector<size_t> slots;
  for (size_t i = 0; i < 2; ++i) {
    if (has_rows(p, op.inputs[i]) && height(p, op.inputs[i]) == height(p, op.outputs[0])) slots.push_back(i);
  }
  return slots;
}

namespace {

// Beside what moves: one row for all, or a matrix that is needed whole.
bool rest_stays(const Program& p, const ProgramOp& op, const std::vector<size_t>& moving) {
  if (op.opcode != PITH_OPCODE_Binary) return true;
  for (size_t i = 0; i < 2; ++i) {
    if (std::find(moving.begin(), moving.end(), i) != moving.end()) continue;
    const int32_t id = op.inputs[i];
    const auto& dims = is_constant(id) ? p.constants[static_cast<size_t>(id - kConstantBase)].dims : tensor(p, id).dims;
    const auto axis = row_axis(dims);
    if (dims.size() != tensor(p, op.outputs[0]).dims.size() || !axis || dims[*axis] != 1) return false;
  }
  return true;
}

}  // namespace

bool runs_by_rows(const Program& p, const ProgramOp& op) {
  switch (op.opcode) {
    case PITH_OPCODE_Conv2d: case PITH_OPCODE_Pool2d: case PITH_OPCODE_Unary: case PITH_OPCODE_Convert: case PITH_OPCODE_Binary: case PITH_OPCODE_Copy:
    case PITH_OPCODE_Dense: case PITH_OPCODE_Norm: case PITH_OPCODE_Softmax: case PITH_OPCODE_MatMul:
    case PITH_OPCODE_EncodeRows: case PITH_OPCODE_DecodeRows: case PITH_OPCODE_CodedConv2d: case PITH_OPCODE_EncodeLiftedRows: case PITH_OPCODE_DecodeLiftedRows:
      break;
    default:
      return false;
  }
  if (!has_rows(p, op.outputs[0])) return false;
  const std::vector<size_t> moving = moving_inputs(p, op);
  if (moving.empty() || !rest_stays(p, op, moving)) return false;
  for (size_t slot : moving)
    if (!has_rows(p, op.inputs[slot]) || tensor(p, op.inputs[slot]).dims.size() != tensor(p, op.outputs[0]).dims.size()) return false;
  const ProgramTensor& x = tensor(p, op.inputs[moving[0]]);
  const bool same_height = rows_of(x) == height(p, op.outputs[0]);
  switch (op.opcode) {
    case PITH_OPCODE_Conv2d: case PITH_OPCODE_Pool2d:
      return x.dims.size() == 4 && window_of(p, op).has_value();
    case PITH_OPCODE_Copy:
      return copies_rows(p, op).has_value();
    case PITH_OPCODE_Binary:
      return true;
    case PITH_OPCODE_Norm:  // over what lies within a row
      return same_height && (op.ints[0] <= 1 || op.ints[0] == 4 || op.ints[0] == 5) && op.ints[1] > static_cast<int32_t>(*row_axis(x.dims));
    case PITH_OPCODE_Softmax:
      return same_height && op.ints[1] > static_cast<int32_t>(*row_axis(x.dims));
    case PITH_OPCODE_MatMul:  // rows of a times all of b
      return same_height && op.ints[0] == 0;
    default:
      return same_height;
  }
}

}  // namespace pith
