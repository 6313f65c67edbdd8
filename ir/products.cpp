#include "ir/products.h"

#include <cblas.h>

#include <algorithm>

#include "ir/loops.h"

namespace pith::ir {
namespace {

// Columns of im2col that are made at a time, so that they stay in cache and memory stays bounded.
constexpr int64_t kColumnBlock = 1 << 13;

int64_t rows_per_block(int64_t width, int64_t rows) {
  return std::clamp<int64_t>(kColumnBlock / std::max<int64_t>(width, 1), 1, std::max<int64_t>(rows, 1));
}

// Output positions whose input position o * stride + offset lies in [0, size): [first, last).
struct Span {
  int64_t first, last;
};
Span inside(const Window& w, int64_t offset) {
  const auto ceil_div = [](int64_t a, int64_t b) { return a <= 0 ? 0 : (a + b - 1) / b; };
  const int64_t first = std::min(ceil_div(-offset, w.stride), w.output);
  return {first, std::clamp(ceil_div(w.input - offset, w.stride), first, w.output)};
}

// Rows (channel, kh, kw), columns the output positions of rows [row0, row1); zero outside.
template <typename T>
void im2col(const T* x, int64_t channels, const std::array<Window, 2>& w, int64_t row0, int64_t row1, T* columns) {
  const Window &h = w[0], &v = w[1];
  for (int64_t c = 0; c < channels; ++c) {
    const T* plane = x + c * h.input * v.input;
    for (int64_t kh = 0; kh < h.kernel; ++kh) {
      for (int64_t kw = 0; kw < v.kernel; ++kw) {
        const int64_t shift = kw * v.dilation - v.pad_begin;
        const Span span = inside(v, shift);
        for (int64_t oh = row0; oh < row1; ++oh, columns += v.output) {
          const int64_t ih = oh * h.stride - h.pad_begin + kh * h.dilation;
          if (ih < 0 || ih >= h.input) {
            std::fill_n(columns, v.output, T{0});
            continue;
          }
          const T* row = plane + ih * v.input + shift;
          std::fill_n(columns, span.first, T{0});
          std::fill(columns + span.last, columns + v.output, T{0});
          if (v.stride == 1) {
            std::copy(row + span.first, row + span.last, columns + span.first);
          } else {
            for (int64_t ow = span.first; ow < span.last; ++ow) columns[ow] = row[ow * v.stride];
          }
        }
      }
    }
  }
}

// One input channel, one filter: a sum of shifted rows.
template <typename T>
void convolve_plane(const T* x, const std::array<Window, 2>& w, const T* filter, T* y) {
  const Window &h = w[0], &v = w[1];
  std::fill_n(y, h.output * v.output, T{0});
  for (int64_t oh = 0; oh < h.output; ++oh, y += v.output) {
    for (int64_t kh = 0; kh < h.kernel; ++kh) {
      const int64_t ih = oh * h.stride - h.pad_begin + kh * h.dilation;
      if (ih < 0 || ih >= h.input) continue;
      for (int64_t kw = 0; kw < v.kernel; ++kw) {
        const int64_t shift = kw * v.dilation - v.pad_begin;
        const Span span = inside(v, shift);
        const T* row = x + ih * v.input + shift;
        const T factor = filter[kh * v.kernel + kw];
        if (v.stride == 1) {
          for (int64_t ow = span.first; ow < span.last; ++ow) y[ow] += factor * row[ow];
        } else {
          for (int64_t ow = span.first; ow < span.last; ++ow) y[ow] += factor * row[ow * v.stride];
        }
      }
    }
  }
}

bool is_pointwise(const std::array<Window, 2>& w) {
  return std::all_of(w.begin(), w.end(), [](const Window& d) {
    return d.kernel == 1 && d.stride == 1 && d.pad_begin == 0 && d.input == d.output;
  });
}

// One group of one picture.
template <typename T>
void convolve_group(const ConvolutionSize& s, const T* x, const T* w, T* y, std::vector<T>& columns) {
  const Window &h = s.window[0], &v = s.window[1];
  const int64_t depth = s.in * h.kernel * v.kernel, positions = h.output * v.output;
  if (s.in == 1 && s.out <= 2) {
    for (int64_t o = 0; o < s.out; ++o) convolve_plane(x, s.window, w + o * depth, y + o * positions);
    return;
  }
  if (is_pointwise(s.window)) {
    gemm(false, false, s.out, positions, depth, w, depth, x, positions, false, y, positions);
    return;
  }
  const int64_t block = rows_per_block(v.output, h.output);
  columns.resize(static_cast<size_t>(depth * block * v.output));
  for (int64_t row = 0; row < h.output; row += block) {
    const int64_t end = std::min(row + block, h.output), count = (end - row) * v.output;
    im2col(x, s.in, s.window, row, end, columns.data());
    gemm(false, false, s.out, count, depth, w, depth, columns.data(), count, false, y + row * v.output, positions);
  }
}

// Adds the products of one group of one picture, rows (out, kh, kw) by the positions of input rows [row0, row1), to the
// places they belong to.
template <typename T>
void col2im(const T* columns, const ConvolutionSize& s, int64_t row0, int64_t row1, T* y) {
  const Window &h = s.window[0], &v = s.window[1];
  for (int64_t o = 0; o < s.out; ++o) {
    T* plane = y + o * h.output * v.output;
    for (int64_t kh = 0; kh < h.kernel; ++kh) {
      for (int64_t kw = 0; kw < v.kernel; ++kw) {
        for (int64_t ih = row0; ih < row1; ++ih, columns += v.input) {
          const int64_t oh = ih * h.stride - h.pad_begin + kh * h.dilation;
          if (oh < 0 || oh >= h.output) continue;
          T* row = plane + oh * v.output;
          for (int64_t iw = 0; iw < v.input; ++iw) {
            const int64_t ow = iw * v.stride - v.pad_begin + kw * v.dilation;
            if (ow >= 0 && ow < v.output) row[ow] += columns[iw];
          }
        }
      }
    }
  }
}

// One row or one column is a matrix times a vector: reading the matrix once takes a fraction of the time of packing it for a
// product of matrices, which is what a decoder's steps would spend most of theirs on.
template <typename T, typename Product, typename ByVector>
void call_blas(Product product, ByVector by_vector, bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
               const T* b, int64_t ldb, bool accumulate, T* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (int64_t i = 0; i < m && !accumulate; ++i) std::fill_n(c + i * ldc, n, T{0});
    return;
  }
  const auto trans = [](bool t) { return t ? CblasTrans : CblasNoTrans; };
  const auto size = [](int64_t s) { return static_cast<int>(s); };
  const T add = accumulate ? T{1} : T{0};
  if (m == 1) {  // the transpose of b times the row of a
    by_vector(CblasRowMajor, trans(!tb), size(tb ? n : k), size(tb ? k : n), T{1}, b, size(ldb), a, size(ta ? lda : 1), add, c, 1);
    return;
  }
  if (n == 1) {  // a times the column of b
    by_vector(CblasRowMajor, trans(ta), size(ta ? k : m), size(ta ? m : k), T{1}, a, size(lda), b, size(tb ? 1 : ldb), add, c, size(ldc));
    return;
  }
  product(CblasRowMajor, trans(ta), trans(tb), size(m), size(n), size(k), T{1}, a, size(lda), b, size(ldb), add, c,
          size(ldc));
}

}  // namespace

void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
          bool accumulate, float* c, int64_t ldc) {
  call_blas(cblas_sgemm, cblas_sgemv, ta, tb, m, n, k, a, lda, b, ldb, accumulate, c, ldc);
}
void gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b, int64_t ldb,
          bool accumulate, double* c, int64_t ldc) {
  call_blas(cblas_dgemm, cblas_dgemv, ta, tb, m, n, k, a, lda, b, ldb, accumulate, c, ldc);
}

ConvolutionSize convolution_size(const Node& node, const Shape& x, const Shape& w, const Shape& y) {
  const int64_t groups = node.integer("group", 1);
  ConvolutionSize s{x[0], groups, x[1] / groups, y[1] / groups, {}};
  s.window = as_2d(windows(node, spatial(x), spatial(w)).value());
  return s;
}

template <typename T>
void convolve(const ConvolutionSize& s, const T* x, const T* w, T* y) {
  const Window &h = s.window[0], &v = s.window[1];
  std::vector<T> columns;
  for (int64_t i = 0; i < s.batch * s.groups; ++i) {
    const T* filters = w + (i % s.groups) * s.out * s.in * h.kernel * v.kernel;
    convolve_group(s, x + i * s.in * h.input * v.input, filters, y + i * s.out * h.output * v.output, columns);
  }
}
template void convolve(const ConvolutionSize&, const float*, const float*, float*);
template void convolve(const ConvolutionSize&, const double*, const double*, double*);

template <typename T>
void convolve_transposed(const ConvolutionSize& s, const T* x, const T* w, T* y) {
  const Window &h = s.window[0], &v = s.window[1];
  const int64_t rows = s.out * h.kernel * v.kernel, positions = h.input * v.input;
  const int64_t block = rows_per_block(v.input, h.input);
  std::vector<T> columns(static_cast<size_t>(rows * block * v.input));
  for (int64_t i = 0; i < s.batch * s.groups; ++i) {
    const T* filters = w + (i % s.groups) * s.in * rows;
    for (int64_t row = 0; row < h.input; row += block) {
      const int64_t end = std::min(row + block, h.input), count = (end - row) * v.input;
      gemm(true, false, rows, count, s.in, filters, rows, x + i * s.in * positions + row * v.input, positions, false,
           columns.data(), count);
      col2im(columns.data(), s, row, end, y + i * s.out * h.output * v.output);
    }
  }
}
template void convolve_transposed(const ConvolutionSize&, const float*, const float*, float*);
template void convolve_transposed(const ConvolutionSize&, const double*, const double*, double*);

template <typename T>
void multiply_matrices(const Shape& a_given, const T* a, const Shape& b_given, const T* b, const Shape& y_shape, T* y) {
  Shape a_shape = a_given, b_shape = b_given, y_full = y_shape;
  if (b_given.size() == 1) b_shape.push_back(1), y_full.push_back(1);
  if (a_given.size() == 1) a_shape.insert(a_shape.begin(), 1), y_full.insert(y_full.end() - 1, 1);
  int64_t m = a_shape[a_shape.size() - 2];
  const int64_t k = a_shape.back(), n = b_shape.back();
  Shape batch(y_full.begin(), y_full.end() - 2);
  Shape a_batch(a_shape.begin(), a_shape.end() - 2), b_batch(b_shape.begin(), b_shape.end() - 2);
  if (element_count(b_batch) == 1 && element_count(batch) == element_count(a_batch)) {
    m *= element_count(a_batch);  // one matrix on the right: all rows on the left at once
    batch = a_batch = b_batch = {};
  }
  const auto matrix_strides = [&](const Shape& own, int64_t size) {
    Shape strides = broadcast_strides(own, batch);
    for (int64_t& s : strides) s *= size;
    return strides;
  };
  for_each_row<3>(batch, {matrix_strides(batch, m * n), matrix_strides(a_batch, m * k), matrix_strides(b_batch, k * n)},
                  [&](int64_t count, const auto& offset, const auto& step) {
                    for (int64_t i = 0; i < count; ++i) {
                      gemm(false, false, m, n, k, a + offset[1] + i * step[1], k, b + offset[2] + i * step[2], n, false,
                           y + offset[0] + i * step[0], n);
                    }
                  });
}
template void multiply_matrices(const Shape&, const float*, const Shape&, const float*, const Shape&, float*);
template void multiply_matrices(const Shape&, const double*, const Shape&, const double*, const Shape&, double*);

}  // namespace pith::ir
