// Validation of a planning problem: everything that the planners rely on is checked here, once, and named.
//
// The sums: all sizes, alignments and fixed offsets together stay below a quarter of the int64 range, so that no
// offset that a planner could ever think of overflows.
#include "compile/plan_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "compile/plan_model.h"

namespace pith {
namespace {

std::string label(const PlanProblem& problem, size_t i) {
  const std::string& name = problem.buffers[i].name;
  return name.empty() ? fmt::format("buffer #{}", i) : fmt::format("buffer '{}'", name);
}

Result<void> check_buffers(const PlanProblem& problem) {
  int64_t total = 0;  // of all that could ever be stacked: no offset exceeds it
  for (size_t i = 0; i < problem.buffers.size(); ++i) {
    const Buffer& b = problem.buffers[i];
    if (b.lower >= b.upper)
      return usage_error(
          fmt::format("{} lives from {} to {}: it must end after it begins", label(problem, i), b.lower, b.upper));
    if (b.size < 0) return usage_error(fmt::format("{} has size {}: it must be at least 0", label(problem, i), b.size));
    if (b.alignment < 1)
      return usage_error(fmt::format("{} has alignment {}: it must be at least 1", label(problem, i), b.alignment));
    const int64_t fixed = b.fixed_offset.value_or(0);
    if (fixed < 0 || fixed % b.alignment != 0)
      return usage_error(fmt::format("{} is fixed at offset {}: it must be a multiple of its alignment {}, at least 0",
                                     label(problem, i), fixed, b.alignment));
    for (const int64_t bytes : {b.size, b.alignment - 1, fixed}) {
      if (bytes > kPlanLimit - total)
        return usage_error(
            fmt::format("{} (size {}, alignment {}, offset {}) brings the sum of all sizes beyond {} bytes",
                        label(problem, i), b.size, b.alignment, fixed, kPlanLimit));
      total += bytes;
    }
  }
  return {};
}

Result<void> check_views(const PlanProblem& problem) {
  const size_t count = problem.buffers.size();
  std::vector<size_t> parent(count, count);
  for (const BufferView& v : problem.views) {
    if (v.view >= count || v.parent >= count)
      return usage_error(fmt::format("a view names buffers #{} and #{}, of {}", v.view, v.parent, count));
    const Buffer &view = problem.buffers[v.view], &whole = problem.buffers[v.parent];
    if (parent[v.view] != count)
      return usage_error(label(problem, v.view) + " is a view of two buffers: make one the view of the other");
    if (v.offset < 0 || v.offset > whole.size || view.size > whole.size - v.offset)
      return usage_error(fmt::format("{} (offset {}, size {}) is not inside its parent {} of {} bytes",
                                     label(problem, v.view), v.offset, view.size, label(problem, v.parent),
                                     whole.size));
    if (view.fixed_offset)
      return usage_error(fmt::format("{} is a view and has a fixed offset: fix its parent {} instead",
                                     label(problem, v.view), label(problem, v.parent)));
    parent[v.view] = v.parent;
  }
  for (size_t i = 0; i < count; ++i) {
    size_t at = i;
    for (size_t hops = 0; parent[at] != count; at = parent[at])
      if (++hops > problem.views.size())
        return usage_error(label(problem, i) + " is a view of itself: the views run in a circle");
  }
  std::vector<int64_t> alignment(count, 1);  // of each root with its views: their least common multiple
  const std::vector<ViewRoot> roots = view_roots(problem);
  for (size_t i = 0; i < count; ++i) {
    const int64_t mine = problem.buffers[i].alignment;
    const auto [root, shift] = roots[i];
    if (shift % mine != 0)
      return usage_error(fmt::format("{} lies {} bytes into {}, which is no multiple of its alignment {}",
                                     label(problem, i), shift, label(problem, root), mine));
    const int64_t factor = mine / std::gcd(mine, alignment[root]);
    if (alignment[root] > kPlanLimit / static_cast<int64_t>(count) / factor)
      return usage_error(
          fmt::format("the alignments of {} and its views have no common multiple within reach", label(problem, root)));
    alignment[root] *= factor;
    if (problem.buffers[root].fixed_offset.value_or(0) % alignment[root] != 0)
      return usage_error(
          fmt::format("{} is fixed at offset {}, which is no multiple of the alignment {} that its views need",
                      label(problem, root), *problem.buffers[root].fixed_offset, alignment[root]));
  }
  return {};
}

// Distances of 0 put buffers at one address in a given order; such orders must not run in a circle.
Result<void> check_circle(const PlanProblem& problem) {
  std::set<std::pair<size_t, size_t>> zero;
  for (const BufferOverlap& o : problem.overlaps)
    if (o.distance == 0 && problem.buffers[o.below].size > 0) zero.insert({o.below, o.above});
  std::vector<std::vector<size_t>> above(problem.buffers.size());
  std::vector<size_t> waiting(problem.buffers.size(), 0);
  size_t left = 0;
  for (const auto& [b, a] : zero)
    if (!zero.contains({a, b})) above[b].push_back(a), ++waiting[a], ++left;
  std::vector<size_t> ready;
  for (size_t i = 0; i < waiting.size(); ++i)
    if (waiting[i] == 0) ready.push_back(i);
  while (!ready.empty()) {
    const size_t b = ready.back();
    ready.pop_back();
    for (const size_t a : above[b]) {
      --left;
      if (--waiting[a] == 0) ready.push_back(a);
    }
  }
  if (left == 0) return {};
  const size_t culprit = static_cast<size_t>(
      std::find_if(waiting.begin(), waiting.end(), [](size_t w) { return w > 0; }) - waiting.begin());
  return usage_error(fmt::format("the overlaps at distance 0 run in a circle through {}", label(problem, culprit)));
}

Result<void> check_overlaps(const PlanProblem& problem) {
  const size_t count = problem.buffers.size();
  for (const BufferOverlap& o : problem.overlaps) {
    if (o.below >= count || o.above >= count || o.below == o.above)
      return usage_error(fmt::format("an overlap names buffers #{} and #{}, of {}: two different ones are needed",
                                     o.below, o.above, count));
    if (o.distance < 0 || o.distance > problem.buffers[o.below].size)
      return usage_error(
          fmt::format("the overlap of {} below {} has distance {}: it must lie between 0 and the former's size {}",
                      label(problem, o.below), label(problem, o.above), o.distance, problem.buffers[o.below].size));
  }
  return check_circle(problem);
}

Result<void> check_fixed(const PlanProblem& problem) {
  const PlanModel model = build_plan_model(problem);
  for (const Block& block : model.blocks) {
    if (!block.fixed) continue;
    for (const Forbidden& f : block.forbidden) {
      const Block& other = model.blocks[f.other];
      if (!other.fixed || *block.fixed - *other.fixed <= f.low || *block.fixed - *other.fixed >= f.high) continue;
      return usage_error(fmt::format(
          "{} and {} (or views of them) live at the same time and are fixed at offsets {} and {}: they collide",
          label(problem, block.members[0].buffer), label(problem, other.members[0].buffer), *block.fixed,
          *other.fixed));
    }
  }
  return {};
}

}  // namespace

Result<void> check_problem(const PlanProblem& problem) {
  PITH_CHECK_OK(check_buffers(problem));
  PITH_CHECK_OK(check_views(problem));
  PITH_CHECK_OK(check_overlaps(problem));
  return check_fixed(problem);
}

}  // namespace pith
