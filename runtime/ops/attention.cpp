// Attention and Rotary, float; 8-bit attention is attention_u8.cpp's.
//
// One query at a time: scores against all keys that it sees (scaled, soft-capped, masked), softmax, weighted sum of values.
// Past keys and values come first; present_k and present_v receive past and new ones together.
//
// A decoder's window is mostly hidden until it has filled, so the work follows what the mask leaves: keys before the first and
// after the last one that is seen aren't touched.
#include <string.h>

#include "runtime/ops/attention.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

constexpr int kQ = kAttentionQ, kK = kAttentionK, kV = kAttentionV, kMask = kAttentionMask, kPastK = kAttentionPastK, kPastV = kAttentionPastV;
using Size = AttentionSize;

// Rows first..first+count-1 of past and new keys or values (`which`: kK or kV) of a head, as runs: body(rows, first, count).
template <typename Body>
void each_run(const Op& op, const Run& run, const Size& s, int which, int64_t head, int64_t depth, Keys keys, const Body& body) {
  const int64_t past_end = keys.end < s.past ? keys.end : s.past, begin = keys.begin > s.past ? keys.begin : s.past;
  if (keys.begin < past_end) body(run.read<float>(op.inputs[which == kK ? kPastK : kPastV]) + (head * s.past + keys.begin) * depth, keys.begin, past_end - keys.begin);
  if (begin < keys.end) body(run.read<float>(op.inputs[which]) + (head * s.keys + begin - s.past) * depth, begin, keys.end - begin);
}

// `head` counts heads of keys over the batch.
void score(const Op& op, const Run& run, const Size& s, const float* query, int64_t head, const MaskRow& mask, Keys keys, float* scores) {
  const float scale = op.reals[0], cap = op.reals[1];
  each_run(op, run, s, kK, head, s.depth, keys, [&](const float* rows, int64_t first, int64_t count) {
    run.kernels.dots_f32({query, rows, static_cast<int32_t>(s.depth), static_cast<int32_t>(count), scale, scores + first});
  });
  for (int64_t t = keys.begin; cap > 0 && t < keys.end; ++t) scores[t] = cap * static_cast<float>(numerics::tanh(static_cast<double>(scores[t]) / cap));
  for (int64_t t = keys.begin; mask.reals != nullptr && t < keys.end; ++t) scores[t] += mask.reals[t * mask.step];
  for (int64_t t = keys.begin; mask.flags != nullptr && t < keys.end; ++t) {
    if (mask.flags[t * mask.step] == 0) scores[t] = -__builtin_huge_valf();
  }
}

void attend(const Op& op, const Run& run, const Size& s, int64_t begin, int64_t end, float* scores) {
  const Tensor* mask = op.inputs[kMask];
  const float* queries = run.read<float>(op.inputs[kQ]);
  float* y = run.write<float>(op.outputs[0]) + begin * s.value_depth;
  MaskRow last;
  Keys visible{0, s.total};
  for (int64_t i = begin; i < end; ++i, y += s.value_depth) {
    const int64_t query = i % s.queries, head = i / s.queries % s.heads, n = i / s.queries / s.heads, key_head = n * s.key_heads + head / (s.heads / s.key_heads);
    const MaskRow row = mask != nullptr ? MaskRow(run, *mask, n, head, query) : MaskRow();
    if (!(row == last)) visible = seen(row, s.total), last = row;
    Keys keys = visible;
    if (op.ints[0] != 0 && keys.end > query + s.past + 1) keys.end = query + s.past + 1;
    memset(y, 0, static_cast<size_t>(s.value_depth) * sizeof(float));
    if (keys.begin >= keys.end) continue;
    score(op, run, s, queries + i * s.depth, key_head, row, keys, scores);
    run.kernels.softmax_f32(scores + keys.begin, scores + keys.begin, keys.end - keys.begin);
    bool adds = false;
    each_run(op, run, s, kV, key_head, s.value_depth, keys, [&](const float* rows, int64_t first, int64_t count) {
      run.kernels.mixture_f32({scores + first, rows, static_cast<int32_t>(s.value_depth), static_cast<int32_t>(count), adds, y});
      adds = true;
    });
  }
}

void join_past(const Op& op, const Run& run, const Size& s, int which, const Tensor* present, int64_t depth) {
  if (present == nullptr) return;
  float* to = run.write<float>(present);
  for (int64_t head = 0; head < s.batch * s.key_heads; ++head, to += s.total * depth) {
    each_run(op, run, s, which, head, depth, {0, s.total}, [&](const float* rows, int64_t first, int64_t count) { memcpy(to + first * depth, rows, static_cast<size_t>(count * depth) * sizeof(float)); });
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
  parallel(run.threads, s.batch * s.heads * s.queries, grain_of(s.total * (s.depth + s.value_depth), 1),
           [&](int64_t begin, int64_t end, int32_t task) { attend(op, run, s, begin, end, reinterpret_cast<float*>(run.scratch(op, task))); });
  join_past(op, run, s, kK, op.outputs[1], s.depth);
  join_past(op, run, s, kV, op.outputs[2], s.value_depth);
  activate_f32(op, run, run.write<float>(op.outputs[0]), op.outputs[0]->count());
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
