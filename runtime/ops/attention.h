// What the float and the 8-bit form of Attention share. q: N,Hq,S,D; k, v: N,Hk,T,D; query heads share key heads in equal
// groups.
#pragma once

#include "runtime/ops/ops.h"

namespace pith::runtime {

enum AttentionInputs { kAttentionQ, kAttentionK, kAttentionV, kAttentionMask, kAttentionPastK, kAttentionPastV };

struct AttentionSize {
  int64_t batch, heads, queries, depth, key_heads, keys, value_depth, past, total;
  explicit AttentionSize(const Op& op)
      : batch(op.inputs[kAttentionQ]->dims[0]),
        heads(op.inputs[kAttentionQ]->dims[1]),
        queries(op.inputs[kAttentionQ]->dims[2]),
        depth(op.inputs[kAttentionQ]->dims[3]),
        key_heads(op.inputs[kAttentionK]->dims[1]),
        keys(op.inputs[kAttentionK]->dims[2]),
        value_depth(op.inputs[kAttentionV]->dims[3]),
        past(op.inputs[kAttentionPastK] != nullptr ? op.inputs[kAttentionPastK]->dims[2] : 0),
        total(past + keys) {}
};

// Element (n, h, s, t) of a mask whose dimensions may be 1 and whose leading ones may be missing.
inline int64_t attention_mask_index(const Tensor& m, const int64_t (&at)[4]) {
  int64_t index = 0;
  for (int k = 0; k < m.rank; ++k) index = index * m.dims[k] + (m.dims[k] == 1 ? 0 : at[4 - m.rank + k]);
  return index;
}

// A key whose additive mask lies so far below the row's largest weighs nothing: scores would have to differ by as much.
inline constexpr float kFarBelow = 8192;

// The mask of one query: element t at values[t * step]. Null where there is none.
struct MaskRow {
  const float* reals = nullptr;
  const int32_t* flags = nullptr;
  int64_t step = 0;

  MaskRow() = default;
  MaskRow(const Run& run, const Tensor& mask, int64_t n, int64_t head, int64_t query)
      : step(mask.rank > 0 && mask.dims[mask.rank - 1] > 1 ? 1 : 0) {
    const int64_t at = attention_mask_index(mask, {n, head, query, 0});
    if (mask.dtype == PITH_F32)
      reals = run.read<float>(&mask) + at;
    else
      flags = run.read<int32_t>(&mask) + at;
  }
  bool operator==(const MaskRow& o) const { return reals == o.reals && flags == o.flags; }
};

// Keys begin..end-1 are all that a query sees, with some hidden ones in between perhaps.
struct Keys {
  int64_t begin, end;
};

inline Keys seen(const MaskRow& mask, int64_t total) {
  Keys keys{0, total};
  if (mask.flags != nullptr) {
    while (keys.begin < keys.end && mask.flags[keys.begin * mask.step] == 0) ++keys.begin;
    while (keys.begin < keys.end && mask.flags[(keys.end - 1) * mask.step] == 0) --keys.end;
  } else if (mask.reals != nullptr) {
    float most = mask.reals[0];
    for (int64_t t = 1; t < total && mask.step != 0; ++t) most = mask.reals[t] > most ? mask.reals[t] : most;
    const auto hidden = [&](int64_t t) {
      return mask.reals[t * mask.step] < most - kFarBelow || mask.reals[t * mask.step] == -__builtin_huge_valf();
    };
    while (keys.begin < keys.end && hidden(keys.begin)) ++keys.begin;
    while (keys.begin < keys.end && hidden(keys.end - 1)) --keys.end;
  }
  return keys;
}

// The 8-bit form; its dimensions were checked.
const char* prepare_attention_u8(Builder& builder, Op& op);
void run_attention_u8(const Op& op, const Run& run);

}  // namespace pith::runtime
