// What an error of a weight costs, and how the weights after it in the row make up for it (round.h). Internal to micro/.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "micro/round.h"

namespace pith {

// For the rows of one group.
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
    f.upper_ = feedback_factor(hessian, n);
    if (f.upper_.empty()) return usage_error("the Hessian of a layer isn't positive definite; add a hundredth of its mean diagonal to the diagonal");
    for (int64_t k = 0; k < n; ++k) f.cost_[static_cast<size_t>(k)] = 1 / (f.row(k)[k] * f.row(k)[k]);
    return f;
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
  const double* row(int64_t k) const { return upper_.data() + k * n_; }
  int64_t n_ = 0;
  std::vector<double> cost_, upper_;
};

}  // namespace pith
