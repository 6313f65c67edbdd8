// The planners' common view of a problem: rigid blocks, and for each pair of blocks the distances that collide.
//
// Why: views, allowed overlaps, lifetimes and sizes all come down to one kind of fact: "offset(i) - offset(j) must not
// lie strictly between low and high". A block is a root buffer with all its views, which move together. Two plain
// buffers give one interval (-size(i), size(j)); an allowed overlap shortens one end; blocks with views give several
// intervals, because one may fit between the views of the other.
// Internal to the planners (the checker does not use it).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "compile/plan_memory.h"

namespace pith {

struct BlockMember {
  size_t buffer = 0;
  int64_t shift = 0;  // offset(buffer) - offset(block)
};

// offset(this block) - offset(other) must not lie strictly between low and high.
struct Forbidden {
  size_t other = 0;
  int64_t low = 0, high = 0;
};

struct Block {
  std::vector<BlockMember> members;  // the root first, at shift 0
  std::vector<Forbidden> forbidden;  // sorted by other, then low; disjoint
  int64_t lower = 0, upper = 0;      // from the first member's birth to the last one's death
  int64_t height = 0;                // the root's size
  int64_t alignment = 1;             // the least common multiple over the members
  std::optional<int64_t> fixed;
};

struct PlanModel {
  std::vector<Block> blocks;
  int64_t grain = 1;  // every offset of every buffer is a multiple of this
};

// `problem` has passed check_problem.
PlanModel build_plan_model(const PlanProblem& problem);

// The root and shift of every buffer (itself and 0 where it is no view).
struct ViewRoot {
  size_t root = 0;
  int64_t shift = 0;
};
std::vector<ViewRoot> view_roots(const PlanProblem& problem);

// Fills in offsets and peak from the blocks' offsets; lower_bound from plan_lower_bound, or `bound` where that is
// larger.
Plan make_plan(const PlanProblem& problem, const PlanModel& model, const std::vector<int64_t>& block_offsets,
               int64_t bound = 0);

// Offsets never exceed this in any plan of a problem that has passed check_problem: sums cannot overflow.
inline constexpr int64_t kPlanLimit = INT64_MAX / 4;

// plan_lower_bound with its reason: the moment at which so many bytes are alive (or the birth of a fixed buffer that
// reaches so high).
struct FullestMoment {
  int64_t bytes = 0, time = 0;
};
FullestMoment fullest_moment(const PlanProblem& problem);

// Bytes covered by the spans [from, to) with 0 <= from.
int64_t union_length(std::vector<std::pair<int64_t, int64_t>> spans);

// The most bytes that the pair can share, sizes and distance rounded up to the grain.
int64_t shareable(const PlanProblem& problem, const BufferOverlap& overlap, int64_t grain);

// Rounds x up to a multiple of `unit`; 0 <= x <= 2 * kPlanLimit, 1 <= unit <= kPlanLimit.
inline int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

}  // namespace pith
