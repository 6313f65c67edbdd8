// Attention's products, and rows of weights times a vector, in plain C++.
#include <string.h>

#include "numerics/cache_rows.h"
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

void sparse_rows_f32_ref(const RowsF32& p, const SparseBlock* blocks) {
  for (int32_t r = 0; r < p.count; ++r) {
    const SparseBlock& b = blocks[r / kLanes];
    const int8_t* w = static_cast<const int8_t*>(b.weights) + r % kLanes * kSpanStep;
    float sum = 0;
    for (const Span* span = b.spans; span != b.spans + b.span_count; ++span) {
      for (int32_t k = span->begin; k < span->end; k += kSpanStep, w += kLanes * kSpanStep) {
        for (int32_t i = 0; i < kSpanStep && k + i < span->end; ++i) sum += p.x[k + i] * static_cast<float>(w[i]);
      }
    }
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

void cache_rows_ref(const CacheRows& p) {
  const int32_t bytes = numerics::cache_row_bytes(p.depth, p.bits);
  for (int32_t t = 0; t < p.count; ++t)
    numerics::decode_cache_row(p.rows + int64_t{t} * bytes, p.depth, p.bits, p.y + int64_t{t} * p.depth);
}

void turn_rows_ref(const TurnRows& p) {
  const int64_t half = p.rotated / 2;
  for (int32_t t = 0; t < p.count; ++t) {
    float* y = p.rows + int64_t{t} * p.depth;
    numerics::raise_key(y, p.depth, p.factors, p.levels);
    if (p.cosines.codes == nullptr && p.cosines.reals == nullptr) continue;
    const int64_t at = numerics::table_row(p.positions[t], p.entries) * half;
    const auto entry = [at](const TurnTable& table) {
      return [&table, at](int64_t i) {
        return table.codes != nullptr ? static_cast<float>(table.codes[at + i]) * table.scale : table.reals[at + i];
      };
    };
    numerics::turn_key(y, p.rotated, p.interleaved, entry(p.cosines), entry(p.sines));
  }
}

void dots_f32_ref(const DotsF32& p) {
  for (int32_t t = 0; t < p.count; ++t) {
    const float* row = p.rows + int64_t{t} * p.depth;
    float sum = 0;
    for (int32_t d = 0; d < p.depth; ++d) sum += p.query[d] * row[d];
    p.y[t] = sum * p.scale;
  }
}

void mixture_f32_ref(const MixtureF32& p) {
  if (!p.adds) memset(p.y, 0, static_cast<size_t>(p.depth) * sizeof(float));
  for (int32_t t = 0; t < p.count; ++t) {
    const float* row = p.rows + int64_t{t} * p.depth;
    for (int32_t d = 0; d < p.depth; ++d) p.y[d] += p.weights[t] * row[d];
  }
}

void softmax_f32_ref(const float* x, float* y, int64_t n) {
  float most = x[0];
  for (int64_t t = 1; t < n; ++t) most = x[t] > most ? x[t] : most;
  if (!(most > -__builtin_huge_valf())) {  // everything is masked
    memset(y, 0, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  double sum = 0;
  for (int64_t t = 0; t < n; ++t) {
    y[t] = static_cast<float>(numerics::exp(static_cast<double>(x[t] - most)));
    sum += y[t];
  }
  const float factor = static_cast<float>(1 / sum);
  for (int64_t t = 0; t < n; ++t) y[t] *= factor;
}

}  // namespace pith::runtime
