// See stream.h. For each group: from the results backwards, how many rows of each tensor must exist after each band
// (`made`), and which rows the next bands still read (`kept`); then the operators, band by band.
#include "compile/stream.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "program/schema.h"

namespace pith {
namespace {

constexpr int64_t kNever = INT64_MAX;

struct Rows {
  int64_t from = 0, to = 0;
};

const ProgramTensor& tensor(const Program& p, int32_t id) { return p.tensors[static_cast<size_t>(id)]; }
bool is_picture(const Program& p, int32_t id) {
  return id != kNone && !is_constant(id) && tensor(p, id).alias_of == kNone && tensor(p, id).dims.size() == 4 && tensor(p, id).dims[0] == 1;
}
int64_t height(const Program& p, int32_t id) { return tensor(p, id).dims[1]; }
int64_t row_elements(const ProgramTensor& t) { return int64_t{t.dims[2]} * t.dims[3]; }
int64_t row_bytes(const ProgramTensor& t) { return row_elements(t) * (t.dtype == PITH_U8 ? 1 : 4); }
int32_t root_of(const Program& p, int32_t id) { return tensor(p, id).alias_of == kNone ? id : tensor(p, id).alias_of; }

// Where a window operator has its vertical parameters: kernel, stride, dilation, and the indices of its pads.
struct Window {
  int64_t kernel = 1, stride = 1, dilation = 1, pad_top = 0;
  size_t top = 0, bottom = 0;
};
std::optional<Window> window_of(const Program& p, const ProgramOp& op) {
  const auto& v = op.ints;
  if (op.opcode == PITH_OPCODE_Conv2d && is_constant(op.inputs[1]))
    return Window{p.constants[static_cast<size_t>(op.inputs[1] - kConstantBase)].dims[1], v[0], v[2], v[4], 4, 6};
  if (op.opcode == PITH_OPCODE_Pool2d) return Window{v[1], v[3], v[5], v[7], 7, 9};
  return std::nullopt;
}

// Rows of an input, before it ends above or below, that output rows [from, to) need.
Rows needed(const Program& p, const ProgramOp& op, Rows out) {
  const auto w = window_of(p, op);
  if (!w) return out;
  return {out.from * w->stride - w->pad_top, (out.to - 1) * w->stride - w->pad_top + (w->kernel - 1) * w->dilation + 1};
}

// A copy whose outermost loop walks down the rows of both pictures.
bool copies_rows(const Program& p, const ProgramOp& op) {
  const ProgramTensor &x = tensor(p, op.inputs[0]), &y = tensor(p, op.outputs[0]);
  const auto& v = op.ints;
  const int64_t extent = v[format::kCopyExtents], rows = y.dims[1];
  if (v[format::kCopyRank] < 1 || op.inputs[0] == op.outputs[0] || x.dims[1] != rows || extent % rows != 0) return false;
  int64_t low[2] = {}, high[2] = {};
  for (int side = 0; side < 2; ++side) {
    const size_t strides = side == 0 ? format::kCopySourceStrides : format::kCopyTargetStrides;
    const int64_t row = row_elements(side == 0 ? x : y);
    if (extent / rows * v[strides] != row) return false;
    low[side] = high[side] = v[side == 0 ? format::kCopySourceOffset : format::kCopyTargetOffset];
    for (int i = 0; i < v[format::kCopyRank]; ++i) {
      const int64_t steps = i == 0 ? extent / rows : v[format::kCopyExtents + static_cast<size_t>(i)];
      const int64_t reach = (steps - 1) * v[strides + static_cast<size_t>(i)];
      (reach < 0 ? low[side] : high[side]) += reach;
    }
    if (low[side] < 0 || high[side] >= row) return false;
  }
  return true;
}

// Input slots that advance with the output's rows; the others are constants and tensors of one row.
std::vector<size_t> moving_inputs(const Program& p, const ProgramOp& op) {
  if (op.opcode != PITH_OPCODE_Binary) return {0};
  std::vector<size_t> slots;
  for (size_t i = 0; i < 2; ++i) {
    if (is_picture(p, op.inputs[i]) && height(p, op.inputs[i]) == height(p, op.outputs[0])) slots.push_back(i);
  }
  return slots;
}

class Streamer {
 public:
  Streamer(const Program& source, std::vector<size_t>* origin) : p_(source), out_(source), origin_(origin) {
    out_.ops.clear();
    uses_.assign(p_.tensors.size(), {});
    writers_.assign(p_.tensors.size(), {});
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      for (int32_t id : p_.ops[i].inputs)
        if (id != kNone && !is_constant(id)) uses_[static_cast<size_t>(root_of(p_, id))].push_back(i);
      for (int32_t id : p_.ops[i].outputs)
        if (id != kNone) writers_[static_cast<size_t>(root_of(p_, id))].push_back(i);
    }
    for (const ProgramPort& port : p_.outputs) uses_[static_cast<size_t>(root_of(p_, port.tensor))].push_back(p_.ops.size());
    for (const auto& [in, feeds] : p_.state) {
      uses_[static_cast<size_t>(root_of(p_, in))].push_back(p_.ops.size());
      uses_[static_cast<size_t>(root_of(p_, feeds))].push_back(p_.ops.size());
    }
  }

  bool run(const std::vector<StreamGroup>& groups) {
    size_t at = 0;
    for (const StreamGroup& g : groups) {
      for (; at < g.first; ++at) emit(p_.ops[at], at);
      if (!group(g)) return false;
      at = g.last;
    }
    for (; at < p_.ops.size(); ++at) emit(p_.ops[at], at);
    return true;
  }

  Program result() {
    drop_unused();
    return std::move(out_);
  }

 private:
  struct Lines {          // a tensor that the group makes
    bool whole = false;   // used after the group: its rows go where they belong
    bool carries = false; // a line buffer that keeps rows from band to band
    std::vector<int64_t> made, kept;  // by band, from 1 on: rows that exist after it; first row in the buffer during it
    int32_t buffer = kNone;           // in out_; without carry one for each band
  };

  void emit(const ProgramOp& op, size_t from) {
    out_.ops.push_back(op);
    if (origin_) origin_->push_back(from);
  }

  bool collect(const StreamGroup& g) {
    for (size_t i = g.first; i < g.last; ++i) {
      const ProgramOp& op = p_.ops[i];
      if (!runs_by_rows(p_, op)) return false;
      const int32_t y = op.outputs[0];
      Lines& lines = lines_[y];
      lines.made.assign(static_cast<size_t>(g.bands) + 1, 0);
      const auto& writers = writers_[static_cast<size_t>(y)];
      const auto& uses = uses_[static_cast<size_t>(y)];
      if (writers.front() < g.first || writers.back() >= g.last || uses.empty() || uses.front() <= writers.back()) return false;
      lines.whole = uses.back() >= g.last;
      if (!lines.whole) continue;
      for (size_t k = 1; k < lines.made.size(); ++k) {
        const int64_t rows = height(p_, y), bands = g.bands;
        lines.made[k] = (rows * static_cast<int64_t>(k) + bands - 1) / bands;
      }
    }
    for (const auto& [id, lines] : lines_) {  // what is broadcast over rows must exist before
      for (size_t i : uses_[static_cast<size_t>(id)]) {
        if (i >= g.last) continue;
        bool moves = false;
        for (size_t slot : moving_inputs(p_, p_.ops[i])) moves = moves || p_.ops[i].inputs[slot] == id;
        if (!moves) return false;
      }
    }
    return true;
  }

  // Rows made after each band, from the last operator to the first; then the rows that must be kept.
  void schedule(const StreamGroup& g) {
    for (size_t i = g.last; i-- > g.first;) {
      const ProgramOp& op = p_.ops[i];
      const Lines& y = lines_.at(op.outputs[0]);
      for (size_t slot : moving_inputs(p_, op)) {
        const auto x = lines_.find(op.inputs[slot]);
        if (x == lines_.end()) continue;
        for (size_t k = 1; k < y.made.size(); ++k) {
          if (y.made[k] == 0) continue;
          const int64_t to = std::min(needed(p_, op, {0, y.made[k]}).to, height(p_, op.inputs[slot]));
          x->second.made[k] = std::max(x->second.made[k], to);
        }
      }
    }
    for (auto& [id, lines] : lines_) {
      lines.kept.assign(lines.made.size(), 0);
      for (size_t k = 1; k < lines.made.size(); ++k) {
        int64_t first = lines.made[k - 1];
        for (size_t i : uses_[static_cast<size_t>(id)]) {
          if (i >= g.last) continue;
          const Lines& y = lines_.at(p_.ops[i].outputs[0]);
          if (y.made[k - 1] == y.made.back()) continue;
          first = std::min(first, std::max<int64_t>(0, needed(p_, p_.ops[i], {y.made[k - 1], y.made[k - 1] + 1}).from));
        }
        lines.carries = lines.carries || (!lines.whole && first < lines.made[k - 1]);
        // where nothing is added nothing is moved
        lines.kept[k] = k > 1 && lines.made[k] == lines.made[k - 1] ? lines.kept[k - 1] : first;
      }
    }
  }

  int32_t new_tensor(const ProgramTensor& like, int64_t rows) {
    ProgramTensor t = like;
    t.dims[1] = static_cast<int32_t>(rows);
    t.alias_of = kNone;
    t.alias_offset = 0;
    out_.tensors.push_back(std::move(t));
    return static_cast<int32_t>(out_.tensors.size() - 1);
  }

  // Rows [from, to) of a tensor of out_; kNone where they don't begin at the arena's alignment.
  int32_t part(int32_t id, Rows rows) {
    const ProgramTensor whole = tensor(out_, id);
    if (rows.from == 0 && rows.to == whole.dims[1]) return id;
    const int64_t offset = rows.from * row_bytes(whole);
    if (offset % PITH_ARENA_ALIGNMENT != 0) return kNone;
    const auto [entry, fresh] = parts_.try_emplace({id, rows.from, rows.to}, static_cast<int32_t>(out_.tensors.size()));
    if (fresh) {
      const int32_t t = new_tensor(whole, rows.to - rows.from);
      out_.tensors[static_cast<size_t>(t)].alias_of = id;
      out_.tensors[static_cast<size_t>(t)].alias_offset = offset;
    }
    return entry->second;
  }

  // All of a tensor that is written in parts becomes known to the program by being cleared.
  void clear(int32_t id, size_t from) {
    ProgramOp op;
    op.opcode = PITH_OPCODE_Fill;
    op.outputs = {id};
    op.reals = {0.0f};
    emit(op, from);
  }

  void move_kept_rows(const Lines& lines, size_t k, size_t from) {
    const ProgramTensor& t = tensor(out_, lines.buffer);
    const int64_t rows = lines.made[k - 1] - lines.kept[k], skipped = lines.kept[k] - lines.kept[k - 1];
    if (rows <= 0 || skipped == 0) return;
    ProgramOp op;
    op.opcode = PITH_OPCODE_Copy;
    op.inputs = {lines.buffer};
    op.outputs = {lines.buffer};
    op.ints.assign(21, 0);
    op.ints[format::kCopyRank] = 1;
    for (size_t i = 0; i < PITH_MAX_RANK; ++i) op.ints[format::kCopyExtents + i] = 1;
    op.ints[format::kCopyExtents] = static_cast<int32_t>(rows * row_elements(t));
    op.ints[format::kCopySourceStrides] = op.ints[format::kCopyTargetStrides] = 1;
    op.ints[format::kCopySourceOffset] = static_cast<int32_t>(skipped * row_elements(t));
    emit(op, from);
  }

  // Memory for what operator i makes in band k, before its first writer of that band.
  void prepare(int32_t y, Lines& lines, size_t k, size_t i) {
    if (i != writers_[static_cast<size_t>(y)].front()) return;
    if (lines.whole) {
      if (!cleared_[y]) clear(y, i);
      cleared_[y] = true;
      lines.buffer = y;
    } else if (!lines.carries) {
      lines.buffer = new_tensor(tensor(p_, y), lines.made[k] - lines.made[k - 1]);
      if (writers_[static_cast<size_t>(y)].size() > 1) clear(lines.buffer, i);
    } else if (lines.buffer == kNone) {
      int64_t most = 0;
      for (size_t b = 1; b < lines.made.size(); ++b) most = std::max(most, lines.made[b] - lines.kept[b]);
      lines.buffer = new_tensor(tensor(p_, y), most);
      clear(lines.buffer, i);
    } else {
      move_kept_rows(lines, k, i);
    }
  }

  // Where row 0 of the tensor's buffer lies in the tensor, during band k.
  static int64_t first_row(const Lines& lines, size_t k) { return lines.whole ? 0 : lines.carries ? lines.kept[k] : lines.made[k - 1]; }

  bool band(const ProgramOp& old, size_t i, size_t k) {
    const int32_t y = old.outputs[0];
    Lines& lines = lines_.at(y);
    const Rows rows{lines.made[k - 1], lines.made[k]};
    if (rows.from == rows.to) return true;
    prepare(y, lines, k, i);
    ProgramOp op = old;
    const int64_t base = first_row(lines, k);
    op.outputs[0] = part(lines.buffer, {rows.from - base, rows.to - base});
    if (op.outputs[0] == kNone) return false;
    const Rows wanted = needed(p_, old, rows);
    for (size_t slot : moving_inputs(p_, old)) {
      const int32_t x = old.inputs[slot];
      const Rows inside{std::max<int64_t>(0, wanted.from), std::min(wanted.to, height(p_, x))};
      if (inside.from >= inside.to) return false;  // a window that sees nothing but padding
      const auto made = lines_.find(x);
      const int64_t first = made == lines_.end() ? 0 : first_row(made->second, k);
      op.inputs[slot] = part(made == lines_.end() ? x : made->second.buffer, {inside.from - first, inside.to - first});
      if (op.inputs[slot] == kNone) return false;
      if (const auto w = window_of(p_, old)) {
        op.ints[w->top] = static_cast<int32_t>(inside.from - wanted.from);
        op.ints[w->bottom] = static_cast<int32_t>(wanted.to - inside.to);
      }
    }
    if (op.opcode == PITH_OPCODE_Copy)
      op.ints[format::kCopyExtents] = static_cast<int32_t>(op.ints[format::kCopyExtents] / height(p_, y) * (rows.to - rows.from));
    emit(op, i);
    return true;
  }

  bool group(const StreamGroup& g) {
    lines_.clear();
    if (g.bands < 2 || g.last <= g.first || g.last > p_.ops.size() || !collect(g)) return false;
    schedule(g);
    for (size_t k = 1; k <= static_cast<size_t>(g.bands); ++k) {
      for (size_t i = g.first; i < g.last; ++i) {
        if (!band(p_.ops[i], i, k)) return false;
      }
    }
    return true;
  }

  // Tensors that nothing names any more, and new numbers for the others.
  void drop_unused() {
    std::vector<char> used(out_.tensors.size(), 0);
    const auto use = [&](int32_t id) {
      if (id == kNone || is_constant(id)) return;
      used[static_cast<size_t>(id)] = used[static_cast<size_t>(root_of(out_, id))] = 1;
    };
    const auto each = [&](const auto& f) {
      for (ProgramPort& port : out_.inputs) f(port.tensor);
      for (ProgramPort& port : out_.outputs) f(port.tensor);
      for (auto& [in, feeds] : out_.state) f(in), f(feeds);
      for (ProgramOp& op : out_.ops) {
        for (int32_t& id : op.inputs) f(id);
        for (int32_t& id : op.outputs) f(id);
      }
    };
    each(use);
    std::vector<int32_t> number(out_.tensors.size(), kNone);
    std::vector<ProgramTensor> kept;
    for (size_t i = 0; i < out_.tensors.size(); ++i) {
      if (!used[i]) continue;
      number[i] = static_cast<int32_t>(kept.size());
      kept.push_back(std::move(out_.tensors[i]));
    }
    for (ProgramTensor& t : kept)
      if (t.alias_of != kNone) t.alias_of = number[static_cast<size_t>(t.alias_of)];
    each([&](int32_t& id) {
      if (id != kNone && !is_constant(id)) id = number[static_cast<size_t>(id)];
    });
    out_.tensors = std::move(kept);
  }

  const Program& p_;
  Program out_;
  std::vector<size_t>* origin_;
  std::vector<std::vector<size_t>> uses_, writers_;  // of each root, operators in order; the end of the program: ops.size()
  std::map<int32_t, Lines> lines_;
  std::map<int32_t, bool> cleared_;
  std::map<std::tuple<int32_t, int64_t, int64_t>, int32_t> parts_;
};

}  // namespace

bool runs_by_rows(const Program& p, const ProgramOp& op) {
  switch (op.opcode) {
    case PITH_OPCODE_Conv2d: case PITH_OPCODE_Pool2d: case PITH_OPCODE_Unary: case PITH_OPCODE_Convert: case PITH_OPCODE_Binary: case PITH_OPCODE_Copy:
      break;
    default:
      return false;
  }
  if (!is_picture(p, op.outputs[0])) return false;
  const std::vector<size_t> moving = moving_inputs(p, op);
  if (moving.empty()) return false;
  for (size_t slot : moving)
    if (!is_picture(p, op.inputs[slot])) return false;
  switch (op.opcode) {
    case PITH_OPCODE_Conv2d: case PITH_OPCODE_Pool2d:
      return window_of(p, op).has_value();
    case PITH_OPCODE_Copy:
      return copies_rows(p, op);
    case PITH_OPCODE_Binary:
      for (size_t i = 0; i < 2; ++i) {  // the other operand is one row for all
        const int32_t id = op.inputs[i];
        const auto& dims = is_constant(id) ? p.constants[static_cast<size_t>(id - kConstantBase)].dims : tensor(p, id).dims;
        const bool moves = std::find(moving.begin(), moving.end(), i) != moving.end();
        if (!moves && (dims.size() != 4 || dims[1] != 1)) return false;
      }
      return true;
    default:
      return height(p, op.inputs[0]) == height(p, op.outputs[0]);
  }
}

std::optional<Program> stream_rows(const Program& program, const std::vector<StreamGroup>& groups, std::vector<size_t>* origin) {
  Streamer streamer(program, origin);
  if (!streamer.run(groups)) return std::nullopt;
  return streamer.result();
}

}  // namespace pith
