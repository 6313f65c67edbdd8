// See check_memory.h.
#include "program/check_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>

#include "program/schema.h"

namespace pith {
namespace {

// Which bytes of the arena belong to which tensor; ranges that were never given to anybody belong to nobody.
class Ownership {
 public:
  static constexpr int32_t kNobody = -1;

  void give(int64_t begin, int64_t end, int32_t owner) {
    if (begin >= end) return;
    auto at = cut(begin);
    const auto last = cut(end);
    at = ranges_.erase(at, last);
    ranges_.emplace_hint(at, begin, Range{end, owner});
  }
  // Calls f(begin, end) for what of [begin, end) was given to anybody.
  template <typename F>
  void each(int64_t begin, int64_t end, const F& f) const {
    auto at = ranges_.upper_bound(begin);
    if (at != ranges_.begin() && std::prev(at)->second.end > begin) --at;
    for (; at != ranges_.end() && at->first < end; ++at) f(std::max(begin, at->first), std::min(end, at->second.end));
  }
  bool untouched(int64_t begin, int64_t end) const {
    bool none = true;
    each(begin, end, [&](int64_t, int64_t) { none = false; });
    return none;
  }
  // The first owner in [begin, end) that isn't `owner`.
  std::optional<int32_t> stranger(int64_t begin, int64_t end, int32_t owner) const {
    auto at = ranges_.upper_bound(begin);
    if (at != ranges_.begin() && std::prev(at)->second.end > begin) --at;
    for (; begin < end; ++at) {
      if (at == ranges_.end() || at->first > begin) return kNobody;
      if (at->second.owner != owner) return at->second.owner;
      begin = at->second.end;
    }
    return std::nullopt;
  }

 private:
  struct Range {
    int64_t end;
    int32_t owner;
  };
  // A range begins at `at`, or none covers it.
  std::map<int64_t, Range>::iterator cut(int64_t at) {
    auto next = ranges_.lower_bound(at);
    if (next == ranges_.begin()) return next;
    const auto before = std::prev(next);
    if (before->second.end <= at) return next;
    const Range rest{before->second.end, before->second.owner};
    before->second.end = at;
    return ranges_.emplace_hint(next, at, rest);
  }
  std::map<int64_t, Range> ranges_;  // by beginning
};

// Memory as it is used: every byte that an operator reads was last written for the tensor that it reads it from. A tensor
// need not own all of its bytes all the time: what nobody reads any more may be another's.
class MemoryCheck {
 public:
  explicit MemoryCheck(const Program& p) : p_(p), claimed_(p.tensors.size()) {}

  Result<void> run() {
    for (size_t t = 0; t < p_.tensors.size(); ++t) {
      const ProgramTensor& tensor = p_.tensors[t];
      if (tensor.offset < 0 || tensor.offset % PITH_ARENA_ALIGNMENT != 0 || tensor.offset + tensor_bytes(tensor) > p_.arena_bytes)
        return usage_error(fmt::format("tensor {} lies outside the arena of {} bytes; the file is damaged", t, p_.arena_bytes));
    }
    const RowPorts by_rows = row_ports(p_);
    std::vector<int32_t> before, after;
    for (size_t i = 0; i < p_.inputs.size(); ++i)
      if (by_rows.inputs[i] == 0) before.push_back(p_.inputs[i].tensor);
    for (size_t i = 0; i < p_.outputs.size(); ++i)
      if (by_rows.outputs[i] == 0) after.push_back(p_.outputs[i].tensor);
    for (const auto& [in, out] : p_.state) {
      before.push_back(in), after.push_back(out);
      if (span(in).begin != span(out).begin) after.push_back(in);  // else the next value stands where the present one did
    }
    const size_t steps = p_.ops.size();
    for (int32_t id : before) {
      const Span s = span(id);
      if (const auto other = owners_.stranger(s.begin, s.end, root(id)); other && !owners_.untouched(s.begin, s.end)) return overlap(id, *other, 0);
      give(id, s);
    }
    for (size_t i = 0; i < steps; ++i) PITH_CHECK_OK(step(i));
    for (int32_t id : after) {
      const Span s = span(id);
      if (const auto other = owners_.stranger(s.begin, s.end, root(id))) return overlap(id, *other, steps);
    }
    return post_processing(after);
  }

 private:
  struct Span {
    int64_t begin, end;
  };
  // The metadata entry `post`, "offset bytes": memory beside what is there after a run.
  Result<void> post_processing(const std::vector<int32_t>& after) const {
    const auto entry = p_.metadata.find("post");
    if (entry == p_.metadata.end()) return {};
    long long offset = -1, bytes = -1;
    char rest = 0;
    const bool read = std::sscanf(entry->second.c_str(), "%lld %lld%c", &offset, &bytes, &rest) == 2;
    if (!read || offset < 0 || bytes < 0 || offset % PITH_ARENA_ALIGNMENT != 0 || offset > p_.arena_bytes || bytes > p_.arena_bytes - offset)
      return usage_error(fmt::format("the memory for post-processing, '{}', isn't in the arena of {} bytes; the file is damaged", entry->second, p_.arena_bytes));
    for (int32_t id : after)
      if (meet(span(id), {offset, offset + bytes})) return usage_error(fmt::format("the memory for post-processing overlaps tensor {}; the file was planned wrongly", id));
    return {};
  }
  Span span(int32_t id) const {
    const ProgramTensor& t = p_.tensors[static_cast<size_t>(id)];
    return {t.offset, t.offset + tensor_bytes(t)};
  }
  int32_t root(int32_t id) const { return root_of(p_, id); }
  bool in_arena(int32_t id) const { return id != kNone && !is_constant(id); }
  // What an operand touches of its tensor: all of it, or what lies between the ends of a Copy's loops.
  Span span(const ProgramOp& op, int32_t id, bool output) const {
    Span s = span(id);
    if (op.opcode != PITH_OPCODE_Copy) return s;
    const int32_t* v = op.ints.data();
    const int32_t* loops = v + (output ? format::kCopyTargetOffset : format::kCopySourceOffset);
    int64_t low = loops[0], high = loops[0];
    for (int i = 0; i < v[format::kCopyRank]; ++i) {
      const int64_t reach = (v[format::kCopyExtents + i] - 1) * int64_t{loops[1 + i]};
      (reach < 0 ? low : high) += reach;
    }
    const int64_t element = p_.tensors[static_cast<size_t>(id)].dtype == PITH_U8 ? 1 : 4;
    return {s.begin + low * element, s.begin + (high + 1) * element};
  }
  void give(int32_t id, Span s) {
    owners_.give(s.begin, s.end, root(id));
    claimed_[static_cast<size_t>(root(id))].give(s.begin, s.end, root(id));
  }
  static bool meet(Span a, Span b) { return a.begin < b.end && b.begin < a.end; }

  Error overlap(int32_t id, int32_t other, size_t op) const {
    if (other == Ownership::kNobody) return usage_error(fmt::format("tensor {} is read at operator {} before all of it is written; the file is damaged or was planned wrongly", id, op));
    return usage_error(fmt::format("tensors {} and {} overlap in the arena while both live (operator {}); the file is damaged or was planned wrongly", other, root(id), op));
  }

  Error scratch_error(size_t op, const std::string& what) const {
    return usage_error(fmt::format("operator {} ({}): its scratch {}; the file is damaged or was written wrongly", op, format::kOpcodeNames[p_.ops[op].opcode], what));
  }

  // Element-wise operators may write over an input that has the same bytes.
  bool in_place(const ProgramOp& op, int32_t in, int32_t out) const {
    const ProgramTensor &a = p_.tensors[static_cast<size_t>(in)], &b = p_.tensors[static_cast<size_t>(out)];
    const bool kind = may_write_over(op.opcode) || (op.opcode == PITH_OPCODE_Convert && a.dtype == b.dtype) ||
                      (op.opcode == PITH_OPCODE_Copy && in == out);
    return kind && a.offset == b.offset && tensor_bytes(a) == tensor_bytes(b);
  }

  // Does it read all between the ends of what it touches?
  bool reads_all(const ProgramOp& op, Span s) const {
    if (op.opcode != PITH_OPCODE_Copy) return true;
    int64_t read = p_.tensors[static_cast<size_t>(op.inputs[0])].dtype == PITH_U8 ? 1 : 4;
    for (int i = 0; i < op.ints[format::kCopyRank]; ++i) {
      if (op.ints[static_cast<size_t>(format::kCopySourceStrides + i)] != 0) read *= op.ints[static_cast<size_t>(format::kCopyExtents + i)];
    }
    return read >= s.end - s.begin;
  }

  // Does it write all between the ends of what it touches?
  bool writes_all(const ProgramOp& op, Span s) const {
    if (op.opcode != PITH_OPCODE_Copy) return true;
    int64_t written = p_.tensors[static_cast<size_t>(op.outputs[0])].dtype == PITH_U8 ? 1 : 4;
    for (int i = 0; i < op.ints[format::kCopyRank]; ++i) written *= op.ints[static_cast<size_t>(format::kCopyExtents + i)];
    return written == s.end - s.begin;
  }

  Result<void> step(size_t i) {
    const ProgramOp& op = p_.ops[i];
    const bool touches_nothing = op.opcode == PITH_OPCODE_Copy && op.inputs[0] == op.outputs[0] && std::equal(op.ints.begin() + format::kCopySourceOffset, op.ints.begin() + format::kCopyTargetOffset, op.ints.begin() + format::kCopyTargetOffset);
    if (touches_nothing) return {};
    for (int32_t id : op.inputs) {
      if (!in_arena(id)) continue;
      const Span s = span(op, id, false);
      std::optional<int32_t> other;
      if (reads_all(op, s)) {
        other = owners_.stranger(s.begin, s.end, root(id));
      } else {  // a Copy with gaps: what was written between its ends must be there
        claimed_[static_cast<size_t>(root(id))].each(s.begin, s.end, [&](int64_t from, int64_t to) { other = other ? other : owners_.stranger(from, to, root(id)); });
        if (claimed_[static_cast<size_t>(root(id))].untouched(s.begin, s.end)) other = Ownership::kNobody;
      }
      if (other) return overlap(id, *other, i);
    }
    PITH_CHECK_OK(check_scratch(i));
    for (size_t o = 0; o < op.outputs.size(); ++o) {
      const int32_t out = op.outputs[o];
      if (!in_arena(out)) continue;
      for (int32_t in : op.inputs) {
        if (in_arena(in) && meet(span(in), span(out)) && !in_place(op, in, out)) return overlap(out, in, i);
      }
      for (size_t other = 0; other < o; ++other)
        if (in_arena(op.outputs[other]) && meet(span(op.outputs[other]), span(out))) return overlap(out, op.outputs[other], i);
      const Span s = span(op, out, true);
      std::optional<int32_t> lost;  // what was written before between the parts that are written now must still be there
      if (!writes_all(op, s)) claimed_[static_cast<size_t>(root(out))].each(s.begin, s.end, [&](int64_t from, int64_t to) { lost = lost ? lost : owners_.stranger(from, to, root(out)); });
      if (lost) return overlap(out, *lost, i);
      give(out, s);
    }
    return {};
  }

  Result<void> check_scratch(size_t i) {
    const ProgramOp& op = p_.ops[i];
    const int64_t bytes = scratch_bytes(p_, op);
    if (bytes == 0) return {};
    if (op.scratch_offset < 0 || op.scratch_offset % PITH_ARENA_ALIGNMENT != 0 || op.scratch_offset + bytes > p_.arena_bytes) return scratch_error(i, "lies outside the arena");
    for (const auto* ids : {&op.inputs, &op.outputs}) {
      for (int32_t id : *ids)
        if (in_arena(id) && meet(span(id), {op.scratch_offset, op.scratch_offset + bytes})) return scratch_error(i, fmt::format("overlaps tensor {}", id));
    }
    owners_.give(op.scratch_offset, op.scratch_offset + bytes, kScratch);
    return {};
  }

  static constexpr int32_t kScratch = -2;
  const Program& p_;
  Ownership owners_;
  std::vector<Ownership> claimed_;  // of each root: what was ever written for it
};

}  // namespace

bool may_write_over(int opcode) {
  return opcode == PITH_OPCODE_Unary || opcode == PITH_OPCODE_Binary || opcode == PITH_OPCODE_Where || opcode == PITH_OPCODE_RememberRows || opcode == PITH_OPCODE_RememberKeys;
}

Result<void> check_memory(const Program& program) { return MemoryCheck(program).run(); }

}  // namespace pith
