// What an inner loop is asked to do: the arguments of every kernel, and the table that dispatches to them.
//
// The operators (ops/) work out geometry, padding and the share of each thread, and hand plain runs and strips to
// kernels; so a kernel knows nothing of shapes, models or files, and one file per instruction set holds all there is to
// tune. kernels.inc lists every kernel; kernels/ref has each of them in plain C++, and an instruction set replaces
// those it can do faster. Integer kernels of all sets give the same bits; float kernels agree to a tolerance.
//
// Memory: a kernel writes only what its arguments name as output, and may read up to PITH_OVERREAD bytes past the end
// of any input. Buffers of its own live on the stack and take at most kKernelStack bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "numerics/arithmetic.h"
#include "numerics/scale.h"
#include "numerics/unary.h"

namespace pith::coding {
struct RowProgress;
}

namespace pith::runtime {

inline constexpr int kKernelStack = 24 * 1024;
inline constexpr int kLanes = 16;  // output channels that are packed side by side

// How an accumulator becomes a stored 8-bit value.
struct Epilogue {
  int32_t zero_point = 0, low = 0, high = 255;
  const uint8_t* table = nullptr;  // 256 entries, looked up last; or null
};

// Sixteen output channels: the accumulator starts at `bias` (which holds the input's zero point times the weights'
// sum), and ends multiplied by mantissa * 2^-shift. `sum` of all weights: for sets that multiply signed bytes only.
struct Channels {
  int32_t bias[kLanes], mantissa[kLanes], shift[kLanes], sum[kLanes];
};
struct ChannelsF32 {
  float bias[kLanes];
};

// A strip of a convolution: for each of `pixels` output positions, the sum over taps of products of `quads` * 4 input
// channels with all output channels of the blocks.
struct ConvU8 {
  const uint8_t* const* inputs;  // [tap][pixels]: first input channel of the tap
  int32_t pixels, taps, quads;
  const int8_t* weights;     // [block][tap][quad][16][4], zero where there's no channel
  int64_t block_values;      // weights from block to block
  const int32_t* offsets;    // [taps]: where the weights of each tap begin within a block
  const Channels* channels;  // [block]
  int32_t out_channels;      // in blocks of 16, the last one may be partial
  bool narrow;               // every shift is at least 17: 32-bit requantisation is exact
  uint8_t* y;                // of the first pixel
  int64_t y_stride;          // bytes from pixel to pixel
  Epilogue epilogue;
};
struct ConvF32 {
  const float* const* inputs;
  int32_t pixels, taps, depth;
  const float* weights;  // [block][tap][depth][16]
  int64_t block_values;
  const int32_t* offsets;
  const ChannelsF32* channels;
  int32_t out_channels;
  float low, high;  // clamps the result
  float* y;
  int64_t y_stride;  // elements
};

// The same strips where weights have blocks of zeros: 16 output channels by 16 neighbouring input channels of a tap. What
// isn't zero of each block of output channels lies one after the other, so that the others take neither time nor memory.
// Of the strip, `taps`, `quads` (`depth`), `weights`, `block_values` and `offsets` mean nothing.
struct Span {
  int32_t tap, begin, end;  // input channels of the tap: from a multiple of 16 on, to one of 4 for 8-bit
};
struct SparseBlock {
  const Span* spans;  // in the order of a dense sum
  int32_t span_count;
  const void* weights;  // of all spans: [quad][16][4] of int8_t, or for floats [input channel][16]
};
inline constexpr int kSpanStep = 16;

// A part of one output row of a depthwise convolution, all channels. The packed form interleaves `lanes` groups of 16
// channels as the unpack instructions of the set do: block = 16 * lanes channels,
//   weights  [block][kernel_w][quad of rows][part 0..3][lane][4 channels][4 rows]
//   channels [block] of 16 * lanes values each, in the order [part][lane][4 channels]
struct DepthwiseU8 {
  const uint8_t* const* rows;  // [kernel_h]: the row's first pixel, or null where the row is padding
  int32_t kernel_h, kernel_w, stride_w, dilation_w, pad_left;
  int32_t in_w, channels, stride_c;  // `channels` of the `stride_c` that a position has
  int32_t out_begin, out_end;        // columns of the output
  const int8_t* weights;
  const int32_t *bias, *mantissa, *shift;
  bool narrow;
  uint8_t pad_value;  // the input's zero point
  uint8_t* y;         // the output row's first pixel
  Epilogue epilogue;
};
struct DepthwiseF32 {
  const float* const* rows;
  int32_t kernel_h, kernel_w, stride_w, dilation_w, pad_left;
  int32_t in_w, channels, stride_c;
  int32_t out_begin, out_end;
  const float* weights;  // [kernel_h][kernel_w][channels]
  const float* bias;     // [channels]
  float low, high;
  float* y;
};

// `count` elements of a binary operator; an operand is a run, or one value that is repeated.
struct AddU8 {
  const uint8_t *a, *b;
  uint8_t* y;
  int64_t count;
  bool a_repeats, b_repeats;
  numerics::AddParams params;
  const uint8_t* table;  // or null
};
struct MulU8 {
  const uint8_t *a, *b;
  uint8_t* y;
  int64_t count;
  bool a_repeats, b_repeats;
  numerics::MulParams params;
  const uint8_t* table;
};
struct BinaryF32 {
  const float *a, *b;
  float* y;
  int64_t count;
  bool a_repeats, b_repeats;
  int32_t kind;  // PITH_BINARY_*
};

// One output position of a pooling window: `taps` input positions of `channels` values each.
struct PoolU8 {
  const uint8_t* const* inputs;  // [taps]
  int32_t taps, channels;
  numerics::Multiplier multiplier;  // average only: the factor on the sum of (x - zero_in)
  int32_t zero_in;
  uint8_t* y;
  Epilogue epilogue;  // maximum: only its table
};

// Rows of integer weights times one vector: y = clamp(scale * sum of x * row + bias). Without blocks of zeros
// (sparse_rows_f32) weights of 16 rows are [kSpanStep inputs of a span][16 rows][kSpanStep], zero beyond a span's end.
struct RowsF32 {
  const float* x;      // [depth]
  const int8_t* rows;  // [count][depth], or null without zeros
  int32_t depth, count;
  const float *scale, *bias;  // [count]; bias may be null
  float low, high;
  float* y;
  void finish(int32_t r, float sum) const {
    const float value = sum * scale[r] + (bias != nullptr ? bias[r] : 0);
    y[r] = value < low ? low : value > high ? high : value;
  }
};

// Attention's two products over `count` rows of `depth` codes: of each row with a query, and of all rows with their weights.
struct DotsU8 {
  const int16_t* query;  // zeros up to 32 values past the end
  const uint8_t* rows;
  int32_t depth, count, zero;
  int32_t* y;  // [count]: sum of query * (row - zero)
};
struct MixtureU8 {
  const int16_t* weights;  // [count], room for one more
  const uint8_t* rows;
  int32_t depth, count, zero;
  int32_t* y;  // [depth, room for 16 more]: sum over rows of weight * (row - zero)
};

// The same in float; `rows` lie `depth` apart.
struct DotsF32 {
  const float *query, *rows;
  int32_t depth, count;
  float scale;
  float* y;  // [count]: scale * sum of query * row
};
struct MixtureF32 {
  const float *weights, *rows;
  int32_t depth, count;
  bool adds;  // to what y holds
  float* y;   // [depth]: sum over rows of weight * row
};

// A row of an activation into its coded form and back (coding/decode/activation_rows.h). `state`: 8 bytes for each
// channel, the writer's one more. Both fill all that they are to make: `bytes` of row, width * channels values.
struct EncodeRowU8 {
  const uint8_t* values;
  int32_t width, channels;
  uint8_t zero_point;
  uint8_t *state, *row;
  int64_t bytes;
};
struct DecodeRowU8 {
  const uint8_t* row;
  int64_t bytes;
  int32_t width, channels;
  uint8_t zero_point;
  uint8_t *state, *values;
};

// The next pixels of such a row: `values` are behind those of the pixel before. `state` is kept from call to call, and has
// room for channels in groups of 16.
struct DecodePixelsU8 {
  coding::RowProgress* row;
  int32_t count, channels;
  uint8_t zero_point;
  uint8_t *state, *values;
};

// Neighbouring pixels of `depth` channels, each times all output channels. The sums are linear, so a pixel's are those of
// the pixel before and what has changed since, or those of zero points and what differs from them: whichever is less.
struct ConvChangesU8 {
  const uint8_t* values;  // [pixels][depth]
  int32_t pixels, depth;  // at most kMostChangedPixels
  uint8_t zero_point;
  const int8_t* weights;     // [block][depth / 4][16][4], as ConvU8 has them with one tap
  int64_t block_values;
  const Channels* channels;  // [block]
  int32_t out_channels;
  uint8_t* y;
  int64_t y_stride;
  Epilogue epilogue;
};
inline constexpr int kMostChangedPixels = 64;

// `count` remembered rows (numerics/cache_rows.h) as floats, the same bits in every set.
struct CacheRows {
  const uint8_t* rows;
  int32_t depth, count, bits;
  float* y;  // [count][depth], room for 16 more
};

// Cosines or sines, a row for each position: floats, or integers and their scale; neither: nothing is turned.
struct TurnTable {
  const int8_t* codes;
  const float* reals;
  float scale;
};
// Decoded keys about their levels as attention wants them, where they stand, the same bits in every set.
struct TurnRows {
  float* rows;  // [count][depth]
  int32_t depth, count;
  const float *factors, *levels;  // [depth]
  TurnTable cosines, sines;       // [entries][rotated / 2]
  const int32_t* positions;       // [count]
  int32_t entries, rotated;
  bool interleaved;
};

#define PITH_KERNEL_TYPE(name, ...) using name##_kernel = void(__VA_ARGS__);
#include "runtime/kernels/kernels.inc"
#undef PITH_KERNEL_TYPE

// The functions that the table names.
#define PITH_KERNEL_TYPE(name, ...) name##_kernel name##_ref;
#define PITH_KERNEL(name, isa) name##_kernel name##_##isa;
#include "runtime/kernels/kernels.inc"
#undef PITH_KERNEL_TYPE
#undef PITH_KERNEL

struct Kernels {
#define PITH_KERNEL_TYPE(name, ...) name##_kernel* name = nullptr;
#include "runtime/kernels/kernels.inc"
#undef PITH_KERNEL_TYPE
  int32_t depthwise_lanes = 1;  // groups of 16 channels that depthwise_u8 takes together
  bool by_changes = false;      // conv_changes_u8 takes less time than conv_u8
};

// Instruction sets, each with all that the one before it in its family has.
enum class Isa : int { kReference, kAvx2, kAvx512, kNeon, kNeonDot };
inline constexpr int kIsaCount = 5;
const char* isa_name(Isa isa);
bool isa_available(Isa isa);  // built in, and this processor has it
Isa best_isa();
const Kernels& kernels_of(Isa isa);  // `isa` must be available

}  // namespace pith::runtime
