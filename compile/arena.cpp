// Liveness packing: when each tensor and scratch region is in use, and where it lies in the arena.
//
// Element-wise operators write over an input that dies with them; so does the one that makes a state's next value out of the
// present one, where nobody reads that later: then nothing is to be copied after a run. The packing is plan_memory.h's: a fast heuristic
// first, the exact search when it is above the lower bound.
#include <algorithm>
#include <map>

#include "compile/compile.h"
#include "compile/overlap.h"
#include "compile/plan_memory.h"
#include "compile/post_place.h"
#include "program/check_memory.h"
#include "program/schema.h"

namespace pith {
namespace {

// Layer by layer in float32: the most elements alive at once, four bytes each.
int64_t float32_peak(const std::vector<StorageInterval>& all, const Program& p) {
  std::map<int64_t, int64_t> change;
  for (const StorageInterval& s : all) {
    if (s.tensor == kNone) continue;
    const ProgramTensor& t = p.tensors[static_cast<size_t>(s.tensor)];
    const int64_t bytes = tensor_bytes(t) * (t.dtype == PITH_U8 ? 4 : 1);
    change[s.first] += bytes;
    change[s.last + 1] -= bytes;
  }
  int64_t now = 0, peak = 0;
  for (const auto& [step, bytes] : change) {
    now += bytes;
    peak = std::max(peak, now);
  }
  return peak;
}

}  // namespace

std::vector<StorageInterval> storage_intervals(const Program& p) {
  const int64_t steps = static_cast<int64_t>(p.ops.size());
  std::vector<StorageInterval> by_tensor(p.tensors.size());
  for (size_t i = 0; i < p.tensors.size(); ++i) {
    const ProgramTensor& t = p.tensors[i];
    by_tensor[i] = {t.name, "activation", steps, -1, tensor_bytes(t), t.offset, static_cast<int32_t>(i), -1};
  }
  const auto touch = [&](int32_t id, int64_t step) {
    if (id == kNone || is_constant(id)) return;
    StorageInterval& s = by_tensor[static_cast<size_t>(root_of(p, id))];
    s.first = std::min(s.first, step);
    s.last = std::max(s.last, step);
  };
  const auto port = [&](int32_t id, int64_t step, const char* kind) {
    touch(id, step);
    by_tensor[static_cast<size_t>(root_of(p, id))].kind = kind;
  };
  for (int64_t i = 0; i < steps; ++i) {
    if (introduces(p.ops[static_cast<size_t>(i)])) continue;
    for (int32_t id : p.ops[static_cast<size_t>(i)].inputs) touch(id, i);
    for (int32_t id : p.ops[static_cast<size_t>(i)].outputs) touch(id, i);
  }
  const RowPorts by_rows = row_ports(p);
  for (size_t i = 0; i < p.inputs.size(); ++i)
    if (by_rows.inputs[i] == 0) port(p.inputs[i].tensor, 0, "input");
  for (size_t i = 0; i < p.outputs.size(); ++i)
    if (by_rows.outputs[i] == 0) port(p.outputs[i].tensor, std::max<int64_t>(steps - 1, 0), "output");
  for (const auto& [in, out] : p.state) {
    port(in, 0, "state");
    port(in, std::max<int64_t>(steps - 1, 0), "state");
    port(out, std::max<int64_t>(steps - 1, 0), "state");
  }
  std::vector<StorageInterval> all;
  for (size_t i = 0; i < by_tensor.size(); ++i) {
    if (p.tensors[i].alias_of == kNone && by_tensor[i].last >= 0) all.push_back(by_tensor[i]);
  }
  for (int64_t i = 0; i < steps; ++i) {
    const ProgramOp& op = p.ops[static_cast<size_t>(i)];
    const int64_t bytes = scratch_bytes(p, op);
    if (bytes > 0) all.push_back({std::string(format::kOpcodeNames[op.opcode]) + " scratch", "scratch", i, i, bytes, op.scratch_offset, kNone, static_cast<int32_t>(i)});
  }
  if (std::optional<StorageInterval> post = post_interval(p)) all.push_back(std::move(*post));
  return all;
}

namespace {

// What a run leaves for the next one.
bool is_state(const Program& p, const StorageInterval& s) {
  return s.tensor != kNone && std::any_of(p.state.begin(), p.state.end(), [&](const auto& pair) { return root_of(p, pair.first) == s.tensor; });
}

// Does `step` make of a state its next value, and nobody else reads what it was?
bool renews_state(const Program& p, size_t step, int32_t in, int32_t out) {
  const auto pairs = std::count_if(p.state.begin(), p.state.end(), [&](const auto& s) { return root_of(p, s.first) == in || root_of(p, s.second) == out; });
  const auto own = std::count(p.state.begin(), p.state.end(), std::pair{in, out});
  if (pairs != 1 || own != 1) return false;
  if (std::any_of(p.outputs.begin(), p.outputs.end(), [&](const ProgramPort& o) { return root_of(p, o.tensor) == in; })) return false;
  return std::all_of(p.ops.begin() + static_cast<ptrdiff_t>(step) + 1, p.ops.end(), [&](const ProgramOp& later) {
    return std::none_of(later.inputs.begin(), later.inputs.end(), [&](int32_t id) { return id != kNone && !is_constant(id) && root_of(p, id) == in; });
  });
}

// Which buffer each interval lies in, named by its first: chains of in-place results share one.
std::vector<size_t> shared_buffers(const Program& p, const std::vector<StorageInterval>& all) {
  std::vector<int> index_of(p.tensors.size(), -1);
  std::vector<size_t> buffer_of(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    buffer_of[i] = i;
    if (all[i].tensor != kNone) index_of[static_cast<size_t>(all[i].tensor)] = static_cast<int>(i);
  }
  for (size_t step = 0; step < p.ops.size(); ++step) {
    const ProgramOp& op = p.ops[step];
    if (!may_write_over(op.opcode) || op.outputs[0] == kNone) continue;
    const int out = index_of[static_cast<size_t>(root_of(p, op.outputs[0]))];
    if (out < 0 || all[static_cast<size_t>(out)].first != static_cast<int64_t>(step) || buffer_of[static_cast<size_t>(out)] != static_cast<size_t>(out)) continue;
    for (size_t i = op.opcode == PITH_OPCODE_Where ? 1 : 0; i < op.inputs.size(); ++i) {
      const int32_t id = op.inputs[i];
      if (id == kNone || is_constant(id)) continue;
      const int in = index_of[static_cast<size_t>(root_of(p, id))];
      if (in < 0 || in == out) continue;
      const StorageInterval &a = all[static_cast<size_t>(in)], &b = all[static_cast<size_t>(out)];
      const bool dies = a.last == static_cast<int64_t>(step) && a.kind != "state" && b.kind != "state" && a.kind != "output";
      if (a.bytes != b.bytes || (!dies && !renews_state(p, step, a.tensor, b.tensor))) continue;
      if (p.tensors[static_cast<size_t>(a.tensor)].dtype != p.tensors[static_cast<size_t>(b.tensor)].dtype) continue;
      buffer_of[static_cast<size_t>(out)] = buffer_of[static_cast<size_t>(in)];
      break;
    }
  }
  return buffer_of;
}

// Where several networks share the arena, state has fixed places in its first bytes and nothing else lies there.
void reserve_state(const Program& p, const std::vector<StorageInterval>& all, const CompileOptions& options, const std::vector<size_t>& buffer_of, const std::map<size_t, size_t>& place, PlanProblem& problem) {
  if (options.state_bytes == 0) return;
  const int64_t end = std::max<int64_t>(1, std::max_element(problem.buffers.begin(), problem.buffers.end(), [](const Buffer& a, const Buffer& b) { return a.upper < b.upper; })->upper);
  int64_t at = options.state_base;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!is_state(p, all[i])) continue;
    Buffer& b = problem.buffers[place.at(buffer_of[i])];
    b.fixed_offset = at;
    b.lower = 0;
    b.upper = end;
    at += b.size;
  }
  for (const auto& [from, to] : {std::pair{int64_t{0}, options.state_base}, {at, options.state_bytes}})
    if (from < to) problem.buffers.push_back({"other state", 0, end, to - from, 1, from});
}

// Pairs of buffers of one tensor each, both touched in parts, of which one grows into what is left of the other.
void allow_overlaps(const Program& p, const std::vector<StorageInterval>& all, const std::vector<size_t>& buffer_of, const std::map<size_t, size_t>& place, PlanProblem& problem) {
  int64_t largest = 0;
  std::map<size_t, int> members;
  for (size_t i = 0; i < all.size(); ++i) ++members[buffer_of[i]], largest = std::max(largest, all[i].bytes);
  const std::vector<std::vector<Touch>> touches = touches_of(p);
  std::vector<size_t> parted;
  for (size_t i = 0; i < all.size(); ++i) {
    const StorageInterval& s = all[i];
    if (s.tensor == kNone || s.kind == "state" || s.bytes < largest / 32 || members[buffer_of[i]] > 1) continue;
    const auto& t = touches[static_cast<size_t>(s.tensor)];
    if (std::any_of(t.begin(), t.end(), [](const Touch& part) { return part.begin > 0; })) parted.push_back(i);
  }
  for (size_t x : parted) {
    for (size_t y : parted) {
      const StorageInterval &a = all[x], &b = all[y];
      const bool touches_end = a.kind == "output" || (b.kind == "input" && b.first == 0);
      if (x == y || touches_end || b.first <= a.first || b.first > a.last) continue;
      const int64_t distance = (overlap_distance(touches[static_cast<size_t>(a.tensor)], touches[static_cast<size_t>(b.tensor)]) + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT;
      const size_t below = place.at(buffer_of[y]), above = place.at(buffer_of[x]);
      if (distance < problem.buffers[below].size) problem.overlaps.push_back({below, above, distance});
    }
  }
}

}  // namespace

int64_t state_bytes(const Program& p) {
  int64_t bytes = 0;
  for (const StorageInterval& s : storage_intervals(p))
    if (is_state(p, s)) bytes += (s.bytes + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT;
  return bytes;
}

Result<void> plan_arena(Program& p, const CompileOptions& options, MemoryReport* report) {
  std::vector<StorageInterval> all = storage_intervals(p);
  const std::vector<size_t> buffer_of = shared_buffers(p, all);
  PlanProblem problem;
  std::map<size_t, size_t> place;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto [entry, fresh] = place.try_emplace(buffer_of[i], problem.buffers.size());
    if (fresh) {
      problem.buffers.push_back({all[i].name, all[i].first, all[i].last + 1, (all[i].bytes + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT,
                                 PITH_ARENA_ALIGNMENT, std::nullopt});
    } else {
      Buffer& b = problem.buffers[entry->second];
      b.lower = std::min(b.lower, all[i].first);
      b.upper = std::max(b.upper, all[i].last + 1);
    }
  }
  if (const auto post = post_interval(p)) {  // it looks at the outputs
    for (size_t i = 0; i < all.size(); ++i) {
      Buffer& b = problem.buffers[place.at(buffer_of[i])];
      if (all[i].kind == "output" || all[i].kind == "state") b.upper = std::max(b.upper, post->last + 1);
    }
  }
  allow_overlaps(p, all, buffer_of, place, problem);
  reserve_state(p, all, options, buffer_of, place, problem);
  Plan plan;
  if (!problem.buffers.empty()) {
    ExactOptions exact;
    exact.max_steps = options.planner_steps;
    PITH_TRY(plan, plan_large_first(problem, exact));
    PITH_CHECK_OK(check_plan(problem, plan));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t offset = plan.offsets[place[buffer_of[i]]];
    if (all[i].tensor != kNone) p.tensors[static_cast<size_t>(all[i].tensor)].offset = offset;
    if (all[i].op >= 0) p.ops[static_cast<size_t>(all[i].op)].scratch_offset = offset;
    if (all[i].kind == "post") set_post_place(p, offset);
  }
  for (ProgramTensor& t : p.tensors) {
    if (t.alias_of != kNone) t.offset = p.tensors[static_cast<size_t>(t.alias_of)].offset + t.alias_offset;
  }
  p.arena_bytes = (plan.peak + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT;
  if (report) {
    report->arena = p.arena_bytes;
    report->lower_bound = plan.lower_bound;
    report->float32_peak = float32_peak(all, p);
    report->layers.clear();
    for (const ProgramOp& op : p.ops) {
      LayerReport layer;
      layer.opcode = format::kOpcodeNames[op.opcode];
      layer.macs = op_macs(p, op);
      layer.scratch = scratch_bytes(p, op);
      for (int32_t id : op.outputs) {
        if (id == kNone) continue;
        layer.name = p.tensors[static_cast<size_t>(id)].name;
        layer.output_dims = p.tensors[static_cast<size_t>(id)].dims;
        break;
      }
      report->layers.push_back(std::move(layer));
    }
  }
  return {};
}

}  // namespace pith
