// Exact planning: the smallest arena, or one of a given capacity.
//
// The heuristic's plan is the bound from above, the fullest moment the one from below; in between, the decision search
// (plan_search.h) is asked at the lower bound first, where most networks end, then by bisection. Peaks of plans in
// which nothing can sink are sums of sizes, distances and alignments, so only multiples of their common divisor are
// asked for.
//
// Blocks with views are searched under a slightly stricter rule than they need (one distance per pair of blocks, none
// negative); where that loses plans, "none" is no proof, and a second search keeps them where the best plan has them,
// with every gap between their views open to the other blocks.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "compile/plan_memory.h"
#include "compile/plan_model.h"
#include "compile/plan_search.h"

namespace pith {
namespace {

constexpr size_t kMostBlocks = 3000;  // beyond, only the heuristic: the search recurses once per block

// All peaks worth asking for are multiples of this.
int64_t peak_unit(const PlanProblem& problem) {
  int64_t unit = 0;
  for (const Buffer& b : problem.buffers) unit = std::gcd(std::gcd(unit, b.size), b.fixed_offset.value_or(0));
  for (const BufferOverlap& o : problem.overlaps) unit = std::gcd(unit, o.distance);
  for (const BufferView& v : problem.views) unit = std::gcd(unit, v.offset);
  for (const Buffer& b : problem.buffers)
    if (unit % b.alignment != 0) unit = std::gcd(unit, b.alignment);
  return std::max<int64_t>(unit, 1);
}

class Minimiser {
 public:
  Minimiser(const PlanProblem& problem, const ExactOptions& options)
      : problem_(problem),
        seed_(options.seed),
        model_(build_plan_model(problem)),
        complete_(search_is_complete(model_)) {
    limits_.steps = model_.blocks.size() > kMostBlocks ? 0 : options.max_steps;
    if (options.max_seconds > 0)
      limits_.deadline = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count() +
                         options.max_seconds;
  }

  // Looks for a plan of at most `capacity` bytes with at most `steps`; takes it into `best`.
  SearchOutcome ask(int64_t capacity, int64_t steps, Plan& best) {
    SearchLimits limits{std::min(steps, limits_.steps), limits_.deadline};
    const int64_t given = limits.steps;
    SearchResult found = search_plan(problem_, model_, capacity, seed_, limits);
    if (found.outcome != SearchOutcome::kFound && !complete_) {
      found.outcome = SearchOutcome::kStopped;
      SearchResult second = search_plan(problem_, with_views_fixed(best), capacity, seed_, limits);
      if (second.outcome == SearchOutcome::kFound) found = std::move(second);
    }
    limits_.steps -= given - limits.steps;
    if (found.outcome == SearchOutcome::kFound) best = make_plan(problem_, model_, found.offsets, best.lower_bound);
    return found.outcome;
  }

  void minimise(Plan& best) {
    const int64_t unit = peak_unit(problem_);
    int64_t low = best.lower_bound;  // below it, there is nothing or nothing was found
    bool proven = true;              // nothing is below it
    int64_t target = low;
    while (best.peak > low && limits_.steps > 0) {
      const SearchOutcome outcome = ask(target, std::max<int64_t>(1, limits_.steps / 2), best);
      if (outcome != SearchOutcome::kFound) {
        low = std::min(best.peak, target + unit);
        proven = proven && outcome == SearchOutcome::kNone;
        if (proven) best.lower_bound = low;
      }
      target = low + (best.peak - low) / 2 / unit * unit;
    }
    best.proven_optimal = best.peak == best.lower_bound;
  }

 private:
  PlanModel with_views_fixed(const Plan& plan) const {
    PlanModel fixed = model_;
    for (Block& block : fixed.blocks)
      if (block.members.size() > 1) block.fixed = plan.offsets[block.members[0].buffer];
    return fixed;
  }

  const PlanProblem& problem_;
  uint64_t seed_;
  PlanModel model_;
  bool complete_;
  SearchLimits limits_;
};

// "at time 12 'conv1' (512 bytes), 'x' (64 bytes) and 3 more are alive"
std::string alive_at(const PlanProblem& problem, int64_t time) {
  std::vector<const Buffer*> alive;
  for (const Buffer& b : problem.buffers)
    if (b.lower <= time && time < b.upper && b.size > 0) alive.push_back(&b);
  std::stable_sort(alive.begin(), alive.end(), [](const Buffer* a, const Buffer* b) { return a->size > b->size; });
  std::string text = fmt::format("at time {} ", time);
  const size_t shown = std::min<size_t>(alive.size(), 3);
  for (size_t i = 0; i < shown; ++i)
    text += fmt::format("{}'{}' ({} bytes)", i ? ", " : "", alive[i]->name, alive[i]->size);
  if (alive.size() > shown) text += fmt::format(" and {} more", alive.size() - shown);
  return text + (alive.size() == 1 ? " is alive" : " are alive");
}

Result<Plan> fit(const PlanProblem& problem, const ExactOptions& options, Plan best) {
  const auto refuse = [](std::string why) { return pith::error(ErrorCode::kDoesNotFit, std::move(why)); };
  const int64_t capacity = *options.capacity;
  if (best.lower_bound > capacity)
    return refuse(fmt::format("the buffers need at least {} bytes, {} more than the capacity of {}: {}",
                              best.lower_bound, best.lower_bound - capacity, capacity,
                              alive_at(problem, fullest_moment(problem).time)));
  if (best.peak <= capacity) return best;
  const SearchOutcome outcome = Minimiser(problem, options).ask(capacity, options.max_steps, best);
  if (outcome == SearchOutcome::kFound) return best;
  if (outcome == SearchOutcome::kNone)
    return refuse(fmt::format("no plan fits in {} bytes (proven by search): the best one known needs {}, {} more",
                              capacity, best.peak, best.peak - capacity));
  return refuse(
      fmt::format("no plan of {} bytes was found within the limit (lower bound {}, best one {}): raise the "
                  "capacity by {} or the limit",
                  capacity, best.lower_bound, best.peak, best.peak - capacity));
}

}  // namespace

Result<Plan> plan_exact(const PlanProblem& problem, const ExactOptions& options) {
  if (options.capacity && *options.capacity < 0)
    return usage_error(fmt::format("the capacity is {} bytes: it must be at least 0", *options.capacity));
  HeuristicOptions heuristic;
  heuristic.seed = options.seed;
  PITH_TRY(Plan best, plan_heuristic(problem, heuristic));
  best.lower_bound = std::min(best.peak, round_up(best.lower_bound, peak_unit(problem)));
  best.proven_optimal = best.peak == best.lower_bound;
  if (options.capacity) return fit(problem, options, std::move(best));
  if (!best.proven_optimal) Minimiser(problem, options).minimise(best);
  return best;
}

}  // namespace pith
