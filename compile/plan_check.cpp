// The judge of a plan, and its printer. Deliberately plain and apart from the planners: it looks at buffers, views and
// overlaps as they were given, pair by pair, and shares no code with what it judges.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "compile/plan_memory.h"

namespace pith {
namespace {

std::string described(const PlanProblem& problem, const Plan& plan, size_t i) {
  const Buffer& b = problem.buffers[i];
  return fmt::format("'{}' (#{}, time {} to {}, bytes {} to {})", b.name, i, b.lower, b.upper, plan.offsets[i],
                     plan.offsets[i] + b.size);
}

// The top of each buffer's ladder of parents: buffers of one ladder may share bytes.
std::vector<size_t> families(const PlanProblem& problem) {
  std::vector<size_t> family(problem.buffers.size());
  std::iota(family.begin(), family.end(), size_t{0});
  for (bool changed = true; changed;) {
    changed = false;
    for (const BufferView& v : problem.views) {
      const size_t lowest = std::min(family[v.view], family[v.parent]);
      changed |= family[v.view] != lowest || family[v.parent] != lowest;
      family[v.view] = family[v.parent] = lowest;
    }
  }
  return family;
}

// May `above` start where it does, although `below` starts no higher and reaches beyond that?
bool allowed(const PlanProblem& problem, const Plan& plan, size_t below, size_t above) {
  if (plan.offsets[above] - plan.offsets[below] >= problem.buffers[below].size) return true;
  return std::any_of(problem.overlaps.begin(), problem.overlaps.end(), [&](const BufferOverlap& o) {
    return o.below == below && o.above == above && plan.offsets[above] - plan.offsets[below] >= o.distance;
  });
}

Result<void> check_each(const PlanProblem& problem, const Plan& plan) {
  int64_t peak = 0;
  for (size_t i = 0; i < problem.buffers.size(); ++i) {
    const Buffer& b = problem.buffers[i];
    const int64_t offset = plan.offsets[i];
    if (offset < 0 || offset > INT64_MAX / 2)
      return internal_error(fmt::format("the plan puts '{}' (#{}) at offset {}, out of range", b.name, i, offset));
    if (offset % b.alignment != 0)
      return internal_error(fmt::format("the plan puts '{}' (#{}) at offset {}, which is not aligned to {}", b.name, i,
                                        offset, b.alignment));
    if (b.fixed_offset && offset != *b.fixed_offset)
      return internal_error(fmt::format("the plan puts '{}' (#{}) at offset {}, but it is fixed at {}", b.name, i,
                                        offset, *b.fixed_offset));
    if (b.size > 0) peak = std::max(peak, offset + b.size);
  }
  for (const BufferView& v : problem.views) {
    if (plan.offsets[v.view] - plan.offsets[v.parent] != v.offset)
      return internal_error(fmt::format("the plan puts the view {} not {} bytes into {}",
                                        described(problem, plan, v.view), v.offset,
                                        described(problem, plan, v.parent)));
  }
  if (plan.peak != peak)
    return internal_error(fmt::format("the plan states a peak of {} bytes, but its buffers reach {}", plan.peak, peak));
  if (plan.lower_bound > peak)
    return internal_error(
        fmt::format("the plan states a lower bound of {} bytes, above its peak of {}", plan.lower_bound, peak));
  if (plan.proven_optimal && plan.lower_bound != peak)
    return internal_error(
        fmt::format("the plan claims to be optimal at {} bytes with a lower bound of {}", peak, plan.lower_bound));
  return {};
}

// 1234567 as "1,234,567".
std::string thousands(int64_t x) {
  const std::string digits = std::to_string(x);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

}  // namespace

Result<void> check_plan(const PlanProblem& problem, const Plan& plan) {
  PITH_CHECK_OK(check_problem(problem));
  if (plan.offsets.size() != problem.buffers.size())
    return internal_error(
        fmt::format("the plan has {} offsets for {} buffers", plan.offsets.size(), problem.buffers.size()));
  PITH_CHECK_OK(check_each(problem, plan));
  const std::vector<size_t> family = families(problem);
  for (size_t i = 0; i < problem.buffers.size(); ++i) {
    for (size_t j = i + 1; j < problem.buffers.size(); ++j) {
      const Buffer &a = problem.buffers[i], &b = problem.buffers[j];
      if (a.size == 0 || b.size == 0 || a.upper <= b.lower || b.upper <= a.lower || family[i] == family[j]) continue;
      if (!allowed(problem, plan, i, j) && !allowed(problem, plan, j, i))
        return internal_error(
            fmt::format("the plan makes {} collide with {}", described(problem, plan, i), described(problem, plan, j)));
    }
  }
  return {};
}

std::string print_plan(const PlanProblem& problem, const Plan& plan) {
  const std::vector<Buffer>& buffers = problem.buffers;
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(plan.offsets[a], buffers[a].lower) < std::pair(plan.offsets[b], buffers[b].lower);
  });
  size_t width = 6;
  for (const Buffer& b : buffers) width = std::max(width, b.name.size());
  std::string text =
      fmt::format("{:<{}} {:>15} {:>15} {:>10} {:>10}\n", "buffer", width, "offset", "bytes", "from", "to");
  for (const size_t i : order)
    text += fmt::format("{:<{}} {:>15} {:>15} {:>10} {:>10}\n", buffers[i].name, width, thousands(plan.offsets[i]),
                        thousands(buffers[i].size), buffers[i].lower, buffers[i].upper);
  text += fmt::format("peak {} bytes, lower bound {}{}\n", thousands(plan.peak), thousands(plan.lower_bound),
                      plan.proven_optimal ? ": optimal" : "");
  const auto top = std::find_if(order.begin(), order.end(), [&](size_t i) {
    return buffers[i].size > 0 && plan.offsets[i] + buffers[i].size == plan.peak;
  });
  if (top == order.end()) return text;
  text += fmt::format("the peak is reached by '{}' at time {}; alive then:\n", buffers[*top].name, buffers[*top].lower);
  for (const size_t i : order)
    if (buffers[i].lower <= buffers[*top].lower && buffers[*top].lower < buffers[i].upper && buffers[i].size > 0)
      text += fmt::format("  {:<{}} {:>15} bytes at {}\n", buffers[i].name, width, thousands(buffers[i].size),
                          thousands(plan.offsets[i]));
  return text;
}

}  // namespace pith
