// RememberRows and CachedAttention: a decoder's keys and values in coded form (numerics/cache_rows.h).
//
// A token's row is coded when it comes; what is remembered stays where it is. Attention goes through the rows that the
// mask leaves a few at a time: decoded into the scratch, used by all queries that share the head of keys, and dropped,
// so that no decoded window ever exists.
#include <string.h>

#include "numerics/cache_rows.h"
#include "program/scratch.h"
#include "runtime/ops/attention.h"

namespace pith::runtime {
namespace {

bool is_f32(const Tensor* t, int rank) { return t->dtype == PITH_F32 && t->rank == rank; }
bool is_cache(const Tensor* t, int32_t depth, int32_t bits) {
  return !t->is_constant() && t->dtype == PITH_U8 && t->rank == 4 && t->dims[0] == 1 &&
         t->dims[3] == numerics::cache_row_bytes(depth, bits);
}
bool valid_bits(int32_t bits) { return bits == 4 || bits == 8; }

// One head of keys with the queries that share it.
struct Head {
  const Op& op;
  const Run& run;
  int64_t index, queries, keys;  // queries: of the head, all positions
  float *scores, *rows;          // [queries][keys], and rows as decoded

  // Decodes the head's rows of `cache` that any query sees: body(rows, first, count).
  template <typename Body>
  void each_block(const Tensor* cache, int64_t depth, int32_t bits, Keys range, const Body& body) const {
    const uint8_t* from = run.read<uint8_t>(cache) + index * keys * cache->dims[3];
    for (int64_t t = range.begin; t < range.end; t += PITH_CACHE_ROWS) {
      const int32_t count = static_cast<int32_t>(range.end - t < PITH_CACHE_ROWS ? range.end - t : PITH_CACHE_ROWS);
      run.kernels.cache_rows({from + t * cache->dims[3], static_cast<int32_t>(depth), count, bits, rows});
      body(t, count);
    }
  }
};

void weigh(const Head& h, const MaskRow& mask, Keys range, float* scores) {
  const float cap = h.op.reals[1];
  for (int64_t t = range.begin; cap > 0 && t < range.end; ++t)
    scores[t] = cap * static_cast<float>(numerics::tanh(static_cast<double>(scores[t]) / cap));
  for (int64_t t = range.begin; mask.reals != nullptr && t < range.end; ++t) scores[t] += mask.reals[t * mask.step];
  h.run.kernels.softmax_f32(scores + range.begin, scores + range.begin, range.end - range.begin);
}

void attend(const Head& h) {
  const Tensor &q = *h.op.inputs[kAttentionQ], &y = *h.op.outputs[0];
  const Tensor* mask = h.op.inputs[kAttentionMask];
  const int64_t depth = q.dims[3], width = y.dims[3], positions = q.dims[2], group = h.queries / positions;
  const float* queries = h.run.read<float>(&q) + h.index * h.queries * depth;
  float* out = h.run.write<float>(&y) + h.index * h.queries * width;
  const auto mask_of = [&](int64_t i) {
    return mask != nullptr ? MaskRow(h.run, *mask, 0, h.index * group + i / positions, i % positions) : MaskRow();
  };
  Keys all{h.keys, 0};
  for (int64_t i = 0; i < h.queries; ++i) {
    const Keys keys = seen(mask_of(i), h.keys);
    if (keys.begin >= keys.end) continue;
    all.begin = keys.begin < all.begin ? keys.begin : all.begin;
    all.end = keys.end > all.end ? keys.end : all.end;
  }
  memset(out, 0, static_cast<size_t>(h.queries * width) * sizeof(float));
  if (all.begin >= all.end) return;
  h.each_block(h.op.inputs[kAttentionK], depth, h.op.ints[0], all, [&](int64_t first, int32_t count) {
    for (int64_t i = 0; i < h.queries; ++i)
      h.run.kernels.dots_f32({queries + i * depth, h.rows, static_cast<int32_t>(depth), count, h.op.reals[0],
                              h.scores + i * h.keys + first});
  });
  for (int64_t i = 0; i < h.queries; ++i) weigh(h, mask_of(i), all, h.scores + i * h.keys);
  h.each_block(h.op.inputs[kAttentionV], width, h.op.ints[1], all, [&](int64_t first, int32_t count) {
    for (int64_t i = 0; i < h.queries; ++i)
      h.run.kernels.mixture_f32(
          {h.scores + i * h.keys + first, h.rows, static_cast<int32_t>(width), count, true, out + i * width});
  });
}

}  // namespace

const char* prepare_RememberRows(Builder&, Op& op) {
  const Tensor &past = *op.inputs[0], &x = *op.inputs[1], &condition = *op.inputs[2], &y = *op.outputs[0];
  if (!valid_bits(op.ints[0])) return "its bits aren't 4 or 8";
  if (x.is_constant() || condition.is_constant() || !is_f32(&x, 4) || x.dims[0] != 1 || x.dims[2] != 1)
    return "its row isn't float, or not one";
  if (!is_cache(&past, x.dims[3], op.ints[0]) || !is_cache(&y, x.dims[3], op.ints[0]) || past.dims[1] != x.dims[1] ||
      y.count() != past.count() || y.dims[2] != past.dims[2])
    return "what it remembers doesn't fit";
  if (condition.dtype != PITH_I32 || condition.count() != past.dims[2]) return "its condition doesn't fit";
  return nullptr;
}

void run_RememberRows(const Op& op, const Run& run) {
  const Tensor &past = *op.inputs[0], &x = *op.inputs[1], &y = *op.outputs[0];
  const int32_t* condition = run.read<int32_t>(op.inputs[2]);
  const float* from = run.read<float>(&x);
  uint8_t* to = run.write<uint8_t>(&y);
  if (run.read<uint8_t>(&past) != to) memcpy(to, run.read<uint8_t>(&past), static_cast<size_t>(past.count()));
  const int64_t heads = past.dims[1], rows = past.dims[2], bytes = past.dims[3], depth = x.dims[3];
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t h = 0; condition[t] != 0 && h < heads; ++h)
      numerics::encode_cache_row(from + h * depth, static_cast<int32_t>(depth), op.ints[0],
                                 to + (h * rows + t) * bytes);
  }
}

const char* prepare_CachedAttention(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &q = *op.inputs[kAttentionQ], &k = *op.inputs[kAttentionK], &v = *op.inputs[kAttentionV],
               *mask = op.inputs[kAttentionMask], &y = *op.outputs[0];
  if (!valid_bits(op.ints[0]) || !valid_bits(op.ints[1])) return "its bits aren't 4 or 8";
  if (!is_f32(&q, 4) || !is_f32(&y, 4) || q.dims[0] != 1) return "its queries and results aren't float of rank 4";
  if (!is_cache(&k, q.dims[3], op.ints[0]) || !is_cache(&v, y.dims[3], op.ints[1]) || v.dims[1] != k.dims[1] ||
      v.dims[2] != k.dims[2])
    return "its keys and values don't fit";
  if (k.dims[1] < 1 || q.dims[1] % k.dims[1] != 0 || y.dims[0] != 1 || y.dims[1] != q.dims[1] || y.dims[2] != q.dims[2])
    return "its heads don't fit";
  if (mask == nullptr) return nullptr;
  const int32_t full[4] = {1, q.dims[1], q.dims[2], k.dims[2]};
  if (mask->dtype != PITH_F32 || mask->rank > 4) return "its mask has the wrong type";
  for (int i = 0; i < mask->rank; ++i)
    if (mask->dims[i] != 1 && mask->dims[i] != full[4 - mask->rank + i]) return "its mask doesn't fit";
  return nullptr;
}

void run_CachedAttention(const Op& op, const Run& run) {
  const Tensor &q = *op.inputs[kAttentionQ], &k = *op.inputs[kAttentionK], &y = *op.outputs[0];
  const int64_t heads = k.dims[1], keys = k.dims[2], queries = q.dims[1] / heads * q.dims[2];
  parallel(run.threads, heads, grain_of(queries * keys * (q.dims[3] + y.dims[3]), 1),
           [&](int64_t begin, int64_t end, int32_t task) {
             float* scores = reinterpret_cast<float*>(run.scratch(op, task));
             for (int64_t h = begin; h < end; ++h)
               attend({op, run, h, queries, keys, scores, scores + (queries * keys + 15) / 16 * 16});
           });
  activate_f32(op, run, run.write<float>(op.outputs[0]), y.count());
}

}  // namespace pith::runtime
