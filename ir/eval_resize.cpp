// Resize: one axis after the other, since every mode is separable.
#include <algorithm>
#include <cmath>

#include "ir/eval.h"
#include "ir/resize.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

template <typename T>
Tensor pick_along(const Tensor& x, size_t axis, const ResizePlan& plan, Shape shape) {
  const AxisSplit s = split_at(x.shape(), static_cast<int64_t>(axis));
  shape[axis] = static_cast<int64_t>(plan.index.size());
  Tensor y(x.dtype(), shape);
  const T* in = reinterpret_cast<const T*>(x.bytes());
  T* out = reinterpret_cast<T*>(y.mutable_bytes());
  for (int64_t o = 0; o < s.outer; ++o, in += s.size * s.inner) {
    if (s.inner == 1) {
      for (int64_t from : plan.index) *out++ = in[from];
      continue;
    }
    for (int64_t from : plan.index) out = std::copy_n(in + from * s.inner, s.inner, out);
  }
  return y;
}

Tensor blend_along(const Tensor& x, size_t axis, const ResizePlan& plan, Shape shape) {
  const AxisSplit s = split_at(x.shape(), static_cast<int64_t>(axis));
  const auto count = static_cast<int64_t>(plan.index.size()) / plan.taps;
  shape[axis] = count;
  Tensor y(DType::kF32, shape);
  const float* in = x.as<float>().data();
  float* out = y.mut<float>().data();
  for (int64_t o = 0; o < s.outer; ++o, in += s.size * s.inner) {
    const int64_t* index = plan.index.data();
    const float* weight = plan.weight.data();
    for (int64_t p = 0; p < count; ++p, out += s.inner, index += plan.taps, weight += plan.taps) {
      for (int64_t t = 0; t < plan.taps; ++t) {
        const float* row = in + index[t] * s.inner;
        const float w = weight[t];
        for (int64_t i = 0; i < s.inner; ++i) out[i] += w * row[i];
      }
    }
  }
  return y;
}

// tf_crop_and_resize: positions outside the picture along any axis show one value.
void fill_outside(Tensor& y, size_t axis, const std::vector<bool>& outside, float value) {
  const AxisSplit s = split_at(y.shape(), static_cast<int64_t>(axis));
  float* out = y.mut<float>().data();
  for (int64_t o = 0; o < s.outer; ++o) {
    for (bool fill : outside) {
      if (fill) std::fill_n(out, s.inner, value);
      out += s.inner;
    }
  }
}

}  // namespace

Result<void> eval_resize(Evaluation& e) {
  const auto axes = resize_axes(e.node, e.shape(0)).value();
  const std::string mode = e.node.text("mode", "nearest");
  const bool crops = e.node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize";
  const bool picks = mode == "nearest" && !crops;
  // the inner axis first
  std::vector<size_t> order;
  for (size_t i = axes.size(); i-- > 0;) {
    if (axes[i].output != axes[i].input || axes[i].scale != 1 || crops) order.push_back(i);
  }
  Tensor y = picks ? e.in(0) : e.in(0).cast(DType::kF32);
  std::vector<ResizePlan> plans;
  for (size_t axis : order) {
    plans.push_back(resize_plan(e.node, axes[axis]));
    y = picks ? with_width(y.dtype(),
                           [&](auto zero) { return pick_along<decltype(zero)>(y, axis, plans.back(), y.shape()); })
              : blend_along(y, axis, plans.back(), y.shape());
  }
  const auto value = static_cast<float>(e.node.real("extrapolation_value", 0));
  for (size_t i = 0; crops && i < order.size(); ++i) fill_outside(y, order[i], plans[i].outside, value);
  if (!picks && e.outputs[0].dtype() != DType::kF32) {
    for (float& v : y.mut<float>()) v = std::nearbyint(v);
  }
  e.outputs[0] = y.cast(e.outputs[0].dtype());
  return {};
}

}  // namespace pith::ir
