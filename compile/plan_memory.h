// Static memory planning: an offset for every buffer, so that buffers that live at the same time do not collide.
//
// Why: RAM must be known before a network runs. All lifetimes are known at compile time, so the arena is a packing of
// rectangles (time x bytes) whose place in time is fixed and whose address is ours to choose ("dynamic storage
// allocation", NP-hard; Garey and Johnson, SR2). `plan_heuristic` is fast and good; `plan_exact` searches
// for the smallest arena, or for one of a given capacity, and says whether its answer is proven.
//
//   PlanProblem problem;
//   problem.buffers = {{.name = "x", .lower = 0, .upper = 2, .size = 64}, {.name = "y", .lower = 1, .upper = 3, .size =
//   32}}; problem.overlaps = {{.below = 1, .above = 0, .distance = 0}};  // y may be written over x: y = relu(x)
//   PITH_TRY(const Plan plan, plan_exact(problem));
//   PITH_CHECK_OK(check_plan(problem, plan));
//
// A buffer that an op reads and one that it writes are both alive during that op: with one tick per op, the input
// of op t has upper >= t + 1 and its output has lower <= t.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace pith {

// `size` bytes (0 is allowed) that are in use on the half-open interval of time [lower, upper).
struct Buffer {
  std::string name;
  int64_t lower = 0, upper = 0, size = 0;
  int64_t alignment = 1;                // the offset is a multiple of this (at least 1)
  std::optional<int64_t> fixed_offset;  // the address, where it is not ours to choose
};

// Allowed overlap of two buffers that live at the same time. Two buffers are always apart enough when
//   offset(above) - offset(below) >= size(below);
// this says that for this pair, in this direction, `distance` suffices (0 <= distance <= size(below)). So for an op
// that reads its dying input and writes its output in ascending order:
//   in place, element by element:  {.below = output, .above = input, .distance = 0}
//   diagonal (the output grows by `lead` bytes more than was read):  the same with .distance = lead
// and with below and above exchanged for an op that runs in descending order. Both directions may be given.
struct BufferOverlap {
  size_t below = 0, above = 0;  // indices into PlanProblem::buffers
  int64_t distance = 0;
};

// `view` is the bytes [offset, offset + size(view)) of `parent`: the input of a concat that is written in
// place, or a slice that is read in place. Views of views are allowed. Parent and views never collide with each
// other, and each holds its own bytes for its own lifetime only.
struct BufferView {
  size_t view = 0, parent = 0;
  int64_t offset = 0;
};

struct PlanProblem {
  std::vector<Buffer> buffers;
  std::vector<BufferOverlap> overlaps;
  std::vector<BufferView> views;
};

struct Plan {
  std::vector<int64_t> offsets;  // as `buffers`
  int64_t peak = 0;              // the arena's bytes: the largest offset + size
  int64_t lower_bound = 0;       // no plan has a smaller peak than this
  bool proven_optimal = false;   // peak == lower_bound
};

struct HeuristicOptions {
  uint64_t seed = 1;
  int64_t rounds = 400;  // of local search over the greedy orders; 0 takes the best greedy order
};

// Without `capacity`: the smallest arena. With it: any plan that fits.
struct ExactOptions {
  std::optional<int64_t> capacity;
  int64_t max_steps = 2'000'000;  // placements tried: the same limit gives the same plan on every machine
  double max_seconds = 0;         // also stop by the clock (0: no); plans then depend on the machine's speed
  uint64_t seed = 1;
};

// The problem itself makes sense: lower < upper, sizes and alignments in range, indices valid, views inside their
// parents, ... The planners call it first. Error kUsage names the buffer.
Result<void> check_problem(const PlanProblem& problem);

// A bound from below: the most bytes alive at once, allowed overlaps deducted. `problem` has passed check_problem.
int64_t plan_lower_bound(const PlanProblem& problem);

// The best of several greedy orders (size, area, lifetime, breadth; first and best fit), improved by seeded local
// search.
Result<Plan> plan_heuristic(const PlanProblem& problem, const HeuristicOptions& options = {});

// Branch and bound. Where the limit stops it the best plan so far comes back with proven_optimal false.
// Error kDoesNotFit: no plan of `capacity` exists, or (the message says so) none was found within the limit.
Result<Plan> plan_exact(const PlanProblem& problem, const ExactOptions& options = {});

// plan_exact, and where that proves nothing and there are overlaps, the same upside down (plan_large.cpp).
Result<Plan> plan_both_ways(const PlanProblem& problem, const ExactOptions& options);
// plan_both_ways, and where that proves nothing, the large buffers first and the others around them (plan_large.cpp).
Result<Plan> plan_large_first(const PlanProblem& problem, const ExactOptions& options);

// Independent of the planners: every pair of buffers apart, offsets aligned, fixed ones and views where they must be,
// the peak true. Error kInternal names the pair.
Result<void> check_plan(const PlanProblem& problem, const Plan& plan);

// One line per buffer, by address, then the peak, the lower bound and the moment of the peak with the buffers that make
// it.
std::string print_plan(const PlanProblem& problem, const Plan& plan);

}  // namespace pith
