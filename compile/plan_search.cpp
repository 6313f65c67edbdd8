// Is there a plan within a capacity? Branch and bound over the order in which blocks are put down, from the ground up.
//
// Taking the x axis as time, this is a job shop turned on its side: offsets are start times, and blocks that live at
// the same time cannot share the machine. It is enough to look at plans in which no block can sink ("canonical" in M.
// Moffitt's MiniMalloc, ASPLOS 2023, whose ideas these are: canonical plans, dominance, inference by sections of time,
// decomposition into independent stretches, changing orders; "active schedules" in Giffler and Thompson, "Algorithms
// for Solving Production-Scheduling Problems", Operations Research 8(4), 1960, whose branching rule this generalises):
//
//   Pick an open block, the pivot. Either it lies at its start, the lowest place that what is placed leaves to it,
//   below all open neighbours, or one of these starts below the pivot's end; that one lies at its start below its own
//   open neighbours, or one of them is below it, and so on. So among the pivot and those that could be in its way, one
//   lies at its start below all its open neighbours. Try each; where that fails, the block is known to lie above some
//   open neighbour, which raises its start.
//
// The pivot comes from the section of time in which the fewest blocks could be the lowest, weighted by how much trouble
// the section has made (Boussemart et al., "Boosting Systematic Search by Weighting Constraints", ECAI 2004). Since a
// bad early choice costs dearly, the search starts afresh after some steps, keeps those weights, and ranks blocks anew.
// Everything is deterministic for a given seed.
#include "compile/plan_search.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>

#include "base/random.h"
#include "compile/plan_board.h"

namespace pith {
namespace {

using Ids = std::vector<uint32_t>;

constexpr double kFirstRound = 1000, kLongerRounds = 1.05;  // steps before a fresh start, and their growth
constexpr double kRankNoise = 0.3;
constexpr int64_t kStepsBetweenLooksAtTheClock = 256;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Search {
 public:
  Search(const PlanProblem& problem, const PlanModel& model, int64_t capacity, uint64_t seed, SearchLimits& limits)
      : model_(model), board_(problem, model, capacity), random_(seed), limits_(limits) {}
  SearchResult run();

 private:
  SearchOutcome solve(const Ids& open);
  SearchOutcome solve_connected(const Ids& open);
  uint32_t pick_section(const Ids& open);
  Ids candidates(uint32_t section);
  void rank(size_t round);
  bool spend_step();

  const PlanModel& model_;
  Board board_;
  Random random_;
  SearchLimits& limits_;
  int64_t round_steps_ = 0;
  bool late_ = false;
  std::vector<double> rank_;    // by item: among equal starts the larger goes first
  std::vector<uint32_t> seen_;  // by item: the last call of candidates() that listed it
  uint32_t call_ = 0;
};

// The section with the fewest blocks that could be its lowest, the fuller one among equals, the troublesome ones first.
uint32_t Search::pick_section(const Ids& open) {
  uint32_t from = UINT32_MAX, to = 0;
  for (const uint32_t i : open) {
    from = std::min(from, board_.items()[i].first);
    to = std::max(to, board_.items()[i].last);
  }
  uint32_t best = from;
  double best_score = -1;
  for (uint32_t s = from; s < to; ++s) {
    const Board::Section& section = board_.section(s);
    if (section.open.empty()) continue;
    const double slack = static_cast<double>(board_.slack(section)) / static_cast<double>(board_.capacity());
    const double score = section.trouble / (section.firsts + slack);
    if (score > best_score) best_score = score, best = s;
  }
  return best;
}

// The blocks of which, in every canonical plan, at least one lies at its start: the most promising first.
Ids Search::candidates(uint32_t section) {
  const std::vector<Board::Item>& items = board_.items();
  const Ids& open = board_.section(section).open;
  uint32_t pivot = open[0];
  int64_t limit = INT64_MAX;  // where the pivot ends: what starts there or higher is not in its way
  for (const uint32_t i : open) {
    const int64_t end = board_.start(i) + items[i].reach;
    if (end < limit || (end == limit && i < pivot)) limit = end, pivot = i;
  }
  ++call_;
  Ids list = {pivot};
  seen_[pivot] = call_;
  for (const Board::Neighbour& n : items[pivot].neighbours) {
    if (board_.placed(n.id) || board_.start(n.id) >= board_.start(pivot) + n.mine) continue;
    list.push_back(n.id);
    seen_[n.id] = call_;
  }
  for (size_t k = 1; k < list.size(); ++k) {  // what could hold those up below the limit
    for (const Board::Neighbour& n : items[list[k]].neighbours) {
      if (board_.placed(n.id) || seen_[n.id] == call_ || board_.start(n.id) + n.theirs >= limit) continue;
      list.push_back(n.id);
      seen_[n.id] = call_;
    }
  }
  std::erase_if(list, [&](uint32_t i) { return !board_.placeable(i); });
  std::sort(list.begin(), list.end(), [&](uint32_t a, uint32_t b) {
    if (board_.start(a) != board_.start(b)) return board_.start(a) < board_.start(b);
    return rank_[a] != rank_[b] ? rank_[a] > rank_[b] : a < b;
  });
  return list;
}

// Stretches of time that no open block connects are independent: if one has no plan, no plan of another helps.
SearchOutcome Search::solve(const Ids& open) {
  std::vector<Ids> parts;
  int64_t end = 0;
  for (const uint32_t i : open) {
    const Board::Item& item = board_.items()[i];
    if (parts.empty() || item.lower >= end) {
      parts.emplace_back();
      end = item.upper;
    }
    parts.back().push_back(i);
    end = std::max(end, item.upper);
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Ids& a, const Ids& b) { return a.size() < b.size(); });
  for (const Ids& part : parts) {
    const SearchOutcome outcome = solve_connected(part);
    if (outcome != SearchOutcome::kFound) return outcome;
  }
  return SearchOutcome::kFound;
}

SearchOutcome Search::solve_connected(const Ids& open) {
  const size_t entry = board_.mark();
  Ids rest(open.size() - 1);
  for (const uint32_t i : candidates(pick_section(open))) {
    if (!board_.placeable(i)) continue;
    if (!spend_step()) return SearchOutcome::kStopped;
    const size_t mark = board_.mark();
    if (board_.place(i)) {
      std::remove_copy(open.begin(), open.end(), rest.begin(), i);
      const SearchOutcome outcome = solve(rest);
      if (outcome != SearchOutcome::kNone) return outcome;
    }
    board_.undo(mark);
    if (!board_.delay(i)) break;
  }
  board_.undo(entry);
  return SearchOutcome::kNone;
}

bool Search::spend_step() {
  if (limits_.deadline > 0 && limits_.steps % kStepsBetweenLooksAtTheClock == 0)
    late_ = late_ || seconds_now() > limits_.deadline;
  if (limits_.steps <= 0 || round_steps_ <= 0 || late_) return false;
  --limits_.steps;
  --round_steps_;
  return true;
}

// By area, lifetime, size, or the fullest section in turn; from the second time on with some noise.
void Search::rank(size_t round) {
  rank_.clear();
  for (const Board::Item& item : board_.items()) {
    const double life = static_cast<double>(item.upper) - static_cast<double>(item.lower);
    const double size = static_cast<double>(item.size);
    double fullest = 0;
    for (uint32_t s = item.first; s < item.last; ++s)
      fullest = std::max(fullest, static_cast<double>(board_.section(s).rest));
    const std::array<double, 4> keys = {life * size, life, size, fullest};
    const double noise = round < keys.size() ? 0 : kRankNoise * random_.uniform();
    rank_.push_back(keys[round % keys.size()] * (1 + noise));
  }
}

SearchResult Search::run() {
  SearchResult result;
  const size_t count = board_.items().size();
  if (!board_.open()) {
    result.outcome = SearchOutcome::kNone;
    return result;
  }
  Ids all(count);
  std::iota(all.begin(), all.end(), 0u);
  seen_.assign(count, 0);
  const size_t root = board_.mark();
  double length = kFirstRound + 2.0 * static_cast<double>(count);
  for (size_t round = 0;; ++round) {
    rank(round);
    round_steps_ = static_cast<int64_t>(length);
    length *= kLongerRounds;
    result.outcome = solve(all);
    if (result.outcome != SearchOutcome::kStopped || limits_.steps <= 0 || late_) break;
    board_.undo(root);
  }
  if (result.outcome != SearchOutcome::kFound) return result;
  for (const Block& block : model_.blocks) result.offsets.push_back(block.fixed.value_or(0));
  for (uint32_t i = 0; i < count; ++i) result.offsets[board_.items()[i].block] = board_.start(i);
  return result;
}

}  // namespace

SearchResult search_plan(const PlanProblem& problem, const PlanModel& model, int64_t capacity, uint64_t seed,
                         SearchLimits& limits) {
  for (const Block& block : model.blocks)
    if (block.fixed && block.height > 0 && *block.fixed > capacity - block.height) return {SearchOutcome::kNone, {}};
  return Search(problem, model, capacity, seed, limits).run();
}

bool search_is_complete(const PlanModel& model) {
  for (const Block& block : model.blocks) {
    if (block.fixed) continue;
    for (size_t k = 0; k < block.forbidden.size(); ++k) {
      const Forbidden& f = block.forbidden[k];
      if (model.blocks[f.other].fixed) continue;
      if (f.low > 0 || f.high < 0) return false;
      if (k > 0 && block.forbidden[k - 1].other == f.other) return false;
    }
  }
  return true;
}

}  // namespace pith
