// See round.h.
#include "micro/round.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "numerics/scale.h"

namespace pith {
namespace {

// Row-major upper factor U of the inverse of H, U'U = H^-1: with it, a weight's error e at k costs (e / U[k][k])^2, and
// the weights j > k make up for it by moving e U[k][j] / U[k][k].
class Feedback {
 public:
  static Result<Feedback> make(std::span<const double> hessian, int64_t n) {
    Feedback f;
    f.n_ = n;
    f.cost_.assign(static_cast<size_t>(n), 1.0);
    if (hessian.empty()) return f;
    if (static_cast<int64_t>(hessian.size()) == n) {
      std::copy(hessian.begin(), hessian.end(), f.cost_.begin());
      return f;
    }
    if (!f.factor(hessian)) return usage_error("the Hessian of a layer isn't positive definite; add a hundredth of its mean diagonal to the diagonal");
    for (int64_t k = 0; k < n; ++k) f.cost_[static_cast<size_t>(k)] = 1 / (f.at(k, k) * f.at(k, k));
    return f;
  }
  double cost(int64_t k) const { return cost_[static_cast<size_t>(k)]; }
  void spread(int64_t k, double error, std::vector<double>& row) const {
    if (upper_.empty() || error == 0) return;
    const double share = error / at(k, k);
    for (int64_t j = k + 1; j < n_; ++j) row[static_cast<size_t>(j)] -= share * at(k, j);
  }

 private:
  double at(int64_t i, int64_t j) const { return upper_[static_cast<size_t>(i * n_ + j)]; }

  // H = L' L with L lower triangular, found from the last row up; then U = (L^-1)' has U' U = H^-1.
  bool factor(std::span<const double> h) {
    const int64_t n = n_;
    std::vector<double> lower(static_cast<size_t>(n * n), 0.0);
    const auto l = [&](int64_t i, int64_t j) -> double& { return lower[static_cast<size_t>(i * n + j)]; };
    for (int64_t i = n - 1; i >= 0; --i) {  // H[i][j] = sum over m >= i of L[m][i] L[m][j], j <= i
      for (int64_t j = i; j >= 0; --j) {
        double sum = h[static_cast<size_t>(i * n + j)];
        for (int64_t m = i + 1; m < n; ++m) sum -= l(m, i) * l(m, j);
        if (j == i) {
          if (!(sum > 0)) return false;
          l(i, i) = std::sqrt(sum);
        } else {
          l(i, j) = sum / l(i, i);
        }
      }
    }
    // The inverse of L is lower triangular too; its transpose is U.
    upper_.assign(static_cast<size_t>(n * n), 0.0);
    for (int64_t column = 0; column < n; ++column) {
      for (int64_t i = column; i < n; ++i) {
        double sum = i == column ? 1.0 : 0.0;
        for (int64_t m = column; m < i; ++m) sum -= l(i, m) * upper_[static_cast<size_t>(column * n + m)];
        upper_[static_cast<size_t>(column * n + i)] = sum / l(i, i);
      }
    }
    return true;
  }

  int64_t n_ = 0;
  std::vector<double> cost_, upper_;
};

// One row after the other under a code that learns.
class Rounder {
 public:
  Rounder(const RoundProblem& p, const Feedback& feedback) : p_(p), feedback_(feedback), model_(std::make_unique<coding::MixedRows>()) {
    limit_ = (1 << (p.bits - 1)) - 1;
    int largest = 0;
    for (int64_t i = 0; i < p.rows * p.row_length; ++i) {
      largest = std::max(largest, std::abs(nearest(p.weights[static_cast<size_t>(i)], scale(i / p.row_length))));
    }
    limit_ = std::max(largest, 1);  // what the code is told; no choice is larger than the nearest one was at first
    model_->begin(static_cast<uint32_t>(limit_), p.shape);
    row_.assign(static_cast<size_t>(p.row_length), 0);
  }

  // The row's integers; adds to the distortion.
  const std::vector<int8_t>& row(int64_t r, double& distortion) {
    const auto source = p_.weights.subspan(static_cast<size_t>(r * p_.row_length), static_cast<size_t>(p_.row_length));
    const coding::MixedRows before = *model_;
    coding::BitMeter meter;
    const double lost = coded(source, scale(r), meter);
    const double lost_if_empty = empty(source);
    const bool nothing = std::all_of(row_.begin(), row_.end(), [](int8_t q) { return q == 0; });
    if (nothing || lost_if_empty <= lost + p_.lambda * meter.bits()) {  // an empty row is one flag, and teaches nothing
      *model_ = before;
      std::fill(row_.begin(), row_.end(), int8_t{0});
      distortion += lost_if_empty;
    } else {
      distortion += lost;
    }
    return row_;
  }

 private:
  double scale(int64_t r) const { return numerics::scale_value(p_.scale_codes[p_.scale_codes.size() > 1 ? static_cast<size_t>(r) : 0]); }
  int nearest(double w, double scale) const { return static_cast<int>(std::clamp(std::floor(w / scale + 0.5), -1.0 * limit_, 1.0 * limit_)); }

  double coded(std::span<const double> source, double scale, coding::BitMeter& meter) {
    std::vector<double> w(source.begin(), source.end());
    double lost = 0;
    model_->begin_row();
    for (int64_t k = 0; k < p_.row_length; ++k) {
      const double x = w[static_cast<size_t>(k)];
      const auto at = model_->place(row_.data(), k, p_.row_length);
      const int q = choose(at, x, scale, feedback_.cost(k));
      model_->advance(row_.data(), at, model_->code(meter, at, q));
      const double error = x - q * scale;
      lost += error * error * feedback_.cost(k);
      feedback_.spread(k, error, w);
    }
    model_->end_row();
    return lost;
  }

  double empty(std::span<const double> source) const {
    std::vector<double> w(source.begin(), source.end());
    double lost = 0;
    for (int64_t k = 0; k < p_.row_length; ++k) {
      const double error = w[static_cast<size_t>(k)];
      lost += error * error * feedback_.cost(k);
      feedback_.spread(k, error, w);
    }
    return lost;
  }

  // Nearest, one step towards zero, or zero.
  int choose(const coding::MixedRows::Place& at, double x, double scale, double cost) const {
    const int q = nearest(x, scale);
    if (q == 0 || p_.lambda == 0) return q;
    const auto loss = [&](int c) { return (x - c * scale) * (x - c * scale) * cost; };
    const int inner = q > 0 ? q - 1 : q + 1;
    const double most_saved = std::abs(q) == 1 ? 16 : 4;  // bits
    if (loss(inner) - loss(q) > p_.lambda * most_saved) return q;
    int best = q;
    double least = 0;
    for (int c : {q, inner, 0}) {
      if (c == 0 && std::abs(q) > 2) continue;
      coding::BitMeter meter;
      model_->probe(meter, at, c);
      const double total = loss(c) + p_.lambda * meter.bits();
      if (c == q || total < least) {
        least = total;
        best = c;
      }
    }
    return best;
  }

  const RoundProblem& p_;
  const Feedback& feedback_;
  std::unique_ptr<coding::MixedRows> model_;
  std::vector<int8_t> row_;
  int limit_ = 127;
};

}  // namespace

double natural_lambda(double step) { return 0.11552453009332421 * step * step; }  // 2 ln 2 / 12

Result<Rounded> round_for_rate(const RoundProblem& p) {
  const int64_t n = p.row_length, h = static_cast<int64_t>(p.hessian.size());
  const int64_t scales = static_cast<int64_t>(p.scale_codes.size());
  if (p.bits < 2 || p.bits > 8 || static_cast<int64_t>(p.weights.size()) != p.rows * n || (scales != 1 && scales != p.rows) || (h != 0 && h != n && h != n * n))
    return internal_error(fmt::format("rounding {} rows of {} weights to {} bits was given {} weights, {} scales and {} numbers of the Hessian", p.rows, n, p.bits, p.weights.size(), scales, h));
  PITH_TRY(const Feedback feedback, Feedback::make(p.hessian, n));
  Rounder rounder(p, feedback);
  Rounded result;
  for (int64_t r = 0; r < p.rows; ++r) {
    const std::vector<int8_t>& row = rounder.row(r, result.distortion);
    result.integers.insert(result.integers.end(), row.begin(), row.end());
  }
  result.bits = coding::estimate_bits({p.bits, p.rows, n, result.integers, p.scale_codes, p.shape});
  return result;
}

}  // namespace pith
