// Attention and Rotary, float; 8-bit attention is attention_u8.cpp's.
//
// One query at a time: scores against all keys (scaled, soft-capped, masked), softmax, weighted sum of values. Past
// keys and values come first; present_k and present_v receive past and new ones together.
#include <string.h>

#include "runtime/ops/attention.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

constexpr int kQ = kAttentionQ, kK = kAttentionK, kV = kAttentionV, kMask = kAttentionMask, kPastK = kAttentionPastK, kPastV = kAttentionPastV;
using Size = AttentionSize;

const float* key_row(const Op& op, const Run& run, const Size& s, int which, int64_t n, int64_t head, int64_t t,
                     int64_t depth) {
  const int past = which == kK ? kPastK : kPastV;
  if (t < s.past) return run.read<float>(op.inputs[past]) + ((n * s.key_heads + head) * s.past + t) * depth;
  return run.read<float>(op.inputs[which]) + ((n * s.key_heads + head) * s.keys + t - s.past) * depth;
}

void score(const Op& op, const Run& run, const Size& s, int64_t n, int64_t head, int64_t query, float* scores) {
  const float* q = run.read<float>(op.inputs[kQ]) + ((n * s.heads + head) * s.queries + query) * s.depth;
  const int64_t key_head = head / (s.heads / s.key_heads);
  const float scale = op.reals[0], cap = op.reals[1];
  const Tensor* mask = op.inputs[kMask];
  for (int64_t t = 0; t < s.total; ++t) {
    if (op.ints[0] && t > query + s.past) {
      scores[t] = -__builtin_huge_valf();
      continue;
    }
    const float* k = key_row(op, run, s, kK, n, key_head, t, s.depth);
    float dot = 0;
    for (int64_t i = 0; i < s.depth; ++i) dot += q[i] * k[i];
    dot *= scale;
    if (cap > 0) dot = cap * static_cast<float>(numerics::tanh(static_cast<double>(dot) / cap));
    if (mask != nullptr) {
      const int64_t at = attention_mask_index(*mask, {n, head, query, t});
      if (mask->dtype == PITH_F32) {
        dot += run.read<float>(mask)[at];
      } else if (run.read<int32_t>(mask)[at] == 0) {
        dot = -__builtin_huge_valf();
      }
    }
    scores[t] = dot;
  }
}

void softmax(const Run& run, float* scores, int64_t n) {
  float most = scores[0];
  for (int64_t t = 1; t < n; ++t) most = scores[t] > most ? scores[t] : most;
  if (!(most > -__builtin_huge_valf())) {  // everything is masked
    memset(scores, 0, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  for (int64_t t = 0; t < n; ++t) scores[t] -= most;
  run.kernels.unary_f32(scores, scores, n, numerics::Unary::kExp, 0, 0);
  double sum = 0;
  for (int64_t t = 0; t < n; ++t) sum += scores[t];
  const float factor = static_cast<float>(1 / sum);
  for (int64_t t = 0; t < n; ++t) scores[t] *= factor;
}

void join_past(const Op& op, const Run& run, const Size& s, int which, const Tensor* present, int64_t depth) {
  if (present == nullptr) return;
  float* to = run.write<float>(present);
  for (int64_t i = 0; i < s.batch * s.key_heads; ++i) {
    for (int64_t t = 0; t < s.total; ++t, to += depth) {
      memcpy(to, key_row(op, run, s, which, i / s.key_heads, i % s.key_heads, t, depth),
             static_cast<size_t>(depth) * sizeof(float));
    }
  }
}

bool is_f32(const Tensor* t, int rank) { return t->dtype == PITH_F32 && t->rank == rank; }

}  // namespace

const char* prepare_Attention(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &q = *op.inputs[kQ], &k = *op.inputs[kK], &v = *op.inputs[kV], *mask = op.inputs[kMask];
  const bool codes = q.dtype == PITH_U8;
  if (q.rank != 4 || k.rank != 4 || v.rank != 4 || (!codes && (!is_f32(&q, 4) || !is_f32(&k, 4) || !is_f32(&v, 4)))) return "its queries, keys and values aren't float of rank 4";
  const Size s(op);
  if (k.dims[0] != s.batch || v.dims[0] != s.batch || k.dims[3] != s.depth || v.dims[1] != s.key_heads ||
      v.dims[2] != s.keys)
    return "its dimensions don't fit";
  if (s.key_heads < 1 || s.heads % s.key_heads != 0 || s.total < 1) return "its heads don't fit";
  if ((op.inputs[kPastK] == nullptr) != (op.inputs[kPastV] == nullptr)) return "it has past keys or past values only";
  if (s.past > 0 && (!is_f32(op.inputs[kPastK], 4) || !is_f32(op.inputs[kPastV], 4) ||
                     op.inputs[kPastK]->count() != s.batch * s.key_heads * s.past * s.depth ||
                     op.inputs[kPastV]->count() != s.batch * s.key_heads * s.past * s.value_depth)) {
    return "its past doesn't fit";
  }
  if (mask != nullptr) {
    const int64_t full[4] = {s.batch, s.heads, s.queries, s.total};
    if ((mask->dtype == PITH_U8 && !codes) || mask->rank > 4) return "its mask has the wrong type";
    for (int i = 0; i < mask->rank; ++i) {
      if (mask->dims[i] != 1 && mask->dims[i] != full[4 - mask->rank + i]) return "its mask doesn't fit";
    }
  }
  const Tensor &y = *op.outputs[0], *pk = op.outputs[1], *pv = op.outputs[2];
  if ((y.dtype != PITH_F32 && !codes) || y.count() != s.batch * s.heads * s.queries * s.value_depth)
    return "its output doesn't fit";
  if (codes) return prepare_attention_u8(builder, op);
  if (pk != nullptr && (pk->dtype != PITH_F32 || pk->count() != s.batch * s.key_heads * s.total * s.depth))
    return "its present keys don't fit";
  if (pv != nullptr && (pv->dtype != PITH_F32 || pv->count() != s.batch * s.key_heads * s.total * s.value_depth))
    return "its present values don't fit";
  return nullptr;
}

void run_Attention(const Op& op, const Run& run) {
  if (op.inputs[kQ]->dtype == PITH_U8) return run_attention_u8(op, run);
  const Size s(op);
  float* y = run.write<float>(op.outputs[0]);
  parallel(run.threads, s.batch * s.heads * s.queries, 1, [&](int64_t begin, int64_t end, int32_t task) {
    float* scores = reinterpret_cast<float*>(run.scratch(op, task));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t query = i % s.queries, head = i / s.queries % s.heads, n = i / s.queries / s.heads;
      score(op, run, s, n, head, query, scores);
      softmax(run, scores, s.total);
      float* to = y + i * s.value_depth;
      memset(to, 0, static_cast<size_t>(s.value_depth) * sizeof(float));
      for (int64_t t = 0; t < s.total; ++t) {
        const float* v = key_row(op, run, s, kV, n, head / (s.heads / s.key_heads), t, s.value_depth);
        for (int64_t d = 0; d < s.value_depth; ++d) to[d] += scores[t] * v[d];
      }
    }
  });
  join_past(op, run, s, kK, op.outputs[1], s.depth);
  join_past(op, run, s, kV, op.outputs[2], s.value_depth);
  activate_f32(op, run, y, op.outputs[0]->count());
}

// x: N,H,S,D; cos and sin: S,R/2 or N,S,R/2, R the rotated part of D.
const char* prepare_Rotary(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &c = *op.inputs[1], &s = *op.inputs[2], &y = *op.outputs[0];
  if (!is_f32(&x, 4) || y.dtype != PITH_F32 || y.count() != x.count() || c.dtype != PITH_F32 || s.dtype != PITH_F32)
    return "its operands aren't float of rank 4";
  const int64_t rotated = op.ints[1] > 0 ? op.ints[1] : x.dims[3];
  if (rotated > x.dims[3] || rotated % 2 != 0) return "its rotated part doesn't fit";
  const int64_t table = x.dims[2] * rotated / 2;
  if (c.count() != s.count() || (c.count() != table && c.count() != x.dims[0] * table))
    return "its cosines and sines don't fit";
  return nullptr;
}

void run_Rotary(const Op& op, const Run& run) {
  const Tensor& x = *op.inputs[0];
  const int64_t positions = x.dims[2], depth = x.dims[3], rotated = op.ints[1] > 0 ? op.ints[1] : depth,
                half = rotated / 2;
  const bool per_batch = op.inputs[1]->count() != positions * half;
  const float *cosines = run.read<float>(op.inputs[1]), *sines = run.read<float>(op.inputs[2]),
              *from = run.read<float>(&x);
  float* to = run.write<float>(op.outputs[0]);
  const int64_t rows = x.count_of(0, 3);
  for (int64_t r = 0; r < rows; ++r, from += depth, to += depth) {
    const int64_t n = per_batch ? r / positions / x.dims[1] : 0, at = (n * positions + r % positions) * half;
    for (int64_t i = 0; i < half; ++i) {
      const int64_t first = op.ints[0] ? 2 * i : i, second = op.ints[0] ? 2 * i + 1 : i + half;
      const float a = from[first], b = from[second];
      to[first] = a * cosines[at + i] - b * sines[at + i];
      to[second] = a * sines[at + i] + b * cosines[at + i];
    }
    for (int64_t i = rotated; i < depth; ++i) to[i] = from[i];
  }
  activate_f32(op, run, run.write<float>(op.outputs[0]), x.count());
}

}  // namespace pith::runtime
