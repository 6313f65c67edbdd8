// MiniMalloc's CSV files: buffers in, offsets out.
//
// Why: a planner that reads the common exchange format serves other compilers too, and can be measured on the public
// instances (github.com/google/minimalloc, README: columns id, lower, upper, size; the answer adds offset).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "compile/plan_memory.h"

namespace pith {

struct PlanTable {
  PlanProblem problem;
  std::vector<int64_t> offsets;  // of the column `offset`, where the file has one; else empty
};

// The first line names the columns, in any order: id, lower, upper, size and, optionally, alignment and offset.
// Errors name the line. `path` is only for the messages.
Result<PlanTable> read_plan_csv(std::string_view text, const std::string& path = "the CSV");

// id,lower,upper,size[,alignment],offset: the same rows in the same order. `alignment` appears when any is not 1.
std::string write_plan_csv(const PlanProblem& problem, const Plan& plan);

}  // namespace pith
