// See vectors.h.
#include "micro/vectors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "micro/feedback.h"
#include "numerics/scale.h"

namespace pith {
namespace {

constexpr double kUnits = 20;           // of a book's integers, to a row's deviation
constexpr int64_t kMostRuns = 16384;    // that a book is made from
constexpr int kRounds = 10;
constexpr double kScaleBits = 3;        // of a row

double deviation(std::span<const double> row) {
  double power = 0;
  for (double x : row) power += x * x;
  return std::sqrt(power / static_cast<double>(row.size())) + 1e-30;
}

// The nearest of zeros (0), the vectors v (2v + 1) and their negatives (2v + 2); `least`: its squared distance less that of zeros.
int nearest(const double* x, const std::vector<double>& vectors, const std::vector<double>& squares, size_t n, double& least) {
  int best = 0;
  least = 0;
  for (size_t v = 0; v < squares.size(); ++v) {
    double product = 0;
    for (size_t i = 0; i < n; ++i) product += x[i] * vectors[v * n + i];
    const double d = squares[v] - 2 * std::abs(product);
    if (d < least) least = d, best = static_cast<int>(2 * v) + (product < 0 ? 2 : 1);
  }
  return best;
}

std::vector<double> squares_of(const std::vector<double>& vectors, size_t n) {
  std::vector<double> squares(vectors.size() / n, 0.0);
  for (size_t i = 0; i < vectors.size(); ++i) squares[i / n] += vectors[i] * vectors[i];
  return squares;
}

// k-means++ and Lloyd's rounds. `runs` of n weights each.
std::vector<double> k_means(const std::vector<double>& runs, size_t n, size_t count) {
  Random random(1);
  const size_t all = runs.size() / n;
  std::vector<double> far(all), vectors;  // squared distance to the nearest vector, or zeros
  for (size_t r = 0; r < all; ++r) far[r] = squares_of({runs.begin() + static_cast<ptrdiff_t>(r * n), runs.begin() + static_cast<ptrdiff_t>(r * n + n)}, n)[0];
  const std::vector<double> powers = far;
  for (size_t v = 0; v < count; ++v) {
    double sum = 0;
    for (double d : far) sum += d;
    double place = sum * random.uniform();
    size_t chosen = 0;
    while (chosen + 1 < all && (place -= far[chosen]) > 0) ++chosen;
    const std::vector<double> added(runs.begin() + static_cast<ptrdiff_t>(chosen * n), runs.begin() + static_cast<ptrdiff_t>(chosen * n + n)), square = squares_of(added, n);
    vectors.insert(vectors.end(), added.begin(), added.end());
    for (size_t r = 0; r < all; ++r) {
      double d = 0;
      nearest(runs.data() + r * n, added, square, n, d);
      far[r] = std::max(0.0, std::min(far[r], powers[r] + d));
    }
  }
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<double> squares = squares_of(vectors, n);
    std::vector<double> sums(vectors.size(), 0.0), times(count, 0.0);
    for (size_t r = 0; r < all; ++r) {
      double d = 0;
      const int index = nearest(runs.data() + r * n, vectors, squares, n, d);
      if (index == 0) continue;
      const size_t v = static_cast<size_t>(index - 1) / 2;
      times[v] += 1;
      for (size_t i = 0; i < n; ++i) sums[v * n + i] += index % 2 == 1 ? runs[r * n + i] : -runs[r * n + i];
    }
    for (size_t i = 0; i < vectors.size(); ++i) {
      if (times[i / n] > 0) vectors[i] = sums[i] / times[i / n];
    }
  }
  return vectors;
}

// One group's rows, run by run; returns the squared errors of the product, in squared units of the rows.
std::vector<double> choose(std::vector<std::vector<double>>& rows, const Feedback& feedback, const coding::Book& book, std::vector<std::vector<int32_t>>& integers) {
  const size_t n = static_cast<size_t>(book.length), width = rows[0].size(), count = static_cast<size_t>(book.count());
  std::vector<double> lost(rows.size(), 0.0), turned(count * n), at(n);
  for (size_t k = 0; k < width; k += n) {
    const size_t here = std::min(n, width - k);
    // errors e of a run cost |A e|^2: each that was made up for by the ones before it, times the root of its cost
    double moved[8][8] = {}, root[8] = {};
    for (size_t i = 0; i < here; ++i) {
      const double nothing[8] = {};
      root[i] = std::sqrt(feedback.cost(static_cast<int64_t>(k + i)));
      feedback.branch(static_cast<int64_t>(k + i), static_cast<int64_t>(here - 1 - i), 1, nothing, moved[i] + i + 1);
    }
    const auto weigh = [&](const auto* e, double* out) {
      double left[8];
      for (size_t i = 0; i < here; ++i) {
        left[i] = e[i];
        for (size_t j = 0; j < i; ++j) left[i] -= left[j] * moved[j][i];
        out[i] = left[i] * root[i];
      }
    };
    std::fill(turned.begin(), turned.end(), 0.0);
    std::fill(at.begin(), at.end(), 0.0);
    for (size_t v = 0; v < count; ++v) weigh(book.vectors.data() + v * n, turned.data() + v * n);
    const std::vector<double> squares = squares_of(turned, n);
    for (size_t r = 0; r < rows.size(); ++r) {
      double d = 0;
      weigh(rows[r].data() + k, at.data());
      const int index = nearest(at.data(), turned, squares, n, d);
      for (size_t i = 0; i < here; ++i) {
        const int32_t q = index == 0 ? 0 : (index % 2 == 1 ? 1 : -1) * book.vectors[static_cast<size_t>(index - 1) / 2 * n + i];
        const double error = rows[r][k + i] - q;
        integers[r][k + i] = q;
        lost[r] += error * error * feedback.cost(static_cast<int64_t>(k + i));
        feedback.spread(static_cast<int64_t>(k + i), error, rows[r]);
      }
    }
  }
  return lost;
}

}  // namespace

void VectorBooks::learn_from(std::span<const double> rows, int64_t width) {
  for (size_t first = 0; first + static_cast<size_t>(width) <= rows.size(); first += static_cast<size_t>(width)) {
    const std::span<const double> row = rows.subspan(first, static_cast<size_t>(width));
    const double unit = deviation(row);
    for (size_t l = 0; l < 3; ++l) {
      for (size_t k = 0; k + (2u << l) <= row.size(); k += 2u << l) {
        for (size_t i = 0; i < 2u << l; ++i) runs_[l].push_back(row[k + i] / unit);
      }
    }
  }
}

const coding::Book& VectorBooks::book(Shape shape) {
  coding::Book& made = books_[shape];
  if (!made.vectors.empty()) return made;
  const auto n = static_cast<size_t>(shape.length);
  const std::vector<double>& all = runs_[std::countr_zero(n) - 1];
  std::vector<double> some;
  const size_t step = std::max<size_t>(1, all.size() / n / kMostRuns);
  for (size_t r = 0; r * n < all.size(); r += step) some.insert(some.end(), all.begin() + static_cast<ptrdiff_t>(r * n), all.begin() + static_cast<ptrdiff_t>(r * n + n));
  made.length = shape.length;
  for (double x : k_means(some, n, static_cast<size_t>(shape.count))) made.vectors.push_back(static_cast<int8_t>(std::clamp(std::lround(kUnits * x), -127l, 127l)));
  return made;
}

Result<Rounded> VectorBooks::round(const RoundProblem& p, double bits) {
  const auto width = static_cast<size_t>(p.row_length);
  std::vector<Feedback> feedbacks;
  const size_t share = p.hessian.size() / static_cast<size_t>(p.groups);
  for (size_t g = 0; g < static_cast<size_t>(p.groups); ++g) {
    PITH_TRY(Feedback feedback, Feedback::make(p.hessian.subspan(g * share, share), p.row_length));
    feedbacks.push_back(std::move(feedback));
  }
  std::vector<int16_t> scale_codes;
  for (int64_t r = 0; r < p.rows; ++r) {
    const double unit = deviation(p.weights.subspan(static_cast<size_t>(r) * width, width)) / kUnits;
    scale_codes.push_back(static_cast<int16_t>(std::clamp(4 * static_cast<int>(std::lround(4 * std::log2(unit))), -600, 600)));
  }
  Rounded best;
  double least = std::numeric_limits<double>::infinity();
  for (const Shape shape : {Shape{8, 127}, {4, 31}, {4, 63}, {4, 127}, {4, 255}, {4, 511}, {2, 15}, {2, 31}, {2, 63}, {2, 127}}) {
    const int index_bits = std::bit_width(static_cast<unsigned>(2 * shape.count));
    if (std::abs(static_cast<double>(index_bits) / shape.length - bits) > 0.6 || runs_[std::countr_zero(static_cast<unsigned>(shape.length)) - 1].empty()) continue;
    const coding::Book& b = book(shape);
    Rounded found;
    const auto per_group = static_cast<size_t>(p.rows / p.groups);
    for (size_t g = 0; g < feedbacks.size(); ++g) {
      std::vector<std::vector<double>> rows(per_group, std::vector<double>(width));
      std::vector<std::vector<int32_t>> integers(per_group, std::vector<int32_t>(width));
      for (size_t r = 0; r < per_group; ++r) {
        for (size_t k = 0; k < width; ++k) rows[r][k] = p.weights[(g * per_group + r) * width + k] / numerics::scale_value(scale_codes[g * per_group + r]);
      }
      const std::vector<double> lost = choose(rows, feedbacks[g], b, integers);
      for (size_t r = 0; r < per_group; ++r) {
        const size_t o = g * per_group + r;
        found.distortion += lost[r] * std::pow(numerics::scale_value(scale_codes[o]), 2) * (p.row_weights.empty() ? 1 : p.row_weights[o]);
        found.integers.insert(found.integers.end(), integers[r].begin(), integers[r].end());
      }
    }
    found.bits = static_cast<double>(p.rows) * (kScaleBits + index_bits * std::ceil(static_cast<double>(width) / shape.length));
    if (std::find(paid_.begin(), paid_.end(), shape) == paid_.end()) found.bits += 8.0 * static_cast<double>(b.vectors.size());
    if (found.distortion + p.lambda * found.bits >= least) continue;
    least = found.distortion + p.lambda * found.bits;
    best = std::move(found);
    best.scale_codes = scale_codes;
    best.vectors = shape.count, best.vector_length = shape.length;
    last_ = shape;
  }
  return best;
}

}  // namespace pith
