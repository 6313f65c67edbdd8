// See allocate.h.
#include "base/allocate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace pith {
namespace {

using Weight = std::function<double(const Spent&)>;

// The hull under a scalar cost: options sorted by cost, of which those stay that no chord lies below.
std::vector<size_t> hull(const std::vector<Option>& options, const Weight& cost) {
  std::vector<size_t> order(options.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const double ca = cost(options[a].spent), cb = cost(options[b].spent);
    return ca != cb ? ca > cb : options[a].loss < options[b].loss;
  });
  const size_t best = static_cast<size_t>(std::min_element(order.begin(), order.end(), [&](size_t a, size_t b) { return options[a].loss < options[b].loss; }) - order.begin());
  std::vector<size_t> kept;
  for (size_t i = best; i < order.size(); ++i) {
    const Option& o = options[order[i]];
    if (!kept.empty() && cost(o.spent) >= cost(options[kept.back()].spent)) continue;
    const auto slope = [&](size_t from) { return (o.loss - options[from].loss) / (cost(options[from].spent) - cost(o.spent)); };
    while (kept.size() > 1) {
      const Option &a = options[kept[kept.size() - 2]], &b = options[kept.back()];
      const double before = (b.loss - a.loss) / (cost(a.spent) - cost(b.spent));
      if (slope(kept.back()) > before) break;
      kept.pop_back();
    }
    kept.push_back(order[i]);
  }
  return kept;
}

// A sum in which one part spends something else.
Spent exchanged(Spent sum, const Spent& before, const Spent& after) {
  sum.bytes += after.bytes - before.bytes, sum.ram += after.ram - before.ram, sum.macs += after.macs - before.macs;
  return sum;
}

void account(const std::vector<Unit>& units, Allocation& a) {
  a.spent = {};
  a.loss = 0;
  for (size_t u = 0; u < units.size(); ++u) {
    const Option& o = units[u].options[a.option[u]];
    a.spent.bytes += o.spent.bytes, a.spent.ram += o.spent.ram, a.spent.macs += o.spent.macs;
    a.loss += o.loss;
  }
}

// The step of least loss added for what it frees, among all units. No step left: unit == units.size().
struct Step {
  size_t unit, option;
  double slope;
};
using Freed = std::function<double(const Spent& before, const Spent& after)>;
Step cheapest(const std::vector<Unit>& units, const Allocation& a, const Freed& frees) {
  Step best{units.size(), 0, std::numeric_limits<double>::infinity()};
  for (size_t u = 0; u < units.size(); ++u) {
    const Option& now = units[u].options[a.option[u]];
    for (size_t i = 0; i < units[u].options.size(); ++i) {
      const Option& o = units[u].options[i];
      const double freed = frees(now.spent, o.spent);
      if (freed <= 0) continue;
      const double slope = (o.loss - now.loss) / freed;
      if (slope < best.slope) best = {u, i, slope};
    }
  }
  return best;
}

// By how much, in shares of the limits, a sum is above them.
double excess(const Spent& s, const Limits& limits) {
  const auto over = [](double spent, double limit) { return limit < 0 || spent <= limit ? 0.0 : (spent - limit) / std::max(limit, 1.0); };
  return over(s.bytes, limits.bytes) + over(s.ram, limits.ram) + over(s.macs, limits.macs);
}

Allocation least_loss(const std::vector<Unit>& units, const Weight& cost) {
  Allocation a;
  for (const Unit& u : units) a.option.push_back(hull(u.options, cost).front());
  account(units, a);
  return a;
}

double bytes_of(const Spent& s) { return s.bytes; }

Error too_much(const Spent& spent, const Limits& limits) {
  const bool bytes = limits.bytes >= 0 && spent.bytes > limits.bytes, ram = limits.ram >= 0 && spent.ram > limits.ram;
  const double missing = bytes ? spent.bytes - limits.bytes : ram ? spent.ram - limits.ram : spent.macs - limits.macs;
  return error(ErrorCode::kDoesNotFit, fmt::format("no choice gets below the limit: {:.0f} {} are still too many; raise the limit", std::ceil(missing), bytes ? "bytes" : ram ? "bytes of memory" : "multiply-accumulates"));
}

// Along every unit's hull under one cost, all steps in the order of their slopes, until `done` says so; the rest stays.
template <typename Done>
bool walk_hulls(const std::vector<Unit>& units, const Weight& cost, Allocation& a, Done done) {
  std::vector<Step> steps;
  for (size_t u = 0; u < units.size(); ++u) {
    const std::vector<size_t> kept = hull(units[u].options, cost);
    for (size_t i = 1; i < kept.size(); ++i) {
      const Option &before = units[u].options[kept[i - 1]], &after = units[u].options[kept[i]];
      steps.push_back({u, kept[i], (after.loss - before.loss) / (cost(before.spent) - cost(after.spent))});
    }
  }
  std::stable_sort(steps.begin(), steps.end(), [](const Step& x, const Step& y) { return x.slope < y.slope; });
  for (const Step& s : steps) {
    if (done(a)) return true;
    const Option &before = units[s.unit].options[a.option[s.unit]], &after = units[s.unit].options[s.option];
    a.spent = exchanged(a.spent, before.spent, after.spent);
    a.loss += after.loss - before.loss;
    a.option[s.unit] = s.option;
    a.price = s.slope;
  }
  return done(a);
}

// What limits leave goes to single changes that lower the loss, first those that lower it most for what they spend.
void spend_rest(const std::vector<Unit>& units, const Limits& limits, const Weight& cost, Allocation& a) {
  for (;;) {
    const Step best = cheapest(units, a, [&](const Spent& before, const Spent& after) {
      return excess(exchanged(a.spent, before, after), limits) > 0 ? 0.0 : std::max(cost(after) - cost(before), 1e-9);
    });
    if (best.unit == units.size() || best.slope >= 0) return;
    a.option[best.unit] = best.option;
    account(units, a);
  }
}

}  // namespace

std::vector<size_t> lower_hull(const std::vector<Option>& options) { return hull(options, bytes_of); }

// Several limits: each step lessens the excess over all of them together, so there is an end.
Result<Allocation> allocate(const std::vector<Unit>& units, const Limits& limits) {
  const int given = (limits.bytes >= 0) + (limits.ram >= 0) + (limits.macs >= 0);
  const Weight cost = given != 1 || limits.bytes >= 0 ? Weight(bytes_of) : limits.ram >= 0 ? Weight([](const Spent& s) { return s.ram; }) : Weight([](const Spent& s) { return s.macs; });
  Allocation a = least_loss(units, cost);
  if (given == 1 && !walk_hulls(units, cost, a, [&](const Allocation& now) { return excess(now.spent, limits) <= 0; })) return too_much(a.spent, limits);
  for (double over = excess(a.spent, limits); over > 0; over = excess(a.spent, limits)) {
    const Step step = cheapest(units, a, [&](const Spent& before, const Spent& after) { return over - excess(exchanged(a.spent, before, after), limits); });
    if (step.unit == units.size()) return too_much(a.spent, limits);
    a.option[step.unit] = step.option;
    a.price = step.slope;
    account(units, a);
  }
  if (given > 0) spend_rest(units, limits, cost, a);
  return a;
}

std::vector<Allocation> rate_distortion_curve(const std::vector<Unit>& units) {
  Allocation a = least_loss(units, bytes_of);
  std::vector<Allocation> curve;
  walk_hulls(units, bytes_of, a, [&](const Allocation& now) { return curve.push_back(now), false; });
  return curve;
}

}  // namespace pith
