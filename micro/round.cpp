// See round.h.
#include "micro/round.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/linear.h"
#include "micro/best_code.h"
#include "micro/feedback.h"
#include "micro/levels.h"
#include "micro/trellis.h"
#include "numerics/scale.h"

namespace pith {
namespace {

// One row after the other under a code that learns.
class Rounder {
 public:
  explicit Rounder(const RoundProblem& p) : p_(p), sizes_(p.levels, (1 << (p.bits - 1)) - 1), search_(p.trellis ? p.row_length : 0), model_(std::make_unique<coding::MixedRows>()) {
    const int largest = largest_multiple(p);  // no choice is larger than the nearest one was at first
    limit_ = p.trellis ? std::min(largest, sizes_.largest()) / 2 : largest;  // what the code is told
    model_->begin(static_cast<uint32_t>(limit_), p.shape, p.trellis);
    row_.assign(static_cast<size_t>(p.row_length), 0);
  }

  const LevelSums& sums() const { return sums_; }

  // The row's multiples (indices, on a trellis); adds to the distortion.
  const std::vector<int8_t>& row(int64_t r, const Feedback& feedback, double& distortion) {
    feedback_ = &feedback;
    const double weight = p_.row_weights.empty() ? 1 : p_.row_weights[static_cast<size_t>(r)];
    lambda_ = p_.lambda / weight;
    const auto source = p_.weights.subspan(static_cast<size_t>(r * p_.row_length), static_cast<size_t>(p_.row_length));
    const coding::MixedRows before = *model_;
    coding::BitMeter meter;
    got_ = LevelSums();
    const double lost = coded(source, scale(r), meter);
    const bool nothing = std::all_of(row_.begin(), row_.end(), [](int8_t q) { return q == 0; });
    const double most = lost + lambda_ * meter.bits(), lost_if_empty = nothing ? lost : empty(source, most);
    if (nothing || lost_if_empty <= most) {  // an empty row is one flag, and teaches nothing
      *model_ = before;
      std::fill(row_.begin(), row_.end(), int8_t{0});
      distortion += weight * lost_if_empty;
    } else {
      distortion += weight * lost;
      sums_.add(got_, weight);
    }
    return row_;
  }

 private:
  double scale(int64_t r) const { return numerics::scale_value(p_.scale_codes[p_.scale_codes.size() > 1 ? static_cast<size_t>(r) : 0]); }
  double value(int multiple, double scale) const { return (multiple < 0 ? -sizes_.of(-multiple) : sizes_.of(multiple)) * scale; }
  int nearest(double w, double scale) const {
    const int multiple = std::min(sizes_.nearest(std::abs(w) / scale), limit_);
    return w < 0 ? -multiple : multiple;
  }

  double coded(std::span<const double> source, double scale, coding::BitMeter& meter) {
    std::vector<double> w = feedback_->start(source);
    if (p_.trellis) return search_.row(*model_, meter, row_.data(), w, {scale, lambda_, limit_, &sizes_}, *feedback_, got_);
    double lost = 0;
    model_->begin_row();
    for (int64_t k = 0; k < p_.row_length; ++k) {
      const double x = w[static_cast<size_t>(k)];
      const auto at = model_->place(row_.data(), k, p_.row_length);
      const int q = choose(at, x, scale, feedback_->cost(k));
      model_->advance(row_.data(), at, model_->code(meter, at, q));
      const double error = x - value(q, scale);
      got_.add(q, x, scale, feedback_->cost(k));
      lost += error * error * feedback_->cost(k);
      feedback_->spread(k, error, w);
    }
    model_->end_row();
    return lost;
  }

  // The loss of a row without weights, or something above `most` once it is.
  double empty(std::span<const double> source, double most) const {
    std::vector<double> w = feedback_->start(source);
    double lost = 0;
    for (int64_t k = 0; k < p_.row_length && lost <= most; ++k) {
      const double error = w[static_cast<size_t>(k)];
      lost += error * error * feedback_->cost(k);
      feedback_->spread(k, error, w);
    }
    return lost;
  }

  // Nearest, one step towards zero, or zero.
  int choose(const coding::MixedRows::Place& at, double x, double scale, double cost) const {
    const int q = nearest(x, scale);
    if (q == 0 || lambda_ == 0) return q;
    const auto loss = [&](int c) { return (x - value(c, scale)) * (x - value(c, scale)) * cost; };
    const int inner = q > 0 ? q - 1 : q + 1;
    const double most_saved = std::abs(q) == 1 ? 16 : 4;  // bits
    if (loss(inner) - loss(q) > lambda_ * most_saved) return q;
    int best = q;
    double least = 0;
    const coding::CodeLengths lengths(*model_, at, q < 0, std::abs(q));
    for (int c : {q, inner, 0}) {
      if (c == 0 && std::abs(q) > 2) continue;
      const double total = loss(c) + lambda_ * lengths.of(std::abs(c));
      if (c == q || total < least) {
        least = total;
        best = c;
      }
    }
    return best;
  }

  const RoundProblem& p_;
  LevelSizes sizes_;
  TrellisSearch search_;
  const Feedback* feedback_ = nullptr;
  double lambda_ = 0;  // over the row's weight
  std::unique_ptr<coding::MixedRows> model_;
  std::vector<int8_t> row_;
  int limit_ = 127;
  LevelSums got_, sums_;  // in the row; in all
};

Result<void> check(const RoundProblem& p) {
  const int64_t n = p.row_length, h = static_cast<int64_t>(p.hessian.size());
  const int64_t scales = static_cast<int64_t>(p.scale_codes.size()), groups = p.groups, weights = static_cast<int64_t>(p.row_weights.size()), zeros = static_cast<int64_t>(p.zeros.size());
  if (p.bits < (p.trellis ? 3 : 2) || p.bits > 8 || static_cast<int64_t>(p.weights.size()) != p.rows * n || (scales != 1 && scales != p.rows) || groups < 1 || p.rows % groups != 0 ||
      (h != 0 && h != groups * n && h != groups * n * n) || (weights != 0 && weights != p.rows) || (zeros != 0 && zeros != p.rows * n))
    return internal_error(fmt::format("rounding {} rows of {} weights to {} bits was given {} weights, {} scales, {} weights of rows, {} marks of zeros and {} numbers of the Hessian", p.rows, n, p.bits,
                                      p.weights.size(), scales, weights, zeros, h));
  return {};
}

}  // namespace

std::string code_name(const Rounded& r) {
  if (r.vectors > 0) return fmt::format("{} vectors of {}", r.vectors, r.vector_length);
  const std::string on = r.trellis ? "path" : "grid";
  return r.levels.count > 0 ? fmt::format("{}, {} levels", on, r.levels.count) : on;
}

Result<const Feedback*> Factors::of(std::span<const double> hessian, int64_t n, std::span<const uint8_t> zeros) {
  const bool same = made_ && hessian.data() == hessian_.data() && hessian.size() == hessian_.size() && std::equal(zeros.begin(), zeros.end(), zeros_.begin(), zeros_.end());
  if (!same) {
    made_ = false;
    PITH_TRY(feedback_, Feedback::make(hessian, n, zeros));
    hessian_ = hessian, made_ = true;
    zeros_.assign(zeros.begin(), zeros.end());
  }
  return &feedback_;
}

int largest_multiple(const RoundProblem& p) {
  const LevelSizes sizes(p.levels, (1 << (p.bits - 1)) - 1);
  int largest = 1;
  for (int64_t r = 0; r < p.rows; ++r) {
    const double scale = numerics::scale_value(p.scale_codes[p.scale_codes.size() > 1 ? static_cast<size_t>(r) : 0]);
    for (double w : p.weights.subspan(static_cast<size_t>(r * p.row_length), static_cast<size_t>(p.row_length))) largest = std::max(largest, sizes.nearest(std::abs(w) / scale));
  }
  return p.trellis ? (largest + 1) / 2 * 2 : largest;
}

Result<std::vector<Tried>> round_together(std::initializer_list<RoundProblem> problems, Factors& factors) {
  const RoundProblem& p = *problems.begin();
  std::vector<Rounder> rounders;
  for (const RoundProblem& each : problems) {
    PITH_CHECK_OK(check(each));
    rounders.emplace_back(each);
  }
  std::vector<Tried> results(problems.size());
  const size_t share = p.hessian.size() / static_cast<size_t>(p.groups);
  for (int64_t r = 0; r < p.rows; ++r) {
    const std::span<const uint8_t> zeros = p.zeros.empty() ? p.zeros : p.zeros.subspan(static_cast<size_t>(r * p.row_length), static_cast<size_t>(p.row_length));
    PITH_TRY(const Feedback* feedback, factors.of(p.hessian.subspan(static_cast<size_t>(r / (p.rows / p.groups)) * share, share), p.row_length, zeros));
    for (size_t i = 0; i < results.size(); ++i) {
      Rounded& result = results[i].rounded;
      const std::vector<int8_t>& row = rounders[i].row(r, *feedback, result.distortion);
      result.integers.insert(result.integers.end(), row.begin(), row.end());
    }
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const RoundProblem& each = problems.begin()[i];
    Rounded& result = results[i].rounded;
    result.bits = coding::estimate_bits({each.bits, each.rows, each.row_length, result.integers, each.scale_codes, each.shape, each.trellis}) + level_bits(each.levels);
    result.trellis = each.trellis;
    result.levels = each.levels;
    result.scale_codes.assign(each.scale_codes.begin(), each.scale_codes.end());
    if (each.trellis) coding::trellis_multiples(result.integers, each.row_length);
    for (int32_t& q : result.integers) q = each.levels.weight(q);
    results[i].sums = rounders[i].sums();
  }
  return results;
}

double natural_lambda(double step) { return 0.11552453009332421 * step * step; }  // 2 ln 2 / 12

std::vector<double> feedback_factor(std::span<const double> h, int64_t n) {
  // With P the reversal and P H P = M M', M lower triangular: H^-1 = U' U for U = P M^-1 P, which is upper triangular.
  const auto size = static_cast<size_t>(n);
  std::vector<double> m(size * size), inverse(size * size, 0.0), upper(size * size, 0.0);
  for (size_t i = 0; i < m.size(); ++i) m[i] = h[m.size() - 1 - i];
  if (!cholesky(m, n)) return {};
  constexpr size_t kTogether = 8;  // rows that read a row above them while it is near
  const auto eliminate = [&](size_t i, size_t k) {
    const double share = m[i * size + k], *other = inverse.data() + k * size;
    double* row = inverse.data() + i * size;
    for (size_t j = 0; j <= k; ++j) row[j] -= share * other[j];
  };
  for (size_t first = 0; first < size; first += kTogether) {
    const size_t last = std::min(size, first + kTogether);
    for (size_t k = 0; k < first; ++k) {
      for (size_t i = first; i < last; ++i) eliminate(i, k);
    }
    for (size_t i = first; i < last; ++i) {
      for (size_t k = first; k < i; ++k) eliminate(i, k);
      inverse[i * size + i] = 1;
      for (size_t j = 0; j <= i; ++j) inverse[i * size + j] /= m[i * size + i];
    }
  }
  for (size_t i = 0; i < upper.size(); ++i) upper[i] = inverse[upper.size() - 1 - i];
  return upper;
}

Result<Rounded> round_for_rate(const RoundProblem& p) {
  Factors factors;
  PITH_TRY(std::vector<Tried> result, round_together({p}, factors));
  return std::move(result[0].rounded);
}

}  // namespace pith
