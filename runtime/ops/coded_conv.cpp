// CodedConv2d: products of pixels whose rows stay in coded form.
//
// A convolution without a window needs one pixel at a time, so the row that DecodeRows would make never exists: a few
// pixels are decoded behind each other, multiplied and forgotten. What a row stores are differences from what is
// expected, mostly from the pixel to the left or from the zero point, and the sums are linear: the reference kernels go
// on from the pixel before with what has changed (conv_changes_u8); vector sets multiply several whole pixels in less
// time. Both ways give the bits of DecodeRows and Conv2d.
//
// Where weights stay coded, a tile of output channels goes over all rows before the next is decoded, and rows are
// decoded again for it.
#include <string.h>

#include "coding/decode/activation_rows.h"
#include "runtime/ops/conv_plan.h"
#include "runtime/ops/weights.h"

namespace pith::runtime {
namespace {

struct Plan {
  ConvPlan conv;
  int32_t height, width;
  int64_t row_bytes;
};

// Packed weights of consecutive output channels.
struct Share {
  const int8_t* weights;
  const Channels* channels;
  bool narrow;
  int32_t first_channel, channel_count;
};

// Where a task's pixels, its row and its tile of weights lie in scratch.
struct Places {
  uint8_t *pixels, *row, *tile;
};
Places places_of(const Plan& p, uint8_t* scratch) {
  uint8_t* row = scratch + pith_scratch_pixels(p.conv.in_c, p.width);
  return {scratch, row, row + pith_scratch_row(p.conv.in_c)};
}

void multiply(const ConvPlan& c, const Run& run, const Share& s, const uint8_t* values, int32_t pixels, uint8_t* y) {
  if (run.kernels.by_changes)
    return run.kernels.conv_changes_u8({values, pixels, c.in_c, c.in.zero_point, s.weights, c.block_values(),
                                        s.channels, s.channel_count, y, c.out_c, c.epilogue});
  const uint8_t* pointers[PITH_CODED_PIXELS];
  for (int32_t i = 0; i < pixels; ++i) pointers[i] = values + int64_t{i} * c.in_c;
  run.kernels.conv_u8({pointers, pixels, 1, c.tap_values / 4, s.weights, c.block_values(), c.phases[0].offsets,
                       s.channels, s.channel_count, s.narrow, y, c.out_c, c.epilogue});
}

void run_row(const Plan& p, const Run& run, const Share& s, const uint8_t* row, const Places& at, uint8_t* y) {
  const int32_t channels = p.conv.in_c;
  uint8_t* values = at.pixels + channels;  // behind the pixel before
  coding::RowProgress progress(row, p.row_bytes);
  for (int32_t x = 0; x < p.width;) {
    const int32_t left = p.width - x, n = left < PITH_CODED_PIXELS ? left : PITH_CODED_PIXELS;
    run.kernels.decode_pixels_u8({&progress, n, channels, p.conv.in.zero_point, at.row, values});
    multiply(p.conv, run, s, values, n, y + int64_t{x} * p.conv.out_c + s.first_channel);
    memcpy(at.pixels, values + int64_t{n - 1} * channels, static_cast<size_t>(channels));
    x += n;
  }
}

void run_rows(const Plan& p, const Op& op, const Run& run, const Share& s) {
  const uint8_t* x = run.read<uint8_t>(op.inputs[0]);
  uint8_t* y = run.write<uint8_t>(op.outputs[0]);
  parallel(run.threads, p.height, 1, [&](int64_t begin, int64_t end, int32_t task) {
    const Places at = places_of(p, run.scratch(op, task));
    for (int64_t i = begin; i < end; ++i) run_row(p, run, s, x + i * p.row_bytes, at, y + i * p.width * p.conv.out_c);
  });
}

void run_tiles(const Plan& p, const Op& op, const Run& run) {
  const ConvPlan& c = p.conv;
  const int32_t most = static_cast<int32_t>(pith_weight_tile(c.out_c, c.run));
  const int64_t blocks = (most + kLanes - 1) / kLanes;
  const int64_t weights_bytes = pith_scratch_round(blocks * c.block_values());
  uint8_t* scratch = places_of(p, run.scratch(op, 0)).tile;
  ConvTile tile{};
  tile.weights = scratch;
  tile.channels = scratch + weights_bytes;
  tile.row = reinterpret_cast<int8_t*>(scratch + weights_bytes + blocks * static_cast<int64_t>(sizeof(Channels)));
  memset(tile.row, 0, static_cast<size_t>(c.run));
  WeightRows source(*c.source);
  for (int32_t first = 0; first < c.out_c; first += most) {
    tile.first_row = first;
    tile.row_count = c.out_c - first < most ? c.out_c - first : most;
    pack_tile(c, source, tile);
    run_rows(p, op, run,
             {static_cast<const int8_t*>(tile.weights), static_cast<const Channels*>(tile.channels), tile.narrow, first,
              tile.row_count});
  }
}

}  // namespace

const char* prepare_CodedConv2d(Builder& builder, Op& op) {
  const Tensor &x = *op.inputs[0], &w = *op.inputs[1], &y = *op.outputs[0];
  if (x.is_constant() || x.dtype != PITH_U8 || y.dtype != PITH_U8) return "its rows aren't 8-bit";
  if (x.rank != 4 || y.rank != 4 || w.rank != 4 || w.dims[1] != 1 || w.dims[2] != 1 || x.dims[0] != 1 || x.dims[2] != 1)
    return "its dimensions don't fit";
  // a convolution on what the rows stand for
  static constexpr int32_t kPoint[] = {1, 1, 1, 1, 0, 0, 0, 0, 1};
  Tensor plain = x;
  plain.dims[1] = y.dims[1], plain.dims[2] = y.dims[2], plain.dims[3] = w.dims[3];
  if (x.dims[1] != y.dims[1] || plain.count() > INT32_MAX) return "its dimensions don't fit";
  Tensor* inputs[] = {&plain, op.inputs[1], op.inputs[2]};
  Op point = op;
  point.inputs = inputs;
  point.ints = kPoint;
  ConvPlan conv{};
  if (const char* reason = plan_conv(builder, point, conv)) return reason;
  if (Plan* p = builder.plan<Plan>(op)) *p = {conv, y.dims[1], y.dims[2], x.dims[3]};
  return nullptr;
}

void run_CodedConv2d(const Op& op, const Run& run) {
  const Plan& p = *static_cast<const Plan*>(op.plan);
  if (p.conv.weights == nullptr) return run_tiles(p, op, run);
  run_rows(p, op, run,
           {static_cast<const int8_t*>(p.conv.weights), static_cast<const Channels*>(p.conv.channels), p.conv.narrow, 0,
            p.conv.out_c});
}

}  // namespace pith::runtime
