// See levels.h.
#include "micro/levels.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "numerics/scale.h"

namespace pith {
namespace {

constexpr int kLargest = 127;

// Levels and tail that are best for the sums with `count` levels, in even steps.
struct RealLevels {
  std::vector<double> of;
  double tail = 1;

  RealLevels(const LevelSums& sums, int count, int largest) : of(static_cast<size_t>(count) + 1, 0.0) {
    for (size_t m = 1; m < of.size(); ++m) of[m] = sums.weight[m] > 0 ? sums.sum[m] / sums.weight[m] : of[m - 1] + 1;
    double square = 0, product = 0;
    for (int m = count + 1; m <= largest; ++m) {
      const auto i = static_cast<size_t>(m);
      square += sums.weight[i] * (m - count) * (m - count);
      product += (m - count) * (sums.sum[i] - sums.weight[i] * of.back());
    }
    if (square > 0) tail = product / square;
  }
  double at(int m) const { return m < static_cast<int>(of.size()) ? of[static_cast<size_t>(m)] : of.back() + tail * (m - static_cast<int>(of.size()) + 1); }
};

// The nearest table of integers, `fine` to a step; nothing where it passes 127 or levels fall together.
std::optional<coding::Levels> in_integers(const RealLevels& real, double fine, int largest) {
  coding::Levels l;
  l.count = static_cast<int>(real.of.size()) - 1;
  int before = 0;
  for (int m = 1; m <= l.count; ++m) {
    const double level = std::floor(real.of[static_cast<size_t>(m)] * fine + 0.5);
    if (level <= before || level > kLargest) return std::nullopt;
    l.of[m] = static_cast<uint8_t>(before = static_cast<int>(level));
  }
  const double tail = std::floor(real.tail * fine + 0.5);
  if (tail < 1 || tail > kLargest) return std::nullopt;
  l.tail = static_cast<uint8_t>(tail);
  return l.size(largest) <= kLargest ? std::optional(l) : std::nullopt;
}

}  // namespace

LevelSizes::LevelSizes(const coding::Levels& levels, int limit) {
  for (int m = 0; m <= limit && levels.size(m) <= limit; ++m) sizes_.push_back(levels.size(m));
  for (size_t m = 1; m < sizes_.size(); ++m) between_.push_back((sizes_[m - 1] + sizes_[m]) / 2);
  for (int grid = 0; grid < 2; ++grid) {
    for (int i = 1; coding::trellis_value(i, grid) <= largest(); ++i)
      of_grid_[static_cast<size_t>(grid)].push_back((of(coding::trellis_value(i - 1, grid)) + of(coding::trellis_value(i, grid))) / 2);
  }
}

int LevelSizes::place(const std::vector<double>& bounds, double size) { return static_cast<int>(std::upper_bound(bounds.begin(), bounds.end(), size) - bounds.begin()); }

void LevelSums::add(const LevelSums& other, double share) {
  for (size_t m = 0; m < weight.size(); ++m) {
    weight[m] += share * other.weight[m];
    sum[m] += share * other.sum[m];
  }
}

std::optional<LearnedLevels> learn_levels(const LevelSums& sums, int largest, double lambda) {
  const auto loss = [&](const auto& level) {  // beyond that of the means
    double sum = 0;
    for (int m = 1; m <= largest; ++m) {
      const auto i = static_cast<size_t>(m);
      if (sums.weight[i] > 0) sum += sums.weight[i] * std::pow(sums.sum[i] / sums.weight[i] - level(m), 2);
    }
    return sum;
  };
  std::optional<LearnedLevels> found;
  double least = loss([](int m) { return static_cast<double>(m); });
  for (int count = 1; count <= std::min(coding::Levels::kMost, largest); ++count) {
    const RealLevels real(sums, count, largest);
    const double reach = real.at(largest);
    if (reach < largest - 1) continue;  // few weights say little about the tail, and the largest must be met
    const int finest = static_cast<int>(std::floor(numerics::kScaleStepsPerOctave * std::log2(kLargest / reach)));
    for (int finer = finest; finer > finest - numerics::kScaleStepsPerOctave; --finer) {
      const double fine = 1 / numerics::scale_value(-finer);
      const auto levels = in_integers(real, fine, largest);
      if (!levels) continue;
      const double paid = loss([&](int m) { return levels->size(m) / fine; }) + lambda * level_bits(*levels);
      if (paid < least) least = paid, found = {*levels, finer};
    }
  }
  return found;
}

}  // namespace pith
