// The planners against all plans there are: small random problems with overlaps, views, alignments and fixed buffers
// are solved by trying every offset, and the exact planner must find the same peak and say that it is proven.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <iostream>

#include "base/random.h"
#include "compile/plan_csv.h"
#include "compile/plan_memory.h"

namespace pith {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 1;
}

// The distance that `above` must keep from `below`.
int64_t needed(const PlanProblem& p, size_t below, size_t above) {
  int64_t distance = p.buffers[below].size;
  for (const BufferOverlap& o : p.overlaps)
    if (o.below == below && o.above == above) distance = std::min(distance, o.distance);
  return distance;
}

const BufferView* view_of(const PlanProblem& p, size_t i) {
  for (const BufferView& v : p.views)
    if (v.view == i) return &v;
  return nullptr;
}

size_t root_of(const PlanProblem& p, size_t i) {
  const BufferView* v = view_of(p, i);
  return v ? root_of(p, v->parent) : i;
}

bool apart(const PlanProblem& p, size_t a, size_t b, int64_t at_a, int64_t at_b) {
  const Buffer &x = p.buffers[a], &y = p.buffers[b];
  if (x.size == 0 || y.size == 0 || x.upper <= y.lower || y.upper <= x.lower || root_of(p, a) == root_of(p, b)) return true;
  return at_b - at_a >= needed(p, a, b) || at_a - at_b >= needed(p, b, a);
}

// The smallest peak below `limit`, by trying all offsets; parents come before their views.
int64_t smallest_peak(const PlanProblem& p, int64_t limit) {
  std::vector<int64_t> at(p.buffers.size());
  int64_t best = limit;
  const std::function<void(size_t, int64_t)> put = [&](size_t i, int64_t peak) {
    if (i == at.size()) {
      best = std::min(best, peak);
      return;
    }
    const Buffer& b = p.buffers[i];
    const BufferView* view = view_of(p, i);
    int64_t from = 0, to = best - 1;
    if (b.fixed_offset) from = to = *b.fixed_offset;
    if (view) from = to = at[view->parent] + view->offset;
    for (int64_t offset = from; offset <= to; ++offset) {
      const int64_t reached = std::max(peak, b.size > 0 ? offset + b.size : 0);
      if (reached >= best) break;
      if (offset % b.alignment != 0) continue;
      bool fits = true;
      for (size_t k = 0; k < i && fits; ++k) fits = apart(p, k, i, at[k], offset);
      if (!fits) continue;
      at[i] = offset;
      put(i + 1, reached);
    }
  };
  put(0, 0);
  return best;
}

Buffer buffer(std::string name, int64_t lower, int64_t upper, int64_t size, int64_t alignment = 1) {
  return {std::move(name), lower, upper, size, alignment, std::nullopt};
}

PlanProblem random_problem(Random& random, bool extras) {
  PlanProblem p;
  const int64_t count = random.integer(2, extras ? 5 : 6);
  for (int64_t i = 0; i < count; ++i) {
    Buffer b;
    b.name = std::string(1, static_cast<char>('a' + i));
    b.lower = random.integer(0, 5);
    b.upper = b.lower + random.integer(1, 4);
    b.size = random.integer(extras ? 0 : 1, 6);
    if (extras && random.integer(0, 4) == 0) b.alignment = 2;
    if (extras && i == 0 && random.integer(0, 4) == 0) b.fixed_offset = 2 * random.integer(0, 2);
    p.buffers.push_back(b);
  }
  for (size_t i = 0; extras && i + 1 < p.buffers.size(); ++i) {
    if (random.integer(0, 1) == 0)
      p.overlaps.push_back({i, i + 1, random.integer(0, p.buffers[i].size)});
    else if (random.integer(0, 2) == 0)
      p.overlaps.push_back({i + 1, i, random.integer(0, p.buffers[i + 1].size)});
  }
  if (extras && random.integer(0, 2) == 0) {
    const size_t view = p.buffers.size() - 1, parent = view - 1;
    Buffer& v = p.buffers[view];
    v.alignment = 1;
    v.size = random.integer(0, p.buffers[parent].size);
    std::erase_if(p.overlaps, [&](const BufferOverlap& o) { return o.below == view || o.above == view; });
    p.views.push_back({view, parent, random.integer(0, p.buffers[parent].size - v.size)});
  }
  return p;
}

TEST(PlanExact, FindsTheSmallestPeak) {
  std::cout << "PITH_SEED=" << seed() << "\n";
  Random random(seed());
  for (int round = 0; round < 400; ++round) {
    const PlanProblem p = random_problem(random, false);
    const Result<Plan> plan = plan_exact(p);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    ASSERT_TRUE(check_plan(p, *plan).ok()) << check_plan(p, *plan).error().message;
    EXPECT_TRUE(plan->proven_optimal) << print_plan(p, *plan);
    EXPECT_EQ(plan->peak, smallest_peak(p, plan->peak + 1)) << "round " << round << "\n" << print_plan(p, *plan);
  }
}

// Rectangles cut out of one: what was cut fits together again, and greedy orders rarely see how.
TEST(PlanExact, PutsACutRectangleTogether) {
  std::cout << "PITH_SEED=" << seed() << "\n";
  Random random(seed());
  int improved = 0, whole = 0;
  for (int round = 0; round < 12; ++round) {
    PlanProblem p;
    const std::function<void(int64_t, int64_t, int64_t, int)> cut = [&](int64_t lower, int64_t upper, int64_t size, int depth) {
      if (depth == 0 || upper - lower < 2 || size < 2) return p.buffers.push_back(buffer(std::to_string(p.buffers.size()), lower, upper, size));
      if (upper - lower >= 3 && size >= 3 && random.integer(0, 2) == 0) {  // a pinwheel around a middle piece
        const int64_t x1 = random.integer(lower + 1, upper - 2), x2 = random.integer(x1 + 1, upper - 1);
        const int64_t y1 = random.integer(1, size - 2), y2 = random.integer(y1 + 1, size - 1);
        cut(lower, x2, y1, depth - 1);
        cut(x2, upper, y2, depth - 1);
        cut(x1, upper, size - y2, depth - 1);
        cut(lower, x1, size - y1, depth - 1);
        cut(x1, x2, y2 - y1, depth - 1);
      } else if (random.integer(0, 1) == 0) {
        const int64_t at = random.integer(lower + 1, upper - 1);
        cut(lower, at, size, depth - 1);
        cut(at, upper, size, depth - 1);
      } else {
        const int64_t at = random.integer(1, size - 1);
        cut(lower, upper, at, depth - 1);
        cut(lower, upper, size - at, depth - 1);
      }
    };
    cut(0, 60, 1000, 4);
    ExactOptions options;
    options.max_steps = 20000;  // the few that are not put together within it are hard for every planner
    const Result<Plan> plan = plan_exact(p, options), greedy = plan_heuristic(p, {.seed = 1, .rounds = 0});
    ASSERT_TRUE(plan.ok() && greedy.ok());
    EXPECT_TRUE(check_plan(p, *plan).ok());
    EXPECT_LE(plan->peak, 1060) << "round " << round;
    whole += plan->peak == 1000;
    improved += greedy->peak > plan->peak;
  }
  std::cout << improved << " of 12 greedy plans were improved\n";
  EXPECT_GT(improved, 0);
  EXPECT_GE(whole, 8);
}

// With views the search may miss a plan, but what it calls proven is.
TEST(PlanExact, FindsTheSmallestPeakWithOverlapsViewsAndFixedBuffers) {
  std::cout << "PITH_SEED=" << seed() << "\n";
  Random random(seed());
  int proven = 0, refused = 0;
  for (int round = 0; round < 400; ++round) {
    const PlanProblem p = random_problem(random, true);
    const Result<Plan> plan = plan_exact(p);
    if (!plan.ok()) {
      ++refused;
      continue;
    }
    ASSERT_TRUE(check_plan(p, *plan).ok()) << check_plan(p, *plan).error().message;
    const int64_t smallest = smallest_peak(p, plan->peak + 1);
    EXPECT_LE(plan->lower_bound, smallest) << "round " << round << "\n" << print_plan(p, *plan);
    if (plan->proven_optimal) {
      ++proven;
      EXPECT_EQ(plan->peak, smallest) << "round " << round << "\n" << print_plan(p, *plan);
    } else {
      EXPECT_LE(plan->peak - smallest, 2) << "round " << round << "\n" << print_plan(p, *plan);
    }
  }
  EXPECT_GE(proven, 360);
  EXPECT_LE(refused, 20);
}

TEST(PlanExact, RefusesACapacityWithItsReason) {
  PlanProblem p;
  p.buffers = {buffer("x", 0, 2, 64), buffer("y", 1, 3, 32)};
  ExactOptions options;
  options.capacity = 95;
  const Result<Plan> refused = plan_exact(p, options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kDoesNotFit);
  for (const char* part : {"96", "1 more", "'x' (64 bytes)"}) EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
  options.capacity = 96;
  EXPECT_TRUE(plan_exact(p, options).ok());
}

TEST(PlanExact, GivesTheSamePlanAgain) {
  Random random(seed());
  PlanProblem p;
  for (int i = 0; i < 60; ++i) {
    const int64_t lower = random.integer(0, 40);
    p.buffers.push_back(buffer(std::to_string(i), lower, lower + random.integer(1, 12), 16 * random.integer(1, 50)));
  }
  ExactOptions options;
  options.max_steps = 5000;
  const Result<Plan> first = plan_exact(p, options), second = plan_exact(p, options);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->offsets, second->offsets);
  EXPECT_TRUE(check_plan(p, *first).ok());
}

// A few large buffers, of which some may grow into others, under hundreds of small ones with short lives.
PlanProblem large_and_small(Random& random) {
  PlanProblem p;
  for (int i = 0; i < 30; ++i) {
    const int64_t from = random.integer(0, 180), size = 256 * random.integer(8, 80);
    p.buffers.push_back(buffer("large", from, from + random.integer(10, 60), size, 16));
    if (i > 0 && p.buffers[static_cast<size_t>(i)].lower > p.buffers[static_cast<size_t>(i) - 1].lower)
      p.overlaps.push_back({static_cast<size_t>(i), static_cast<size_t>(i) - 1, 16 * random.integer(0, size / 16)});
  }
  for (int i = 0; i < 400; ++i) {
    const int64_t from = random.integer(0, 235);
    p.buffers.push_back(buffer("small", from, from + random.integer(1, 4), 16 * random.integer(1, 20), 16));
  }
  return p;
}

TEST(PlanLargeFirst, IsNeverWorseAndSometimesBetter) {
  ExactOptions options;
  options.max_steps = 500;
  int better = 0;
  for (uint64_t i = 0; i < 8; ++i) {
    Random random(seed() + i);
    const PlanProblem p = large_and_small(random);
    const Result<Plan> all = plan_both_ways(p, options), large = plan_large_first(p, options);
    ASSERT_TRUE(all.ok() && large.ok());
    EXPECT_TRUE(check_plan(p, *large).ok()) << "PITH_SEED=" << seed();
    EXPECT_LE(large->peak, all->peak);
    EXPECT_GE(large->peak, plan_lower_bound(p));
    better += large->peak < all->peak;
  }
  EXPECT_GT(better, 0) << "PITH_SEED=" << seed();
}

TEST(CheckPlan, SeesWhatIsWrong) {
  PlanProblem p;
  p.buffers = {buffer("x", 0, 2, 64), buffer("y", 1, 3, 32, 16)};
  Plan plan{{0, 64}, 96, 96, true};
  EXPECT_TRUE(check_plan(p, plan).ok());
  plan.offsets = {0, 48};
  EXPECT_FALSE(check_plan(p, plan).ok());  // they collide
  plan.offsets = {0, 72};
  EXPECT_FALSE(check_plan(p, plan).ok());  // not aligned
  plan.offsets = {0, 64};
  plan.peak = 80;
  EXPECT_FALSE(check_plan(p, plan).ok());  // the peak is not true
  plan.peak = 96;
  p.overlaps = {{.below = 1, .above = 0, .distance = 0}};
  plan.offsets = {0, 0};
  plan.peak = plan.lower_bound = 64;
  EXPECT_TRUE(check_plan(p, plan).ok());  // y may start where x does
}

TEST(PlanCsv, ComesBackWithOffsets) {
  const Result<PlanTable> table = read_plan_csv("size,id,upper,lower\n64,a,2,0\n32,b,3,1\n");
  ASSERT_TRUE(table.ok());
  const Result<Plan> plan = plan_exact(table->problem);
  ASSERT_TRUE(plan.ok());
  const Result<PlanTable> back = read_plan_csv(write_plan_csv(table->problem, *plan));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->offsets, plan->offsets);
  const Result<PlanTable> bad = read_plan_csv("id,lower,upper,size\na,0,2,64\nb,1,x,32\n");
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find("3"), std::string::npos) << bad.error().message;  // the line
}

}  // namespace
}  // namespace pith
