// Which of the codes's codes a tensor's weights take: a grid, the paths of a trellis, or levels learned on either.
//
// Method: each rounds a part of the rows at the same price of a bit, tables counted, and what has the least distortion +
// lambda x bits rounds all of them. Internal to micro/.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "micro/feedback.h"
#include "micro/levels.h"
#include "micro/round.h"

namespace pith {

// On the problem's grid, on the paths of a trellis of other scales, on levels that are learned on the better of these: as far as
// `may_be` has them.
Result<Rounded> round_in_best_code(const RoundProblem& grid, std::span<const int16_t> trellis_codes, const WeightCodes& may_be);

// ---- of round.cpp ----

// The factor made last, which serves as long as a row's weights make up for each other as those of the row before did.
class Factors {
 public:
  Result<const Feedback*> of(std::span<const double> hessian, int64_t n, std::span<const uint8_t> zeros);

 private:
  bool made_ = false;
  std::span<const double> hessian_;
  std::vector<uint8_t> zeros_;
  Feedback feedback_;
};

struct Tried {
  Rounded rounded;
  LevelSums sums;  // in scales
};
// The multiple that is nearest to the largest weight; on a trellis even, so that both grids reach it.
int largest_multiple(const RoundProblem& problem);
// Problems that differ in their codes only, row by row together, so that one factor is there at a time.
Result<std::vector<Tried>> round_together(std::initializer_list<RoundProblem> problems, Factors& factors);

}  // namespace pith
