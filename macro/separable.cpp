// See separable.h.
#include "macro/separable.h"

#include <algorithm>
#include <numeric>

#include "base/linear.h"
#include "ir/products.h"
#include "macro/eigen.h"

namespace pith {
namespace {

using Ints = std::vector<int64_t>;
using ir::Tensor;

// Rows K'^-1 v of the largest eigenvectors v of K' A K, with K K' = `covariance`; both n x n.
Result<std::vector<double>> directions(std::vector<double> covariance, const std::vector<double>& a, int64_t n, int64_t count) {
  damp(covariance, n, 1e-4);
  if (!cholesky(covariance, n)) return usage_error("what a convolution reads has no covariance: its samples are too large, or not numbers");
  const auto k = [&](int64_t i, int64_t j) { return covariance[static_cast<size_t>(i * n + j)]; };
  std::vector<double> half(a.size(), 0.0), m(a.size(), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t l = 0; l < n; ++l) {
      const double x = a[static_cast<size_t>(i * n + l)];
      for (int64_t j = 0; x != 0 && j <= l; ++j) half[static_cast<size_t>(i * n + j)] += x * k(l, j);
    }
  }
  for (int64_t l = 0; l < n; ++l) {
    for (int64_t i = 0; i <= l; ++i) {
      const double x = k(l, i);
      for (int64_t j = 0; j < n; ++j) m[static_cast<size_t>(i * n + j)] += x * half[static_cast<size_t>(l * n + j)];
    }
  }
  PITH_TRY(const Eigen e, symmetric_eigen(std::move(m), n));
  std::vector<double> rows(static_cast<size_t>(count * n));
  for (int64_t r = 0; r < count; ++r) {
    double* row = rows.data() + r * n;
    for (int64_t i = n; i-- > 0;) {
      double sum = e.vectors[static_cast<size_t>(i * n + r)];
      for (int64_t j = i + 1; j < n; ++j) sum -= k(j, i) * row[j];
      row[i] = sum / k(i, i);
    }
  }
  return rows;
}

std::map<std::string, ir::Attribute> attributes(const ir::Window& down, const ir::Window& across, int64_t group) {
  return {{"kernel_shape", Ints{down.kernel, across.kernel}}, {"strides", Ints{down.stride, across.stride}}, {"dilations", Ints{down.dilation, across.dilation}},
          {"pads", Ints{down.pad_begin, across.pad_begin, down.pad_end, across.pad_end}}, {"group", group}};
}

}  // namespace

ir::Tensor Factors::second() const {
  Tensor w(ir::DType::kF32, second_shape);
  const int64_t count = w.count() / second_shape[0];  // features of an output, by row and then by part as in the mix
  for (int64_t i = 0; i < second_shape[0] * count; ++i) w.set(i, mix[static_cast<size_t>(i)]);
  return w;
}

std::vector<double> Factors::together(const ir::ProductRows& rows) const {
  std::vector<double> w(static_cast<size_t>(rows.outputs * rows.width), 0.0);
  const auto count = static_cast<int64_t>(mix.size()) / rows.outputs;
  ir::gemm(false, false, rows.outputs, rows.width, count, mix.data(), count, features.data(), rows.width, false, w.data(), rows.width);
  return w;
}

// As ir::least_squares: (W X L' + r B) (L C L' + r)^-1, X the original's moments against the student's, C the student's.
void Factors::refit(const SplitProduct& product, const ir::ReadMoments& m, double damping) {
  const int64_t width = product.rows.width, outputs = product.rows.outputs, count = static_cast<int64_t>(mix.size()) / outputs;
  std::vector<double> lc(static_cast<size_t>(count * width)), normal(static_cast<size_t>(count * count)), xl(lc.size()), target(mix.size());
  ir::gemm(false, false, count, width, width, features.data(), width, m.covariance.data(), width, false, lc.data(), width);
  ir::gemm(false, true, count, count, width, lc.data(), width, features.data(), width, false, normal.data(), count);
  ir::gemm(false, true, width, count, width, m.cross.data(), width, features.data(), width, false, xl.data(), count);
  ir::gemm(false, false, outputs, count, width, product.weights.data(), width, xl.data(), count, false, target.data(), count);
  const double added = damp(normal, count, damping);
  if (!cholesky(normal, count)) return;
  for (int64_t o = 0; o < outputs; ++o) {
    double *row = target.data() + o * count, *now = mix.data() + o * count;
    for (int64_t f = 0; f < count; ++f) row[f] += added * now[f];
    solve_cholesky(normal, count, {row, static_cast<size_t>(count)});
    std::copy_n(row, count, now);
  }
}

// Where element i of a feature's filter stands in a row: features count by filter, then by the part that they read.
int64_t Separable::element(int64_t feature, int64_t i) const {
  const ir::ProductRows& r = product_->rows;
  if (kind_ == Kind::kDepthwise) return i * r.depth + feature;
  return (i / r.depth * parts_ + feature % parts_) * r.depth + i % r.depth;
}

double Separable::macs_share(int64_t rank) const {
  const ir::ProductRows& r = product_->rows;
  if (kind_ == Kind::kDepthwise) return weights_share(rank);
  const double wider = static_cast<double>(window_[1].input) / static_cast<double>(std::max<int64_t>(1, window_[1].output));  // the first one's results
  return static_cast<double>(rank) * (wider * static_cast<double>(part()) + static_cast<double>(parts_ * r.outputs)) / static_cast<double>(r.width * r.outputs);
}

double Separable::weights_share(int64_t rank) const {
  const ir::ProductRows& r = product_->rows;
  return static_cast<double>(rank * (part() + parts_ * r.outputs)) / static_cast<double>(r.width * r.outputs);
}

double Separable::loss(int64_t rank) const {
  double kept = 0;
  for (int64_t i = 0; i < features(rank) * product_->rows.outputs; ++i) kept += projected_[static_cast<size_t>(i)] * projected_[static_cast<size_t>(i)];
  return std::max(0.0, energy_ - kept);
}

// The filters of the first convolution: for columns one set that serves all of them, for channels one each.
Result<void> Separable::find_filters(std::span<const double> c) {
  const ir::ProductRows& r = product_->rows;
  const int64_t n = part(), m = r.outputs, sets = kind_ == Kind::kDepthwise ? r.depth : 1, shared = kind_ == Kind::kDepthwise ? 1 : parts_;
  for (int64_t set = 0; set < sets; ++set) {
    std::vector<double> covariance(static_cast<size_t>(n * n), 0.0), a(covariance.size(), 0.0);
    for (int64_t p = 0; p < shared; ++p) {
      std::vector<int64_t> at(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) at[static_cast<size_t>(i)] = element(set + p, i);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) covariance[static_cast<size_t>(i * n + j)] += c[static_cast<size_t>(at[static_cast<size_t>(i)] * r.width + at[static_cast<size_t>(j)])] / static_cast<double>(shared);
      }
      for (int64_t o = 0; o < m; ++o) {
        const double square = product_->scale[static_cast<size_t>(o)] * product_->scale[static_cast<size_t>(o)], *w = product_->weights.data() + o * r.width;
        for (int64_t i = 0; i < n; ++i) {
          const double x = square * w[at[static_cast<size_t>(i)]];
          for (int64_t j = 0; x != 0 && j < n; ++j) a[static_cast<size_t>(i * n + j)] += x * w[at[static_cast<size_t>(j)]];
        }
      }
    }
    PITH_TRY(const std::vector<double> found, directions(std::move(covariance), a, n, kind_ == Kind::kDepthwise ? 1 : most_));
    filters_.insert(filters_.end(), found.begin(), found.end());
  }
  return {};
}

// Features before others stay what they are, so one factor serves every rank.
bool Separable::project(std::span<const double> c) {
  const ir::ProductRows& r = product_->rows;
  const int64_t n = part(), width = r.width, m = r.outputs, count = features(most_);
  std::vector<double> lc(static_cast<size_t>(count * width), 0.0);
  factor_.assign(static_cast<size_t>(count * count), 0.0);
  projected_.assign(static_cast<size_t>(count * m), 0.0);
  energy_ = 0;
  for (int64_t f = 0; f < count; ++f) {
    double* row = lc.data() + f * width;
    for (int64_t i = 0; i < n; ++i) {
      const double x = filters_[static_cast<size_t>(f / parts_ * n + i)], *from = c.data() + element(f, i) * width;
      for (int64_t j = 0; j < width; ++j) row[j] += x * from[j];
    }
    for (int64_t h = 0; h <= f; ++h) {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += row[element(h, i)] * filters_[static_cast<size_t>(h / parts_ * n + i)];
      factor_[static_cast<size_t>(f * count + h)] = factor_[static_cast<size_t>(h * count + f)] = sum;
    }
    for (int64_t o = 0; o < m; ++o) {
      const double* w = product_->weights.data() + o * width;
      projected_[static_cast<size_t>(f * m + o)] = product_->scale[static_cast<size_t>(o)] * std::inner_product(row, row + width, w, 0.0);
    }
  }
  damp(factor_, count, 1e-7);
  if (!cholesky(factor_, count)) return false;
  for (int64_t f = 0; f < count; ++f) {
    double* row = projected_.data() + f * m;
    for (int64_t h = 0; h < f; ++h) {
      const double x = factor_[static_cast<size_t>(f * count + h)];
      for (int64_t o = 0; o < m; ++o) row[o] -= x * projected_[static_cast<size_t>(h * m + o)];
    }
    for (int64_t o = 0; o < m; ++o) row[o] /= factor_[static_cast<size_t>(f * count + f)];
  }
  return true;
}

Result<std::optional<Separable>> Separable::make(Kind kind, const SplitProduct& product, std::span<const double> c, const std::array<ir::Window, 2>& window) {
  const ir::ProductRows& r = product.rows;
  Separable s;
  s.kind_ = kind;
  s.product_ = &product;
  s.window_ = window;
  if (r.groups != 1 || !r.contiguous || window[0].kernel < 2 || window[1].kernel < 2) return std::optional<Separable>();
  s.parts_ = kind == Kind::kDepthwise ? 1 : window[1].kernel;
  s.most_ = kind == Kind::kDepthwise ? r.depth : static_cast<int64_t>(1 / s.macs_share(1));
  s.most_ = std::min(s.most_, kind == Kind::kDepthwise ? r.depth : std::min(s.part(), s.parts_ * r.outputs));
  if (s.most_ < 1 || s.macs_share(s.most_) > 1) return std::optional<Separable>();
  PITH_CHECK_OK(s.find_filters(c));
  if (!s.project(c)) return std::optional<Separable>();
  for (int64_t o = 0; o < r.outputs; ++o) {
    const double* w = product.weights.data() + o * r.width;
    double power = 0;
    for (int64_t i = 0; i < r.width; ++i) power += w[i] == 0 ? 0 : w[i] * std::inner_product(w, w + r.width, c.data() + i * r.width, 0.0);
    s.energy_ += power * product.scale[static_cast<size_t>(o)] * product.scale[static_cast<size_t>(o)];
  }
  return std::optional<Separable>(std::move(s));
}

Factors Separable::factors(int64_t rank) const {
  const ir::ProductRows& r = product_->rows;
  const int64_t n = part(), m = r.outputs, count = features(rank), all = features(most_);
  const auto [down, across] = window_;
  const bool depthwise = kind_ == Kind::kDepthwise;
  std::vector<double> b(projected_.begin(), projected_.begin() + count * m);  // features x outputs: solved from the last
  for (int64_t f = count; f-- > 0;) {
    for (int64_t h = f + 1; h < count; ++h) {
      const double x = factor_[static_cast<size_t>(h * all + f)];
      for (int64_t o = 0; o < m; ++o) b[static_cast<size_t>(f * m + o)] -= x * b[static_cast<size_t>(h * m + o)];
    }
    for (int64_t o = 0; o < m; ++o) b[static_cast<size_t>(f * m + o)] /= factor_[static_cast<size_t>(f * all + f)];
  }
  Factors made{Tensor(ir::DType::kF32, depthwise ? ir::Shape{rank, 1, down.kernel, across.kernel} : ir::Shape{rank, r.depth, down.kernel, 1}), {m, rank, 1, parts_}, {}, {}, parts_,
               std::vector<double>(static_cast<size_t>(count * r.width), 0.0), std::vector<double>(static_cast<size_t>(m * count))};
  const ir::Window one{};
  made.first_attributes = depthwise ? attributes(down, across, r.depth) : attributes(down, one, 1);
  made.second_attributes = attributes(one, depthwise ? one : across, 1);
  for (int64_t q = 0; q < rank; ++q) {
    // a channels-first filter from one in the file's order
    for (int64_t i = 0; i < n; ++i) made.first.set(q * n + (depthwise ? i : i % r.depth * down.kernel + i / r.depth), filters_[static_cast<size_t>(q * n + i)]);
  }
  for (int64_t f = 0; f < count; ++f) {
    for (int64_t i = 0; i < n; ++i) made.features[static_cast<size_t>(f * r.width + element(f, i))] = filters_[static_cast<size_t>(f / parts_ * n + i)];
    for (int64_t o = 0; o < m; ++o) made.mix[static_cast<size_t>(o * count + f)] = b[static_cast<size_t>(f * m + o)] / product_->scale[static_cast<size_t>(o)];
  }
  return made;
}

}  // namespace pith
