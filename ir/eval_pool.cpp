// Pooling over windows and over whole planes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/pool.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

// The flat index that MaxPool's second output tells: storage_order 1 counts columns first.
int64_t told_index(int64_t plane, int64_t h, int64_t w, const std::array<Window, 2>& windows, bool columns_first) {
  const int64_t height = windows[0].input, width = windows[1].input;
  return plane * height * width + (columns_first ? w * height + h : h * width + w);
}

template <typename T>
void max_pool_with_indices(Evaluation& e, const std::array<Window, 2>& w) {
  const T* x = e.in(0).as<T>().data();
  T* y = e.outputs[0].mut<T>().data();
  int64_t* indices = e.outputs[1].mut<int64_t>().data();
  const bool columns_first = e.node.integer("storage_order", 0) != 0;
  const int64_t planes = e.shape(0)[0] * e.shape(0)[1];
  for (int64_t p = 0; p < planes; ++p, x += w[0].input * w[1].input) {
    for (int64_t oh = 0; oh < w[0].output; ++oh) {
      for (int64_t ow = 0; ow < w[1].output; ++ow) {
        T best = std::numeric_limits<T>::lowest();
        int64_t at = -1;
        const int64_t h0 = oh * w[0].stride - w[0].pad_begin, w0 = ow * w[1].stride - w[1].pad_begin;
        const Taps th = taps_of(w[0], h0), tw = taps_of(w[1], w0);
        for (int64_t kh = th.first; kh < th.last; ++kh) {
          for (int64_t kw = tw.first; kw < tw.last; ++kw) {
            const int64_t h = h0 + kh * w[0].dilation, v = w0 + kw * w[1].dilation;
            if (at >= 0 && !(x[h * w[1].input + v] > best)) continue;
            best = x[h * w[1].input + v];
            at = told_index(p, h, v, w, columns_first);
          }
        }
        *y++ = best;
        *indices++ = std::max<int64_t>(at, 0);
      }
    }
  }
}

}  // namespace

std::vector<int32_t> pool_counts(const Node& node, const std::array<Window, 2>& w) {
  const bool with_padding = node.integer("count_include_pad", 0) != 0;
  const auto along = [&](const Window& d, int64_t o) {
    const int64_t start = o * d.stride - d.pad_begin;
    if (!with_padding) {
      const Taps t = taps_of(d, start);
      return t.last - t.first;
    }
    // padding counts, what ceil_mode adds beyond it doesn't
    Window padded = d;
    padded.input = d.input + d.pad_begin + d.pad_end;
    return taps_of(padded, start + d.pad_begin).last;
  };
  std::vector<int32_t> counts;
  for (int64_t oh = 0; oh < w[0].output; ++oh) {
    for (int64_t ow = 0; ow < w[1].output; ++ow) {
      counts.push_back(static_cast<int32_t>(std::max<int64_t>(along(w[0], oh) * along(w[1], ow), 1)));
    }
  }
  return counts;
}

template <typename T>
void max_pool(const T* x, int64_t planes, const std::array<Window, 2>& w, T* y) {
  const Window &h = w[0], &v = w[1];
  // along rows first, then along columns: a k x k window costs 2k comparisons
  std::vector<T> rows(static_cast<size_t>(h.input * v.output));
  for (int64_t p = 0; p < planes; ++p, x += h.input * v.input) {
    for (int64_t ih = 0; ih < h.input; ++ih) {
      T* out = rows.data() + ih * v.output;
      const T* in = x + ih * v.input;
      std::fill_n(out, v.output, std::numeric_limits<T>::lowest());
      for (int64_t kw = 0; kw < v.kernel; ++kw) {
        const int64_t shift = kw * v.dilation - v.pad_begin;
        const int64_t first = std::min(shift < 0 ? (-shift + v.stride - 1) / v.stride : 0, v.output);
        const int64_t last = shift >= v.input ? first : std::min((v.input - shift + v.stride - 1) / v.stride, v.output);
        for (int64_t ow = first; ow < last; ++ow) out[ow] = std::max(out[ow], in[ow * v.stride + shift]);
      }
    }
    for (int64_t oh = 0; oh < h.output; ++oh, y += v.output) {
      std::fill_n(y, v.output, std::numeric_limits<T>::lowest());
      const int64_t h0 = oh * h.stride - h.pad_begin;
      const Taps th = taps_of(h, h0);
      for (int64_t kh = th.first; kh < th.last; ++kh) {
        const T* in = rows.data() + (h0 + kh * h.dilation) * v.output;
        for (int64_t ow = 0; ow < v.output; ++ow) y[ow] = std::max(y[ow], in[ow]);
      }
    }
  }
}
template void max_pool(const float*, int64_t, const std::array<Window, 2>&, float*);
template void max_pool(const uint8_t*, int64_t, const std::array<Window, 2>&, uint8_t*);
template void max_pool(const int8_t*, int64_t, const std::array<Window, 2>&, int8_t*);

std::array<Window, 2> pool_windows(const Node& node, const Shape& x) {
  return as_2d(windows(node, spatial(x), node.integers("kernel_shape")).value());
}

Result<void> eval_pool(Evaluation& e) {
  const Op op = e.node.op;
  const auto w = pool_windows(e.node, e.shape(0));
  const int64_t planes = e.shape(0)[0] * e.shape(0)[1];
  if (op == Op::kMaxPool) {
    with_dtype(e.in(0).dtype(), [&](auto zero) {
      using T = decltype(zero);
      if constexpr (std::is_same_v<T, float> || sizeof(T) == 1) {
        if (e.wants(1)) return max_pool_with_indices<T>(e, w);
        max_pool(e.in(0).as<T>().data(), planes, w, e.outputs[0].mut<T>().data());
      }
    });
    return {};
  }
  float* y = e.out();
  if (op == Op::kLpPool) {
    const auto p = static_cast<float>(e.node.integer("p", 2));
    sum_pool(e.f32(0), planes, w, y, [p](float v) { return p == 2 ? v * v : std::pow(std::abs(v), p); });
    for (int64_t i = 0; i < e.outputs[0].count(); ++i) y[i] = p == 2 ? std::sqrt(y[i]) : std::pow(y[i], 1 / p);
    return {};
  }
  sum_pool(e.f32(0), planes, w, y, [](float v) { return v; });
  const std::vector<int32_t> counts = pool_counts(e.node, w);
  for (int64_t p = 0; p < planes; ++p) {
    for (int32_t count : counts) *y++ /= static_cast<float>(count);
  }
  return {};
}

Result<void> eval_global_pool(Evaluation& e) {
  const AxisSplit s = split_at(e.shape(0), 1);
  const float* x = e.f32(0);
  float* y = e.out();
  for (int64_t i = 0; i < s.outer * s.size; ++i, x += s.inner) {
    if (e.node.op == Op::kGlobalMaxPool) {
      y[i] = s.inner == 0 ? 0 : *std::max_element(x, x + s.inner);
    } else {
      double sum = 0;
      for (int64_t k = 0; k < s.inner; ++k) sum += x[k];
      y[i] = static_cast<float>(sum / static_cast<double>(s.inner));
    }
  }
  return {};
}

}  // namespace pith::ir
