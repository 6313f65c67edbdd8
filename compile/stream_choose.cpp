// Which groups of layers run in bands, so that the plan fits into a given number of bytes.
//
// While some step holds too much, the ranges of operators around it are tried as groups, with more and more bands; the
// range that fits with the fewest additional operators is taken, or else the one that lowers the peak most. What a
// range can reach is bounded by the whole tensors that cross its ends, which prunes most ranges. Bytes alive at a step
// are a bound from below for the arena; where the packing needs more, the search is repeated for less.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "compile/stream.h"

namespace pith {
namespace {

constexpr size_t kReach = 40;  // operators before and after the peak that a group may span
constexpr std::array<int32_t, 12> kBands = {2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 80, 112};
constexpr int kAttempts = 6;  // to make up for what the packing loses

// Bytes alive during each operator.
std::vector<int64_t> step_bytes(const Program& p) {
  std::vector<int64_t> change(p.ops.size() + 1, 0);
  for (const StorageInterval& s : storage_intervals(p)) {
    const int64_t bytes = (s.bytes + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT;
    change[static_cast<size_t>(s.first)] += bytes;
    change[static_cast<size_t>(s.last) + 1] -= bytes;
  }
  change.pop_back();
  for (size_t i = 1; i < change.size(); ++i) change[i] += change[i - 1];
  return change;
}

// Bytes that are alive both before and after the boundary in front of each operator.
std::vector<int64_t> crossing_bytes(const Program& p) {
  std::vector<int64_t> change(p.ops.size() + 2, 0);
  for (const StorageInterval& s : storage_intervals(p)) {
    if (s.kind == "scratch") continue;
    const int64_t from = s.kind == "input" || s.kind == "state" ? 0 : s.first + 1;
    change[static_cast<size_t>(from)] += s.bytes;
    change[static_cast<size_t>(std::max(s.last, from - 1)) + 1] -= s.bytes;
  }
  for (size_t i = 1; i < change.size(); ++i) change[i] += change[i - 1];
  return change;
}

struct Choice {
  StreamGroup group;
  int64_t peak = INT64_MAX;  // of its steps
  size_t ops = SIZE_MAX;
};

struct TooLarge {
  size_t op = 0;  // of the source
  int64_t bytes = 0;
};

class Chooser {
 public:
  explicit Chooser(const Program& source) : skeleton_(source) {
    for (ProgramConstant& k : skeleton_.constants) {  // only dimensions matter here
      k.integers.clear();
      k.reals.clear();
    }
    crossing_ = crossing_bytes(skeleton_);
    for (const ProgramOp& op : skeleton_.ops) by_rows_.push_back(runs_by_rows(skeleton_, op));
  }

  // Groups under which no step holds more than `target` bytes; else where it failed and the bytes that were reached.
  std::optional<TooLarge> choose(int64_t target, std::vector<StreamGroup>& groups) {
    groups.clear();
    for (;;) {
      std::vector<size_t> origin;
      const std::optional<Program> now = stream_rows(skeleton_, groups, &origin);
      if (!now) return TooLarge{};
      const std::vector<int64_t> bytes = step_bytes(*now);
      const size_t worst = static_cast<size_t>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
      if (bytes.empty() || bytes[worst] <= target) return std::nullopt;
      const TooLarge at{origin[worst], bytes[worst]};
      std::vector<StreamGroup> others = groups;
      std::erase_if(others, [&](const StreamGroup& g) { return g.first <= at.op && at.op < g.last; });
      const Choice best = best_group(at.op, target, others);
      if (best.peak >= at.bytes) return at;
      others.push_back(best.group);
      std::sort(others.begin(), others.end(), [](const StreamGroup& a, const StreamGroup& b) { return a.first < b.first; });
      groups = std::move(others);
    }
  }

 private:
  Choice best_group(size_t op, int64_t target, const std::vector<StreamGroup>& others) {
    const auto free = [&](size_t i) {
      return by_rows_[i] && std::none_of(others.begin(), others.end(), [&](const StreamGroup& g) { return g.first <= i && i < g.last; });
    };
    Choice best;
    if (!free(op)) return best;
    size_t low = op, high = op + 1;
    while (low > 0 && op - low < kReach && free(low - 1)) --low;
    while (high < by_rows_.size() && high - op <= kReach && free(high)) ++high;
    for (size_t first = low; first <= op; ++first) {
      for (size_t last = op + 1; last <= high; ++last) {
        const int64_t bound = std::max(crossing_[first], crossing_[last]);
        if (last - first < 2 || bound > target || (best.peak > target && bound >= best.peak)) continue;
        try_bands(first, last, target, best);
      }
    }
    return best;
  }

  void try_bands(size_t first, size_t last, int64_t target, Choice& best) {
    const int32_t id = skeleton_.ops[last - 1].outputs[0];
    const int32_t rows = skeleton_.tensors[static_cast<size_t>(id)].dims[1];
    for (size_t b = 0; b < kBands.size() && kBands[b] <= rows; ++b) {
      const StreamGroup group{first, last, kBands[b]};
      if (best.peak <= target && static_cast<size_t>(kBands[b]) * (last - first) >= 2 * best.ops) return;
      std::vector<size_t> origin;
      const std::optional<Program> p = stream_rows(skeleton_, {group}, &origin);
      if (!p) return;
      const std::vector<int64_t> bytes = step_bytes(*p);
      Choice choice{group, 0, p->ops.size() - skeleton_.ops.size()};
      for (size_t i = 0; i < bytes.size(); ++i)
        if (first <= origin[i] && origin[i] < last) choice.peak = std::max(choice.peak, bytes[i]);
      const bool fits = choice.peak <= target, best_fits = best.peak <= target;
      const bool better = fits != best_fits ? fits : fits ? choice.ops < best.ops : choice.peak < best.peak;
      if (better) best = choice;
      if (fits) return;
    }
  }

  Program skeleton_;
  std::vector<int64_t> crossing_;
  std::vector<char> by_rows_;
};

Error refusal(const Program& source, const TooLarge& at, int64_t ram, int64_t least) {
  const ProgramOp& op = source.ops[at.op];
  std::string name;
  for (int32_t id : op.outputs)
    if (id != kNone && name.empty()) name = source.tensors[static_cast<size_t>(id)].name;
  return error(ErrorCode::kDoesNotFit, fmt::format("the network needs {} bytes, {} more than --ram {}: layer {} '{}' can't do with less; give --ram {} or a smaller input",
                                                   least, least - ram, ram, at.op, name, least));
}

}  // namespace

Result<void> fit_ram(Program& program, const CompileOptions& options, MemoryReport* report) {
  const Program source = program;
  MemoryReport whole;
  PITH_CHECK_OK(plan_arena(program, options, &whole));
  if (report) *report = whole;
  if (program.arena_bytes <= options.ram) return {};
  int64_t target = options.ram, least = program.arena_bytes;
  TooLarge at;
  Chooser chooser(source);
  for (int attempt = 0; attempt < kAttempts && target > 0; ++attempt) {
    std::vector<StreamGroup> groups;
    const std::optional<TooLarge> failed = chooser.choose(target, groups);
    std::optional<Program> streamed = stream_rows(source, groups);
    if (!streamed) return internal_error("a chosen group of layers can't run in bands");
    MemoryReport now;
    PITH_CHECK_OK(plan_arena(*streamed, options, &now));
    if (streamed->arena_bytes <= options.ram) {
      program = std::move(*streamed);
      now.groups = groups;
      now.float32_peak = whole.float32_peak;  // of whole tensors
      if (report) *report = std::move(now);
      return {};
    }
    least = std::min(least, streamed->arena_bytes);
    if (failed) {
      at = *failed;
      break;
    }
    target -= std::max<int64_t>(streamed->arena_bytes - target, options.ram / 100);
  }
  return refusal(source, at, options.ram, least);
}

}  // namespace pith
