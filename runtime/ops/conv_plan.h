// Convolutions as strips: one plan for Conv2d, ConvTranspose2d and Dense, 8-bit and float.
//
// Every output position is a sum over taps of an input position times a small matrix (input channels x output
// channels). A kernel gets a strip of positions and, for each tap, a pointer to each position's input; padding points
// at a row of zero points. So padding, stride, dilation and groups cost nothing in the inner loop, and nothing is
// unrolled in memory (the "indirect convolution" of Dukhan 2019, arXiv 1907.02129, with pointers made per strip).
//
// A transposed convolution is stride_h * stride_w convolutions, one for each phase of the output position: each sees
// the taps that reach it. A Dense layer is a 1x1 convolution on a picture of one row.
//
// Where few input channels would waste the kernels' groups of four (colour pictures, audio), the taps of one kernel row
// are merged into one long tap, since they are neighbours in memory; positions that overlap the border get a copy.
//
// Output channels are packed in blocks of 16 per group. Where they aren't packed at load, a tile of output
// channels (program/scratch.h) is decoded into scratch, used for all positions and dropped.
#pragma once

#include "program/scratch.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {

inline constexpr int kMostPointers = 1024;  // of a strip: [tap][pixel], on the stack
inline constexpr int kMostStripPixels = 96;
inline constexpr int kBorderBytes = 8192;  // merged taps: copies of border positions, on the stack

// Output positions first + i * step, and the taps that reach them.
struct ConvPhase {
  int32_t first_y, first_x, rows, columns;
  int32_t taps;
  const int32_t* dy;  // [taps]: input row = i * in_step_h + dy
  const int32_t* dx;
  const int32_t* offsets;  // [taps]: where the tap's weights begin within a block, in elements
};

struct ConvPlan {
  int32_t batch, in_h, in_w, in_c, out_h, out_w, out_c;
  int32_t groups, depth, group_out;  // input and output channels of a group
  int32_t step_h, step_w;            // between output positions of a phase
  int32_t in_step_h, in_step_w;      // between their inputs
  bool is_float, transposed, merged;
  int32_t run;         // consecutive input values of a tap: depth, or kernel_w * depth when merged
  int32_t taps;        // of a block of weights: kernel_h * kernel_w, or kernel_h when merged
  int32_t tap_values;  // weights of one tap and output channel as packed: run, rounded up to 4 for 8-bit
  int32_t strip;       // output positions that are computed together
  int32_t phase_count;
  const ConvPhase* phases;
  const void* pad;       // `run` values that stand for zero
  const Tensor* source;  // the weights
  const int32_t* bias;   // as stored, or null
  const float* bias_f32;
  numerics::Affine in, raw;  // u8
  Epilogue epilogue;
  float low, high;  // f32
  bool clamps;      // f32: low and high are the whole activation
  // packed at load, otherwise null:
  const void* weights;   // [group][block][tap][tap_values / 4][16][4]; f32: [group][block][tap][tap_values][16]
  const SparseBlock* sparse;  // or instead [group][block] without zeros (ops/conv_sparse.h)
  const void* channels;  // [group][phase][block] of Channels or ChannelsF32
  bool narrow;
  // Dense of one vector of floats, decoded at load: rows of integers, or `sparse` instead, and their scales; otherwise null
  const int8_t* rows;
  const float* row_scales;

  int32_t group_blocks() const { return (group_out + kLanes - 1) / kLanes; }
  int64_t block_values() const { return int64_t{taps} * tap_values * kLanes; }
};

// Fills the plan of Conv2d, ConvTranspose2d or Dense; null, or why it can't be executed.
const char* plan_conv(Builder& builder, Op& op, ConvPlan& plan);
void run_conv(const ConvPlan& plan, const Op& op, const Run& run);

// Weights of `row_count` stored rows from the next one of `rows` on, packed as blocks from lane 0 on: for Conv2d and
// Dense output channels of one group, for ConvTranspose2d output channels of every group, group after group.
struct ConvTile {
  int32_t first_row, row_count;
  void* weights;   // [group][block] of plan.block_values()
  void* channels;  // [group][phase][block]
  int8_t* row;     // the row before, as the decoder wants it; of plan.taps * run * groups bytes
  bool narrow;
};
class WeightRows;
void pack_tile(const ConvPlan& plan, WeightRows& rows, ConvTile& tile);

}  // namespace pith::runtime
