/* How many bytes of scratch an operator may use, for C and C++: the compiler plans exactly this much in the arena, and
 * every kernel of every target stays within it. Shared by compile/ and runtime/ through the format's wall. */
#ifndef PITH_PROGRAM_SCRATCH_H
#define PITH_PROGRAM_SCRATCH_H

#include <stdint.h>

/* Output channels that are decoded together when weights stay coded in memory. */
#define PITH_WEIGHT_TILE 32

/* Conv2d, ConvTranspose2d and Dense: a tile of decoded weights (32 output channels of `reduction` = kH*kW*I/groups
 * weights of `weight_bytes` (1: u8 activations, 4: f32), each row padded to a multiple of 4 values for every kernel tap,
 * `taps` = kH*kW), their biases and multipliers, and one row of gathered input for the kernels that gather. */
static inline int64_t pith_scratch_weights(int64_t channels, int64_t taps, int64_t depth, int64_t weight_bytes) {
  const int64_t tile = channels < PITH_WEIGHT_TILE ? (channels + 15) / 16 * 16 : PITH_WEIGHT_TILE;
  return (tile * taps * ((depth + 3) / 4 * 4) * weight_bytes + 63) / 64 * 64 + tile * 16;
}

#endif
