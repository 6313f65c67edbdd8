// See metrics.h.
#include "data/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pith {
namespace {

constexpr double kMaxSqnr = 200;

bool ranks_before(std::span<const float> values, size_t a, size_t b) {
  const float x = values[a], y = values[b];
  if (std::isnan(x) || std::isnan(y)) return std::isnan(y) && (!std::isnan(x) || a < b);
  return x != y ? x > y : a < b;
}

double squares_to_sqnr(double error_squares, double expected_squares) {
  if (error_squares == 0) return kMaxSqnr;
  if (expected_squares == 0) return -kMaxSqnr;
  return std::clamp(10 * std::log10(expected_squares / error_squares), -kMaxSqnr, kMaxSqnr);
}

double squares_to_relative(double error_squares, double expected_squares) {
  if (error_squares == 0) return 0;
  if (expected_squares == 0) return std::numeric_limits<double>::infinity();
  return std::sqrt(error_squares / expected_squares);
}

double squares_to_cosine(double dot, double a, double b) {
  if (a == 0 && b == 0) return 1;
  if (a == 0 || b == 0) return 0;
  return dot / std::sqrt(a) / std::sqrt(b);
}

Agreement compare(std::span<const float> got, std::span<const float> expected) {
  Agreement sums;
  sums.add(got, expected);
  return sums;
}

// log(sum(exp(x))) without overflow.
double log_sum_exp(std::span<const float> x) {
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const float v : x) sum += std::exp(v - top);
  return top + std::log(sum);
}

}  // namespace

size_t argmax(std::span<const float> values) {
  size_t best = 0;
  for (size_t i = 1; i < values.size(); ++i) {
    if (ranks_before(values, i, best)) best = i;
  }
  return best;
}

bool in_top_k(std::span<const float> values, int64_t label, size_t k) {
  if (label < 0 || static_cast<size_t>(label) >= values.size()) return false;
  size_t before = 0;
  for (size_t i = 0; i < values.size(); ++i) before += ranks_before(values, i, static_cast<size_t>(label));
  return before < k;
}

std::vector<size_t> top_k(std::span<const float> values, size_t k) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  k = std::min(k, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(k), order.end(),
                    [&](size_t a, size_t b) { return ranks_before(values, a, b); });
  order.resize(k);
  return order;
}

void Accuracy::add(std::span<const float> scores, int64_t label) {
  ++samples;
  top1 += in_top_k(scores, label, 1);
  top5 += in_top_k(scores, label, 5);
}

double auc(std::span<const float> given, std::span<const uint8_t> positive) {
  std::vector<float> scores(given.begin(), given.end());
  for (float& s : scores) s = std::isnan(s) ? -std::numeric_limits<float>::infinity() : s;
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  double positives = 0, negatives = 0, wins = 0;
  for (size_t i = 0; i < order.size();) {  // one run of equal scores at a time
    size_t end = i;
    double p = 0, n = 0;
    for (; end < order.size() && scores[order[end]] == scores[order[i]]; ++end) (positive[order[end]] ? p : n) += 1;
    wins += p * negatives + p * n / 2;
    positives += p;
    negatives += n;
    i = end;
  }
  return positives == 0 || negatives == 0 ? -1 : wins / (positives * negatives);
}

double cosine_similarity(std::span<const float> got, std::span<const float> expected) {
  return compare(got, expected).cosine();
}
double relative_error(std::span<const float> got, std::span<const float> expected) {
  return compare(got, expected).relative();
}
double max_abs_error(std::span<const float> got, std::span<const float> expected) {
  return compare(got, expected).worst;
}
double sqnr_db(std::span<const float> got, std::span<const float> expected) { return compare(got, expected).sqnr(); }

double kl_from_logits(std::span<const float> got, std::span<const float> expected) {
  if (expected.empty()) return 0;
  const double got_norm = log_sum_exp(got), expected_norm = log_sum_exp(expected);
  double sum = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double log_p = expected[i] - expected_norm, log_q = got[i] - got_norm;
    const double p = std::exp(log_p);
    if (p > 0) sum += p * (log_p - log_q);
  }
  return std::max(sum, 0.0);
}

double kl_from_probabilities(std::span<const float> got, std::span<const float> expected) {
  double sum = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double p = expected[i], q = std::max<double>(got[i], 1e-12);
    if (p > 0) sum += p * std::log(p / q);
  }
  return sum;
}

double argmax_agreement(std::span<const float> got, std::span<const float> expected, size_t width) {
  const size_t rows = width == 0 ? 0 : expected.size() / width;
  if (rows == 0) return 1;
  size_t equal = 0;
  for (size_t r = 0; r < rows; ++r) {
    equal += argmax(got.subspan(r * width, width)) == argmax(expected.subspan(r * width, width));
  }
  return static_cast<double>(equal) / static_cast<double>(rows);
}

void Agreement::add(std::span<const float> got, std::span<const float> expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const double a = got[i], b = expected[i], e = a - b;
    dot += a * b;
    got_squares += a * a;
    expected_squares += b * b;
    error_squares += e * e;
    worst = std::isnan(e) ? e : std::max(worst, std::abs(e));
  }
  ++outputs;
  argmax_equal += argmax(got) == argmax(expected);
}

double Agreement::cosine() const { return squares_to_cosine(dot, got_squares, expected_squares); }
double Agreement::relative() const { return squares_to_relative(error_squares, expected_squares); }
double Agreement::sqnr() const { return squares_to_sqnr(error_squares, expected_squares); }

}  // namespace pith
