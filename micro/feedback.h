// What an error of a weight costs, and how the weights after it in the row make up for it (round.h), but for those that are
// held at zero: they never move, so that nothing relies on them. Internal to micro/.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "micro/round.h"

namespace pith {

// For the rows of one group whose weights are held at zero (1) in the same places; none: nowhere.
class Feedback {
 public:
  static Result<Feedback> make(std::span<const double> hessian, int64_t n, std::span<const uint8_t> zeros = {}) {
    Feedback f;
    f.n_ = n;
    f.cost_.assign(static_cast<size_t>(n), 1.0);
    f.zeros_.assign(zeros.begin(), zeros.end());
    if (hessian.empty()) return f;
    if (static_cast<int64_t>(hessian.size()) == n) {
      std::copy(hessian.begin(), hessian.end(), f.cost_.begin());
      return f;
    }
    f.upper_ = factor_of_open(hessian, n, zeros);
    if (f.upper_.empty()) return usage_error("the Hessian of a layer isn't positive definite; add a hundredth of its mean diagonal to the diagonal");
    for (int64_t k = 0; k < n; ++k) f.cost_[static_cast<size_t>(k)] = 1 / (f.row(k)[k] * f.row(k)[k]);
    return f;
  }
  bool is_zero(int64_t k) const { return !zeros_.empty() && zeros_[static_cast<size_t>(k)] != 0; }
  std::vector<double> start(std::span<const double> weights) const {
    std::vector<double> w(weights.begin(), weights.end());
    for (size_t k = 0; k < zeros_.size(); ++k) w[k] = zeros_[k] != 0 ? 0 : w[k];
    return w;
  }
  double cost(int64_t k) const { return cost_[static_cast<size_t>(k)]; }
  void spread(int64_t k, double error, std::vector<double>& w) const {
    if (upper_.empty() || error == 0) return;
    const double* u = row(k);
    const double part = error / u[k];
    for (int64_t j = k + 1; j < n_; ++j) w[static_cast<size_t>(j)] -= part * u[j];
  }
  // Part of the same for another branch: by how much `count` weights after k are moved, given how much they were before.
  void branch(int64_t k, int64_t count, double error, const double* before, double* after) const {
    if (upper_.empty()) return;
    const double* u = row(k) + k + 1;
    const double part = error / u[-1];
    for (int64_t j = 0; j < count; ++j) after[j] = before[j] + part * u[j];
  }

 private:
  // The factor of what isn't held, in its places; 1 on the diagonal elsewhere.
  static std::vector<double> factor_of_open(std::span<const double> hessian, int64_t n, std::span<const uint8_t> zeros) {
    std::vector<size_t> open;
    for (size_t k = 0; k < zeros.size(); ++k) {
      if (zeros[k] == 0) open.push_back(k);
    }
    if (zeros.empty() || open.size() == zeros.size()) return feedback_factor(hessian, n);
    const auto size = static_cast<size_t>(n);
    std::vector<double> part, upper(size * size, 0.0);
    for (size_t i : open) {
      for (size_t j : open) part.push_back(hessian[i * size + j]);
    }
    part = feedback_factor(part, static_cast<int64_t>(open.size()));
    if (part.empty() && !open.empty()) return {};
    for (size_t k = 0; k < size; ++k) upper[k * (size + 1)] = 1;
    for (size_t i = 0; i < open.size(); ++i) {
      for (size_t j = i; j < open.size(); ++j) upper[open[i] * size + open[j]] = part[i * open.size() + j];
    }
    return upper;
  }

  const double* row(int64_t k) const { return upper_.data() + k * n_; }
  int64_t n_ = 0;
  std::vector<double> cost_, upper_;
  std::vector<uint8_t> zeros_;
};

}  // namespace pith
