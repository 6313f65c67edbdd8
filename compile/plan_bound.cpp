// The bound from below on the arena.
//
// At any moment the live buffers occupy disjoint bytes but for allowed overlaps, so the arena holds at least
// the sum of their sizes, less what each overlapping pair can share (Bonferroni: a union is at least the sum less the
// pairwise intersections), views of one parent counted by their union. Where all alignments have a common divisor g,
// every offset is a multiple of g, so sizes count rounded up to g, except that of the topmost buffer.
#include <algorithm>
#include <numeric>
#include <tuple>

#include "compile/plan_memory.h"
#include "compile/plan_model.h"

namespace pith {
namespace {

// The most that a pair can share, given that `below` may come as near as `distance`.
struct Sharing {
  size_t a, b;
  int64_t bytes;
};

std::vector<Sharing> sharings(const PlanProblem& problem, int64_t grain) {
  std::vector<Sharing> list;
  for (const BufferOverlap& o : problem.overlaps) {
    list.push_back({std::min(o.below, o.above), std::max(o.below, o.above), shareable(problem, o, grain)});
  }
  std::sort(list.begin(), list.end(), [](const Sharing& x, const Sharing& y) {
    return std::tuple(x.a, x.b, -x.bytes) < std::tuple(y.a, y.b, -y.bytes);
  });
  const auto same = [](const Sharing& x, const Sharing& y) { return x.a == y.a && x.b == y.b; };
  list.erase(std::unique(list.begin(), list.end(), same), list.end());
  return list;
}

// The sum over the live buffers in whole grains, views of one root by their union; the topmost needs no padding.
int64_t bytes_alive(const PlanProblem& problem, const std::vector<ViewRoot>& roots, const std::vector<size_t>& live,
                    int64_t grain) {
  std::vector<std::pair<size_t, std::pair<int64_t, int64_t>>> spans;  // (root, bytes of it)
  int64_t padding = 0;
  for (const size_t i : live) {
    const int64_t end = roots[i].shift + problem.buffers[i].size;
    if (problem.buffers[i].size == 0) continue;
    spans.push_back({roots[i].root, {roots[i].shift / grain * grain, round_up(end, grain)}});
    padding = std::max(padding, round_up(end, grain) - end);
  }
  std::sort(spans.begin(), spans.end());
  int64_t sum = 0;
  for (size_t from = 0, to = 0; from < spans.size(); from = to) {
    std::vector<std::pair<int64_t, int64_t>> one_root;
    for (; to < spans.size() && spans[to].first == spans[from].first; ++to) one_root.push_back(spans[to].second);
    sum += union_length(std::move(one_root));
  }
  return sum - padding;
}

}  // namespace

int64_t union_length(std::vector<std::pair<int64_t, int64_t>> spans) {
  std::sort(spans.begin(), spans.end());
  int64_t total = 0, end = 0;
  for (const auto& [from, to] : spans) {
    total += std::max<int64_t>(0, to - std::max(from, end));
    end = std::max(end, to);
  }
  return total;
}

int64_t shareable(const PlanProblem& problem, const BufferOverlap& overlap, int64_t grain) {
  const int64_t below = round_up(problem.buffers[overlap.below].size, grain);
  const int64_t above = round_up(problem.buffers[overlap.above].size, grain);
  return std::max<int64_t>(0, std::min(above, below - round_up(overlap.distance, grain)));
}

FullestMoment fullest_moment(const PlanProblem& problem) {
  const std::vector<Buffer>& buffers = problem.buffers;
  FullestMoment fullest;
  int64_t grain = 0;
  for (const Buffer& b : buffers) {
    grain = std::gcd(grain, b.alignment);
    if (b.fixed_offset && b.size > 0 && *b.fixed_offset + b.size > fullest.bytes)
      fullest = {*b.fixed_offset + b.size, b.lower};
  }
  grain = std::max<int64_t>(grain, 1);
  const std::vector<ViewRoot> roots = view_roots(problem);
  const std::vector<Sharing> shared = sharings(problem, grain);
  std::vector<size_t> by_birth(buffers.size());
  std::iota(by_birth.begin(), by_birth.end(), size_t{0});
  std::stable_sort(by_birth.begin(), by_birth.end(),
                   [&](size_t a, size_t b) { return buffers[a].lower < buffers[b].lower; });

  std::vector<size_t> live;
  std::vector<char> is_live(buffers.size(), 0);
  for (size_t at = 0; at < by_birth.size();) {
    const int64_t now = buffers[by_birth[at]].lower;
    for (const size_t i : live) is_live[i] = buffers[i].upper > now;
    std::erase_if(live, [&](size_t i) { return !is_live[i]; });
    for (; at < by_birth.size() && buffers[by_birth[at]].lower == now; ++at) {
      live.push_back(by_birth[at]);
      is_live[by_birth[at]] = 1;
    }
    int64_t bytes = bytes_alive(problem, roots, live, grain);
    for (const Sharing& s : shared)
      if (is_live[s.a] && is_live[s.b] && roots[s.a].root != roots[s.b].root) bytes -= s.bytes;
    for (const size_t i : live) bytes = std::max(bytes, roots[i].shift + buffers[i].size);
    if (bytes > fullest.bytes) fullest = {bytes, now};
  }
  return fullest;
}

int64_t plan_lower_bound(const PlanProblem& problem) { return fullest_moment(problem).bytes; }

}  // namespace pith
