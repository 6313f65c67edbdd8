// See stream.h. For each group: from the results backwards, how many rows of each tensor must exist after each band
// (`made`), the first row that each band makes (`start`), and which rows the next bands still read (`kept`); then the
// operators, band by band. Where borders are made again, `start` goes back to the first row that the band's readers need.
// With more bands than the result has rows, a row is made in some bands only, and what comes before it evenly in all of
// them: then the first bands make nothing but the rows that the first row of the result needs (`lead_`).
#include "compile/stream.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "compile/rows.h"
#include "compile/used_tensors.h"
#include "program/schema.h"

namespace pith {
namespace {

class Streamer {
 public:
  Streamer(const Program& source, const Users& users, bool row_ports, std::vector<size_t>* origin = nullptr)
      : p_(source), uses_(users.uses), writers_(users.writers), origin_(origin), row_ports_(row_ports) {}

  bool run(const std::vector<StreamGroup>& groups) {
    out_ = p_;
    out_.ops.clear();
    size_t at = 0;
    for (const StreamGroup& g : groups) {
      for (; at < g.first; ++at) emit(p_.ops[at], at);
      if (!group(g)) return false;
      at = g.last;
    }
    for (; at < p_.ops.size(); ++at) emit(p_.ops[at], at);
    return true;
  }

  Program result(std::vector<int32_t>* whole) {
    drop_unused(whole);
    return std::move(out_);
  }

  // One group, with only those tensors and constants filled in that it names.
  bool run_alone(const StreamGroup& g) {
    out_.inputs = p_.inputs;
    out_.outputs = p_.outputs;
    out_.tensors.resize(p_.tensors.size());
    out_.constants.resize(p_.constants.size());
    for (size_t i = g.first; i < g.last; ++i) {
      for (const auto* ids : {&p_.ops[i].inputs, &p_.ops[i].outputs}) {
        for (int32_t id : *ids) {
          if (id == kNone) continue;
          const size_t at = static_cast<size_t>(is_constant(id) ? id - kConstantBase : id);
          if (is_constant(id)) {
            out_.constants[at] = p_.constants[at];
          } else {
            out_.tensors[at] = p_.tensors[at];
            if (const int32_t root = p_.tensors[at].alias_of; root != kNone) out_.tensors[static_cast<size_t>(root)] = p_.tensors[static_cast<size_t>(root)];
          }
        }
      }
    }
    return group(g);
  }
  Program unfinished() { return std::move(out_); }

 private:
  struct Lines {          // a tensor that the group makes
    bool whole = false;   // used after the group: its rows go where they belong
    bool carries = false; // a line buffer that keeps rows from band to band
    bool again = false;   // no row is kept: what two bands read is made twice
    std::optional<size_t> source, sink;  // the input whose rows it takes from the caller, the output whose rows it hands over
    std::vector<int64_t> made, start, kept;  // by band, from 1 on: rows that exist after it; first row that it makes; first row in the buffer during it
    bool runs(size_t k) const { return start[k] < made[k]; }
    int32_t buffer = kNone;           // in out_; without carry one for each band
  };

  void emit(const ProgramOp& op, size_t from) {
    out_.ops.push_back(op);
    if (origin_) origin_->push_back(from);
  }

  // The output that a tensor is, when nothing but the caller reads it after the group.
  std::optional<size_t> sink_of(int32_t y, const StreamGroup& g) const {
    const auto& uses = uses_[static_cast<size_t>(y)];
    if (std::any_of(uses.begin(), uses.end() - 1, [&](size_t i) { return i >= g.last; })) return std::nullopt;
    for (size_t i = 0; i < p_.outputs.size(); ++i)
      if (p_.outputs[i].tensor == y) return i;
    return std::nullopt;
  }

  // Inputs that are read here only, row by row.
  void collect_sources(const StreamGroup& g) {
    for (size_t i = 0; i < p_.inputs.size(); ++i) {
      const int32_t x = p_.inputs[i].tensor;
      const auto& uses = uses_[static_cast<size_t>(x)];
      if (!row_ports_ || !is_picture(p_, x) || !writers_[static_cast<size_t>(x)].empty() || uses.empty() || uses.front() < g.first || uses.back() >= g.last) continue;
      bool moves = true;
      for (size_t use : uses) {
        size_t slots = 0;
        for (size_t slot : moving_inputs(p_, p_.ops[use])) slots += p_.ops[use].inputs[slot] == x;
        moves = moves && slots == static_cast<size_t>(std::count(p_.ops[use].inputs.begin(), p_.ops[use].inputs.end(), x)) && slots > 0;
      }
      if (!moves) continue;
      Lines& lines = lines_[x];
      lines.source = i;
      lines.carries = true;
      lines.made.assign(steps(g) + 1, 0);
      lines.made.back() = height(p_, x);
    }
  }

  bool collect(const StreamGroup& g) {
    for (size_t i = g.first; i < g.last; ++i) {
      const ProgramOp& op = p_.ops[i];
      if (!runs_by_rows(p_, op)) return false;
      const int32_t y = op.outputs[0];
      Lines& lines = lines_[y];
      lines.made.assign(steps(g) + 1, 0);
      const auto& writers = writers_[static_cast<size_t>(y)];
      const auto& uses = uses_[static_cast<size_t>(y)];
      if (writers.front() < g.first || writers.back() >= g.last || uses.empty() || uses.front() <= writers.back()) return false;
      lines.whole = uses.back() >= g.last;
      if (lines.whole && row_ports_ && is_picture(p_, y)) lines.sink = sink_of(y, g);
      if (lines.sink) lines.whole = false;
      if (!lines.whole && !lines.sink) continue;
      for (size_t k = static_cast<size_t>(lead_) + 1; k < lines.made.size(); ++k) {
        const int64_t rows = height(p_, y), bands = g.bands;
        lines.made[k] = (rows * (static_cast<int64_t>(k) - lead_) + bands - 1) / bands;
      }
    }
    collect_sources(g);
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

  size_t steps(const StreamGroup& g) const { return static_cast<size_t>(g.bands + lead_); }
  bool evenly(const StreamGroup& g) const { return g.bands > height(p_, p_.ops[g.last - 1].outputs[0]); }
  int64_t rows_a_band(int32_t id, const StreamGroup& g) const { return (height(p_, id) + g.bands - 1) / g.bands; }

  // Rows that are needed in one band may be made in those before it, so that none makes more than its share.
  void spread(int32_t id, Lines& lines, const StreamGroup& g) const {
    if (!evenly(g) || lines.whole || lines.sink || lines.again) return;
    for (size_t k = lines.made.size() - 1; k-- > 1;) lines.made[k] = std::max(lines.made[k], lines.made[k + 1] - rows_a_band(id, g));
  }

  // Rows made after each band, from the last operator to the first.
  void schedule(const StreamGroup& g) {
    for (size_t i = g.last; i-- > g.first;) {
      const ProgramOp& op = p_.ops[i];
      Lines& y = lines_.at(op.outputs[0]);
      if (writers_[static_cast<size_t>(op.outputs[0])].back() == i) spread(op.outputs[0], y, g);
      const int64_t together = grain(p_, op);
      for (int64_t& made : y.made) made = std::min((made + together - 1) / together * together, height(p_, op.outputs[0]));
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
    for (auto& [id, lines] : lines_)
      if (lines.source) spread(id, lines, g);
  }

  // Bands before the first row of the result.
  int64_t lead(const StreamGroup& g) const {
    int64_t bands = 0;
    for (const auto& [id, lines] : lines_)
      if (!lines.whole && !lines.again) bands = std::max(bands, (lines.made[1] - 1) / rows_a_band(id, g));
    return bands;
  }

  // Then the rows that each band makes and keeps.
  void keep(const StreamGroup& g) {
    for (size_t i = g.last; i-- > g.first;) {  // readers before what they read
      const int32_t y = p_.ops[i].outputs[0];
      if (writers_[static_cast<size_t>(y)].back() == i) keep_rows(y, lines_.at(y), g);
    }
    for (auto& [id, lines] : lines_)
      if (lines.source) keep_rows(id, lines, g);
  }

  // Which borders are made again.
  void choose_borders(const StreamGroup& g) {
    if (g.borders == Borders::kKept) return;
    for (auto& [id, lines] : lines_) {
      if (lines.whole || lines.source || lines.sink) continue;
      std::set<int32_t> read;
      bool by_points = true;
      for (size_t i : writers_[static_cast<size_t>(id)]) {
        const auto w = window_of(p_, p_.ops[i]);
        by_points = by_points && (!w || w->kernel == 1);
        for (size_t slot : moving_inputs(p_, p_.ops[i])) read.insert(p_.ops[i].inputs[slot]);
      }
      const auto& uses = uses_[static_cast<size_t>(id)];
      const bool seldom = std::all_of(uses.begin(), uses.end(), [&](size_t i) {  // read by windows that go on by two rows or more
        const auto w = i < g.last ? window_of(p_, p_.ops[i]) : std::nullopt;
        return w && w->stride > 1;
      });
      int64_t bytes = 0;  // of what all of the tensor is made from: they advance together
      for (int32_t x : read) bytes += tensor_bytes(tensor(p_, x));
      const bool wide = bytes < tensor_bytes(tensor(p_, id));
      lines.again = g.borders == Borders::kAllAgain || (wide && ((by_points && seldom) || g.borders == Borders::kWideAgain));
    }
  }

  // First rows that the bands make of a tensor, and that they find in its buffer; those of its readers are known.
  void keep_rows(int32_t id, Lines& lines, const StreamGroup& g) {
    const size_t bands = lines.made.size() - 1;
    std::vector<int64_t> read(bands + 2, INT64_MAX);  // first row that each band reads
    for (size_t k = 1; k <= bands; ++k) {
      for (size_t i : uses_[static_cast<size_t>(id)]) {
        if (i >= g.last) continue;
        const Lines& y = lines_.at(p_.ops[i].outputs[0]);
        if (y.runs(k)) read[k] = std::min(read[k], std::max<int64_t>(0, needed(p_, p_.ops[i], {y.start[k], y.start[k] + 1}).from));
      }
    }
    lines.start = lines.kept = lines.made;
    if (lines.again) {
      int64_t together = 1;
      for (size_t i : writers_[static_cast<size_t>(id)]) together = std::lcm(together, grain(p_, p_.ops[i]));
      for (size_t k = 1; k <= bands; ++k) lines.start[k] = lines.kept[k] = std::min(lines.made[k], read[k] / together * together);
      return;
    }
    for (size_t k = bands; k >= 1; --k) {
      read[k] = std::min(read[k], read[k + 1]);  // from then on
      lines.start[k] = lines.made[k - 1];
      lines.kept[k] = std::min(lines.start[k], read[k]);
      lines.carries = lines.carries || (!lines.whole && lines.kept[k] < lines.start[k]);
    }
    for (size_t k = 2; k <= bands; ++k)  // where nothing is added nothing is moved
      if (!lines.runs(k)) lines.kept[k] = lines.kept[k - 1];
  }

  int32_t new_tensor(const ProgramTensor& like, int64_t rows) {
    ProgramTensor t = like;
    t.dims[*row_axis(t.dims)] = static_cast<int32_t>(rows);
    t.alias_of = kNone;
    t.alias_offset = 0;
    out_.tensors.push_back(std::move(t));
    return static_cast<int32_t>(out_.tensors.size() - 1);
  }

  // Rows [from, to) of a tensor of out_; kNone where they don't begin at the arena's alignment.
  int32_t part(int32_t id, Rows rows) {
    const ProgramTensor whole = tensor(out_, id);
    if (rows.from == 0 && rows.to == rows_of(whole)) return id;
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

  static ProgramOp copy_within(int32_t id, int64_t elements, int64_t from) {
    ProgramOp op;
    op.opcode = PITH_OPCODE_Copy;
    op.inputs = {id};
    op.outputs = {id};
    op.ints.assign(21, 0);
    op.ints[format::kCopyRank] = 1;
    for (size_t i = 0; i < PITH_MAX_RANK; ++i) op.ints[format::kCopyExtents + i] = 1;
    op.ints[format::kCopyExtents] = static_cast<int32_t>(elements);
    op.ints[format::kCopySourceStrides] = op.ints[format::kCopyTargetStrides] = 1;
    op.ints[format::kCopySourceOffset] = static_cast<int32_t>(from);
    return op;
  }

  // A tensor that is written in parts must be known to the program before (overlap.h, `introduces`).
  void introduce(int32_t id, size_t from) { emit(copy_within(id, 1, 0), from); }

  void move_kept_rows(const Lines& lines, size_t k, size_t from) {
    const ProgramTensor& t = tensor(out_, lines.buffer);
    const int64_t rows = lines.made[k - 1] - lines.kept[k], skipped = lines.kept[k] - lines.kept[k - 1];
    if (rows <= 0 || skipped == 0) return;
    emit(copy_within(lines.buffer, rows * row_elements(t), skipped * row_elements(t)), from);
  }

  static int64_t most_rows(const Lines& lines) {
    int64_t most = 0;
    for (size_t b = 1; b < lines.made.size(); ++b) most = std::max(most, lines.made[b] - lines.kept[b]);
    return most;
  }

  // The rows of band k between a line buffer and the caller.
  bool exchange(Lines& lines, size_t k, size_t from) {
    const Rows rows{lines.made[k - 1], lines.made[k]};
    if (rows.from == rows.to) return true;
    if (lines.source && lines.buffer == kNone) {
      lines.buffer = new_tensor(tensor(p_, p_.inputs[*lines.source].tensor), most_rows(lines));
      out_.inputs[*lines.source].tensor = lines.buffer;
    } else if (lines.source) {
      move_kept_rows(lines, k, from);
    }
    const int64_t base = first_row(lines, k);
    const int32_t id = part(lines.buffer, {rows.from - base, rows.to - base});
    if (id == kNone) return false;
    if (lines.sink && rows.from == 0) out_.outputs[*lines.sink].tensor = lines.buffer;
    ProgramOp op;
    op.opcode = lines.source ? PITH_OPCODE_RowsIn : PITH_OPCODE_RowsOut;
    (lines.source ? op.outputs : op.inputs) = {id};
    op.ints = {static_cast<int32_t>(lines.source ? *lines.source : *lines.sink), static_cast<int32_t>(rows.from)};
    emit(op, from);
    return true;
  }

  // Memory for what operator i makes in band k, before its first writer of that band.
  void prepare(int32_t y, Lines& lines, size_t k, size_t i) {
    if (i != writers_[static_cast<size_t>(y)].front()) return;
    if (lines.whole) {
      if (!introduced_[y]) introduce(y, i);
      introduced_[y] = true;
      lines.buffer = y;
    } else if (!lines.carries) {
      lines.buffer = new_tensor(tensor(p_, y), lines.made[k] - lines.start[k]);
    } else if (lines.buffer == kNone) {
      lines.buffer = new_tensor(tensor(p_, y), most_rows(lines));
      introduce(lines.buffer, i);
    } else {
      move_kept_rows(lines, k, i);
    }
  }

  // Where row 0 of the tensor's buffer lies in the tensor, during band k.
  static int64_t first_row(const Lines& lines, size_t k) { return lines.whole ? 0 : lines.carries ? lines.kept[k] : lines.start[k]; }

  bool band(const ProgramOp& old, size_t i, size_t k) {
    const int32_t y = old.outputs[0];
    Lines& lines = lines_.at(y);
    const Rows rows{lines.start[k], lines.made[k]};
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
      op.ints[format::kCopyExtents] = static_cast<int32_t>(op.ints[format::kCopyExtents] * (rows.to - rows.from) / height(p_, y));
    emit(op, i);
    return !lines.sink || i != writers_[static_cast<size_t>(y)].back() || exchange(lines, k, i);
  }

  bool group(const StreamGroup& g) {
    if (g.bands < 2 || g.last <= g.first || g.last > p_.ops.size()) return false;
    lead_ = 0;
    for (bool again = true; again;) {
      lines_.clear();
      if (!collect(g)) return false;
      choose_borders(g);
      schedule(g);
      again = lead_ == 0 && evenly(g) && lead(g) > 0;
      if (again) lead_ = lead(g);
    }
    keep(g);
    for (size_t k = 1; k <= steps(g); ++k) {
      for (auto& [id, lines] : lines_) {
        if (lines.source && !exchange(lines, k, g.first)) return false;
      }
      for (size_t i = g.first; i < g.last; ++i) {
        if (!band(p_.ops[i], i, k)) return false;
      }
    }
    return true;
  }

  // Tensors that nothing names any more, and new numbers for the others.
  void drop_unused(std::vector<int32_t>* whole) {
    const std::vector<int32_t> number = keep_tensors(out_, used_tensors(out_));
    for (size_t i = 0; whole != nullptr && i < number.size(); ++i)
      if (number[i] != kNone) whole->push_back(i < p_.tensors.size() ? static_cast<int32_t>(i) : kNone);
  }

  const Program& p_;
  const std::vector<std::vector<size_t>>&uses_, &writers_;
  Program out_;
  std::vector<size_t>* origin_;
  bool row_ports_;
  int64_t lead_ = 0;  // bands of the group that is at work before its result begins
  std::map<int32_t, Lines> lines_;
  std::map<int32_t, bool> introduced_;
  std::map<std::tuple<int32_t, int64_t, int64_t>, int32_t> parts_;
};

}  // namespace

Users users_of(const Program& p) {
  Users all;
  all.uses.resize(p.tensors.size());
  all.writers.resize(p.tensors.size());
  const auto add = [&](std::vector<std::vector<size_t>>& to, int32_t id, size_t op) {
    if (id != kNone && !is_constant(id)) to[static_cast<size_t>(root_of(p, id))].push_back(op);
  };
  for (size_t i = 0; i < p.ops.size(); ++i) {
    for (int32_t id : p.ops[i].inputs) add(all.uses, id, i);
    for (int32_t id : p.ops[i].outputs) add(all.writers, id, i);
  }
  for (const ProgramPort& port : p.outputs) add(all.uses, port.tensor, p.ops.size());
  for (const auto& [in, feeds] : p.state) {
    add(all.uses, in, p.ops.size());
    add(all.uses, feeds, p.ops.size());
  }
  return all;
}

std::optional<Program> stream_rows(const Program& program, const std::vector<StreamGroup>& groups, bool row_ports, std::vector<size_t>* origin, std::vector<int32_t>* whole) {
  const Users users = users_of(program);
  Streamer streamer(program, users, row_ports, origin);
  if (!streamer.run(groups)) return std::nullopt;
  return streamer.result(whole);
}

std::optional<Program> stream_group(const Program& program, const Users& users, const StreamGroup& group, bool row_ports) {
  Streamer streamer(program, users, row_ports);
  if (!streamer.run_alone(group)) return std::nullopt;
  return streamer.unfinished();
}

}  // namespace pith
