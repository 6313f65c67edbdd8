/* How many bytes of scratch an operator may use, for C and C++: the compiler plans exactly this much in the arena, and
 * every kernel of every target stays within it. Shared by compile/ and runtime/ through the format's wall. */
#ifndef PITH_PROGRAM_SCRATCH_H
#define PITH_PROGRAM_SCRATCH_H

#include <stdint.h>

#include "program/format.h"

/* Output channels that are decoded together when weights stay coded in memory: as many as share the reading of an input,
 * half of them where a channel's weights are so many that this no longer matters. */
#define PITH_WEIGHT_TILE 32
static inline int64_t pith_weight_tile(int64_t channels, int64_t weights) {
  const int64_t most = weights >= 128 ? PITH_WEIGHT_TILE / 2 : PITH_WEIGHT_TILE;
  return channels < most ? channels : most;
}
#define PITH_DEPTHWISE_TILE 64
#define PITH_CACHE_ROWS 16 /* remembered rows that attention decodes at a time */
#define PITH_ROW_CHANNEL 8 /* bytes that numerics/row_model.h keeps of a channel */
#define PITH_LIFTED_CHANNEL 6 /* and numerics/row_lifting.h beside it */
#define PITH_CODED_PIXELS 12 /* of a row in coded form that a product takes at a time */

/* What the formulas below may depend on. Absent operands have rank 0 and dtype -1. */
typedef struct pith_operand_shape {
  int32_t dtype; /* PITH_U8 ... */
  int32_t rank;
  const int32_t* dims;
  int32_t constant; /* 1: a coded constant, 0: an arena tensor */
} pith_operand_shape;

static inline int64_t pith_scratch_round(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/* A tile of decoded weights: up to 32 output channels, or 16 from 128 weights a channel on, in blocks of 16, of `taps` * `depth` weights of `weight_bytes`
 * (1: u8 activations, 4: f32), the depth of every tap padded to a multiple of 4; bias, mantissa, shift and sum of each
 * channel for each of `phases`; and one row as the decoder leaves it. `copies`: how many groups share a row of weights.
 */
static inline int64_t pith_scratch_weights(int64_t channels, int64_t taps, int64_t depth, int64_t copies,
                                           int64_t phases, int64_t weight_bytes) {
  const int64_t rows = pith_weight_tile(channels, taps * depth);
  const int64_t tile = (rows + 15) / 16 * 16 * copies;
  const int64_t packed = pith_scratch_round(tile * taps * ((depth + 3) / 4 * 4) * weight_bytes);
  return packed + tile * 16 * phases + pith_scratch_round(taps * depth * copies);
}

/* The same for 64 channels of a depthwise convolution, kernel columns padded to a multiple of 4. */
static inline int64_t pith_scratch_depthwise(int64_t kernel_h, int64_t kernel_w, int64_t weight_bytes) {
  const int64_t packed = PITH_DEPTHWISE_TILE * ((kernel_h + 3) / 4 * 4) * kernel_w * weight_bytes;
  return packed + PITH_DEPTHWISE_TILE * 12 + pith_scratch_round(kernel_h * kernel_w);
}

/* A row in coded form that is read a few pixels at a time: its channels, in groups of 16; those pixels and the one before. */
static inline int64_t pith_scratch_row(int64_t channels) { return PITH_ROW_CHANNEL * ((channels + 15) / 16 * 16); }
static inline int64_t pith_scratch_pixels(int64_t channels, int64_t width) {
  return pith_scratch_round((1 + (width < PITH_CODED_PIXELS ? width : PITH_CODED_PIXELS)) * channels);
}

/* A vector, whatever its rank: nothing is gained by packing weights that are used once. */
static inline int pith_one_position(const pith_operand_shape* x) {
  for (int32_t i = 0; i + 1 < x->rank; ++i) {
    if (x->dims[i] != 1) return 0;
  }
  return 1;
}

/* `inputs` and `outputs` as opcodes.inc lists them, `ints` the operator's integer parameters. */
static inline int64_t pith_scratch_bytes(uint32_t opcode, const int32_t* ints, const pith_operand_shape* inputs,
                                         const pith_operand_shape* outputs) {
  const pith_operand_shape* x = &inputs[0];
  const pith_operand_shape* w = &inputs[1]; /* read only for operators with two inputs */
  const int64_t weight_bytes = x->dtype == PITH_U8 ? 1 : 4;
  switch (opcode) {
    case PITH_OPCODE_Conv2d: {
      const int64_t groups = ints[8] > 0 ? ints[8] : 1;
      if (w->rank != 4 || x->rank != 4) return 0;
      if (groups > 1 && groups == x->dims[3] && groups == w->dims[0] && w->dims[1] <= 16) {
        return pith_scratch_depthwise(w->dims[1], w->dims[2], weight_bytes);
      }
      return pith_scratch_weights(w->dims[0] / groups, (int64_t)w->dims[1] * w->dims[2], w->dims[3], 1, 1,
                                  weight_bytes);
    }
    case PITH_OPCODE_ConvTranspose2d: {
      const int64_t groups = ints[8] > 0 ? ints[8] : 1;
      if (w->rank != 4) return 0;
      return pith_scratch_weights(w->dims[0], (int64_t)w->dims[1] * w->dims[2], w->dims[3] / groups, groups,
                                  (int64_t)ints[0] * ints[1], weight_bytes);
    }
    case PITH_OPCODE_Dense:
      if (w->rank != 2) return 0;
      /* a row as decoded; a table that another operator reads as floats (tied embeddings) is decoded at load */
      if (w->constant && (w->dtype == PITH_I8 || x->dtype == PITH_F32) && pith_one_position(x)) return pith_scratch_round(w->dims[1]);
      return pith_scratch_weights(w->dims[0], 1, w->dims[1], 1, 1, weight_bytes);
    case PITH_OPCODE_MatMul: { /* 16 packed columns, up to three taps */
      const int64_t depth = x->rank >= 2 ? x->dims[ints[0] ? x->rank - 2 : x->rank - 1] : 0;
      return pith_scratch_round((depth + 3) / 4 * 4 * 16 * (weight_bytes == 1 ? 3 : 4));
    }
    case PITH_OPCODE_Recurrent: /* h, c, r * h and up to four gates */
      return pith_scratch_round((int64_t)ints[1] * 7 * 4);
    case PITH_OPCODE_Norm: { /* 8-bit: factor and offset of each element of a row */
      int64_t row = 1;
      if (x->dtype != PITH_U8 || ints[1] < 0) return 0;
      for (int32_t i = ints[1]; i < x->rank; ++i) row *= x->dims[i];
      return pith_scratch_round(8 * row);
    }
    case PITH_OPCODE_Attention: { /* scores of one query; 8-bit: also addends of the mask, weights, the query and sums */
      const pith_operand_shape* past = &inputs[4];
      if (x->dtype == PITH_U8 && x->rank == 4 && w->rank == 4 && inputs[2].rank == 4) {
        return pith_scratch_round(4 * (int64_t)w->dims[2]) + pith_scratch_round(2 * (int64_t)w->dims[2] + 64) +
               pith_scratch_round(2 * (int64_t)x->dims[3] + 64) + pith_scratch_round(4 * (int64_t)inputs[2].dims[3] + 64);
      }
      return pith_scratch_round(4 * ((w->rank == 4 ? w->dims[2] : 0) + (past->rank == 4 ? past->dims[2] : 0)));
    }
    case PITH_OPCODE_CachedAttention:
    case PITH_OPCODE_TurnedAttention: { /* scores of the queries that share a head of keys, and rows as decoded */
      const int64_t depth = x->rank == 4 ? x->dims[3] : 0, width = outputs[0].rank == 4 ? outputs[0].dims[3] : 0;
      if (w->rank != 4 || x->rank != 4 || w->dims[1] < 1) return 0;
      return pith_scratch_round(4 * (int64_t)x->dims[1] / w->dims[1] * x->dims[2] * w->dims[2]) +
             pith_scratch_round(4 * PITH_CACHE_ROWS * (depth > width ? depth : width) + 64);
    }
    case PITH_OPCODE_TopK: /* indices of one line */
      return pith_scratch_round(ints[1] >= 0 && ints[1] < x->rank ? 4 * (int64_t)x->dims[ints[1]] : 0);
    case PITH_OPCODE_Nms: /* indices of all boxes */
      return pith_scratch_round(x->rank == 3 ? 4 * (int64_t)x->dims[1] : 0);
    case PITH_OPCODE_EncodeRows: /* of each channel what it has shown, and its last value as decoded */
      return pith_scratch_round(x->rank == 4 ? (PITH_ROW_CHANNEL + 1) * (int64_t)x->dims[3] : 0);
    case PITH_OPCODE_DecodeRows:
      return pith_scratch_round(outputs[0].rank == 4 ? PITH_ROW_CHANNEL * (int64_t)outputs[0].dims[3] : 0);
    case PITH_OPCODE_EncodeLiftedRows:
      return pith_scratch_round(x->rank == 4 ? (PITH_ROW_CHANNEL + PITH_LIFTED_CHANNEL + 1) * (int64_t)x->dims[3] : 0);
    case PITH_OPCODE_DecodeLiftedRows:
      return pith_scratch_round(outputs[0].rank == 4 ? (PITH_ROW_CHANNEL + PITH_LIFTED_CHANNEL) * (int64_t)outputs[0].dims[3] : 0);
    case PITH_OPCODE_CodedConv2d: /* a tile of weights; of each channel what it has shown, and a few pixels */
      if (w->rank != 4 || outputs[0].rank != 4) return 0;
      return pith_scratch_weights(w->dims[0], 1, w->dims[3], 1, 1, 1) + pith_scratch_row(w->dims[3]) + pith_scratch_pixels(w->dims[3], outputs[0].dims[2]);
    default:
      return 0;
  }
}

#endif
