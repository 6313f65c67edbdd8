// Attention's products, and rows of weights times a vector, in plain C++.
#include <string.h>

#include "runtime/kernels/ref/ref.h"

namespace pith::runtime {

void rows_f32_ref(const RowsF32& p) {
  for (int32_t r = 0; r < p.count; ++r) {
    const int8_t* row = p.rows + int64_t{r} * p.depth;
    float sum = 0;
    for (int32_t i = 0; i < p.depth; ++i) sum += p.x[i] * static_cast<float>(row[i]);
    p.finish(r, sum);
  }
}

void dots_u8_ref(const DotsU8& p) {
  for (int32_t t = 0; t < p.count; ++t) {
    const uint8_t* row = p.rows + int64_t{t} * p.depth;
    int32_t sum = 0;
    for (int32_t d = 0; d < p.depth; ++d) sum += p.query[d] * (row[d] - p.zero);
    p.y[t] = sum;
  }
}

void mixture_u8_ref(const MixtureU8& p) {
  memset(p.y, 0, static_cast<size_t>(p.depth) * sizeof(int32_t));
  for (int32_t t = 0; t < p.count; ++t) {
    const uint8_t* row = p.rows + int64_t{t} * p.depth;
    for (int32_t d = 0; d < p.depth; ++d) p.y[d] += p.weights[t] * (row[d] - p.zero);
  }
}

}  // namespace pith::runtime
