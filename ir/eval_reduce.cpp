// Reductions along axes, and selection: ArgMax, CumSum, TopK.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/loops.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

// Walks x as kept positions times reduced positions: f(flat output position, row of x, its length and step).
template <typename F>
void for_each_reduced(const Evaluation& e, F f) {
  const Shape& shape = e.shape(0);
  const auto reduced = reduced_axes(e.node, shape.size());
  Shape kept;
  for (size_t i = 0; i < shape.size(); ++i) kept.push_back(reduced[i] ? 1 : shape[i]);
  const Shape to = broadcast_strides(kept, shape);
  for_each_row<2>(shape, {to, strides_of(shape)}, [&](int64_t n, const auto& offset, const auto& step) {
    f(n, offset[0], step[0], offset[1], step[1]);
  });
}

// Folds f over the reduced positions into accumulators that start at `start`.
template <typename A, typename T, typename F>
std::vector<A> fold(const Evaluation& e, A start, F f) {
  std::vector<A> sums(static_cast<size_t>(e.outputs[0].count()), start);
  const T* x = e.in(0).as<T>().data();
  for_each_reduced(e, [&](int64_t n, int64_t to, int64_t to_step, int64_t from, int64_t from_step) {
    A* s = sums.data() + to;
    const T* v = x + from;
    if (to_step == 0) {
      A sum = *s;
      for (int64_t i = 0; i < n; ++i) sum = f(sum, v[i * from_step]);
      *s = sum;
    } else {
      for (int64_t i = 0; i < n; ++i) s[i * to_step] = f(s[i * to_step], v[i * from_step]);
    }
  });
  return sums;
}

template <typename T>
void store(const std::vector<double>& values, Tensor& y) {
  auto out = y.mut<T>();
  for (size_t i = 0; i < out.size(); ++i) {
    if constexpr (std::is_integral_v<T>) {
      out[i] = saturate_to<T>(values[i]);
    } else {
      out[i] = static_cast<T>(values[i]);
    }
  }
}

template <typename T>
void reduce_extreme(Evaluation& e, bool maximum) {
  using Limits = std::numeric_limits<T>;
  const T least = std::is_same_v<T, float> ? static_cast<T>(-Limits::infinity()) : Limits::lowest();
  const T most = std::is_same_v<T, float> ? static_cast<T>(Limits::infinity()) : Limits::max();
  const auto best = maximum ? fold<T, T>(e, least, [](T a, T b) { return a < b || b != b ? b : a; })
                            : fold<T, T>(e, most, [](T a, T b) { return b < a || b != b ? b : a; });
  std::copy(best.begin(), best.end(), e.outputs[0].mut<T>().begin());
}

// sum e^x as e^m * sum e^(x - m), m the largest x
template <typename T>
std::vector<double> log_sum_exp(const Evaluation& e) {
  const auto highest = fold<double, T>(e, -std::numeric_limits<double>::infinity(),
                                       [](double a, T x) { return std::max(a, static_cast<double>(x)); });
  std::vector<double> sums(highest.size(), 0);
  const T* x = e.in(0).as<T>().data();
  for_each_reduced(e, [&](int64_t n, int64_t to, int64_t to_step, int64_t from, int64_t from_step) {
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(to + i * to_step);
      const double shift = std::isfinite(highest[at]) ? highest[at] : 0;
      sums[at] += std::exp(static_cast<double>(x[from + i * from_step]) - shift);
    }
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    sums[i] = std::log(sums[i]) + (std::isfinite(highest[i]) ? highest[i] : 0);
  }
  return sums;
}

template <typename T>
std::vector<double> reduce_sums(const Evaluation& e) {
  const auto sum = [&](auto term) {
    return fold<double, T>(e, 0.0, [term](double a, T x) { return a + term(static_cast<double>(x)); });
  };
  std::vector<double> y;
  switch (e.node.op) {
    case Op::kReduceProd:
      return fold<double, T>(e, 1.0, [](double a, T x) { return a * static_cast<double>(x); });
    case Op::kReduceL1:
      return sum([](double v) { return std::abs(v); });
    case Op::kReduceSumSquare:
      return sum([](double v) { return v * v; });
    case Op::kReduceLogSumExp:
      return log_sum_exp<T>(e);
    case Op::kReduceL2:
      y = sum([](double v) { return v * v; });
      for (double& v : y) v = std::sqrt(v);
      return y;
    case Op::kReduceLogSum:
      y = sum([](double v) { return v; });
      for (double& v : y) v = std::log(v);
      return y;
    case Op::kReduceMean: {
      const double count =
          static_cast<double>(e.in(0).count()) / static_cast<double>(std::max<int64_t>(e.outputs[0].count(), 1));
      y = sum([](double v) { return v; });
      for (double& v : y) v /= count;
      return y;
    }
    default:
      return sum([](double v) { return v; });
  }
}

template <typename T>
void arg_reduce(Evaluation& e) {
  const AxisSplit s = split_at(e.shape(0), wrap_axis(e.node.integer("axis", 0), e.shape(0).size()));
  const bool maximum = e.node.op == Op::kArgMax, last = e.node.integer("select_last_index", 0) != 0;
  const T* x = e.in(0).as<T>().data();
  auto* y = e.outputs[0].mut<int64_t>().data();
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.inner; ++i) {
      const T* line = x + o * s.size * s.inner + i;
      int64_t best = 0;
      for (int64_t k = 1; k < s.size; ++k) {
        const T a = line[k * s.inner], b = line[best * s.inner];
        if ((maximum ? a > b : a < b) || (last && a == b)) best = k;
      }
      *y++ = best;
    }
  }
}

template <typename T>
void cumulative_sum(Evaluation& e) {
  const AxisSplit s = split_at(e.shape(0), wrap_axis(e.node.integer("axis", 0), e.shape(0).size()));
  const bool exclusive = e.node.integer("exclusive", 0) != 0, reverse = e.node.integer("reverse", 0) != 0;
  const T* x = e.in(0).as<T>().data();
  T* y = e.outputs[0].mut<T>().data();
  using Sum = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.inner; ++i) {
      Sum sum = 0;
      for (int64_t k = 0; k < s.size; ++k) {
        const int64_t at = (o * s.size + (reverse ? s.size - 1 - k : k)) * s.inner + i;
        const Sum before = sum;
        sum += static_cast<Sum>(x[at]);
        y[at] = static_cast<T>(exclusive ? before : sum);
      }
    }
  }
}

template <typename T>
void top_k(Evaluation& e) {
  const AxisSplit s = split_at(e.shape(0), wrap_axis(e.node.integer("axis", -1), e.shape(0).size()));
  const int64_t k = e.node.integer("k", 0);
  const bool largest = e.node.integer("largest", 1) != 0;
  const T* x = e.in(0).as<T>().data();
  T* values = e.outputs[0].mut<T>().data();
  int64_t* indices = e.wants(1) ? e.outputs[1].mut<int64_t>().data() : nullptr;
  std::vector<int64_t> order(static_cast<size_t>(s.size));
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.inner; ++i) {
      const T* line = x + o * s.size * s.inner + i;
      std::iota(order.begin(), order.end(), int64_t{0});
      // equal values: the lower index first; NaN counts as the largest number, so that the order is one
      const auto before = [&](int64_t a, int64_t b) {
        const T va = line[a * s.inner], vb = line[b * s.inner];
        if (va != va || vb != vb) return (va != va) != (vb != vb) ? (va != va) == largest : a < b;
        return va == vb ? a < b : largest ? va > vb : va < vb;
      };
      std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
      for (int64_t r = 0; r < k; ++r) {
        const int64_t to = (o * k + r) * s.inner + i, from = order[static_cast<size_t>(r)];
        values[to] = line[from * s.inner];
        if (indices != nullptr) indices[to] = from;
      }
    }
  }
}

}  // namespace

Result<void> eval_reduce(Evaluation& e) {
  with_dtype(e.in(0).dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (e.node.op == Op::kReduceMax || e.node.op == Op::kReduceMin) {
      reduce_extreme<T>(e, e.node.op == Op::kReduceMax);
    } else {
      store<T>(reduce_sums<T>(e), e.outputs[0]);
    }
  });
  return {};
}

Result<void> eval_arg_reduce(Evaluation& e) {
  with_dtype(e.in(0).dtype(), [&](auto zero) { arg_reduce<decltype(zero)>(e); });
  return {};
}

Result<void> eval_cumsum(Evaluation& e) {
  with_dtype(e.in(0).dtype(), [&](auto zero) { cumulative_sum<decltype(zero)>(e); });
  return {};
}

Result<void> eval_topk(Evaluation& e) {
  with_dtype(e.in(0).dtype(), [&](auto zero) { top_k<decltype(zero)>(e); });
  return {};
}

}  // namespace pith::ir
