// ONNX's own quantised operators, as real QDQ files use them: scales are any floats, rounding is to even.
#include <algorithm>
#include <cmath>

#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/products.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

// The index into scale and zero point that element `i` has: per tensor, per axis, or per block along the axis.
struct ScaleIndex {
  int64_t inner = 1, size = 1, block = 1, blocks = 1;
  bool single = true;
  int64_t operator()(int64_t i) const {
    if (single) return 0;
    const int64_t along = i / inner % size;
    if (blocks == 0) return along;
    return (i / (inner * size) * blocks + along / block) * inner + i % inner;
  }
};
ScaleIndex scale_index(const Evaluation& e) {
  const int64_t block = e.node.integer("block_size", 0);
  if (e.in(1).count() == 1 && block == 0) return {};
  const AxisSplit s = split_at(e.shape(0), wrap_axis(e.node.integer("axis", 1), e.shape(0).size()));
  return {s.inner, s.size, std::max<int64_t>(block, 1), block > 0 ? (s.size + block - 1) / block : 0, false};
}

int limited(double x, DType type) {
  const double low = type == DType::kI8 ? -128 : 0, high = type == DType::kI8 ? 127 : 255;
  return static_cast<int>(std::clamp(x, low, high));
}

// x minus its zero point, in double; `channel` tells which zero point each element has.
template <typename F>
std::vector<double> centred(const Tensor& x, const Tensor* zero, F channel) {
  std::vector<double> y(static_cast<size_t>(x.count()));
  for (size_t i = 0; i < y.size(); ++i) {
    const int64_t z = zero == nullptr || zero->count() == 1 ? 0 : channel(static_cast<int64_t>(i));
    y[i] = x.at(static_cast<int64_t>(i)) - (zero == nullptr ? 0 : zero->at(z));
  }
  return y;
}

// The products of a (rows of zero points) and b (columns, or filters) as exact integers in double.
std::vector<double> integer_product(const Evaluation& e, size_t a, size_t b, const Tensor* a_zero, const Tensor* b_zero,
                                    bool conv, const Shape& y_shape) {
  const Shape &as = e.shape(a), &bs = e.shape(b);
  const int64_t depth = as.back(), rows = as.size() < 2 ? 1 : as[as.size() - 2];
  const int64_t columns = bs.back(), filter = conv ? element_count(bs) / std::max<int64_t>(bs[0], 1) : 1;
  const auto x = centred(e.in(a), a_zero, [=](int64_t i) { return i / depth % rows; });
  const auto w = centred(e.in(b), b_zero, [=](int64_t i) { return conv ? i / filter : i % columns; });
  std::vector<double> y(static_cast<size_t>(element_count(y_shape)));
  if (conv) {
    convolve(convolution_size(e.node, as, bs, y_shape), x.data(), w.data(), y.data());
  } else {
    multiply_matrices(as, x.data(), bs, w.data(), y_shape, y.data());
  }
  return y;
}

}  // namespace

Result<void> eval_quantize(Evaluation& e) {
  if (e.node.op == Op::kDynamicQuantizeLinear) {
    const auto x = e.in(0).as<float>();
    float low = 0, high = 0;
    for (float v : x) low = std::min(low, v), high = std::max(high, v);
    const float scale = high > low ? (high - low) / 255 : 1;
    const float zero = std::clamp(std::nearbyint(-low / scale), 0.0f, 255.0f);
    auto y = e.outputs[0].mut<uint8_t>();
    for (size_t i = 0; i < x.size(); ++i)
      y[i] = static_cast<uint8_t>(std::clamp(std::nearbyint(x[i] / scale) + zero, 0.0f, 255.0f));
    if (e.outputs.size() > 1) e.outputs[1].set(0, scale);
    if (e.outputs.size() > 2) e.outputs[2].set(0, zero);
    return {};
  }
  const ScaleIndex index = scale_index(e);
  const Tensor& x = e.in(0);
  Tensor& y = e.outputs[0];
  for (int64_t i = 0; i < x.count(); ++i) {
    const int64_t at = index(i);
    const float scale = e.f32(1)[at];
    const double zero = e.has(2) ? e.in(2).at(at) : 0;
    if (e.node.op == Op::kQuantizeLinear) {
      const float q = std::nearbyint(e.f32(0)[i] / scale);
      y.set(i, std::isnan(q) ? zero : limited(q + zero, y.dtype()));
    } else {
      y.set(i, static_cast<float>(x.at(i) - zero) * scale);
    }
  }
  return {};
}

Result<void> eval_matmul_integer(Evaluation& e) {
  const auto zero = [&](size_t i) { return e.has(i) ? e.inputs[i] : nullptr; };
  const auto sums = integer_product(e, 0, 1, zero(2), zero(3), e.node.op == Op::kConvInteger, e.outputs[0].shape());
  auto y = e.outputs[0].mut<int32_t>();
  for (size_t i = 0; i < y.size(); ++i) y[i] = saturate_to<int32_t>(sums[i]);
  return {};
}

Result<void> eval_qlinear(Evaluation& e) {
  const bool conv = e.node.op == Op::kQLinearConv;
  Tensor& y = e.outputs[0];
  const auto sums = integer_product(e, 0, 3, e.inputs[2], e.inputs[5], conv, y.shape());
  const int64_t columns = y.shape().empty() ? 1 : y.shape().back();
  const AxisSplit channels = conv ? split_at(y.shape(), 1) : AxisSplit{1, columns, 1};
  const int64_t rows = y.shape().size() < 2 ? 1 : y.shape()[y.shape().size() - 2];
  const auto pick = [](const Tensor& t, int64_t i) { return t.at(t.count() == 1 ? 0 : i); };
  for (int64_t i = 0; i < y.count(); ++i) {
    const int64_t c = i / channels.inner % channels.size;
    const double sum = sums[static_cast<size_t>(i)] + (conv && e.has(8) ? e.in(8).at(c) : 0);
    const auto factor = static_cast<float>(pick(e.in(1), i / columns % rows) * pick(e.in(4), c) / e.in(6).at(0));
    y.set(i, limited(std::nearbyint(sum * factor) + e.in(7).at(0), y.dtype()));
  }
  return {};
}

}  // namespace pith::ir
