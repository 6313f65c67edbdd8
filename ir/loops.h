// Walking several tensors of different strides together, a row at a time.
#pragma once

#include <array>

#include "ir/tensor.h"

namespace pith::ir {

// Strides in elements of a row-major tensor.
inline Shape strides_of(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// Strides of a tensor of `shape` seen as broadcast to `wide`: 0 along dimensions that repeat.
inline Shape broadcast_strides(const Shape& shape, const Shape& wide) {
  const Shape own = strides_of(shape);
  Shape strides(wide.size(), 0);
  const size_t offset = wide.size() - shape.size();
  for (size_t i = 0; i < shape.size(); ++i) strides[offset + i] = shape[i] == 1 ? 0 : own[i];
  return strides;
}

// Calls row(count, offsets, steps) so that the calls together visit every position of `shape`: operand k's elements of
// this row are at offsets[k] + i * steps[k], 0 <= i < count. Dimensions that lie one behind the other in every operand
// are walked as one, so that contiguous operands give one long row.
template <size_t N, typename Row>
void for_each_row(const Shape& shape, const std::array<Shape, N>& strides, Row&& row) {
  Shape size;
  std::vector<std::array<int64_t, N>> step;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 0) return;
    if (shape[d] == 1) continue;
    bool merges = !size.empty();
    for (size_t k = 0; merges && k < N; ++k) merges = step.back()[k] == strides[k][d] * shape[d];
    if (!merges) {
      size.push_back(1);
      step.emplace_back();
    }
    size.back() *= shape[d];
    for (size_t k = 0; k < N; ++k) step.back()[k] = strides[k][d];
  }
  if (size.empty()) {
    size.push_back(1);
    step.push_back({});
  }
  const size_t outer = size.size() - 1;
  std::vector<int64_t> index(outer, 0);
  std::array<int64_t, N> offsets{};
  for (;;) {
    row(size[outer], offsets, step[outer]);
    size_t d = outer;
    while (d-- > 0) {
      for (size_t k = 0; k < N; ++k) offsets[k] += step[d][k];
      if (++index[d] < size[d]) break;
      for (size_t k = 0; k < N; ++k) offsets[k] -= step[d][k] * size[d];
      index[d] = 0;
    }
    if (d == static_cast<size_t>(-1)) return;
  }
}

// Copies elements of T: to[offset + index . to_strides] = from[offset + index . from_strides] for all of `shape`.
template <typename T>
void copy_strided(const Shape& shape, T* to, const Shape& to_strides, const T* from, const Shape& from_strides) {
  for_each_row<2>(shape, {to_strides, from_strides}, [&](int64_t count, const auto& offset, const auto& step) {
    T* t = to + offset[0];
    const T* f = from + offset[1];
    if (step[0] == 1 && step[1] == 1) {
      std::memcpy(t, f, static_cast<size_t>(count) * sizeof(T));
    } else {
      for (int64_t i = 0; i < count; ++i) t[i * step[0]] = f[i * step[1]];
    }
  });
}

// `x` with its dimensions in the order of `perm`.
Tensor transposed(const Tensor& x, const std::vector<int64_t>& perm);

// N,...,C to N,C,... and back.
inline Tensor to_channels_first(const Tensor& x) {
  std::vector<int64_t> perm{0, static_cast<int64_t>(x.shape().size()) - 1};
  for (int64_t i = 1; i < perm[1]; ++i) perm.push_back(i);
  return transposed(x, perm);
}
inline Tensor to_channels_last(const Tensor& x) {
  std::vector<int64_t> perm{0};
  for (int64_t i = 2; i < static_cast<int64_t>(x.shape().size()); ++i) perm.push_back(i);
  perm.push_back(1);
  return transposed(x, perm);
}

}  // namespace pith::ir
