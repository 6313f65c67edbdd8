// Heap sort of indices: in place, no recursion, n log n in the worst case.
#pragma once

#include <stdint.h>

namespace pith::runtime {

// before(a, b): index a comes before index b; a strict order.
template <typename Before>
void sort_indices(int32_t* indices, int64_t count, const Before& before) {
  const auto sink = [&](int64_t root, int64_t end) {
    for (;;) {
      int64_t child = 2 * root + 1;
      if (child >= end) return;
      if (child + 1 < end && before(indices[child], indices[child + 1])) ++child;
      if (!before(indices[root], indices[child])) return;
      const int32_t held = indices[root];
      indices[root] = indices[child];
      indices[child] = held;
      root = child;
    }
  };
  for (int64_t i = count / 2 - 1; i >= 0; --i) sink(i, count);
  for (int64_t end = count - 1; end > 0; --end) {
    const int32_t held = indices[0];
    indices[0] = indices[end];
    indices[end] = held;
    sink(0, end);
  }
}

}  // namespace pith::runtime
