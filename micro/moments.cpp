// See moments.h.
#include "micro/moments.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ir/geometry.h"
#include "ir/products.h"
#include "micro/calibrate.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;

constexpr int64_t kWidest = 640;              // weights in a row
constexpr int64_t kPatchesOfASample = 256;    // per group, of short rows
constexpr int64_t kLongPatchesOfASample = 64;
constexpr double kMostLongPatches = 8192;     // all samples together
constexpr size_t kWidestWithPairs = 32;

// (groups, weights in a row) of a product.
std::pair<int64_t, int64_t> layout(const Graph& g, const Node& n) {
  const ir::Shape& w = g.value(n.inputs[1]).shape;
  if (n.op != Op::kConv) return {1, n.op == Op::kGemm && n.integer("transB", 0) != 0 ? w[1] : w[0]};
  int64_t width = 1;
  for (size_t d = 1; d < w.size(); ++d) width *= w[d];
  return {n.integer("group", 1), width};
}

// Long patches wait here, one after the other, and are multiplied together.
using Waiting = std::vector<double>;

void add_patch(std::span<const double> patch, double* sums, double* products, Waiting& waiting) {
  for (size_t i = 0; i < patch.size(); ++i) sums[i] += patch[i];
  if (static_cast<int64_t>(patch.size()) > kShortRow) {
    waiting.insert(waiting.end(), patch.begin(), patch.end());
    return;
  }
  for (size_t i = 0; i < patch.size(); ++i) {
    if (patch[i] == 0) continue;
    for (size_t j = 0; j < patch.size(); ++j) products[i * patch.size() + j] += patch[i] * patch[j];
  }
}

void add_waiting(const Waiting& waiting, PatchMoments& m) {
  const int64_t n = m.width;
  if (!waiting.empty()) ir::gemm(true, false, n, n, static_cast<int64_t>(waiting.size()) / n, waiting.data(), n, waiting.data(), n, true, m.products.data(), n);
}

// Positions spread evenly, with a step that shares no factor with the number of columns.
int64_t step_over(int64_t width, int64_t positions, int64_t columns) {
  int64_t step = std::max<int64_t>(1, positions / (width > kShortRow ? kLongPatchesOfASample : kPatchesOfASample));
  while (step > 1 && std::gcd(step, columns) != 1) --step;
  return step;
}

void add_convolution(const Graph& g, const Node& n, const ir::Tensor& input, int64_t turn, PatchMoments& m) {
  const ir::Shape &x = input.shape(), &kernel = g.value(n.inputs[1]).shape;
  const auto found = ir::windows(n, ir::spatial(x), ir::spatial(kernel));
  if (!found.ok()) return;
  const std::array<ir::Window, 2> w = ir::as_2d(*found);
  const int64_t depth = kernel[1], columns = w[1].output, positions = w[0].output * columns, step = step_over(m.width, positions, columns);
  const auto values = input.as<float>();
  const int64_t plane = w[0].input * w[1].input;
  std::vector<double> patch(static_cast<size_t>(m.width));
  Waiting waiting;
  for (int64_t image = 0; image < x[0]; ++image) {
    for (int64_t at = turn % step; at < positions; at += step) {
      for (int64_t group = 0; group < m.groups; ++group) {
        const float* channel = values.data() + (image * x[1] + group * depth) * plane;
        size_t k = 0;
        for (int64_t c = 0; c < depth; ++c, channel += plane) {
          for (int64_t kh = 0; kh < w[0].kernel; ++kh) {
            const int64_t ih = at / columns * w[0].stride - w[0].pad_begin + kh * w[0].dilation;
            for (int64_t kw = 0; kw < w[1].kernel; ++kw, ++k) {
              const int64_t iw = at % columns * w[1].stride - w[1].pad_begin + kw * w[1].dilation;
              const bool inside = ih >= 0 && ih < w[0].input && iw >= 0 && iw < w[1].input;
              patch[k] = inside ? channel[ih * w[1].input + iw] : 0;
            }
          }
        }
        add_patch(patch, m.sums.data() + group * m.width, m.products.data() + group * m.width * m.width, waiting);
      }
      m.count += 1;
    }
  }
  add_waiting(waiting, m);
}

// The state of a descent: errors of the row, C times them.
struct Descent {
  std::span<const double> covariance;
  std::span<int> q;
  int limit;
  std::vector<double> gradient;
  size_t width() const { return q.size(); }
  double at(size_t i, size_t j) const { return covariance[i * q.size() + j]; }
  bool allowed(size_t i, int move) const { return std::abs(q[i] + move) <= limit; }
  double change(size_t i, int move) const { return at(i, i) + 2 * move * gradient[i]; }
  void step(size_t i, int move) {
    q[i] += move;
    for (size_t j = 0; j < q.size(); ++j) gradient[j] += move * at(i, j);
  }
};

struct Move {
  double change = -1e-12;
  size_t first = 0, second = 0;
  int by_first = 0, by_second = 0;
};

Move best_single(const Descent& d) {
  Move best;
  for (size_t i = 0; i < d.width(); ++i) {
    const int move = d.gradient[i] > 0 ? -1 : 1;
    if (d.allowed(i, move) && d.change(i, move) < best.change) best = {d.change(i, move), i, 0, move, 0};
  }
  return best;
}

Move best_pair(const Descent& d) {
  Move best;
  for (size_t i = 0; i < d.width(); ++i) {
    for (int a : {-1, 1}) {
      if (!d.allowed(i, a)) continue;
      const double first = d.change(i, a);
      for (size_t j = i + 1; j < d.width(); ++j) {
        for (int b : {-1, 1}) {
          const double change = first + d.change(j, b) + 2 * a * b * d.at(i, j);
          if (change < best.change && d.allowed(j, b)) best = {change, i, j, a, b};
        }
      }
    }
  }
  return best;
}

}  // namespace

double PatchMoments::mean(int64_t group, int64_t k) const { return sums[static_cast<size_t>(group * width + k)] / std::max(count, 1.0); }

std::vector<double> PatchMoments::covariance(int64_t group) const {
  std::vector<double> c(static_cast<size_t>(width * width));
  double trace = 0;
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      c[static_cast<size_t>(i * width + j)] = products[static_cast<size_t>((group * width + i) * width + j)] / std::max(count, 1.0) - mean(group, i) * mean(group, j);
    }
    trace += c[static_cast<size_t>(i * width + i)];
  }
  for (int64_t i = 0; i < width; ++i) c[static_cast<size_t>(i * width + i)] += 0.01 * trace / static_cast<double>(width) + 1e-9;
  return c;
}

bool gathers_patches(const Graph& g, const Node& n) {
  if (!is_weighted(g, n) || n.op == Op::kConvTranspose || ir::is_channels_last(n)) return false;
  const auto [groups, width] = layout(g, n);
  return width <= (groups == 1 ? kWidest : kShortRow);
}

void add_patches(const Graph& g, const Node& n, const ir::Tensor& input, int64_t turn, PatchMoments& m) {
  if (m.width == 0) {
    std::tie(m.groups, m.width) = layout(g, n);
    m.sums.assign(static_cast<size_t>(m.groups * m.width), 0.0);
    m.products.assign(static_cast<size_t>(m.groups * m.width * m.width), 0.0);
  }
  if (m.width > kShortRow && m.count >= kMostLongPatches) return;
  if (n.op == Op::kConv) return add_convolution(g, n, input, turn, m);
  const auto x = input.as<float>();
  std::vector<double> patch(static_cast<size_t>(m.width));
  Waiting waiting;
  const int64_t rows = input.count() / m.width, step = step_over(m.width, rows, 1);
  for (int64_t r = turn % step; r < rows; r += step) {
    std::copy_n(x.begin() + r * m.width, m.width, patch.begin());
    add_patch(patch, m.sums.data(), m.products.data(), waiting);
    m.count += 1;
  }
  add_waiting(waiting, m);
}

double mean_conditional_variance(std::span<const double> h, int64_t n) {
  std::vector<double> lower(h.begin(), h.end());  // H = L L', row by row in place; row k gives what the k before leave of k
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    double* row = lower.data() + i * n;
    for (int64_t j = 0; j < i; ++j) {
      const double* other = lower.data() + j * n;
      double dot = row[j];
      for (int64_t m = 0; m < j; ++m) dot -= row[m] * other[m];
      row[j] = dot / other[j];
    }
    double left = row[i];
    for (int64_t m = 0; m < i; ++m) left -= row[m] * row[m];
    sum += left;
    row[i] = std::sqrt(std::max(left, 1e-300));
  }
  return sum / static_cast<double>(n);
}

double round_by_covariance(std::span<const double> w, std::span<const double> covariance, int limit, std::span<int> q) {
  const size_t width = w.size();
  for (size_t i = 0; i < width; ++i) q[i] = std::clamp(static_cast<int>(std::floor(w[i] + 0.5)), -limit, limit);
  Descent d{covariance, q, limit, std::vector<double>(width, 0.0)};
  for (size_t i = 0; i < width; ++i) {
    for (size_t j = 0; j < width; ++j) d.gradient[i] += d.at(i, j) * (q[j] - w[j]);
  }
  for (size_t turn = 0; turn < 8 * width; ++turn) {
    Move m = best_single(d);
    if (m.by_first == 0 && width <= kWidestWithPairs) m = best_pair(d);
    if (m.by_first == 0) break;
    d.step(m.first, m.by_first);
    if (m.by_second != 0) d.step(m.second, m.by_second);
  }
  double error = 0;
  for (size_t i = 0; i < width; ++i) error += (q[i] - w[i]) * d.gradient[i];
  return error;
}

}  // namespace pith
