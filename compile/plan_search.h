// The decision at the heart of exact planning: is there a plan within a capacity?
// Internal to plan_exact; the method is told in plan_search.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "compile/plan_model.h"

namespace pith {

enum class SearchOutcome { kFound, kNone, kStopped };

struct SearchLimits {
  int64_t steps = 0;    // placements left to try; the search counts them down
  double deadline = 0;  // of steady_clock in seconds; 0: none
};

struct SearchResult {
  SearchOutcome outcome = SearchOutcome::kStopped;
  std::vector<int64_t> offsets;  // by block, where found
};

// kNone is a proof where search_is_complete says so.
SearchResult search_plan(const PlanProblem& problem, const PlanModel& model, int64_t capacity, uint64_t seed,
                         SearchLimits& limits);

// One pair of distances says all about each pair of blocks: true without views, and for some views.
bool search_is_complete(const PlanModel& model);

}  // namespace pith
