// Pooling that float and integer execution share. Shapes are channels-first.
#pragma once

#include <array>

#include "ir/geometry.h"

namespace pith::ir {

std::array<Window, 2> pool_windows(const Node& node, const Shape& x);

// How many positions each output position of an AveragePool is the average of (count_include_pad), row by row.
std::vector<int32_t> pool_counts(const Node& node, const std::array<Window, 2>& w);

// The maximum of each window; windows wholly in the padding give the lowest number.
template <typename T>
void max_pool(const T* x, int64_t planes, const std::array<Window, 2>& w, T* y);

}  // namespace pith::ir
