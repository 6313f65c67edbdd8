/* How many bytes of scratch an operator may use, for C and C++: the compiler plans exactly this much in the arena, and
 * every kernel of every target stays within it. Shared by compile/ and runtime/ through the format's wall. */
#ifndef PITH_PROGRAM_SCRATCH_H
#define PITH_PROGRAM_SCRATCH_H

#include <stdint.h>

#include "program/format.h"

/* Output channels that are decoded together when weights stay coded in memory. */
#define PITH_WEIGHT_TILE 32

/* What the formulas below may depend on. Absent operands have rank 0 and dtype -1. */
typedef struct pith_operand_shape {
  int32_t dtype; /* PITH_U8 ... */
  int32_t rank;
  const int32_t* dims;
  int32_t constant; /* 1: a coded constant, 0: an arena tensor */
} pith_operand_shape;

/* A tile of decoded weights (32 output channels of `taps` * `depth` weights of `weight_bytes` (1: u8 activations, 4: f32),
 * the depth of every kernel tap padded to a multiple of 4), its biases and multipliers (16 bytes per channel), and one
 * row as the decoder leaves it. */
static inline int64_t pith_scratch_weights(int64_t channels, int64_t taps, int64_t depth, int64_t weight_bytes) {
  const int64_t tile = channels < PITH_WEIGHT_TILE ? (channels + 15) / 16 * 16 : PITH_WEIGHT_TILE;
  const int64_t packed = (tile * taps * ((depth + 3) / 4 * 4) * weight_bytes + 63) / 64 * 64;
  const int64_t row = (taps * depth + 63) / 64 * 64;
  return packed + tile * 16 + row;
}

/* `inputs` and `outputs` as opcodes.inc lists them, `ints` the operator's integer parameters. */
static inline int64_t pith_scratch_bytes(uint32_t opcode, const int32_t* ints, const pith_operand_shape* inputs,
                                         const pith_operand_shape* outputs) {
  (void)ints;
  (void)outputs;
  const pith_operand_shape* x = &inputs[0];
  const int64_t weight_bytes = x->dtype == PITH_U8 ? 1 : 4;
  if (opcode == PITH_OPCODE_Conv2d || opcode == PITH_OPCODE_ConvTranspose2d) {
    const pith_operand_shape* w = &inputs[1];
    if (!w->constant || w->rank != 4) return 0;
    return pith_scratch_weights(w->dims[0], (int64_t)w->dims[1] * w->dims[2], w->dims[3], weight_bytes);
  }
  if (opcode == PITH_OPCODE_Dense) {
    const pith_operand_shape* w = &inputs[1];
    if (!w->constant || w->rank != 2) return 0;
    return pith_scratch_weights(w->dims[0], 1, w->dims[1], weight_bytes);
  }
  return 0;
}

#endif
