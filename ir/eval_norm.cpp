// Normalisations and softmax. Statistics are summed in double.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "ir/eval.h"
#include "ir/float_math.h"
#include "ir/geometry.h"
#include "ir/loops.h"

namespace pith::ir {
namespace {

struct Moments {
  double mean, variance;
};
Moments moments(const float* x, int64_t n) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  const double mean = n > 0 ? sum / static_cast<double>(n) : 0;
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  return {mean, n > 0 ? squares / static_cast<double>(n) : 0};
}

// y *= scale and += bias, both broadcast to y
void apply_affine(Tensor& y, const Tensor& scale, const Tensor* bias) {
  const Shape& shape = y.shape();
  float* out = y.mut<float>().data();
  const float* s = scale.as<float>().data();
  const float* b = bias != nullptr ? bias->as<float>().data() : nullptr;
  const Shape bias_strides = bias != nullptr ? broadcast_strides(bias->shape(), shape) : Shape(shape.size(), 0);
  for_each_row<3>(shape, {strides_of(shape), broadcast_strides(scale.shape(), shape), bias_strides},
                  [&](int64_t n, const auto& offset, const auto& step) {
                    for (int64_t i = 0; i < n; ++i) {
                      float& v = out[offset[0] + i * step[0]];
                      v *= s[offset[1] + i * step[1]];
                      if (b != nullptr) v += b[offset[2] + i * step[2]];
                    }
                  });
}

// Rows of `n` elements, each to mean 0 and variance 1.
void standardise(const float* x, float* y, int64_t rows, int64_t n, double epsilon) {
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const Moments m = moments(x, n);
    const auto factor = static_cast<float>(1 / std::sqrt(m.variance + epsilon)), mean = static_cast<float>(m.mean);
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * factor;
  }
}

// Calls f(pointer to the first element) for each line along the axis; elements are `inner` apart.
template <typename F>
void for_each_line(const Evaluation& e, int64_t otherwise, F f) {
  const AxisSplit s = split_at(e.shape(0), wrap_axis(e.node.integer("axis", otherwise), e.shape(0).size()));
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.inner; ++i) f(o * s.size * s.inner + i, s.size, s.inner);
  }
}

// One line of a softmax; `Step` is a constant 1 for contiguous lines, whose loops the compiler then vectorises.
template <typename Step>
void softmax_line(Op op, const float* x, float* y, int64_t n, Step step) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) best = x[i * step] > x[best * step] ? i : best;
  const float highest = x[best * step];
  if (op == Op::kHardmax) {
    y[best * step] = 1;
    return;
  }
  for (int64_t i = 0; i < n; ++i) y[i * step] = fast_exp(x[i * step] - highest);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += y[i * step];
  if (op == Op::kSoftmax) {
    const auto factor = static_cast<float>(1 / sum);
    for (int64_t i = 0; i < n; ++i) y[i * step] *= factor;
  } else {
    const auto shift = static_cast<float>(std::log(sum));
    for (int64_t i = 0; i < n; ++i) y[i * step] = x[i * step] - highest - shift;
  }
}

}  // namespace

Result<void> eval_batch_norm(Evaluation& e) {
  const AxisSplit s = e.shape(0).size() > 1 ? split_at(e.shape(0), 1) : AxisSplit{element_count(e.shape(0)), 1, 1};
  const double epsilon = e.node.real("epsilon", 1e-5);
  const float* x = e.f32(0);
  float* y = e.out();
  for (int64_t row = 0; row < s.outer * s.size; ++row, x += s.inner, y += s.inner) {
    const int64_t c = row % s.size;
    const auto factor = static_cast<float>(e.f32(1)[c] / std::sqrt(e.f32(4)[c] + epsilon));
    const float shift = e.f32(2)[c] - e.f32(3)[c] * factor;
    for (int64_t i = 0; i < s.inner; ++i) y[i] = x[i] * factor + shift;
  }
  return {};
}

Result<void> eval_instance_norm(Evaluation& e) {
  const AxisSplit s = split_at(e.shape(0), 1);
  standardise(e.f32(0), e.out(), s.outer * s.size, s.inner, e.node.real("epsilon", 1e-5));
  const Shape per_channel = [&] {
    Shape shape(e.shape(0).size() - 1, 1);
    shape[0] = s.size;
    return shape;
  }();
  const Tensor bias = e.in(2).reshaped(per_channel);
  apply_affine(e.outputs[0], e.in(1).reshaped(per_channel), &bias);
  return {};
}

Result<void> eval_group_norm(Evaluation& e) {
  const AxisSplit s = split_at(e.shape(0), 1);
  const int64_t groups = e.node.integer("num_groups", 1), each = s.size / groups;
  standardise(e.f32(0), e.out(), s.outer * groups, each * s.inner, e.node.real("epsilon", 1e-5));
  const bool per_group = e.shape(1)[0] == groups;
  float* y = e.out();
  for (int64_t row = 0; row < s.outer * s.size; ++row, y += s.inner) {
    const int64_t c = row % s.size, at = per_group ? c / each : c;
    for (int64_t i = 0; i < s.inner; ++i) y[i] = y[i] * e.f32(1)[at] + e.f32(2)[at];
  }
  return {};
}

Result<void> eval_layer_norm(Evaluation& e) {
  const Shape& shape = e.shape(0);
  const auto axis = static_cast<size_t>(wrap_axis(e.node.integer("axis", -1), shape.size()));
  const int64_t n = element_count({shape.begin() + static_cast<std::ptrdiff_t>(axis), shape.end()});
  const int64_t rows = n > 0 ? element_count(shape) / n : 0;
  const double epsilon = e.node.real("epsilon", 1e-5);
  const std::vector<int64_t> spread = e.node.integers("spread");
  const float* x = e.f32(0);
  std::vector<float> wide;
  if (!spread.empty()) {
    wide.assign(x, x + rows * n);
    for (size_t i = 0; i < wide.size(); ++i) wide[i] *= static_cast<float>(1 << spread[i % spread.size()]);
    x = wide.data();
  }
  if (e.node.op == Op::kLayerNormalization) {
    standardise(x, e.out(), rows, n, epsilon);
    for (int64_t r = 0; r < rows && (e.wants(1) || e.wants(2)); ++r) {
      const Moments m = moments(x + r * n, n);
      if (e.wants(1)) e.out(1)[r] = static_cast<float>(m.mean);
      if (e.wants(2)) e.out(2)[r] = static_cast<float>(1 / std::sqrt(m.variance + epsilon));
    }
  } else {
    float* y = e.out();
    for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
      double squares = 0;
      for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
      const auto factor = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(n) + epsilon));
      for (int64_t i = 0; i < n; ++i) y[i] = x[i] * factor;
    }
  }
  apply_affine(e.outputs[0], e.in(1), e.has(2) ? e.inputs[2] : nullptr);
  return {};
}

Result<void> eval_lp_norm(Evaluation& e) {
  const bool squares = e.node.integer("p", 2) == 2;
  const float* x = e.f32(0);
  float* y = e.out();
  for_each_line(e, -1, [&](int64_t first, int64_t n, int64_t step) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double v = x[first + i * step];
      sum += squares ? v * v : std::abs(v);
    }
    const double norm = squares ? std::sqrt(sum) : sum;
    for (int64_t i = 0; i < n; ++i) {
      y[first + i * step] = norm == 0 ? 0 : static_cast<float>(x[first + i * step] / norm);
    }
  });
  return {};
}

Result<void> eval_lrn(Evaluation& e) {
  const AxisSplit s = split_at(e.shape(0), 1);
  const int64_t size = e.node.integer("size", 1), before = (size - 1) / 2, after = size - 1 - before;
  const double alpha = e.node.real("alpha", 1e-4), beta = e.node.real("beta", 0.75), bias = e.node.real("bias", 1);
  std::vector<double> squares(static_cast<size_t>(s.inner));
  for (int64_t o = 0; o < s.outer; ++o) {
    const float* x = e.f32(0) + o * s.size * s.inner;
    float* y = e.out() + o * s.size * s.inner;
    for (int64_t c = 0; c < s.size; ++c) {
      std::fill(squares.begin(), squares.end(), 0.0);
      for (int64_t k = std::max<int64_t>(c - before, 0); k <= std::min(c + after, s.size - 1); ++k) {
        for (int64_t i = 0; i < s.inner; ++i)
          squares[static_cast<size_t>(i)] += static_cast<double>(x[k * s.inner + i]) * x[k * s.inner + i];
      }
      for (int64_t i = 0; i < s.inner; ++i) {
        const double base = bias + alpha / static_cast<double>(size) * squares[static_cast<size_t>(i)];
        y[c * s.inner + i] = static_cast<float>(x[c * s.inner + i] / std::pow(base, beta));
      }
    }
  }
  return {};
}

Result<void> eval_softmax(Evaluation& e) {
  const float* x = e.f32(0);
  float* y = e.out();
  for_each_line(e, -1, [&](int64_t first, int64_t n, int64_t step) {
    if (n == 0) return;
    if (step == 1) {
      softmax_line(e.node.op, x + first, y + first, n, std::integral_constant<int64_t, 1>{});
    } else {
      softmax_line(e.node.op, x + first, y + first, n, step);
    }
  });
  return {};
}

}  // namespace pith::ir
