// Depthwise convolution: planning, packing in the interleaved order of kernels.h, rows over threads.
#include "runtime/ops/depthwise.h"

#include <string.h>

#include "program/scratch.h"
#include "runtime/ops/weights.h"

namespace pith::runtime {
namespace {

constexpr int32_t kMostRows = 16;  // kernel_h

// Packed weights and constants of the channels [first, first + count).
struct Tile {
  int32_t first, count;
  void* weights;
  int32_t *bias, *mantissa, *shift;
  float* bias_f32;
  bool narrow;
};

int64_t weight_values(const DepthwisePlan& p, int64_t channels) {
  const int64_t rows = p.is_float ? p.kernel_h : (p.kernel_h + 3) / 4 * 4;
  return channels * p.kernel_w * rows;
}
int64_t padded_channels(const DepthwisePlan& p, int64_t channels) {
  const int64_t block = p.is_float ? 1 : int64_t{kLanes} * p.lanes;
  return (channels + block - 1) / block * block;
}

void pack_u8(const DepthwisePlan& p, WeightRows& rows, int8_t* row, Tile& tile) {
  const int32_t block_channels = kLanes * p.lanes, quads = (p.kernel_h + 3) / 4;
  const int64_t padded = padded_channels(p, tile.count);
  memset(tile.weights, 0, static_cast<size_t>(weight_values(p, padded)));
  for (int64_t i = 0; i < padded; ++i) tile.bias[i] = 0, tile.mantissa[i] = 0, tile.shift[i] = 32;
  tile.narrow = true;
  for (int32_t c = 0; c < tile.count; ++c) {
    const int code = rows.next(row, int64_t{p.kernel_h} * p.kernel_w);
    const int32_t in_block = c % block_channels, lane = in_block / kLanes, part = in_block % kLanes / 4;
    int8_t* w = static_cast<int8_t*>(tile.weights) + weight_values(p, c - in_block) + lane * 16 + in_block % 4 * 4;
    int32_t sum = 0;
    for (int32_t ky = 0; ky < p.kernel_h; ++ky) {
      for (int32_t kx = 0; kx < p.kernel_w; ++kx) {
        const int8_t q = row[ky * p.kernel_w + kx];
        w[((kx * quads + ky / 4) * 4 + part) * 16 * p.lanes + ky % 4] = q;
        sum += q;
      }
    }
    const numerics::Multiplier m = numerics::multiplier(p.in.scale_code + code - p.raw.scale_code);
    if (m.shift < 17) tile.narrow = false;
    const int32_t at = c - in_block + part * 4 * p.lanes + lane * 4 + in_block % 4;
    tile.bias[at] = (p.bias != nullptr ? p.bias[tile.first + c] : 0) - p.in.zero_point * sum;
    tile.mantissa[at] = m.mantissa;
    tile.shift[at] = m.shift;
  }
}

void pack_f32(const DepthwisePlan& p, WeightRows& rows, int8_t* row, Tile& tile) {
  const int32_t taps = p.kernel_h * p.kernel_w;
  float* w = static_cast<float*>(tile.weights);
  for (int32_t c = 0; c < tile.count; ++c) {
    tile.bias_f32[c] = p.bias_f32 != nullptr ? p.bias_f32[tile.first + c] : 0;
    if (p.source->dtype == PITH_I8) {
      const double scale = numerics::scale_value(rows.next(row, taps));
      for (int32_t t = 0; t < taps; ++t) w[t * tile.count + c] = static_cast<float>(row[t] * scale);
    } else {
      for (int32_t t = 0; t < taps; ++t)
        w[t * tile.count + c] = float_at(*p.source, int64_t{tile.first + c} * taps + t);
    }
  }
}

void pack(const DepthwisePlan& p, WeightRows& rows, int8_t* row, Tile& tile) {
  if (p.is_float) {
    pack_f32(p, rows, row, tile);
  } else {
    pack_u8(p, rows, row, tile);
  }
}

void run_row(const DepthwisePlan& p, const Op& op, const Run& run, const Tile& tile, int64_t line) {
  const int64_t image = line / p.out_h, oy = line % p.out_h;
  const Tensor *x = op.inputs[0], *y = op.outputs[0];
  const int64_t row_values = int64_t{p.in_w} * p.channels, first_out = line * p.out_w * p.channels + tile.first;
  const uint8_t* rows[kMostRows];
  const float* rows_f32[kMostRows];
  for (int32_t ky = 0; ky < p.kernel_h; ++ky) {
    const int64_t iy = oy * p.stride_h + int64_t{ky} * p.dilation_h - p.pad_top;
    const bool inside = iy >= 0 && iy < p.in_h;
    const int64_t at = (image * p.in_h + iy) * row_values + tile.first;
    rows[ky] = inside && !p.is_float ? run.read<uint8_t>(x) + at : nullptr;
    rows_f32[ky] = inside && p.is_float ? run.read<float>(x) + at : nullptr;
  }
  if (!p.is_float) {
    return run.kernels.depthwise_u8({rows, p.kernel_h, p.kernel_w, p.stride_w, p.dilation_w, p.pad_left, p.in_w,
                                     tile.count, p.channels, 0, p.out_w, static_cast<const int8_t*>(tile.weights),
                                     tile.bias, tile.mantissa, tile.shift, tile.narrow, p.in.zero_point,
                                     run.write<uint8_t>(y) + first_out, p.epilogue});
  }
  float* out = run.write<float>(y) + first_out;
  run.kernels.depthwise_f32({rows_f32, p.kernel_h, p.kernel_w, p.stride_w, p.dilation_w, p.pad_left, p.in_w, tile.count,
                             p.channels, 0, p.out_w, static_cast<const float*>(tile.weights), tile.bias_f32, p.low,
                             p.high, out});
  if (p.clamps) return;
  if (tile.count == p.channels) return activate_f32(op, run, out, int64_t{p.out_w} * p.channels);
  for (int32_t ox = 0; ox < p.out_w; ++ox) activate_f32(op, run, out + int64_t{ox} * p.channels, tile.count);
}

void run_tile(const DepthwisePlan& p, const Op& op, const Run& run, const Tile& tile) {
  const int64_t work = 4 * int64_t{p.out_w} * p.kernel_h * p.kernel_w * tile.count;  // of a row; a product here takes as long as four in a matrix
  parallel(run.threads, int64_t{p.batch} * p.out_h, grain_of(work, 1), [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t line = begin; line < end; ++line) run_row(p, op, run, tile, line);
  });
}

template <typename Taker>
void lay_out(const DepthwisePlan& p, int64_t channels, Tile& tile, const Taker& take) {
  const int64_t padded = padded_channels(p, channels);
  tile.weights = take(weight_values(p, padded) * (p.is_float ? 4 : 1));
  int32_t* sets = static_cast<int32_t*>(take(padded * (p.is_float ? 4 : 12)));
  tile.bias = sets;
  tile.bias_f32 = reinterpret_cast<float*>(sets);
  tile.mantissa = sets != nullptr ? sets + padded : nullptr;
  tile.shift = sets != nullptr ? sets + 2 * padded : nullptr;
}

// All weights, as long as the model lives.
void pack_all(Builder& builder, const DepthwisePlan& p, Tile& tile) {
  lay_out(p, p.channels, tile,
          [&](int64_t bytes) -> void* { return builder.memory.take<uint8_t>(bytes + PITH_OVERREAD, 64); });
  const size_t mark = builder.memory.mark();
  const int64_t taps = int64_t{p.kernel_h} * p.kernel_w;
  int8_t* row = builder.memory.take<int8_t>(taps);
  builder.memory.release(mark);
  if (row == nullptr || tile.weights == nullptr || tile.bias == nullptr) return;
  memset(row, 0, static_cast<size_t>(taps));
  WeightRows rows(*p.source);
  pack(p, rows, row, tile);
}

}  // namespace

bool is_depthwise(const Op& op) {
  const Tensor &x = *op.inputs[0], &w = *op.inputs[1], &y = *op.outputs[0];
  return op.opcode == PITH_OPCODE_Conv2d && x.rank == 4 && w.rank == 4 && y.rank == 4 && op.ints[8] > 1 &&
         op.ints[8] == x.dims[3] && x.dims[3] == y.dims[3] && w.dims[3] == 1 && w.dims[0] == x.dims[3] &&
         w.dims[1] <= kMostRows;
}

const char* plan_depthwise(Builder& builder, Op& op, DepthwisePlan& p) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  Tensor &w = *op.inputs[1], *b = op.inputs[2];
  if (x.dtype != y.dtype || (x.dtype != PITH_U8 && x.dtype != PITH_F32))
    return "its input and output aren't both 8-bit or both float";
  if (!w.is_constant() || (w.dtype != PITH_I8 && (x.dtype == PITH_U8 || w.dtype != PITH_F32)))
    return "its weights have the wrong type";
  if (const char* reason = decode_predicted(builder, w)) return reason;
  const int32_t* v = op.ints;
  for (int i = 0; i < 8; ++i) {
    if (v[i] < (i < 4 ? 1 : 0) || v[i] > (1 << 20)) return "a stride, dilation or padding is out of range";
  }
  if (x.dims[0] != y.dims[0]) return "its batches don't fit";
  for (int i = 0; i < 2; ++i) {
    const int64_t padded = int64_t{x.dims[1 + i]} + v[4 + i] + v[6 + i],
                  extent = int64_t{w.dims[1 + i] - 1} * v[2 + i] + 1;
    if (extent > INT32_MAX / 4 || padded > INT32_MAX / 4 || padded < extent ||
        y.dims[1 + i] != (padded - extent) / v[i] + 1) {
      return "its window doesn't fit its input and output";
    }
  }
  p.batch = x.dims[0], p.in_h = x.dims[1], p.in_w = x.dims[2], p.channels = x.dims[3];
  p.out_h = y.dims[1], p.out_w = y.dims[2];
  p.kernel_h = w.dims[1], p.kernel_w = w.dims[2];
  p.stride_h = v[0], p.stride_w = v[1], p.dilation_h = v[2], p.dilation_w = v[3], p.pad_top = v[4], p.pad_left = v[5];
  p.is_float = x.dtype == PITH_F32;
  p.source = &w;
  p.lanes = builder.model.kernels->depthwise_lanes;
  if (b != nullptr) {
    if (!b->is_constant() || b->dtype != (p.is_float ? PITH_F32 : PITH_I32) || b->count() != p.channels)
      return "its bias isn't one constant per channel";
    if (const char* reason = decode_constant(builder, *b, b->dtype)) return reason;
    p.bias = static_cast<const int32_t*>(b->values);
    p.bias_f32 = static_cast<const float*>(b->values);
  }
  if (p.is_float) {
    p.clamps = float_bounds(op, &p.low, &p.high);
  } else {
    p.in = x.affine;
    const U8Finish f = computed_finish(builder, op, y);
    p.raw = f.raw;
    p.epilogue = f.epilogue;
  }
  if (!packs_at_load(builder, op)) return nullptr;
  bool fresh;  // the bands of a layer pack its weights once
  Tile* shared = builder.share<Tile>(reinterpret_cast<uintptr_t>(&w), reinterpret_cast<uintptr_t>(b), uint64_t{4} << 56 | key_of(p.in) << 24 | key_of(p.raw), &fresh);
  Tile tile{0, p.channels, nullptr, nullptr, nullptr, nullptr, nullptr, true};
  if (fresh) pack_all(builder, p, tile);
  if (fresh && shared != nullptr) *shared = tile;
  if (shared != nullptr) tile = *shared;
  p.weights = tile.weights;
  p.packed_bias = tile.bias, p.mantissa = tile.mantissa, p.shift = tile.shift;
  p.zero_bias = tile.bias_f32;
  p.narrow = tile.narrow;
  return nullptr;
}

void run_depthwise(const DepthwisePlan& p, const Op& op, const Run& run) {
  if (p.weights != nullptr) {
    return run_tile(
        p, op, run,
        {0, p.channels, const_cast<void*>(p.weights), const_cast<int32_t*>(p.packed_bias),
         const_cast<int32_t*>(p.mantissa), const_cast<int32_t*>(p.shift), const_cast<float*>(p.zero_bias), p.narrow});
  }
  Tile tile{};
  uint8_t* scratch = run.scratch(op, 0);
  lay_out(p, PITH_DEPTHWISE_TILE, tile, [&](int64_t bytes) -> void* {
    uint8_t* at = scratch;
    scratch += (bytes + 15) / 16 * 16;
    return at;
  });
  int8_t* row = reinterpret_cast<int8_t*>(scratch);
  memset(row, 0, static_cast<size_t>(int64_t{p.kernel_h} * p.kernel_w));
  WeightRows rows(*p.source);
  for (tile.first = 0; tile.first < p.channels; tile.first += PITH_DEPTHWISE_TILE) {
    tile.count = p.channels - tile.first < PITH_DEPTHWISE_TILE ? p.channels - tile.first : PITH_DEPTHWISE_TILE;
    pack(p, rows, row, tile);
    run_tile(p, op, run, tile);
  }
}

}  // namespace pith::runtime
