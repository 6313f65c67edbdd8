// From buffers, views and overlaps to blocks and forbidden distances (see plan_model.h).
#include "compile/plan_model.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace pith {
namespace {

using Pair = std::pair<size_t, size_t>;

// The shortest allowed distance from the lower one's offset to the upper one's.
int64_t distance(const PlanProblem& problem, const std::map<Pair, int64_t>& overlaps, size_t below, size_t above) {
  const auto found = overlaps.find({below, above});
  return found == overlaps.end() ? problem.buffers[below].size : found->second;
}

// Every pair of non-empty buffers that live at the same time, by a sweep over their births.
std::vector<Pair> pairs_alive_together(const PlanProblem& problem) {
  const std::vector<Buffer>& buffers = problem.buffers;
  std::vector<size_t> by_birth;
  for (size_t i = 0; i < buffers.size(); ++i)
    if (buffers[i].size > 0) by_birth.push_back(i);
  std::stable_sort(by_birth.begin(), by_birth.end(),
                   [&](size_t a, size_t b) { return buffers[a].lower < buffers[b].lower; });
  std::vector<Pair> pairs;
  std::vector<size_t> live;
  for (const size_t i : by_birth) {
    std::erase_if(live, [&](size_t j) { return buffers[j].upper <= buffers[i].lower; });
    for (const size_t j : live) pairs.push_back({j, i});
    live.push_back(i);
  }
  return pairs;
}

// Sorts, and merges intervals that leave no integer between them.
void tidy(std::vector<Forbidden>& list) {
  std::sort(list.begin(), list.end(), [](const Forbidden& a, const Forbidden& b) {
    return std::pair(a.other, a.low) < std::pair(b.other, b.low);
  });
  size_t kept = 0;
  for (const Forbidden& f : list) {
    if (kept > 0 && list[kept - 1].other == f.other && f.low < list[kept - 1].high)
      list[kept - 1].high = std::max(list[kept - 1].high, f.high);
    else
      list[kept++] = f;
  }
  list.resize(kept);
}

}  // namespace

std::vector<ViewRoot> view_roots(const PlanProblem& problem) {
  std::vector<const BufferView*> up(problem.buffers.size(), nullptr);
  for (const BufferView& v : problem.views) up[v.view] = &v;
  std::vector<ViewRoot> roots(problem.buffers.size());
  for (size_t i = 0; i < roots.size(); ++i) {
    roots[i] = {i, 0};
    while (up[roots[i].root]) roots[i] = {up[roots[i].root]->parent, roots[i].shift + up[roots[i].root]->offset};
  }
  return roots;
}

PlanModel build_plan_model(const PlanProblem& problem) {
  PlanModel model;
  const std::vector<ViewRoot> roots = view_roots(problem);
  std::vector<size_t> block_of(problem.buffers.size());
  for (size_t i = 0; i < roots.size(); ++i) {
    if (roots[i].root != i) continue;
    const Buffer& b = problem.buffers[i];
    block_of[i] = model.blocks.size();
    model.blocks.push_back({{{i, 0}}, {}, b.lower, b.upper, b.size, b.alignment, b.fixed_offset});
  }
  int64_t grain = 0;
  for (size_t i = 0; i < roots.size(); ++i) {
    const Buffer& b = problem.buffers[i];
    grain = std::gcd(grain, b.alignment);
    block_of[i] = block_of[roots[i].root];
    Block& block = model.blocks[block_of[i]];
    if (roots[i].root != i) block.members.push_back({i, roots[i].shift});
    block.lower = std::min(block.lower, b.lower);
    block.upper = std::max(block.upper, b.upper);
    block.alignment = block.alignment / std::gcd(block.alignment, b.alignment) * b.alignment;
  }
  model.grain = std::max<int64_t>(grain, 1);

  std::map<Pair, int64_t> overlaps;
  for (const BufferOverlap& o : problem.overlaps) {
    const auto [entry, is_new] = overlaps.insert({{o.below, o.above}, o.distance});
    entry->second = std::min(entry->second, o.distance);
  }
  for (const auto& [i, j] : pairs_alive_together(problem)) {
    if (block_of[i] == block_of[j]) continue;
    const int64_t shift = roots[j].shift - roots[i].shift;
    const int64_t low = shift - distance(problem, overlaps, i, j), high = shift + distance(problem, overlaps, j, i);
    if (high - low < 2) continue;
    model.blocks[block_of[i]].forbidden.push_back({block_of[j], low, high});
    model.blocks[block_of[j]].forbidden.push_back({block_of[i], -high, -low});
  }
  for (Block& block : model.blocks) tidy(block.forbidden);
  return model;
}

Plan make_plan(const PlanProblem& problem, const PlanModel& model, const std::vector<int64_t>& block_offsets,
               int64_t bound) {
  Plan plan;
  plan.offsets.resize(problem.buffers.size());
  for (size_t b = 0; b < model.blocks.size(); ++b) {
    for (const BlockMember& m : model.blocks[b].members) {
      plan.offsets[m.buffer] = block_offsets[b] + m.shift;
      if (problem.buffers[m.buffer].size > 0)
        plan.peak = std::max(plan.peak, plan.offsets[m.buffer] + problem.buffers[m.buffer].size);
    }
  }
  plan.lower_bound = std::max(bound, plan_lower_bound(problem));
  plan.proven_optimal = plan.peak == plan.lower_bound;
  return plan;
}

}  // namespace pith
