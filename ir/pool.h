// Pooling that float and integer execution share. Shapes are channels-first.
#pragma once

#include <algorithm>
#include <array>

#include "ir/geometry.h"

namespace pith::ir {

std::array<Window, 2> pool_windows(const Node& node, const Shape& x);

// How many positions each output position of an AveragePool is the average of (count_include_pad), row by row.
std::vector<int32_t> pool_counts(const Node& node, const std::array<Window, 2>& w);

// The maximum of each window; windows wholly in the padding give the lowest number.
template <typename T>
void max_pool(const T* x, int64_t planes, const std::array<Window, 2>& w, T* y);

// Kernel positions whose input position start + k * dilation lies in [0, size): [first, last).
struct Taps {
  int64_t first, last;
};
inline Taps taps_of(const Window& w, int64_t start) {
  const int64_t first = std::min(start < 0 ? (-start + w.dilation - 1) / w.dilation : 0, w.kernel);
  const int64_t last = start >= w.input ? 0 : (w.input - start + w.dilation - 1) / w.dilation;
  return {first, std::clamp(last, first, w.kernel)};
}

// y = sum of f(x) over each window; padding adds nothing.
template <typename T, typename Sum, typename F>
void sum_pool(const T* x, int64_t planes, const std::array<Window, 2>& w, Sum* y, F f) {
  const Window &h = w[0], &v = w[1];
  for (int64_t p = 0; p < planes; ++p, x += h.input * v.input) {
    for (int64_t oh = 0; oh < h.output; ++oh, y += v.output) {
      std::fill_n(y, v.output, Sum{0});
      const int64_t h0 = oh * h.stride - h.pad_begin;
      const Taps th = taps_of(h, h0);
      for (int64_t kh = th.first; kh < th.last; ++kh) {
        const T* row = x + (h0 + kh * h.dilation) * v.input;
        for (int64_t ow = 0; ow < v.output; ++ow) {
          const int64_t w0 = ow * v.stride - v.pad_begin;
          const Taps tw = taps_of(v, w0);
          for (int64_t kw = tw.first; kw < tw.last; ++kw) y[ow] += f(row[w0 + kw * v.dilation]);
        }
      }
    }
  }
}

}  // namespace pith::ir
