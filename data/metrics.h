// How good an output is, and how near one output is to another.
//
// Why: `eval` and `compress` report the same figures, so each is defined once, with its conventions: sums are in
// double, spans of one call have equal length, nothing is divided by zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// The index of the largest value; the first one among equals, NaN never wins (an empty span gives 0).
size_t argmax(std::span<const float> values);
// Is `label` among the k largest? Equal values rank by index, lower first.
bool in_top_k(std::span<const float> values, int64_t label, size_t k);
std::vector<size_t> top_k(std::span<const float> values, size_t k);  // best first

struct Accuracy {
  size_t samples = 0, top1 = 0, top5 = 0;
  void add(std::span<const float> scores, int64_t label);
  double top1_percent() const {
    return samples == 0 ? 0 : 100.0 * static_cast<double>(top1) / static_cast<double>(samples);
  }
  double top5_percent() const {
    return samples == 0 ? 0 : 100.0 * static_cast<double>(top5) / static_cast<double>(samples);
  }
};

// Area under the ROC curve: the chance that a positive scores above a negative, ties counting half (Mann-Whitney); NaN
// counts as the lowest. -1 where one of the kinds is absent.
double auc(std::span<const float> scores, std::span<const uint8_t> positive);

// Nearness of `got` to `expected`.
double cosine_similarity(std::span<const float> got, std::span<const float> expected);  // 1 when both are all zero
double relative_error(std::span<const float> got, std::span<const float> expected);  // |got - expected|2 / |expected|2
double max_abs_error(std::span<const float> got, std::span<const float> expected);
double sqnr_db(std::span<const float> got, std::span<const float> expected);  // -20 log10(relative_error); at most 200
// KL(softmax(expected) || softmax(got)) in nats, from logits.
double kl_from_logits(std::span<const float> got, std::span<const float> expected);
// KL(expected || got) in nats, from probabilities; those of `got` are kept at 1e-12 or more.
double kl_from_probabilities(std::span<const float> got, std::span<const float> expected);

// Share of rows of `width` values whose argmax agrees, 0..1.
double argmax_agreement(std::span<const float> got, std::span<const float> expected, size_t width);

// Running nearness over many outputs: the same figures as if all had been one long vector.
struct Agreement {
  size_t outputs = 0, argmax_equal = 0;
  double dot = 0, got_squares = 0, expected_squares = 0, error_squares = 0, worst = 0;
  void add(std::span<const float> got, std::span<const float> expected);  // one output (one row for the argmax)
  double cosine() const;
  double relative() const;
  double sqnr() const;
  double argmax_share() const {
    return outputs == 0 ? 1 : static_cast<double>(argmax_equal) / static_cast<double>(outputs);
  }
};

}  // namespace pith
