// Matrix products and convolutions on plain arrays, in float or in double.
//
// Convolution is im2col and a matrix product. Products of small integers are computed in double, where sums below 2^53
// are exact in any order: so the integer semantics may use the same code, and the BLAS, and stay exact.
#pragma once

#include <array>

#include "ir/geometry.h"

namespace pith::ir {

// c (m x n) = op(a) op(b) + (accumulate ? c : 0), row-major with leading dimensions.
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
          const float* b, int64_t ldb, bool accumulate, float* c, int64_t ldc);
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const double* a, int64_t lda,
          const double* b, int64_t ldb, bool accumulate, double* c, int64_t ldc);

// x (batch, groups * in, H, W), w (groups * out, in, kH, kW), y (batch, groups * out, oH, oW).
struct ConvolutionSize {
  int64_t batch, groups, in, out;
  std::array<Window, 2> window;
};
ConvolutionSize convolution_size(const Node& node, const Shape& x, const Shape& w, const Shape& y);

// y = x * w, padding with zeros. y is overwritten.
template <typename T>
void convolve(const ConvolutionSize& s, const T* x, const T* w, T* y);
// The transposed convolution, w (groups * in, out, kH, kW). y must be zero.
template <typename T>
void convolve_transposed(const ConvolutionSize& s, const T* x, const T* w, T* y);

// a (..., m, k) times b (..., k, n) with numpy's broadcasting and treatment of vectors; y is overwritten.
template <typename T>
void multiply_matrices(const Shape& a_shape, const T* a, const Shape& b_shape, const T* b, const Shape& y_shape, T* y);

}  // namespace pith::ir
