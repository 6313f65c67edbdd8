// Element-wise functions of one variable.
//
// The frequent ones have loops that the compiler vectorises; the rest use numerics/unary.inc's formulas in double.
#include <algorithm>
#include <cmath>

#include "ir/eval.h"
#include "ir/float_math.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

template <typename F>
void map(const float* x, float* y, size_t count, F f) {
  for (size_t i = 0; i < count; ++i) y[i] = f(x[i]);
}

// The function of numerics/unary.inc, as it is defined.
template <numerics::Unary kFunction>
void map_exactly(const Activation& f, const float* x, float* y, size_t count) {
  map(x, y, count, [&](float v) { return static_cast<float>(numerics::apply_unary(kFunction, v, f.a, f.b)); });
}

template <typename T>
void integer_unary(Op op, const Tensor& in, Tensor& out) {
  const auto x = in.as<T>();
  auto y = out.mut<T>();
  for (size_t i = 0; i < x.size(); ++i) {
    const T v = x[i];
    switch (op) {
      case Op::kAbs:
        y[i] = v < T{0} ? static_cast<T>(T{0} - static_cast<std::make_unsigned_t<T>>(v)) : v;
        break;
      case Op::kNeg:
        y[i] = static_cast<T>(T{0} - static_cast<std::make_unsigned_t<T>>(v));
        break;
      case Op::kSign:
        y[i] = static_cast<T>((v > T{0}) - (v < T{0}));
        break;
      default:
        y[i] = std::max(v, T{0});
        break;  // Relu
    }
  }
}

template <typename T>
Result<void> clip(Evaluation& e) {
  T low = std::numeric_limits<T>::lowest(), high = std::numeric_limits<T>::max();
  if (std::is_floating_point_v<T>) {
    low = -std::numeric_limits<T>::infinity();
    high = std::numeric_limits<T>::infinity();
  }
  const auto bound = [&](size_t i, const char* key, T otherwise) {
    if (e.has(i)) return e.in(i).as<T>()[0];
    if (!e.node.has(key)) return otherwise;
    const double v = e.node.real(key, 0);
    if constexpr (std::is_integral_v<T>) return saturate_to<T>(v);
    return static_cast<T>(v);
  };
  low = bound(1, "min", low);
  high = bound(2, "max", high);
  const auto x = e.in(0).as<T>();
  auto y = e.outputs[0].mut<T>();
  for (size_t i = 0; i < x.size(); ++i) {
    const T raised = x[i] < low ? low : x[i];
    y[i] = raised > high ? high : raised;  // the upper bound wins, and NaN stays
  }
  return {};
}

}  // namespace

void apply_function(const Activation& f, const float* x, float* y, size_t count) {
  using numerics::Unary;
  const auto a = static_cast<float>(f.a), b = static_cast<float>(f.b);
  const auto go = [&](auto function) { map(x, y, count, function); };
  switch (f.function) {
    case Unary::kIdentity:
      return go([](float v) { return v; });
    case Unary::kRelu:
      return go([](float v) { return v < 0 ? 0.0f : v; });
    case Unary::kClip:
      return go([a, b](float v) { return v < a ? a : v > b ? b : v; });
    case Unary::kLeakyRelu:
      return go([a](float v) { return v < 0 ? a * v : v; });
    case Unary::kSigmoid:
      return go(fast_sigmoid);
    case Unary::kTanh:
      return go(fast_tanh);
    case Unary::kSilu:
      return go([a](float v) { return v * fast_sigmoid(a * v); });
    case Unary::kHardSigmoid:
      return go([a, b](float v) { return std::clamp(a * v + b, 0.0f, 1.0f); });
    case Unary::kHardSwish:
      return go([](float v) { return v * std::clamp(v / 6 + 0.5f, 0.0f, 1.0f); });
    case Unary::kGelu:
      return go([](float v) { return 0.5f * v * (1 + std::erf(v * 0.70710678f)); });
    case Unary::kGeluTanh:
      return go([](float v) { return 0.5f * v * (1 + fast_tanh(0.79788456f * (v + 0.044715f * v * v * v))); });
    case Unary::kErf:
      return go([](float v) { return std::erf(v); });
    case Unary::kExp:
      return go([](float v) { return std::exp(v); });
    case Unary::kLog:
      return go([](float v) { return std::log(v); });
    case Unary::kSqrt:
      return go([](float v) { return std::sqrt(v); });
    case Unary::kReciprocal:
      return go([](float v) { return 1 / v; });
    case Unary::kAbs:
      return go([](float v) { return std::abs(v); });
    case Unary::kNeg:
      return go([](float v) { return -v; });
    case Unary::kSin:
      return go([](float v) { return std::sin(v); });
    case Unary::kCos:
      return go([](float v) { return std::cos(v); });
    default:
      break;
  }
  switch (f.function) {
#define PITH_UNARY(name, formula) \
  case Unary::k##name:            \
    return map_exactly<Unary::k##name>(f, x, y, count);
#include "numerics/unary.inc"
#undef PITH_UNARY
  }
}

Result<void> eval_unary(Evaluation& e) {
  const Op op = e.node.op;
  const Tensor& x = e.in(0);
  if (op == Op::kIdentity || op == Op::kRequantize) {
    e.outputs[0] = x;
    return {};
  }
  if (op == Op::kClip) return with_dtype(x.dtype(), [&](auto zero) { return clip<decltype(zero)>(e); });
  if (op == Op::kNot || op == Op::kIsNaN) {
    auto y = e.outputs[0].mut<uint8_t>();
    for (size_t i = 0; i < y.size(); ++i) y[i] = op == Op::kNot ? x.as<uint8_t>()[i] == 0 : std::isnan(e.f32(0)[i]);
    return {};
  }
  if (x.dtype() != DType::kF32) {
    with_dtype(x.dtype(), [&](auto zero) {
      using T = decltype(zero);
      if constexpr (std::is_integral_v<T>) integer_unary<T>(op, x, e.outputs[0]);
    });
    return {};
  }
  apply_function(*unary_function(e.node), e.f32(0), e.out(), static_cast<size_t>(x.count()));
  return {};
}

Result<void> eval_cast(Evaluation& e) {
  e.outputs[0] = e.in(0).cast(e.outputs[0].dtype());
  return {};
}

}  // namespace pith::ir
