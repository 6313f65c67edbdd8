// Results that follow from shapes and constants: importers fold them away.
#include <algorithm>

#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/typed.h"

namespace pith::ir {

Result<void> eval_constant_like(Evaluation& e) {
  Tensor& y = e.outputs[0];
  switch (e.node.op) {
    case Op::kShape: {
      const Shape& shape = e.shape(0);
      const auto rank = static_cast<int64_t>(shape.size());
      const int64_t start = e.node.integer("start", 0);
      const int64_t begin = std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank);
      for (int64_t i = 0; i < y.count(); ++i)
        y.mut<int64_t>()[static_cast<size_t>(i)] = shape[static_cast<size_t>(begin + i)];
      return {};
    }
    case Op::kSize:
      y.mut<int64_t>()[0] = e.in(0).count();
      return {};
    case Op::kEyeLike: {
      const int64_t k = e.node.integer("k", 0), rows = y.shape()[0], columns = y.shape()[1];
      for (int64_t i = 0; i < rows; ++i) {
        if (i + k >= 0 && i + k < columns) y.set(i * columns + i + k, 1);
      }
      return {};
    }
    default: {  // ConstantOfShape
      const double value = e.node.real("value", 0);
      for (int64_t i = 0; i < y.count() && value != 0; ++i) y.set(i, value);
      return {};
    }
  }
}

Result<void> eval_range(Evaluation& e) {
  with_dtype(e.outputs[0].dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T start = e.in(0).as<T>()[0], delta = e.in(2).as<T>()[0];
    auto y = e.outputs[0].mut<T>();
    for (size_t i = 0; i < y.size(); ++i) {
      if constexpr (std::is_integral_v<T>) {
        y[i] = static_cast<T>(static_cast<uint64_t>(start) + i * static_cast<uint64_t>(delta));
      } else {
        y[i] = start + static_cast<T>(i) * delta;
      }
    }
  });
  return {};
}

Result<void> eval_nonzero(Evaluation& e) {
  const Tensor& x = e.in(0);
  const int64_t count = e.outputs[0].shape()[1];
  auto y = e.outputs[0].mut<int64_t>();
  int64_t found = 0;
  for (int64_t i = 0; i < x.count() && found < count; ++i) {
    if (x.at(i) == 0) continue;
    int64_t rest = i;
    for (size_t d = x.shape().size(); d-- > 0;) {
      y[d * static_cast<size_t>(count) + static_cast<size_t>(found)] = rest % x.shape()[d];
      rest /= x.shape()[d];
    }
    ++found;
  }
  return {};
}

}  // namespace pith::ir
