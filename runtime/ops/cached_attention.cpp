// RememberRows and CachedAttention, RememberKeys and TurnedAttention: a decoder's keys and values in coded form
// (numerics/cache_rows.h), keys as they are when they are used, or about their levels and before their rotary turn.
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

enum TurnedInputs { kLevels = 4, kCosines, kSines, kPositions };

// How keys become what attention wants: their levels, the tables that turn them.
struct TurnPlan {
  const float* levels;
  TurnTable cosines, sines;
  int32_t entries;
};

// One head of keys with the queries that share it.
struct Head {
  const Op& op;
  const Run& run;
  int64_t index, queries, keys;  // queries: of the head, all positions
  float *scores, *rows;          // [queries][keys], and rows as decoded

  // Rows of keys from `first` on, about their levels, as attention wants them.
  void turn(int64_t first, int32_t count) const {
    const TurnPlan& plan = *static_cast<const TurnPlan*>(op.plan);
    const int64_t depth = op.inputs[kAttentionQ]->dims[3], heads = op.inputs[kAttentionK]->dims[1];
    const float* factors = plan.levels + index * depth;
    const int32_t* positions = plan.entries > 0 ? run.read<int32_t>(op.inputs[kPositions]) + first : nullptr;
    run.kernels.turn_rows({rows, static_cast<int32_t>(depth), count, factors, factors + heads * depth, plan.cosines, plan.sines, positions,
                           plan.entries, plan.entries > 0 ? op.ints[3] : 0, op.ints[2] != 0});
  }

  // Decodes the head's rows of `cache` that any query sees: body(first, count).
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
  const bool turned = h.op.opcode == PITH_OPCODE_TurnedAttention;
  h.each_block(h.op.inputs[kAttentionK], depth, h.op.ints[0], all, [&](int64_t first, int32_t count) {
    if (turned) h.turn(first, count);
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

// Levels of `heads` x `depth` channels, as floats.
const char* decode_levels(Builder& builder, Tensor& t, int64_t heads, int64_t depth) {
  if (!t.is_constant() || t.rank != 3 || t.dims[0] != 2 || t.dims[1] != heads || t.dims[2] != depth) return "its keys' levels don't fit";
  return decode_constant(builder, t, PITH_F32);
}

// A table stays integers where it is such.
const char* decode_turn(Builder& builder, Tensor& t, int64_t half, TurnTable& table) {
  if (!t.is_constant() || t.rank != 2 || t.dims[0] < 1 || t.dims[1] != half) return "its tables don't fit";
  const bool codes = t.dtype == PITH_I8 && !t.row_scales;
  if (const char* reason = decode_constant(builder, t, codes ? PITH_I8 : PITH_F32)) return reason;
  if (codes && t.values != nullptr)
    table = {static_cast<const int8_t*>(t.values), nullptr, static_cast<float>(numerics::scale_value(t.scale_codes[0]))};
  else
    table = {nullptr, static_cast<const float*>(t.values), 0};
  return nullptr;
}

// One row of every head, coded by body(head, row's bytes) into what is remembered.
template <typename Body>
void remember(const Op& op, const Run& run, const Body& body) {
  const Tensor &past = *op.inputs[0], &y = *op.outputs[0];
  const int32_t* condition = run.read<int32_t>(op.inputs[2]);
  uint8_t* to = run.write<uint8_t>(&y);
  if (run.read<uint8_t>(&past) != to) memcpy(to, run.read<uint8_t>(&past), static_cast<size_t>(past.count()));
  const int64_t heads = past.dims[1], rows = past.dims[2], bytes = past.dims[3];
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t h = 0; condition[t] != 0 && h < heads; ++h) body(h, to + (h * rows + t) * bytes);
  }
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
  const int32_t depth = op.inputs[1]->dims[3];
  const float* from = run.read<float>(op.inputs[1]);
  remember(op, run, [&](int64_t h, uint8_t* row) { numerics::encode_cache_row(from + h * depth, depth, op.ints[0], row); });
}

const char* prepare_RememberKeys(Builder& builder, Op& op) {
  if (const char* reason = prepare_RememberRows(builder, op)) return reason;
  return decode_levels(builder, *op.inputs[3], op.inputs[0]->dims[1], op.inputs[1]->dims[3]);
}

void run_RememberKeys(const Op& op, const Run& run) {
  const int32_t depth = op.inputs[1]->dims[3];
  const int64_t heads = op.inputs[0]->dims[1];
  const float *from = run.read<float>(op.inputs[1]), *factors = run.read<float>(op.inputs[3]);
  remember(op, run, [&](int64_t h, uint8_t* row) {
    const float *x = from + h * depth, *factor = factors + h * depth, *level = factor + heads * depth;
    numerics::encode_cache_values([=](int32_t i) { return numerics::lower_key(x[i], factor[i], level[i]); }, depth, op.ints[0], row);
  });
}

const char* prepare_CachedAttention(Builder& builder, Op& op) {
  Tensor* given = op.inputs[kAttentionMask];
  if (given != nullptr && given->is_constant()) {
    if (const char* reason = decode_constant(builder, *given, given->dtype == PITH_I8 ? int{PITH_F32} : int{given->dtype})) return reason;
  }
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

const char* prepare_TurnedAttention(Builder& builder, Op& op) {
  if (const char* reason = prepare_CachedAttention(builder, op)) return reason;
  const Tensor &q = *op.inputs[kAttentionQ], &k = *op.inputs[kAttentionK];
  Tensor *cosines = op.inputs[kCosines], *sines = op.inputs[kSines];
  const Tensor* positions = op.inputs[kPositions];
  TurnPlan plan{};
  if (const char* reason = decode_levels(builder, *op.inputs[kLevels], k.dims[1], q.dims[3])) return reason;
  plan.levels = static_cast<const float*>(op.inputs[kLevels]->values);
  if (cosines != nullptr || sines != nullptr || positions != nullptr) {
    const int32_t rotated = op.ints[3];
    if (cosines == nullptr || sines == nullptr || positions == nullptr) return "its keys are turned by less than two tables and positions";
    if (rotated < 2 || rotated % 2 != 0 || rotated > q.dims[3]) return "its rotated part doesn't fit";
    if (positions->is_constant() || positions->dtype != PITH_I32 || positions->count() != k.dims[2]) return "its positions don't fit";
    if (const char* reason = decode_turn(builder, *cosines, rotated / 2, plan.cosines)) return reason;
    if (const char* reason = decode_turn(builder, *sines, rotated / 2, plan.sines)) return reason;
    if (cosines->dims[0] != sines->dims[0]) return "its tables differ";
    plan.entries = cosines->dims[0];
  }
  TurnPlan* p = builder.plan<TurnPlan>(op);
  if (p != nullptr) *p = plan;
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

void run_TurnedAttention(const Op& op, const Run& run) { run_CachedAttention(op, run); }

}  // namespace pith::runtime
