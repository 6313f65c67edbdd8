// See price.h.
#include "micro/price.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "micro/best_code.h"
#include "micro/round.h"
#include "numerics/scale.h"

namespace pith {
namespace {

constexpr double kLargest = 120;        // integer that a weight may come to: 127 holds it when it has moved to make up for others
constexpr int64_t kPartWeights = 50000, kRuns = 8;  // of a constant, in so many runs of rows

// Magnitudes in steps.
class Sizes {
 public:
  void add(double size) { counts_[size < kMost ? static_cast<size_t>(size * kParts + 0.5) : kMost * kParts] += 1; }
  // Of all together, where a bit may cost `lambda` squared steps.
  double bits(double lambda) const;

 private:
  static constexpr size_t kMost = 128, kParts = 16;
  std::array<double, kMost * kParts + 1> counts_{};
};

double Sizes::bits(double lambda) const {
  constexpr int kTurns = 8;
  std::array<double, kMost + 1> lengths{};  // of each integer, its sign included
  double total = 0, all = 0;
  for (double n : counts_) total += n;
  for (int turn = 0; turn < kTurns; ++turn) {
    std::array<double, kMost + 1> taken{};
    for (size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] == 0) continue;
      const double size = static_cast<double>(i) / kParts;
      const auto paid = [&](size_t q) { return std::pow(size - static_cast<double>(q), 2) + lambda * lengths[q]; };
      size_t best = (i + kParts / 2) / kParts;
      for (size_t q : {best - std::min<size_t>(best, 1), size_t{0}}) {
        if (paid(q) < paid(best)) best = q;
      }
      taken[best] += counts_[i];
    }
    all = 0;
    for (size_t q = 0; q < lengths.size(); ++q) {
      lengths[q] = std::log2((total + 1) / (taken[q] + 0.5)) + (q > 0 ? 1 : 0);
      if (taken[q] > 0) all += taken[q] * (std::log2(total / taken[q]) + (q > 0 ? 1 : 0));
    }
  }
  return all;
}

// What a squared error of a weight costs, by input.
std::vector<double> costs_of(const RoundedSite& site) {
  std::vector<double> costs;
  for (double c : site.costs) costs.push_back(site.sensitivity * c + site.prior / static_cast<double>(site.rows));
  return costs;
}

double mean(const std::vector<double>& x) {
  double sum = 0;
  for (double v : x) sum += v / static_cast<double>(x.size());
  return sum;
}

// Of the part, on a trellis by the distance between the points of one of its grids. Inputs whose errors cost little are rounded at a higher price and
// have lengths of their own.
double length_without_contexts(double price, const RoundedSite& site) {
  const bool trellis = site.on_trellis;
  const std::vector<int16_t> codes = steps_at(price, site, trellis);
  const std::vector<double> costs = costs_of(site);
  const double middle = costs.empty() ? 1 : mean(costs);
  std::vector<int> octaves(static_cast<size_t>(site.width), 0);  // of costs over their mean
  for (size_t k = 0; k < costs.size(); ++k) octaves[k] = static_cast<int>(std::lround(std::log2(costs[k] / middle)));
  std::map<std::pair<int16_t, int>, Sizes> sizes;
  for (size_t r = 0; r < site.part_rows.size(); ++r) {
    const int16_t code = codes[codes.size() == 1 ? 0 : static_cast<size_t>(site.part_rows[r])];
    const double inverse = 1 / ((trellis ? 2 : 1) * numerics::scale_value(code));
    for (size_t k = 0; k < octaves.size(); ++k) sizes[{code, octaves[k]}].add(std::abs(site.part[r * octaves.size() + k]) * inverse);
  }
  double bits = 0;
  for (const auto& [key, part] : sizes) bits += part.bits(natural_lambda(trellis ? std::exp2(kTrellisOctaves - 1) : 1) * std::exp2(-key.second));
  return bits;
}

std::vector<int16_t> part_codes(double price, const RoundedSite& site, bool trellis) {
  const std::vector<int16_t> codes = steps_at(price, site, trellis);
  if (codes.size() == 1) return codes;
  std::vector<int16_t> of_part;
  for (int64_t r : site.part_rows) of_part.push_back(codes[static_cast<size_t>(r)]);
  return of_part;
}

// Rounds the part, to see.
Result<Rounded> rounded_part(double price, const RoundedSite& site, const WeightCodes& may_be) {
  const std::vector<int16_t> grid = part_codes(price, site, false);
  const std::vector<double> costs = costs_of(site);
  std::vector<double> weights;
  for (int64_t r : site.part_rows) {
    if (grid.size() > 1) weights.push_back(site.row_weights[static_cast<size_t>(r)]);
  }
  RoundProblem p{8, static_cast<int64_t>(site.part_rows.size()), site.width, site.part, grid, {site.width, 1}, {}, price, 1, weights};
  if (site.sensitivity > 0) p.hessian = costs; else p.lambda /= std::max(site.prior, 1e-30);
  return round_in_best_code(p, part_codes(price, site, true), may_be);
}

double price_for(const std::map<ir::ValueId, RoundedSite>& sites, double bits_per_weight) {
  double low = -60, high = 20;
  for (int turn = 0; turn < 24; ++turn) {
    double bits = 0, weights = 0;
    for (const auto& [id, site] : sites) {
      const auto count = static_cast<double>(site.rows * site.width);
      bits += site.gain * length_without_contexts(std::exp2((low + high) / 2), site) * count / static_cast<double>(site.part.size());
      weights += count;
    }
    (bits > bits_per_weight * weights ? low : high) = (low + high) / 2;
  }
  return std::exp2((low + high) / 2);
}

}  // namespace

void take_part(RoundedSite& site, const std::vector<double>& rows) {
  const int64_t run = kPartWeights / site.width / kRuns + 1, runs = run * kRuns < site.rows ? kRuns : 1, length = runs == 1 ? site.rows : run;
  site.part.clear();
  site.part_rows.clear();
  for (int64_t i = 0; i < runs * length; ++i) {
    const int64_t r = i / length * site.rows / runs + i % length;
    site.part_rows.push_back(r);
    site.part.insert(site.part.end(), rows.begin() + r * site.width, rows.begin() + (r + 1) * site.width);
  }
}

std::vector<int16_t> steps_at(double price, const RoundedSite& site, bool trellis) {
  const auto code = [&](double cost, double largest, int grain) {
    const double octaves = 0.5 * std::log2(price / (natural_lambda(1) * std::max(cost, 1e-30))) - (trellis ? kTrellisOctaves : 0);
    const int wanted = static_cast<int>(std::lround(octaves * numerics::kScaleStepsPerOctave / grain));
    const int least = static_cast<int>(std::ceil(static_cast<double>(numerics::scale_code_at_least(largest / kLargest)) / grain));
    return static_cast<int16_t>(std::clamp<int>(grain * std::max(wanted, least), -600, 600));
  };
  if (site.sensitivity > 0) return {code(mean(costs_of(site)), site.largest[0], 1)};
  std::vector<int16_t> codes;
  for (size_t r = 0; r < site.row_weights.size(); ++r) codes.push_back(code(site.prior * site.row_weights[r], site.largest[r], 4));
  return codes;
}

Result<double> find_price(std::map<ir::ValueId, RoundedSite>& sites, double bits_per_weight, const WeightCodes& may_be) {
  for (auto& [id, site] : sites) site.on_trellis = may_be.paths;
  const double first = price_for(sites, bits_per_weight);
  for (auto& [id, site] : sites) {
    PITH_TRY(const Rounded part, rounded_part(first, site, may_be));
    site.on_trellis = part.trellis;
    site.gain = part.bits / std::max(length_without_contexts(first, site), 1.0);
  }
  return price_for(sites, bits_per_weight);
}

}  // namespace pith
