// Fast planning: greedy orders, then local search over orders.
//
// A plan is decoded from an order: blocks are put one by one at an address that is free for their whole lifetime, the
// lowest one (first fit) or the one in the smallest sufficient gap (best fit). The orders are the usual ones: by size,
// by area, by lifetime (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, which
// also gives breadth: the ops with the most live bytes first). First fit reaches every plan in which nothing can sink
// (take the blocks from bottom to top), so a local search over orders can reach an optimum: it moves a block
// of the tower that makes the peak further to the front, and keeps what is no worse.
#include <algorithm>
#include <functional>
#include <numeric>

#include "base/random.h"
#include "compile/plan_memory.h"
#include "compile/plan_model.h"

namespace pith {
namespace {

using Order = std::vector<size_t>;

struct Placement {
  std::vector<int64_t> offsets;  // by block
  int64_t peak = 0;
};

enum class Fit { kFirst, kBest };

// The addresses [from, to] collide.
struct Taken {
  int64_t from, to;
};

int64_t find_gap(std::vector<Taken>& taken, int64_t alignment, Fit fit) {
  std::sort(taken.begin(), taken.end(), [](const Taken& a, const Taken& b) { return a.from < b.from; });
  int64_t at = 0, best = -1, best_slack = INT64_MAX;
  for (const Taken& t : taken) {
    if (t.to < at) continue;
    if (t.from > at) {
      if (fit == Fit::kFirst) return at;
      if (t.from - at < best_slack) best = at, best_slack = t.from - at;
    }
    at = round_up(t.to + 1, alignment);
  }
  return best >= 0 ? best : at;
}

Placement place(const PlanModel& model, const Order& order, Fit fit) {
  Placement p;
  p.offsets.assign(model.blocks.size(), -1);
  for (size_t b = 0; b < model.blocks.size(); ++b)
    if (model.blocks[b].fixed) p.offsets[b] = *model.blocks[b].fixed;
  std::vector<Taken> taken;
  for (const size_t b : order) {
    const Block& block = model.blocks[b];
    if (!block.fixed) {
      taken.clear();
      for (const Forbidden& f : block.forbidden)
        if (p.offsets[f.other] >= 0 && p.offsets[f.other] + f.high > 0)
          taken.push_back({p.offsets[f.other] + f.low + 1, p.offsets[f.other] + f.high - 1});
      p.offsets[b] = find_gap(taken, block.alignment, fit);
    }
    if (block.height > 0) p.peak = std::max(p.peak, p.offsets[b] + block.height);
  }
  return p;
}

// Blocks by falling key; ties by their position.
Order sorted(const PlanModel& model, const std::function<double(const Block&)>& key) {
  std::vector<double> keys;
  for (const Block& b : model.blocks) keys.push_back(key(b));
  Order order(model.blocks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] > keys[b]; });
  return order;
}

// The bytes alive at the fullest moment of each block's life.
std::vector<double> fullest_moments(const PlanModel& model) {
  const std::vector<Block>& blocks = model.blocks;
  std::vector<double> fullest(blocks.size(), 0);
  for (size_t b = 0; b < blocks.size(); ++b) {
    double sum = static_cast<double>(blocks[b].height);  // at its birth
    size_t previous = b;
    for (const Forbidden& f : blocks[b].forbidden) {
      const Block& other = blocks[f.other];
      if (f.other != previous && other.lower <= blocks[b].lower && blocks[b].lower < other.upper)
        sum += static_cast<double>(other.height);
      previous = f.other;
    }
    fullest[b] = std::max(fullest[b], sum);
    for (const Forbidden& f : blocks[b].forbidden)
      if (blocks[f.other].lower <= blocks[b].lower && blocks[b].lower < blocks[f.other].upper)
        fullest[f.other] = std::max(fullest[f.other], sum);
  }
  return fullest;
}

std::vector<Order> greedy_orders(const PlanModel& model) {
  const auto life = [](const Block& b) { return static_cast<double>(b.upper) - static_cast<double>(b.lower); };
  const auto size = [](const Block& b) { return static_cast<double>(b.height); };
  const std::vector<double> fullest = fullest_moments(model);
  const Block* first = model.blocks.data();
  std::vector<Order> orders;
  orders.push_back(sorted(model, size));
  orders.push_back(sorted(model, [&](const Block& b) { return size(b) * life(b); }));
  orders.push_back(sorted(model, life));
  orders.push_back(sorted(model, [&](const Block& b) { return -static_cast<double>(b.lower); }));
  orders.push_back(sorted(model, [&](const Block& b) { return static_cast<double>(b.upper); }));
  Order breadth = orders[0];
  std::stable_sort(breadth.begin(), breadth.end(), [&](size_t a, size_t b) { return fullest[a] > fullest[b]; });
  orders.push_back(breadth);
  orders.push_back(sorted(model, [&](const Block& b) { return fullest[static_cast<size_t>(&b - first)] * life(b); }));
  return orders;
}

// A block of the tower under the peak, chosen at random: from a topmost block down through what it rests on.
size_t pick_from_tower(const PlanModel& model, const Placement& p, Random& random) {
  std::vector<size_t> tower;
  for (size_t b = 0; b < model.blocks.size(); ++b)
    if (p.offsets[b] + model.blocks[b].height == p.peak) tower.push_back(b);
  tower = {tower[static_cast<size_t>(random.integer(0, static_cast<int64_t>(tower.size()) - 1))]};
  for (;;) {
    const size_t top = tower.back();
    std::vector<size_t> rests_on;
    for (const Forbidden& f : model.blocks[top].forbidden)
      if (p.offsets[f.other] < p.offsets[top] &&
          round_up(std::max<int64_t>(0, p.offsets[f.other] + f.high), model.blocks[top].alignment) == p.offsets[top])
        rests_on.push_back(f.other);
    if (rests_on.empty()) break;
    tower.push_back(rests_on[static_cast<size_t>(random.integer(0, static_cast<int64_t>(rests_on.size()) - 1))]);
  }
  return tower[static_cast<size_t>(random.integer(0, static_cast<int64_t>(tower.size()) - 1))];
}

void improve(const PlanModel& model, Order order, Placement& best, int64_t target, int64_t rounds, Random& random) {
  Placement current = place(model, order, Fit::kFirst);
  for (int64_t round = 0; round < rounds && best.peak > target; ++round) {
    const size_t chosen = pick_from_tower(model, current, random);
    const auto from = std::find(order.begin(), order.end(), chosen);
    const auto to = order.begin() + random.integer(0, from - order.begin());
    Order next = order;
    std::rotate(next.begin() + (to - order.begin()), next.begin() + (from - order.begin()),
                next.begin() + (from - order.begin()) + 1);
    Placement p = place(model, next, Fit::kFirst);
    if (p.peak > current.peak) continue;
    order = std::move(next);
    current = std::move(p);
    if (current.peak < best.peak) best = current;
  }
}

}  // namespace

Result<Plan> plan_heuristic(const PlanProblem& problem, const HeuristicOptions& options) {
  PITH_CHECK_OK(check_problem(problem));
  const PlanModel model = build_plan_model(problem);
  if (model.blocks.empty()) return make_plan(problem, model, {});
  const int64_t target = plan_lower_bound(problem);
  Placement best;
  best.peak = INT64_MAX;
  std::vector<Order> starts = greedy_orders(model);
  for (const Order& order : greedy_orders(model)) {
    for (const Fit fit : {Fit::kFirst, Fit::kBest}) {
      Placement p = place(model, order, fit);
      // The same plan as an order for first fit: from bottom to top.
      Order bottom_up = order;
      std::stable_sort(bottom_up.begin(), bottom_up.end(),
                       [&](size_t a, size_t b) { return p.offsets[a] < p.offsets[b]; });
      Placement settled = place(model, bottom_up, Fit::kFirst);
      if (settled.peak < p.peak) p = std::move(settled);
      if (p.peak < best.peak) best = std::move(p);
    }
  }
  Random random(options.seed);
  const auto peak_of = [&](const Order& o) { return place(model, o, Fit::kFirst).peak; };
  std::stable_sort(starts.begin(), starts.end(),
                   [&](const Order& a, const Order& b) { return peak_of(a) < peak_of(b); });
  starts.resize(std::min<size_t>(starts.size(), 3));
  for (const Order& start : starts)
    improve(model, start, best, target, options.rounds / static_cast<int64_t>(starts.size()), random);
  return make_plan(problem, model, best.offsets);
}

}  // namespace pith
