// See best_code.h.
#include "micro/best_code.h"

#include <algorithm>
#include <optional>

namespace pith {
namespace {

constexpr int64_t kPartWeights = 16384;  // that are tried of a tensor, if it is large
constexpr int64_t kPart = 4;             // but one row of so many at least

// Every so many rows of a problem, or groups of rows where there are several.
class Part {
 public:
  explicit Part(const RoundProblem& p) : problem(p) {
    const int64_t per_group = p.rows / p.groups, unit = p.groups > 1 ? per_group : 1;
    const int64_t step = std::clamp<int64_t>(p.rows * p.row_length / kPartWeights, 1, kPart);
    const size_t share = p.hessian.size() / static_cast<size_t>(p.groups);
    for (int64_t first = 0; first < p.rows; first += step * unit) {
      for (int64_t r = first; r < first + unit; ++r) rows_.push_back(r), take(p.weights, r, p.row_length, weights_), take(p.zeros, r, p.row_length, zeros_), take(p.row_weights, r, 1, row_weights_);
      if (p.groups > 1) take(p.hessian, first / unit, static_cast<int64_t>(share), hessian_);
    }
    problem.rows = static_cast<int64_t>(rows_.size());
    problem.weights = weights_, problem.zeros = zeros_, problem.row_weights = row_weights_;
    if (p.groups > 1) problem.hessian = hessian_, problem.groups = problem.rows / per_group;
    share_ = static_cast<double>(problem.rows) / static_cast<double>(p.rows);
  }
  Part(const Part&) = delete;

  std::vector<int16_t> codes(std::span<const int16_t> of_all) const {
    if (of_all.size() == 1) return {of_all[0]};
    std::vector<int16_t> found;
    for (int64_t r : rows_) found.push_back(of_all[static_cast<size_t>(r)]);
    return found;
  }
  bool is_all() const { return share_ == 1; }
  // A table serves all rows.
  double paid(const Rounded& r) const { return r.distortion + problem.lambda * (r.bits - (1 - share_) * level_bits(r.levels)); }

  RoundProblem problem;  // without scales

 private:
  template <typename T>
  static void take(std::span<const T> from, int64_t index, int64_t size, std::vector<T>& to) {
    if (!from.empty()) to.insert(to.end(), from.begin() + index * size, from.begin() + (index + 1) * size);
  }
  std::vector<int64_t> rows_;
  std::vector<double> weights_, hessian_, row_weights_;
  std::vector<uint8_t> zeros_;
  double share_ = 1;
};

RoundProblem coded(const RoundProblem& p, std::span<const int16_t> scale_codes, bool trellis, const coding::Levels& levels = {}) {
  RoundProblem q = p;
  q.scale_codes = scale_codes;
  q.trellis = trellis;
  q.levels = levels;
  return q;
}

std::vector<int16_t> finer(std::span<const int16_t> scale_codes, int by) {
  std::vector<int16_t> found;
  for (int16_t code : scale_codes) found.push_back(static_cast<int16_t>(code - by));
  return found;
}

}  // namespace

Result<Rounded> round_in_best_code(const RoundProblem& grid, std::span<const int16_t> trellis_codes, const WeightCodes& may_be) {
  if (!may_be.paths && !may_be.levels) return round_for_rate(grid);
  const Part part(grid);
  const std::vector<int16_t> of_grid = part.codes(grid.scale_codes), of_path = part.codes(trellis_codes);
  Factors factors;
  std::vector<Tried> tried;
  if (!may_be.paths) {
    PITH_TRY(tried, round_together({coded(part.problem, of_grid, false)}, factors));
  } else {
    PITH_TRY(tried, round_together({coded(part.problem, of_grid, false), coded(part.problem, of_path, true)}, factors));
  }
  const bool path = tried.size() > 1 && part.paid(tried[1].rounded) < part.paid(tried[0].rounded);
  Tried best = std::move(tried[path]);
  RoundProblem whole = coded(grid, path ? trellis_codes : grid.scale_codes, path);
  std::vector<int16_t> fine;
  const auto learned = may_be.levels ? learn_levels(best.sums, largest_multiple(whole), grid.lambda) : std::nullopt;
  if (learned) {
    const std::vector<int16_t> part_fine = finer(path ? of_path : of_grid, learned->finer);
    PITH_TRY(std::vector<Tried> leveled, round_together({coded(part.problem, part_fine, path, learned->levels)}, factors));
    if (part.paid(leveled[0].rounded) < part.paid(best.rounded)) {
      fine = finer(whole.scale_codes, learned->finer);
      whole = coded(grid, fine, path, learned->levels);
      best = std::move(leveled[0]);
    }
  }
  if (part.is_all()) return std::move(best.rounded);
  PITH_TRY(std::vector<Tried> all, round_together({whole}, factors));
  return std::move(all[0].rounded);
}

}  // namespace pith
