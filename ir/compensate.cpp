// See compensate.h.
#include "ir/compensate.h"

#include <algorithm>

#include "base/linear.h"

namespace pith::ir {

void shrink(ReadMoments& m) {
  const double share = m.count / (m.count + static_cast<double>(m.width));
  const auto scale = [&](std::vector<double>& matrices, int64_t rows) {
    for (size_t i = 0; i < matrices.size(); ++i) {
      const auto at = static_cast<int64_t>(i) % (rows * m.width);
      if (at / m.width != at % m.width) matrices[i] *= share;
    }
  };
  scale(m.covariance, m.width);
  scale(m.cross, m.original_width);
}

std::vector<double> weight_rows(const Tensor& w, const ProductRows& r) {
  std::vector<double> out;
  out.reserve(static_cast<size_t>(r.outputs * r.width));
  for (int64_t o = 0; o < r.outputs; ++o) {
    for (int64_t k = 0; k < r.width; ++k) out.push_back(w.at(r.at(o, k)));
  }
  return out;
}

double row_energy(std::span<const double> w, std::span<const double> covariance) {
  double sum = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    if (w[i] == 0) continue;
    double row = 0;
    for (size_t j = 0; j < w.size(); ++j) row += covariance[i * w.size() + j] * w[j];
    sum += w[i] * row;
  }
  return std::max(sum, 0.0);
}

std::vector<double> relative_importance(const Tensor& w, const ProductRows& rows, const ReadMoments& m) {
  const std::vector<double> weights = weight_rows(w, rows);
  double variance = 0;
  for (int64_t o = 0; o < rows.outputs; ++o) variance += row_energy({weights.data() + o * rows.width, static_cast<size_t>(rows.width)}, m.covariance_of(rows.group(o)));
  return std::vector<double>(static_cast<size_t>(rows.outputs), 1 / std::max(variance, 1e-30));
}

RowImportance row_importance(const Tensor& w, const ProductRows& rows, const ReadMoments& m, const SquaredGradients& gradients, const std::string& name) {
  const auto given = gradients.find(name);
  if (given == gradients.end() || given->second.shape() != w.shape()) return {relative_importance(w, rows, m), true};
  RowImportance found;
  for (int64_t o = 0; o < rows.outputs; ++o) {
    double curvature = 0, power = 1e-30;
    for (int64_t k = 0; k < rows.width; ++k) {
      const auto at = static_cast<size_t>(rows.group(o) * rows.width + k);
      curvature += given->second.at(rows.at(o, k));
      power += m.covariance_of(rows.group(o))[static_cast<size_t>(k * rows.width + k)] + m.mean[at] * m.mean[at];
    }
    found.rows.push_back(0.5 * curvature / power);
  }
  return found;
}

// Rows that are held alike share a factor: all of them, or 16 where blocks are zero.
bool solve_rows(std::span<const double> hessian, int64_t n, std::span<double> rows, std::span<const uint8_t> zeros) {
  const int64_t count = static_cast<int64_t>(rows.size()) / n;
  std::vector<size_t> open;
  std::vector<double> factor, x;
  for (int64_t o = 0; o < count; ++o) {
    const auto held = [&](int64_t row, int64_t k) { return !zeros.empty() && zeros[static_cast<size_t>(row * n + k)] != 0; };
    bool alike = o > 0;
    for (int64_t k = 0; k < n && alike && !zeros.empty(); ++k) alike = held(o, k) == held(o - 1, k);
    if (!alike) {
      open.clear(), factor.clear();
      for (int64_t k = 0; k < n; ++k) {
        if (!held(o, k)) open.push_back(static_cast<size_t>(k));
      }
      for (size_t i : open) {
        for (size_t j : open) factor.push_back(hessian[i * static_cast<size_t>(n) + j]);
      }
      if (!cholesky(factor, static_cast<int64_t>(open.size()))) return false;
    }
    const std::span<double> row = rows.subspan(static_cast<size_t>(o * n), static_cast<size_t>(n));
    x.clear();
    for (size_t k : open) x.push_back(row[k]);
    solve_cholesky(factor, static_cast<int64_t>(x.size()), x);
    std::fill(row.begin(), row.end(), 0.0);
    for (size_t i = 0; i < open.size(); ++i) row[open[i]] = x[i];
  }
  return true;
}

// T = (W C + r W) (H + r)^-1 row by row, C the original's moments against the student's, H the student's.
LeastSquares least_squares(const Tensor& original, const ProductRows& rows, const ReadMoments& m, double damping, std::span<const uint8_t> zeros) {
  LeastSquares fit{weight_rows(original, rows), {}};
  const std::vector<double> weights = fit.weights;
  const int64_t n = rows.width, per_group = rows.outputs / rows.groups;
  for (int64_t g = 0; g < rows.groups; ++g) {
    const auto covariance = m.covariance_of(g), cross = m.cross_of(g);
    const auto first = static_cast<size_t>(g * per_group * n), size = static_cast<size_t>(per_group * n);
    std::vector<double> hessian(covariance.begin(), covariance.end()), x(size);
    const double added = damp(hessian, n, damping);
    for (int64_t o = 0; o < per_group; ++o) {
      const double* w = weights.data() + first + o * n;
      double* row = x.data() + o * n;
      for (int64_t j = 0; j < n; ++j) row[j] = added * w[j];
      for (int64_t i = 0; i < n; ++i) {
        const double share = w[i], *c = cross.data() + i * n;
        for (int64_t j = 0; j < n; ++j) row[j] += share * c[j];
      }
    }
    const std::span<const uint8_t> held = zeros.empty() ? zeros : zeros.subspan(first, size);
    if (solve_rows(hessian, n, x, held)) {
      std::copy(x.begin(), x.end(), fit.weights.begin() + static_cast<int64_t>(first));
    } else {
      for (size_t i = 0; i < held.size(); ++i) fit.weights[first + i] *= held[i] == 0;
    }
    for (int64_t o = g * per_group; o < (g + 1) * per_group; ++o) {
      double shift = 0;
      for (int64_t k = 0; k < n; ++k) {
        const auto at = static_cast<size_t>(g * n + k);
        shift += weights[static_cast<size_t>(o * n + k)] * m.original_mean[at] - fit.weights[static_cast<size_t>(o * n + k)] * m.mean[at];
      }
      fit.bias.push_back(shift);
    }
  }
  return fit;
}

}  // namespace pith::ir
