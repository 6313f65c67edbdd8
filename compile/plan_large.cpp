// Large buffers first, then the rest around them.
//
// Why: a network in bands of rows has a few dozen large buffers, which make the peak, and a thousand line buffers. A search
// that has to place all of them hardly gets to a second arrangement of the large ones. So these are placed alone, by the
// exact search, which has time for many arrangements of so few; then they stay where they are, and the others fill the gaps.
// Where large buffers may grow into each other (overlaps), the arrangement is also looked for upside down: the search puts
// things as low as it can, and nothing grows into a buffer from below address 0.
#include <algorithm>

#include "compile/plan_memory.h"

namespace pith {
namespace {

constexpr size_t kMany = 256;  // buffers: with fewer the exact search looks at enough arrangements of all of them
constexpr size_t kMostLarge = 160;
constexpr int64_t kLargeShares[] = {64, 32, 16};  // a large buffer is at least this part of the bound from below

// The buffers of at least `least` bytes alone; `index` gets their numbers.
PlanProblem large_alone(const PlanProblem& problem, int64_t least, std::vector<size_t>& index) {
  PlanProblem large;
  std::vector<size_t> number(problem.buffers.size(), SIZE_MAX);
  for (size_t i = 0; i < problem.buffers.size(); ++i) {
    if (problem.buffers[i].size < least && !problem.buffers[i].fixed_offset) continue;
    number[i] = large.buffers.size();
    large.buffers.push_back(problem.buffers[i]);
    index.push_back(i);
  }
  for (const BufferOverlap& o : problem.overlaps)
    if (number[o.below] != SIZE_MAX && number[o.above] != SIZE_MAX) large.overlaps.push_back({number[o.below], number[o.above], o.distance});
  return large;
}

}  // namespace

Result<Plan> plan_both_ways(const PlanProblem& problem, const ExactOptions& options) {
  PITH_TRY(Plan best, plan_exact(problem, options));
  const bool fixed = std::any_of(problem.buffers.begin(), problem.buffers.end(), [](const Buffer& b) { return b.fixed_offset.has_value(); });
  if (problem.overlaps.empty() || !problem.views.empty() || fixed || best.proven_optimal) return best;
  PlanProblem turned = problem;
  for (BufferOverlap& o : turned.overlaps) {
    const int64_t distance = o.distance + problem.buffers[o.above].size - problem.buffers[o.below].size;
    o = {o.above, o.below, std::clamp<int64_t>(distance, 0, problem.buffers[o.above].size)};
  }
  PITH_TRY(const Plan other, plan_exact(turned, options));
  if (other.peak >= best.peak) return best;
  best.peak = other.peak;
  best.proven_optimal = best.peak == best.lower_bound;
  for (size_t i = 0; i < best.offsets.size(); ++i) best.offsets[i] = other.peak - other.offsets[i] - problem.buffers[i].size;
  return best;
}

Result<Plan> plan_large_first(const PlanProblem& problem, const ExactOptions& options) {
  PITH_TRY(Plan best, plan_both_ways(problem, options));
  if (!problem.views.empty() || problem.buffers.size() < kMany) return best;
  for (const int64_t share : kLargeShares) {
    if (best.proven_optimal) break;
    std::vector<size_t> index;
    const PlanProblem large = large_alone(problem, std::max<int64_t>(1, best.lower_bound / share), index);
    if (large.buffers.size() > kMostLarge) continue;
    PITH_TRY(const Plan placed, plan_both_ways(large, options));
    if (placed.peak >= best.peak) continue;
    PlanProblem rest = problem;
    for (size_t i = 0; i < index.size(); ++i) rest.buffers[index[i]].fixed_offset = placed.offsets[i];
    ExactOptions few = options;
    few.max_steps = options.max_steps / 4;
    PITH_TRY(Plan whole, plan_exact(rest, few));
    if (whole.peak >= best.peak) continue;
    best.offsets = std::move(whole.offsets);
    best.peak = whole.peak;
    best.proven_optimal = best.peak == best.lower_bound;
  }
  return best;
}

}  // namespace pith
