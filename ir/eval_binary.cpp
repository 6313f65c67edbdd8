// Element-wise operators of several variables, with broadcasting.
#include <algorithm>
#include <array>
#include <cmath>

#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/loops.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

// y = f(a, b) over the broadcast shape; rows where an operand stands still have their own loops.
template <typename Y, typename A, typename B, typename F>
void broadcast_map(Tensor& y, const Tensor& a, const Tensor& b, F f) {
  Y* out = y.mut<Y>().data();
  const A* left = a.as<A>().data();
  const B* right = b.as<B>().data();
  const Shape& shape = y.shape();
  for_each_row<3>(shape, {strides_of(shape), broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                  [&](int64_t n, const auto& offset, const auto& step) {
                    Y* o = out + offset[0];
                    const A* l = left + offset[1];
                    const B* r = right + offset[2];
                    if (step[1] == 1 && step[2] == 1) {
                      for (int64_t i = 0; i < n; ++i) o[i] = f(l[i], r[i]);
                    } else if (step[1] == 1 && step[2] == 0) {
                      for (int64_t i = 0; i < n; ++i) o[i] = f(l[i], *r);
                    } else if (step[1] == 0 && step[2] == 1) {
                      for (int64_t i = 0; i < n; ++i) o[i] = f(*l, r[i]);
                    } else {
                      for (int64_t i = 0; i < n; ++i) o[i * step[0]] = f(l[i * step[1]], r[i * step[2]]);
                    }
                  });
}

// Arithmetic on T; integers wrap, as two's complement.
template <typename T>
T add(T a, T b) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  return a + b;
}
template <typename T>
T subtract(T a, T b) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
  return a - b;
}
template <typename T>
T multiply(T a, T b) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  return a * b;
}
template <typename T>
T divide(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == T{0}) return T{0};
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return subtract(T{0}, a);
    return static_cast<T>(a / b);
  }
  return a / b;
}
// Mod with the sign of the divisor (Python's), or of the dividend (C's fmod).
template <typename T>
T modulo(T a, T b, bool like_c) {
  if constexpr (std::is_integral_v<T>) {
    if (b == T{0} || (std::is_signed_v<T> && b == static_cast<T>(-1))) return T{0};
    const T r = static_cast<T>(a % b);
    return !like_c && r != T{0} && (r < T{0}) != (b < T{0}) ? static_cast<T>(r + b) : r;
  } else {
    return std::fmod(a, b);
  }
}
template <typename T, typename E>
T power(T a, E b) {
  if constexpr (std::is_same_v<T, float>) {
    const auto y = static_cast<float>(b);
    return y == 2 ? a * a : y == 0.5f ? std::sqrt(a) : std::pow(a, y);
  } else {
    return saturate_to<T>(std::pow(static_cast<double>(a), static_cast<double>(b)));
  }
}
// NaN wins, as in numpy.
template <typename T>
T smaller(T a, T b) {
  return a < b || a != a ? a : b;
}
template <typename T>
T larger(T a, T b) {
  return a > b || a != a ? a : b;
}

template <typename T>
void binary(Op op, const Node& node, const Tensor& a, const Tensor& b, Tensor& y) {
  const auto same = [&](auto f) { broadcast_map<T, T, T>(y, a, b, f); };
  const auto truth = [&](auto f) { broadcast_map<uint8_t, T, T>(y, a, b, f); };
  switch (op) {
    case Op::kAdd:
      return same(add<T>);
    case Op::kSub:
      return same(subtract<T>);
    case Op::kMul:
      return same(multiply<T>);
    case Op::kDiv:
      return same(divide<T>);
    case Op::kPRelu:
      return same([](T x, T slope) { return x < T{0} ? multiply(x, slope) : x; });
    case Op::kMod:
      return same([like_c = node.integer("fmod", 0) != 0](T x, T m) { return modulo(x, m, like_c); });
    case Op::kEqual:
      return truth([](T x, T z) { return x == z; });
    case Op::kLess:
      return truth([](T x, T z) { return x < z; });
    case Op::kLessOrEqual:
      return truth([](T x, T z) { return x <= z; });
    case Op::kGreater:
      return truth([](T x, T z) { return x > z; });
    case Op::kGreaterOrEqual:
      return truth([](T x, T z) { return x >= z; });
    case Op::kAnd:
      return truth([](T x, T z) { return x != T{0} && z != T{0}; });
    case Op::kOr:
      return truth([](T x, T z) { return x != T{0} || z != T{0}; });
    case Op::kXor:
      return truth([](T x, T z) { return (x != T{0}) != (z != T{0}); });
    case Op::kMin:
      return same(smaller<T>);
    case Op::kMax:
      return same(larger<T>);
    default:
      return;
  }
}

}  // namespace

Result<void> eval_binary(Evaluation& e) {
  const Tensor &a = e.in(0), &b = e.in(1);
  with_dtype(a.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (e.node.op != Op::kPow) return binary<T>(e.node.op, e.node, a, b, e.outputs[0]);
    with_dtype(b.dtype(), [&](auto exponent) {
      using E = decltype(exponent);
      broadcast_map<T, T, E>(e.outputs[0], a, b, power<T, E>);
    });
  });
  return {};
}

Result<void> eval_variadic(Evaluation& e) {
  const Op op = e.node.op == Op::kMin ? Op::kMin : e.node.op == Op::kMax ? Op::kMax : Op::kAdd;
  Tensor sum = e.in(0);
  for (size_t i = 1; i < e.inputs.size(); ++i) {
    Shape wide = broadcast(sum.shape(), e.shape(i)).value();
    Tensor next(sum.dtype(), std::move(wide));
    with_dtype(sum.dtype(), [&](auto zero) { binary<decltype(zero)>(op, e.node, sum, e.in(i), next); });
    sum = std::move(next);
  }
  if (e.node.op == Op::kMean) {
    const auto count = static_cast<float>(e.inputs.size());
    for (float& v : sum.mut<float>()) v /= count;
  }
  e.outputs[0] = std::move(sum);
  return {};
}

Result<void> eval_where(Evaluation& e) {
  const Tensor &condition = e.in(0), &a = e.in(1), &b = e.in(2);
  Tensor& y = e.outputs[0];
  const Shape& shape = y.shape();
  with_width(a.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto* choose = condition.as<uint8_t>().data();
    const auto* left = reinterpret_cast<const T*>(a.bytes());
    const auto* right = reinterpret_cast<const T*>(b.bytes());
    auto* out = reinterpret_cast<T*>(y.mutable_bytes());
    for_each_row<4>(shape,
                    {strides_of(shape), broadcast_strides(condition.shape(), shape),
                     broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                    [&](int64_t n, const auto& offset, const auto& step) {
                      for (int64_t i = 0; i < n; ++i) {
                        const bool first = choose[offset[1] + i * step[1]] != 0;
                        out[offset[0] + i * step[0]] =
                            first ? left[offset[2] + i * step[2]] : right[offset[3] + i * step[3]];
                      }
                    });
  });
  return {};
}

}  // namespace pith::ir
