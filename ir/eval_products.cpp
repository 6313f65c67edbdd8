// Convolutions and matrix products in float, and integer matrix products of index arithmetic.
#include <algorithm>

#include "ir/einsum.h"
#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/loops.h"
#include "ir/products.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

// y (batch, channels, positions) += bias (channels)
void add_channel_bias(const float* bias, const Shape& shape, float* y) {
  const AxisSplit s = split_at(shape, 1);
  for (int64_t row = 0; row < s.outer * s.size; ++row, y += s.inner) {
    const float b = bias[row % s.size];
    for (int64_t i = 0; i < s.inner; ++i) y[i] += b;
  }
}

// Rows, depth and columns of a Gemm, and how its operands are read.
struct GemmSize {
  int64_t m, k, n, a_row, a_column, b_row, b_column;
};
GemmSize gemm_size(const Evaluation& e) {
  const bool ta = e.node.integer("transA", 0) != 0, tb = e.node.integer("transB", 0) != 0;
  const Shape &a = e.shape(0), &b = e.shape(1), &y = e.outputs[0].shape();
  return {y[0], a[ta ? 0 : 1], y[1], ta ? 1 : a[1], ta ? a[1] : 1, tb ? 1 : b[1], tb ? b[1] : 1};
}

template <typename T>
void integer_gemm(Evaluation& e) {
  const GemmSize s = gemm_size(e);
  const T *a = e.in(0).as<T>().data(), *b = e.in(1).as<T>().data();
  const double alpha = e.node.real("alpha", 1), beta = e.node.real("beta", 1);
  T* y = e.outputs[0].mut<T>().data();
  const Shape c = e.has(2) ? broadcast_strides(e.shape(2), {s.m, s.n}) : Shape{0, 0};
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < s.k; ++k) {
        sum +=
            static_cast<double>(a[i * s.a_row + k * s.a_column]) * static_cast<double>(b[k * s.b_row + j * s.b_column]);
      }
      sum *= alpha;
      if (e.has(2)) sum += beta * static_cast<double>(e.in(2).as<T>()[static_cast<size_t>(i * c[0] + j * c[1])]);
      y[i * s.n + j] = saturate_to<T>(sum);
    }
  }
}

}  // namespace

Result<void> eval_conv(Evaluation& e) {
  const ConvolutionSize s = convolution_size(e.node, e.shape(0), e.shape(1), e.outputs[0].shape());
  convolve(s, e.f32(0), e.f32(1), e.out());
  if (e.has(2)) add_channel_bias(e.f32(2), e.outputs[0].shape(), e.out());
  return {};
}

Result<void> eval_conv_transpose(Evaluation& e) {
  const ConvolutionSize s = convolution_size(e.node, e.shape(0), e.shape(1), e.outputs[0].shape());
  convolve_transposed(s, e.f32(0), e.f32(1), e.out());
  if (e.has(2)) add_channel_bias(e.f32(2), e.outputs[0].shape(), e.out());
  return {};
}

Result<void> eval_gemm(Evaluation& e) {
  if (e.in(0).dtype() != DType::kF32) {
    e.in(0).dtype() == DType::kI32 ? integer_gemm<int32_t>(e) : integer_gemm<int64_t>(e);
    return {};
  }
  const bool ta = e.node.integer("transA", 0) != 0, tb = e.node.integer("transB", 0) != 0;
  const GemmSize s = gemm_size(e);
  const auto alpha = static_cast<float>(e.node.real("alpha", 1)), beta = static_cast<float>(e.node.real("beta", 1));
  float* y = e.out();
  gemm(ta, tb, s.m, s.n, s.k, e.f32(0), e.shape(0)[1], e.f32(1), e.shape(1)[1], false, y, s.n);
  if (alpha != 1) {
    for (int64_t i = 0; i < s.m * s.n; ++i) y[i] *= alpha;
  }
  if (!e.has(2)) return {};
  const Shape c = broadcast_strides(e.shape(2), {s.m, s.n});
  for (int64_t i = 0; i < s.m; ++i) {
    const float* row = e.f32(2) + i * c[0];
    for (int64_t j = 0; j < s.n; ++j) y[i * s.n + j] += beta * row[j * c[1]];
  }
  return {};
}

Result<void> eval_matmul(Evaluation& e) {
  const Shape& shape = e.outputs[0].shape();
  if (e.in(0).dtype() != DType::kF32) {
    // small numbers of index arithmetic: exact in double below 2^53
    const auto widened = [](const Tensor& t) {
      std::vector<double> wide(static_cast<size_t>(t.count()));
      for (size_t i = 0; i < wide.size(); ++i) wide[i] = t.at(static_cast<int64_t>(i));
      return wide;
    };
    const auto a = widened(e.in(0)), b = widened(e.in(1));
    std::vector<double> y(static_cast<size_t>(element_count(shape)));
    multiply_matrices(e.shape(0), a.data(), e.shape(1), b.data(), shape, y.data());
    for (size_t i = 0; i < y.size(); ++i) e.outputs[0].set(static_cast<int64_t>(i), y[i]);
    return {};
  }
  multiply_matrices(e.shape(0), e.f32(0), e.shape(1), e.f32(1), shape, e.out());
  if (!e.has(2)) return {};
  const int64_t n = shape.back();
  float* y = e.out();
  for (int64_t row = 0; row < e.outputs[0].count() / std::max<int64_t>(n, 1); ++row) {
    for (int64_t j = 0; j < n; ++j) y[row * n + j] += e.f32(2)[j];
  }
  return {};
}

}  // namespace pith::ir
