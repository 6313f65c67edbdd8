// Which groups of layers run in bands, so that the plan fits into a given number of bytes.
//
// Bytes alive during a group depend on the group alone: what crosses its ends is whole either way. So the cheapest choice
// is a shortest path through the operators: a step is one operator as it is, or a group, in the fewest bands under
// which none of its operators holds more than the target; the length of the way is the operators that bands add, and the
// multiplications of borders that are made again, as dear as it takes to stay within what is allowed. What a
// group can reach is bounded by the whole tensors that cross its ends, which rules most groups out. Bytes alive are a
// bound from below for the arena; where the packing needs more, the search is repeated for less. Where nothing fits, the
// least target that can be met is found by bisection, and then all operators that can do with still less are made to, step
// by step: the fuller the arena is at one moment, the more the packing needs room at the others.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "compile/heads.h"
#include "compile/moves.h"
#include "compile/order.h"
#include "compile/overlap.h"
#include "compile/refusal.h"
#include "compile/rows.h"
#include "compile/stream.h"

namespace pith {
namespace {

constexpr size_t kLongest = 48;  // operators of a group
constexpr std::array<int32_t, 16> kBands = {2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 56, 80, 112};
constexpr size_t kMostOperators = 2900;  // what the runtime loads in the stack that it allows itself
constexpr std::array<int, 2> kReliefFrom = {112, 100};  // percent of the least that can be alive at once: bands that are only just possible cost many operators
constexpr int kLeastRelief = 60;  // percent of that
constexpr int kPatience = 4;
constexpr int kRoughly = 16;  // part of the planner's steps that a first look takes
constexpr std::array<double, 4> kPrices = {1, 8, 64, 1e6};  // operators that a thousandth of the network's multiplications is worth
constexpr int kAttempts = 6;  // to make up for what the packing loses

int64_t aligned(int64_t bytes) { return (bytes + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT; }

struct Life {
  int64_t first = INT64_MAX, last = -1, bytes = 0;  // operators
};

// Bytes alive during each operator of a program, given the lives of its tensors (aliases have none).
std::vector<int64_t> step_bytes(const Program& p, const std::vector<Life>& lives) {
  const auto root = [&](int32_t id) { return static_cast<size_t>(root_of(p, id)); };
  std::vector<int64_t> bytes(p.ops.size() + 1, 0);
  for (const Life& life : lives) {
    if (life.last < life.first) continue;
    bytes[static_cast<size_t>(life.first)] += life.bytes;
    bytes[static_cast<size_t>(life.last) + 1] -= life.bytes;
  }
  bytes.pop_back();
  for (size_t i = 1; i < bytes.size(); ++i) bytes[i] += bytes[i - 1];
  for (size_t i = 0; i < p.ops.size(); ++i) {
    const ProgramOp& op = p.ops[i];
    bytes[i] += scratch_bytes(p, op);
    if (op.opcode != PITH_OPCODE_Unary && op.opcode != PITH_OPCODE_Binary) continue;
    const size_t out = root(op.outputs[0]);
    const bool in_place = lives[out].first == static_cast<int64_t>(i) && std::any_of(op.inputs.begin(), op.inputs.end(), [&](int32_t id) {
      if (id == kNone || is_constant(id)) return false;
      const Life& in = lives[root(id)];
      return in.last == static_cast<int64_t>(i) && in.bytes == lives[out].bytes && p.tensors[root(id)].dtype == p.tensors[out].dtype;
    });
    if (in_place) bytes[i] -= lives[out].bytes;
  }
  return bytes;
}

using Limits = std::vector<int64_t>;  // bytes that may be alive during each operator of the source

class Chooser {
 public:
  Chooser(const Program& source, const CompileOptions& options) : skeleton_(source), row_ports_(options.row_ports) {
    const bool row_ports = row_ports_;
    for (ProgramConstant& k : skeleton_.constants) {  // only dimensions matter here
      k.integers.clear();
      k.reals.clear();
      k.name.clear();
    }
    for (ProgramTensor& t : skeleton_.tensors) t.name.clear();
    users_ = users_of(skeleton_);
    for (const ProgramOp& op : skeleton_.ops) {
      by_rows_.push_back(runs_by_rows(skeleton_, op));
      macs_ += op_macs(skeleton_, op);
    }
    most_macs_ = static_cast<int64_t>(options.macs_overhead * static_cast<double>(macs_));
    lives_.resize(skeleton_.tensors.size());
    at_ends_.resize(skeleton_.tensors.size(), 0);
    must_.resize(skeleton_.ops.size(), 0);
    for (const StorageInterval& s : storage_intervals(skeleton_)) {
      if (s.tensor == kNone) continue;
      const size_t t = static_cast<size_t>(s.tensor);
      lives_[t] = {s.first, s.last, aligned(s.bytes)};
      if (s.kind != "activation") at_ends_[t] = 1;
      if (row_ports && (s.kind == "input" || s.kind == "output")) let_go_by_rows(t);
    }
    plain_ = step_bytes(skeleton_, lives_);
    crossing_.assign(skeleton_.ops.size() + 1, 0);
    for (const Life& life : lives_)
      for (int64_t i = life.last < 0 ? 0 : life.first + 1; i <= life.last; ++i) crossing_[static_cast<size_t>(i)] += life.bytes;
  }

  size_t operators() const { return skeleton_.ops.size(); }
  size_t chosen_operators() const { return operators() + added_; }  // with the groups that were chosen last

  // Groups under which no operator holds more bytes than its limit, adding the fewest operators (and few enough
  // multiplications); else the operator where it failed.
  std::optional<size_t> choose(int64_t target, std::vector<StreamGroup>& groups) { return choose(Limits(operators(), target), groups); }
  std::optional<size_t> choose(const Limits& limits, std::vector<StreamGroup>& groups) {
    for (const double price : kPrices) {
      price_ = macs_ > 0 ? 1000 * price / static_cast<double>(macs_) : 0;
      if (const auto failed = shortest_path(limits, groups)) return failed;
      int64_t macs = 0, most = -1;
      size_t dearest = 0;
      for (const StreamGroup& g : groups) {
        const int64_t more = cost_of(g).macs;
        macs += more;
        if (more > most) most = more, dearest = g.first;
      }
      if (macs <= most_macs_) return std::nullopt;
      if (price == kPrices.back()) return dearest;
    }
    return std::nullopt;
  }

  int64_t highest() const { return *std::max_element(plain_.begin(), plain_.end()); }

 private:
  // The shortest way through all operators, at the price that multiplications have.
  std::optional<size_t> shortest_path(const Limits& limits, std::vector<StreamGroup>& groups) {
    const size_t n = skeleton_.ops.size();
    Ways ways(n + 1);
    ways[0].length = 0;
    for (size_t last = 1; last <= n; ++last) {
      if (!must_[last - 1] && plain_[last - 1] <= limits[last - 1] && ways[last - 1].length < kNoWay) ways[last] = {ways[last - 1].length, ways[last - 1].ops, {last - 1, last, 1}};
      int64_t target = limits[last - 1];  // of all operators of the group
      if (crossing_[last] > target) continue;
      bool useful = false;
      for (size_t first = last; first-- > 0 && last - first <= kLongest && by_rows_[first];) {
        target = std::min(target, limits[first]);
        useful = useful || must_[first] || plain_[first] > target;
        if (useful && ways[first].length < ways[last].length && crossing_[first] <= target) extend(first, last, target, ways);
      }
    }
    groups.clear();
    added_ = ways[n].ops;
    if (ways[n].length == kNoWay) {
      size_t at = n;
      while (ways[at].length == kNoWay) --at;
      while (at + 1 < n && !must_[at] && plain_[at] <= limits[at]) ++at;
      return at;
    }
    for (size_t at = n; at > 0; at = ways[at].step.first)
      if (ways[at].step.bands > 1) groups.insert(groups.begin(), ways[at].step);
    return std::nullopt;
  }

  // A port that operators can read or write row by row lies nowhere whole; these operators must then be in a group.
  void let_go_by_rows(size_t t) {
    std::vector<size_t> users;
    for (size_t i = 0; i < skeleton_.ops.size(); ++i) {
      const auto names = [&](const std::vector<int32_t>& ids) { return std::count(ids.begin(), ids.end(), static_cast<int32_t>(t)) > 0; };
      if (names(skeleton_.ops[i].inputs) || names(skeleton_.ops[i].outputs)) users.push_back(i);
    }
    const bool can = !users.empty() && users.back() - users.front() < kLongest / 2 && skeleton_.tensors[t].dims.size() == 4 && skeleton_.tensors[t].dims[1] > 1 &&
                     std::all_of(by_rows_.begin() + static_cast<ptrdiff_t>(users.front()), by_rows_.begin() + static_cast<ptrdiff_t>(users.back()) + 1, [](char b) { return b; });
    if (!can) return;
    for (size_t i : users) must_[i] = 1;
    lives_[t] = {};
  }

  static constexpr double kNoWay = std::numeric_limits<double>::infinity();
  struct Way {  // to the front of an operator
    double length = kNoWay;  // operators that bands add, and what their multiplications are worth
    size_t ops = 0;          // operators that bands add
    StreamGroup step;        // the last one
  };
  using Ways = std::vector<Way>;

  void extend(size_t first, size_t last, int64_t target, Ways& ways) {
    extend({first, last, 2, Borders::kKept}, target, ways);
    if (most_macs_ == 0 || last - first == 1) return;
    for (const Borders borders : {Borders::kPointsAgain, Borders::kWideAgain, Borders::kAllAgain}) extend({first, last, 2, borders}, target, ways);
  }

  // Numbers of bands to try; where borders may be made again, whole and half rows at a time, too.
  std::vector<int32_t> bands_of(int32_t rows) const {
    std::vector<int32_t> all(kBands.begin(), std::upper_bound(kBands.begin(), kBands.end(), rows));
    if (most_macs_ == 0) return all;
    for (const int32_t bands : {rows / 2, rows, 2 * rows, 4 * rows})
      if (bands > 1) all.push_back(bands);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  void extend(StreamGroup g, int64_t target, Ways& ways) {
    const int32_t rows = rows_of(tensor(skeleton_, skeleton_.ops[g.last - 1].outputs[0]));
    const Way& from = ways[g.first];
    for (const int32_t bands : bands_of(rows)) {
      if ( from.length + static_cast<double>(static_cast<size_t>(bands - 1) * (g.last - g.first) / 2) >= ways[g.last].length) return;
      g.bands = bands;
      const Cost& cost = cost_of(g);
      if (cost.peak == INT64_MAX || cost.macs > most_macs_) return;
      if (cost.peak > target) continue;
      const double length = from.length + static_cast<double>(cost.ops) + price_ * static_cast<double>(cost.macs);
      if (length < ways[g.last].length) ways[g.last] = {length, from.ops + cost.ops, g};
      return;
    }
  }

  struct Cost {
    int64_t peak = INT64_MAX;  // bytes
    size_t ops = 0;            // more than before
    int64_t macs = 0;          // likewise
  };

  const Cost& cost_of(const StreamGroup& g) {
    const auto [entry, fresh] = costs_.try_emplace({g.first, g.last, g.bands, g.borders});
    if (!fresh) return entry->second;
    const std::optional<Program> part = stream_group(skeleton_, users_, g, row_ports_);
    if (!part) return entry->second;
    const std::vector<Life> lives = lives_within(*part, g);
    std::vector<int64_t> bytes = step_bytes(*part, lives);
    share_bytes(*part, g, lives, bytes);
    entry->second = {*std::max_element(bytes.begin(), bytes.end()), part->ops.size() - (g.last - g.first), 0};
    if (g.borders == Borders::kKept) return entry->second;
    for (const ProgramOp& op : part->ops) entry->second.macs += op_macs(*part, op);
    for (size_t i = g.first; i < g.last; ++i) entry->second.macs -= op_macs(skeleton_, skeleton_.ops[i]);
    return entry->second;
  }

  // What a result of the group saves by growing into a tensor that ends with the group (overlap.h), each with one other.
  void share_bytes(const Program& part, const StreamGroup& g, const std::vector<Life>& lives, std::vector<int64_t>& bytes) const {
    std::vector<size_t> ending, growing;
    for (size_t t = 0; t < lives_.size(); ++t) {
      const Life& life = lives_[t];
      if (life.last < life.first || lives[t].last < 0) continue;
      const bool before = life.first < static_cast<int64_t>(g.first) || (at_ends_[t] && life.first == 0), after = life.last >= static_cast<int64_t>(g.last);
      if (before && !after) ending.push_back(t);
      if (after && !before) growing.push_back(t);
    }
    if (ending.empty() || growing.empty()) return;
    const std::vector<std::vector<Touch>> touches = touches_of(part);
    for (size_t y : growing) {
      int64_t most = 0;
      size_t best = 0;
      for (size_t i = 0; i < ending.size(); ++i) {
        const int64_t distance = aligned(overlap_distance(touches[ending[i]], touches[y]));
        const int64_t saved = lives[ending[i]].bytes + lives[y].bytes - std::max(lives[y].bytes, distance + lives[ending[i]].bytes);
        if (saved > most) most = saved, best = i;
      }
      if (most == 0) continue;
      const size_t x = ending[best];
      for (int64_t i = std::max(lives[x].first, lives[y].first); i <= std::min(lives[x].last, lives[y].last); ++i) bytes[static_cast<size_t>(i)] -= most;
      ending.erase(ending.begin() + static_cast<ptrdiff_t>(best));
      if (ending.empty()) return;
    }
  }

  // Lives in the operators of one group: what was there before it or is needed after it lives as long as it does.
  std::vector<Life> lives_within(const Program& part, const StreamGroup& g) const {
    std::vector<Life> lives(part.tensors.size());
    const int64_t end = static_cast<int64_t>(part.ops.size()) - 1;
    for (int64_t i = 0; i <= end; ++i) {
      if (introduces(part.ops[static_cast<size_t>(i)])) continue;
      for (const auto* ids : {&part.ops[static_cast<size_t>(i)].inputs, &part.ops[static_cast<size_t>(i)].outputs}) {
        for (int32_t id : *ids) {
          if (id == kNone || is_constant(id)) continue;
          const size_t r = static_cast<size_t>(root_of(part, id));
          lives[r] = {std::min(lives[r].first, i), std::max(lives[r].last, i), aligned(tensor_bytes(part.tensors[r]))};
        }
      }
    }
    for (size_t t = 0; t < lives_.size(); ++t) {
      const Life& life = lives_[t];
      const bool before = life.first < static_cast<int64_t>(g.first) || (at_ends_[t] && life.first == 0), after = life.last >= static_cast<int64_t>(g.last);
      if (life.last < life.first || (lives[t].last < 0 && !(before && after))) continue;
      lives[t].bytes = life.bytes;
      if (before) lives[t].first = 0;
      if (after) lives[t].last = end;
    }
    return lives;
  }

  Program skeleton_;
  Users users_;
  bool row_ports_;
  size_t added_ = 0;
  std::vector<Life> lives_;        // of tensors; ports that go by rows have none
  std::vector<char> at_ends_;      // inputs, outputs, state
  std::vector<char> by_rows_, must_;
  std::vector<int64_t> plain_, crossing_;  // bytes during an operator; alive both before and after the boundary in front of it
  std::map<std::tuple<size_t, size_t, int32_t, Borders>, Cost> costs_;
  int64_t macs_ = 0, most_macs_ = 0;  // of the network; more than that
  double price_ = 0;                  // of a multiplication, in operators
};

struct Fitted {
  Program program;
  MemoryReport report;
};

// One order of operators, and the groups that were tried on it.
class Fitter {
 public:
  Fitter(const Program& source, const CompileOptions& options) : source_(source), options_(options), chooser_(source, options) {}

  // The program in bands under options.ram, or else in as few bytes as groups allow.
  Result<Fitted> within() {
    std::vector<StreamGroup> groups;
    int64_t target = options_.ram;
    for (int attempt = 0; attempt < kAttempts && target > 0 && !chooser_.choose(target, groups); ++attempt) {
      PITH_TRY(Fitted now, plan(groups));
      if (now.program.arena_bytes <= options_.ram) return now;
      target -= std::max<int64_t>(now.program.arena_bytes - target, options_.ram / 100);
    }
    return least();  // searched for as --ram least does, so that a refusal names what that reaches
  }

  // In as few bytes as groups allow.
  Result<Fitted> least() {
    std::vector<StreamGroup> groups;
    int64_t low = 0, high = chooser_.highest();
    for (int step = 0; step < 12 && high - low > high / (options_.rough ? 64 : 256); ++step) {
      const int64_t middle = low + (high - low) / 2;
      (chooser_.choose(middle, groups) ? low : high) = middle;
    }
    if (chooser_.choose(high, groups)) return plan({});
    if (options_.rough) return plan(groups, kRoughly);
    PITH_TRY(Fitted best, plan(groups));
    for (const int percent : kReliefFrom)
      if (best.program.arena_bytes > best.report.lower_bound && !enough(best)) PITH_CHECK_OK(relieve(high * percent / 100, best));
    return best;
  }

 private:
  bool enough(const Fitted& fitted) const { return !options_.least && fitted.program.arena_bytes <= options_.ram; }

  // The packing may need more than what is alive at once; then it helps to use less elsewhere. All operators that can do
  // with less than `highest`, which all can do with, get lower and lower limits; what is found to be better goes into `best`.
  Result<void> relieve(int64_t highest, Fitted& best) {
    std::vector<StreamGroup> groups, before;
    Limits limits(chooser_.operators(), highest);
    std::vector<char> least(limits.size(), 0);  // operators that can't do with less
    int idle = 0;  // plans without gain
    for (int percent = 95; percent >= kLeastRelief && idle < kPatience && !enough(best); percent -= 5) {
      for (size_t failed = SIZE_MAX, width = 0;;) {
        Limits lower = limits;
        for (size_t i = 0; i < lower.size(); ++i)
          if (!least[i]) lower[i] = highest / 100 * percent;
        const auto at = chooser_.choose(lower, groups);
        if (!at) {
          limits = std::move(lower);
          break;
        }
        width = *at == failed ? width + 1 : 0;
        failed = *at;
        for (size_t i = failed - std::min(failed, width); i < std::min(failed + width + 1, least.size()); ++i) least[i] = 1;
      }
      if (chooser_.chosen_operators() > kMostOperators) break;
      if (groups == before) continue;
      before = groups;
      PITH_TRY(Fitted now, plan(groups, kPatience));
      const auto rank = [](const Fitted& f) { return std::pair(f.program.arena_bytes, f.program.ops.size()); };
      ++idle;
      if (rank(now) < rank(best)) best = std::move(now), idle = 0;
    }
    return {};
  }

  Result<Fitted> plan(const std::vector<StreamGroup>& groups, int64_t part = 1) {  // of the planner's steps
    Fitted now;
    CompileOptions options = options_;
    options.planner_steps /= part;
    std::vector<size_t> origin;
    std::optional<Program> streamed = stream_rows(source_, groups, options.row_ports, &origin, &now.report.whole);
    if (!streamed) return internal_error("a chosen group of layers can't run in bands");
    now.program = std::move(*streamed);
    PITH_CHECK_OK(plan_arena(now.program, options, &now.report));
    now.report.groups = groups;
    now.report.moves = describe_moves(source_, now.program, groups, origin);
    return now;
  }

  const Program& source_;
  const CompileOptions& options_;
  Chooser chooser_;
};

}  // namespace

Result<void> fit_ram(Program& program, const CompileOptions& options, MemoryReport* report) {
  std::vector<Program> sources;
  if (std::optional<Program> by_head = split_heads(program)) {
    sources.push_back(std::move(*by_head));
  } else {
    const Order order = best_order(program, {.row_ports = options.row_ports});
    if (!std::is_sorted(order.ops.begin(), order.ops.end())) {
      sources.push_back(program);
      apply_order(sources.back(), order);
    }
  }
  sources.insert(sources.begin(), program);
  int64_t float32_peak = INT64_MAX;
  std::optional<Fitted> best;
  const auto consider = [&](Fitted now) {
    if (now.program.ops.size() > kMostOperators) return;
    if (best && best->program.arena_bytes <= now.program.arena_bytes) return;
    best = std::move(now);
  };
  const auto enough = [&] { return !options.least && best && best->program.arena_bytes <= options.ram; };
  for (size_t i = 0; i < sources.size() && !enough(); ++i) {
    Fitted whole;
    CompileOptions planning = options;
    if (options.rough) planning.planner_steps /= kRoughly;
    PITH_CHECK_OK(plan_arena(sources[i], planning, &whole.report));
    float32_peak = std::min(float32_peak, whole.report.float32_peak);
    whole.program = sources[i];
    for (size_t t = 0; t < sources[i].tensors.size(); ++t) whole.report.whole.push_back(static_cast<int32_t>(t));
    consider(std::move(whole));
  }
  for (size_t i = 0; i < sources.size() && !enough(); ++i) {
    Fitter fitter(sources[i], options);
    PITH_TRY(Fitted now, options.least ? fitter.least() : fitter.within());
    consider(std::move(now));
  }
  if (!options.least && !enough()) return refuse_ram(program, best->program, options);
  program = std::move(best->program);
  best->report.float32_peak = float32_peak;  // of whole tensors
  if (report) *report = std::move(best->report);
  return {};
}

}  // namespace pith
