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

// The 8-bit form; its dimensions were checked.
const char* prepare_attention_u8(Builder& builder, Op& op);
void run_attention_u8(const Op& op, const Run& run);

}  // namespace pith::runtime
