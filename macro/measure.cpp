// See measure.h.
#include "macro/measure.h"

#include <algorithm>
#include <cmath>

#include "ir/interpret.h"

namespace pith {
namespace {

using ir::Tensor;

double divergence(std::span<const float> p, std::span<const float> q) {
  const auto log_sum = [](std::span<const float> x) {
    const float top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (float v : x) sum += std::exp(static_cast<double>(v - top));
    return top + std::log(sum);
  };
  const double a = log_sum(p), b = log_sum(q);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) kl += std::exp(p[i] - a) * ((p[i] - a) - (q[i] - b));
  return kl;
}

double distortion(const Tensor& original, const Tensor& student, bool distribution) {
  const auto x = original.as<float>(), y = student.as<float>();
  if (distribution && !original.shape().empty() && original.shape().back() > 1) {
    const auto width = static_cast<size_t>(original.shape().back());
    double sum = 0;
    for (size_t i = 0; i + width <= x.size(); i += width) sum += divergence(x.subspan(i, width), y.subspan(i, width));
    return sum * static_cast<double>(width) / static_cast<double>(x.size());
  }
  double error = 0, power = 1e-30;
  for (size_t i = 0; i < x.size(); ++i) error += std::pow(x[i] - y[i], 2.0), power += std::pow(x[i], 2.0);
  return error / power;
}

}  // namespace

int64_t total_macs(const ir::Graph& g) {
  int64_t sum = 0;
  for (const ir::Node& n : g.nodes) sum += ir::mac_count(g, n);
  return sum;
}

double macs_share(const ir::Graph& g, double asked) { return std::min(1.0, asked <= 1 ? asked : asked / static_cast<double>(total_macs(g))); }

Result<Answers> answers_of(const ir::Graph& g, const std::vector<std::vector<Tensor>>& samples) {
  Answers all;
  for (const auto& sample : samples) {
    PITH_TRY(std::vector<Tensor> out, ir::interpret(g, sample));
    all.push_back(std::move(out));
  }
  return all;
}

Result<double> answer_loss(const ir::Graph& g, const std::vector<std::vector<Tensor>>& samples, const Answers& expected, bool distribution) {
  double sum = 0;
  for (size_t s = 0; s < samples.size(); ++s) {
    PITH_TRY(const std::vector<Tensor> got, ir::interpret(g, samples[s]));
    for (size_t k = 0; k < got.size(); ++k) sum += distortion(expected[s][k], got[k], distribution) / static_cast<double>(samples.size());
  }
  return sum;
}

}  // namespace pith
