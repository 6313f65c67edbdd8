// See overlap.h.
#include "compile/overlap.h"

#include <algorithm>

#include "program/schema.h"

namespace pith {

std::vector<std::vector<Touch>> touches_of(const Program& p) {
  std::vector<std::vector<Touch>> all(p.tensors.size());
  const auto touch = [&](int32_t id, size_t op) {
    if (id == kNone || is_constant(id)) return;
    const ProgramTensor& t = p.tensors[static_cast<size_t>(id)];
    const int64_t bytes = tensor_bytes(t);
    const int64_t begin = t.alias_of == kNone ? 0 : t.alias_offset;
    all[static_cast<size_t>(root_of(p, id))].push_back({static_cast<int64_t>(op), begin, begin + bytes});
  };
  for (size_t i = 0; i < p.ops.size(); ++i) {
    if (introduces(p.ops[i])) continue;
    for (int32_t id : p.ops[i].inputs) touch(id, i);
    for (int32_t id : p.ops[i].outputs) touch(id, i);
  }
  return all;
}

int64_t overlap_distance(const std::vector<Touch>& x, const std::vector<Touch>& y) {
  int64_t size = 0;
  for (const Touch& t : y) size = std::max(size, t.end);
  if (x.empty() || y.empty()) return size;
  // from the last operator to the first: the lowest byte of x that is needed from there on, against all of y until there
  std::vector<int64_t> high(y.size());
  for (size_t i = 0; i < y.size(); ++i) high[i] = std::max(i > 0 ? high[i - 1] : 0, y[i].end);
  int64_t distance = 0, low = INT64_MAX;
  size_t j = y.size();
  for (size_t i = x.size(); i-- > 0;) {
    low = std::min(low, x[i].begin);
    if (i > 0 && x[i - 1].op == x[i].op) continue;
    while (j > 0 && y[j - 1].op > x[i].op) --j;
    if (j == 0) break;
    distance = std::max(distance, high[j - 1] - low);
  }
  return std::min(distance, size);
}

bool introduces(const ProgramOp& op) {
  if (op.opcode != PITH_OPCODE_Copy || op.inputs[0] != op.outputs[0]) return false;
  return std::equal(op.ints.begin() + format::kCopySourceOffset, op.ints.begin() + format::kCopyTargetOffset, op.ints.begin() + format::kCopyTargetOffset);
}

}  // namespace pith
