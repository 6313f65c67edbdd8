// Planning and packing: from an operator's parameters to phases, taps and blocks of weights.
#include "runtime/ops/conv_plan.h"

#include <string.h>

#include "runtime/ops/conv_sparse.h"
#include "runtime/ops/weights.h"

namespace pith::runtime {
namespace {

struct Window {
  int32_t kernel[2], stride[2], dilation[2], pad[2];  // height, width
};

Window window_of(const Op& op, const Tensor& w) {
  if (op.opcode == PITH_OPCODE_Dense) return {{1, 1}, {1, 1}, {1, 1}, {0, 0}};
  const int32_t* v = op.ints;
  return {{w.dims[1], w.dims[2]}, {v[0], v[1]}, {v[2], v[3]}, {v[4], v[5]}};
}

int32_t floor_div(int32_t a, int32_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
int32_t round_up(int32_t a, int32_t b) { return (a + b - 1) / b * b; }

// Taps of one phase; with null arrays only their number.
int32_t collect_taps(const ConvPlan& plan, const Window& s, int32_t py, int32_t px, int32_t* dy, int32_t* dx,
                     int32_t* offsets) {
  int32_t n = 0;
  const int32_t columns = plan.merged ? 1 : s.kernel[1];
  for (int32_t ky = 0; ky < s.kernel[0]; ++ky) {
    for (int32_t kx = 0; kx < columns; ++kx) {
      int32_t y = ky * s.dilation[0] - s.pad[0], x = kx * s.dilation[1] - s.pad[1];
      if (plan.transposed) {
        const int32_t up = py - y, left = px - x;
        if ((up % s.stride[0] != 0) || (left % s.stride[1] != 0)) continue;
        y = floor_div(up, s.stride[0]);
        x = floor_div(left, s.stride[1]);
        // in_row = i + (py + pad - ky * dilation) / stride
      }
      if (dy != nullptr) {
        dy[n] = y;
        dx[n] = x;
        offsets[n] = (ky * columns + kx) * plan.tap_values * kLanes;
      }
      ++n;
    }
  }
  return n;
}

void plan_phases(Builder& builder, ConvPlan& plan, const Window& s) {
  const int32_t phases_h = plan.transposed ? s.stride[0] : 1, phases_w = plan.transposed ? s.stride[1] : 1;
  plan.phase_count = phases_h * phases_w;
  ConvPhase* phases = builder.memory.take<ConvPhase>(plan.phase_count);
  for (int32_t i = 0; i < plan.phase_count; ++i) {
    const int32_t py = i / phases_w, px = i % phases_w;
    const int32_t taps = collect_taps(plan, s, py, px, nullptr, nullptr, nullptr);
    int32_t* arrays = builder.memory.take<int32_t>(int64_t{3} * taps);
    if (arrays == nullptr || phases == nullptr) continue;
    collect_taps(plan, s, py, px, arrays, arrays + taps, arrays + 2 * taps);
    phases[i] = {py,
                 px,
                 (plan.out_h - py + phases_h - 1) / phases_h,
                 (plan.out_w - px + phases_w - 1) / phases_w,
                 taps,
                 arrays,
                 arrays + taps,
                 arrays + 2 * taps};
    if (phases[i].rows < 0) phases[i].rows = 0;
    if (phases[i].columns < 0) phases[i].columns = 0;
  }
  plan.phases = phases;
}

const char* check_types(const Op& op, const Tensor& x, const Tensor& w, const Tensor* b, const Tensor& y) {
  if (x.dtype != y.dtype || (x.dtype != PITH_U8 && x.dtype != PITH_F32))
    return "its input and output aren't both 8-bit or both float";
  if (!w.is_constant()) return "its weights aren't constant";
  if (x.dtype == PITH_U8 && w.dtype != PITH_I8) return "its input is 8-bit and its weights aren't integers";
  if (w.dtype != PITH_I8 && w.dtype != PITH_F32) return "its weights are neither integers nor floats";
  const bool coded_bias = b != nullptr && x.dtype == PITH_F32 && b->dtype == PITH_I8;  // decoded to floats
  if (b != nullptr && !coded_bias && (!b->is_constant() || b->dtype != (x.dtype == PITH_U8 ? PITH_I32 : PITH_F32))) {
    return "its bias isn't a constant of the right type";
  }
  const int rank = op.opcode == PITH_OPCODE_Dense ? 2 : 4;
  if (w.rank != rank || x.rank < 1 || y.rank != x.rank || (rank == 4 && x.rank != 4))
    return "its operands' ranks don't fit";
  return nullptr;
}

// Output positions must be those that the window allows: then all input positions stay within 32 bits.
bool sizes_fit(const Op& op, const Window& s, const Tensor& x, const Tensor& y) {
  for (int i = 0; i < 2; ++i) {
    const int64_t in = x.dims[1 + i], out = y.dims[1 + i], pads = int64_t{s.pad[i]} + op.ints[6 + i];
    const int64_t extent = int64_t{s.kernel[i] - 1} * s.dilation[i] + 1;
    if (extent > INT32_MAX / 2 || in > INT32_MAX / 4) return false;
    if (op.opcode == PITH_OPCODE_ConvTranspose2d) {
      if (in * s.stride[i] > INT32_MAX / 4 || out > (in - 1) * s.stride[i] + extent + s.stride[i]) return false;
    } else if (in + pads < extent || out != (in + pads - extent) / s.stride[i] + 1) {
      return false;
    }
  }
  return true;
}

const char* plan_geometry(ConvPlan& plan, const Op& op, const Window& s) {
  const Tensor &x = *op.inputs[0], &w = *op.inputs[1], &y = *op.outputs[0];
  plan.transposed = op.opcode == PITH_OPCODE_ConvTranspose2d;
  plan.is_float = x.dtype == PITH_F32;
  if (op.opcode == PITH_OPCODE_Dense) {
    const int32_t rows = static_cast<int32_t>(x.count_of(0, x.rank - 1));
    plan.batch = plan.in_h = plan.out_h = 1;
    plan.in_w = plan.out_w = rows;
    plan.in_c = x.dims[x.rank - 1];
    plan.out_c = y.dims[y.rank - 1];
    plan.groups = 1;
    if (w.dims[0] != plan.out_c || w.dims[1] != plan.in_c || y.count_of(0, y.rank - 1) != rows)
      return "its dimensions don't fit each other";
  } else {
    plan.batch = x.dims[0], plan.in_h = x.dims[1], plan.in_w = x.dims[2], plan.in_c = x.dims[3];
    plan.out_h = y.dims[1], plan.out_w = y.dims[2], plan.out_c = y.dims[3];
    plan.groups = op.ints[8];
    for (int i = 0; i < 8; ++i) {
      if (op.ints[i] < (i < 4 ? 1 : 0) || op.ints[i] > (1 << 20))
        return "a stride, dilation or padding is out of range";
    }
    if (!sizes_fit(op, s, x, y)) return "its window doesn't fit its input and output";
    if (plan.groups < 1 || plan.in_c % plan.groups != 0 || plan.out_c % plan.groups != 0 || y.dims[0] != plan.batch)
      return "its groups or batches don't fit";
    const bool fits = plan.transposed ? w.dims[0] == plan.out_c / plan.groups && w.dims[3] == plan.in_c
                                      : w.dims[0] == plan.out_c && w.dims[3] == plan.in_c / plan.groups;
    if (!fits) return "its weights don't fit its channels";
    const bool point = !plan.transposed && s.kernel[0] == 1 && s.kernel[1] == 1 && s.stride[0] == 1 &&
                       s.stride[1] == 1 && plan.in_h == plan.out_h && plan.in_w == plan.out_w && s.pad[0] == 0 &&
                       s.pad[1] == 0;
    if (point) {  // positions are independent: one long row
      plan.in_w = plan.out_w = plan.batch * plan.in_h * plan.in_w;
      plan.batch = plan.in_h = plan.out_h = 1;
    }
  }
  plan.depth = plan.in_c / plan.groups;
  plan.group_out = plan.out_c / plan.groups;
  plan.step_h = plan.transposed ? s.stride[0] : 1;
  plan.step_w = plan.transposed ? s.stride[1] : 1;
  plan.in_step_h = plan.transposed ? 1 : s.stride[0];
  plan.in_step_w = plan.transposed ? 1 : s.stride[1];
  return nullptr;
}

// Whether any output position of a convolution sees padding.
bool reaches_out(const ConvPlan& plan, const Window& s) {
  const int64_t last_y = int64_t{plan.out_h - 1} * s.stride[0] + int64_t{s.kernel[0] - 1} * s.dilation[0] - s.pad[0];
  const int64_t last_x = int64_t{plan.out_w - 1} * s.stride[1] + int64_t{s.kernel[1] - 1} * s.dilation[1] - s.pad[1];
  return s.pad[0] > 0 || s.pad[1] > 0 || last_y >= plan.in_h || last_x >= plan.in_w;
}

// Whether to merge a kernel row's taps, and how much is computed at once.
void plan_taps(ConvPlan& plan, const Window& s) {
  const int32_t row = s.kernel[1] * plan.depth, bytes = plan.is_float ? 4 : 1;
  const bool shallow = plan.is_float ? plan.depth <= 4 : plan.depth <= 4 || (plan.depth < 32 && plan.depth % 4 != 0);
  plan.merged = !plan.transposed && plan.groups == 1 && s.kernel[1] > 1 && s.dilation[1] == 1 && shallow &&
                int64_t{s.kernel[0]} * round_up(row * bytes, 16) * 8 <= kBorderBytes;
  plan.run = plan.merged ? row : plan.depth;
  plan.taps = plan.merged ? s.kernel[0] : s.kernel[0] * s.kernel[1];
  plan.tap_values = plan.is_float ? plan.run : round_up(plan.run, 4);
  int32_t strip = kMostPointers / plan.taps;
  if (plan.merged) {
    const int32_t copies = kBorderBytes / (plan.taps * round_up(plan.run * bytes, 16));
    strip = strip < copies ? strip : copies;
  }
  plan.strip = strip < kMostStripPixels ? strip : kMostStripPixels;
}

void pack_all(Builder& builder, ConvPlan& plan) {
  const int64_t blocks = int64_t{plan.groups} * plan.group_blocks();
  const int64_t values = blocks * plan.block_values();
  const int64_t channel_sets = blocks * plan.phase_count;
  const int64_t row_bytes = int64_t{plan.taps} * plan.run * (plan.transposed ? plan.groups : 1);
  uint8_t* weights = builder.memory.take<uint8_t>(values * (plan.is_float ? 4 : 1) + PITH_OVERREAD, 64);
  uint8_t* channels = builder.memory.take<uint8_t>(
      channel_sets * static_cast<int64_t>(plan.is_float ? sizeof(ChannelsF32) : sizeof(Channels)), 64);
  const size_t mark = builder.memory.mark();
  int8_t* row = builder.memory.take<int8_t>(row_bytes);
  builder.memory.release(mark);
  plan.weights = weights;
  plan.channels = channels;
  if (weights == nullptr || channels == nullptr || row == nullptr) return;
  WeightRows rows(*plan.source);
  plan.narrow = true;
  memset(row, 0, static_cast<size_t>(row_bytes));
  const int64_t value_bytes = plan.is_float ? 4 : 1;
  const int64_t set_bytes = static_cast<int64_t>(plan.is_float ? sizeof(ChannelsF32) : sizeof(Channels));
  for (int32_t g = 0; g < (plan.transposed ? 1 : plan.groups); ++g) {
    const int64_t block = int64_t{g} * plan.group_blocks();
    ConvTile tile{g * plan.group_out,
                  plan.group_out,
                  weights + block * plan.block_values() * value_bytes,
                  channels + block * plan.phase_count * set_bytes,
                  row,
                  true};
    pack_tile(plan, rows, tile);
    plan.narrow = plan.narrow && tile.narrow;
  }
}

// Operators with the same weights on codes of the same meaning, as the bands of a layer are, pack them once.
struct Packed {
  const void *weights, *channels;
  const SparseBlock* sparse;
  bool narrow;
};
void share_packed(Builder& builder, Op& op, ConvPlan& plan, const Tensor* bias) {
  if (plan.transposed) return pack_all(builder, plan);
  const bool may_skip = op.opcode != PITH_OPCODE_CodedConv2d;
  const uint64_t meanings = key_of(plan.in) << 24 | key_of(plan.raw);
  bool fresh;
  Packed* packed = builder.share<Packed>(reinterpret_cast<uintptr_t>(plan.source), reinterpret_cast<uintptr_t>(bias), uint64_t{3} << 56 | uint64_t{plan.merged} << 55 | uint64_t{plan.is_float} << 54 | uint64_t{may_skip} << 53 | meanings, &fresh);
  if (fresh && !(may_skip && pack_sparse(builder, op.kept, plan))) pack_all(builder, plan);
  if (packed == nullptr) return;
  if (fresh) *packed = {plan.weights, plan.channels, plan.sparse, plan.narrow};
  plan.weights = packed->weights;
  plan.channels = packed->channels;
  plan.sparse = packed->sparse;
  plan.narrow = packed->narrow;
}

// ---- packing ----

// One output channel (lane of a tile's blocks) of group g, 8-bit.
void pack_channel_u8(const ConvPlan& plan, const int8_t* row, int code, int32_t channel, int32_t g, int32_t lane,
                     int32_t tile_blocks, ConvTile& tile) {
  const int64_t base = (int64_t{plan.transposed ? g : 0} * tile_blocks + lane / kLanes);
  int8_t* w = static_cast<int8_t*>(tile.weights) + base * plan.block_values() + lane % kLanes * 4;
  const int32_t stride = plan.transposed ? plan.in_c : plan.run, skip = plan.transposed ? g * plan.depth : 0;
  for (int32_t tap = 0; tap < plan.taps; ++tap) {
    const int8_t* from = row + int64_t{tap} * stride + skip;
    int8_t* to = w + int64_t{tap} * plan.tap_values * kLanes;
    for (int32_t i = 0; i < plan.run; ++i) to[i / 4 * (4 * kLanes) + i % 4] = from[i];
  }
  const numerics::Multiplier m = numerics::multiplier(plan.in.scale_code + code - plan.raw.scale_code);
  if (m.shift < 17) tile.narrow = false;
  Channels* sets =
      static_cast<Channels*>(tile.channels) + int64_t{plan.transposed ? g : 0} * plan.phase_count * tile_blocks;
  for (int32_t p = 0; p < plan.phase_count; ++p) {
    const ConvPhase& phase = plan.phases[p];
    uint32_t sum = 0;  // wraps where a malformed file overflows
    for (int32_t t = 0; t < phase.taps; ++t) {
      const int8_t* from = row + int64_t{phase.offsets[t] / (plan.tap_values * kLanes)} * stride + skip;
      for (int32_t i = 0; i < plan.run; ++i) sum += static_cast<uint32_t>(from[i]);
    }
    Channels& c = sets[int64_t{p} * tile_blocks + lane / kLanes];
    const uint32_t bias = plan.bias != nullptr ? static_cast<uint32_t>(plan.bias[channel]) : 0;
    c.bias[lane % kLanes] = static_cast<int32_t>(bias - plan.in.zero_point * sum);
    c.mantissa[lane % kLanes] = m.mantissa;
    c.shift[lane % kLanes] = m.shift;
    c.sum[lane % kLanes] = static_cast<int32_t>(sum);
  }
}

template <typename Value>
void pack_channel_f32(const ConvPlan& plan, const Value& value, int32_t channel, int32_t g, int32_t lane,
                      int32_t tile_blocks, ConvTile& tile) {
  const int64_t base = (int64_t{plan.transposed ? g : 0} * tile_blocks + lane / kLanes);
  float* w = static_cast<float*>(tile.weights) + base * plan.block_values() + lane % kLanes;
  const int32_t stride = plan.transposed ? plan.in_c : plan.run, skip = plan.transposed ? g * plan.depth : 0;
  for (int32_t tap = 0; tap < plan.taps; ++tap) {
    for (int32_t i = 0; i < plan.run; ++i) {
      w[(int64_t{tap} * plan.tap_values + i) * kLanes] = value(int64_t{tap} * stride + skip + i);
    }
  }
  ChannelsF32* sets =
      static_cast<ChannelsF32*>(tile.channels) + int64_t{plan.transposed ? g : 0} * plan.phase_count * tile_blocks;
  for (int32_t p = 0; p < plan.phase_count; ++p) {
    sets[int64_t{p} * tile_blocks + lane / kLanes].bias[lane % kLanes] =
        plan.bias_f32 != nullptr ? plan.bias_f32[channel] : 0;
  }
}

}  // namespace

void pack_tile(const ConvPlan& plan, WeightRows& rows, ConvTile& tile) {
  const int32_t blocks = (tile.row_count + kLanes - 1) / kLanes, copies = plan.transposed ? plan.groups : 1;
  const size_t value_bytes = plan.is_float ? 4 : 1;
  memset(tile.weights, 0, static_cast<size_t>(blocks * copies * plan.block_values()) * value_bytes);
  memset(tile.channels, 0,
         static_cast<size_t>(blocks) * static_cast<size_t>(copies * plan.phase_count) *
             (plan.is_float ? sizeof(ChannelsF32) : sizeof(Channels)));
  if (!plan.is_float) {  // lanes without a channel: any valid shift
    Channels* sets = static_cast<Channels*>(tile.channels);
    for (int32_t i = 0; i < blocks * copies * plan.phase_count; ++i) {
      for (int32_t& s : sets[i].shift) s = 32;
    }
  }
  tile.narrow = true;
  const int64_t length = int64_t{plan.taps} * plan.run * copies;
  const Tensor& w = *plan.source;
  for (int32_t r = 0; r < tile.row_count; ++r) {
    const bool coded = w.dtype == PITH_I8;
    const int code = coded ? rows.next(tile.row, length) : 0;
    for (int32_t g = 0; g < copies; ++g) {
      const int32_t channel = plan.transposed ? g * plan.group_out + tile.first_row + r : tile.first_row + r;
      if (!plan.is_float) {
        pack_channel_u8(plan, tile.row, code, channel, g, r, blocks, tile);
      } else if (coded) {
        const double scale = numerics::scale_value(code);
        const auto value = [&](int64_t i) { return static_cast<float>(tile.row[i] * scale); };
        pack_channel_f32(plan, value, channel, g, r, blocks, tile);
      } else {
        const int64_t first = (int64_t{tile.first_row} + r) * length;
        pack_channel_f32(
            plan, [&](int64_t i) { return float_at(w, first + i); }, channel, g, r, blocks, tile);
      }
    }
  }
}

namespace {

// A quarter of the memory of floats, and so of the time; or less.
const char* decode_rows(Builder& builder, Op& op, ConvPlan& plan) {
  if (pack_sparse_rows(builder, op.kept, plan)) return nullptr;
  Tensor& w = *op.inputs[1];
  if (const char* reason = decode_constant(builder, w, PITH_I8)) return reason;
  float* scales = builder.memory.take<float>(plan.out_c);
  plan.rows = static_cast<const int8_t*>(w.values);
  plan.row_scales = scales;
  for (int32_t r = 0; scales != nullptr && plan.rows != nullptr && r < plan.out_c; ++r) scales[r] = static_cast<float>(numerics::scale_value(w.scale_codes[w.row_scales ? r : 0]));
  return nullptr;
}

}  // namespace

const char* plan_conv(Builder& builder, Op& op, ConvPlan& plan) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  Tensor &w = *op.inputs[1], *b = op.inputs[2];
  if (const char* reason = check_types(op, x, w, b, y)) return reason;
  if (const char* reason = decode_predicted(builder, w)) return reason;
  const Window window = window_of(op, w);
  if (const char* reason = plan_geometry(plan, op, window)) return reason;
  if (int64_t{window.kernel[0]} * (plan.transposed ? window.kernel[1] : 1) > kMostPointers ||
      window.kernel[1] > kBorderBytes) {
    return "its kernel has too many taps for this runtime";
  }
  plan_taps(plan, window);
  if (plan.taps > kMostPointers) return "its kernel has too many taps for this runtime";
  plan_phases(builder, plan, window);
  if (b != nullptr) {
    if (b->count() != plan.out_c) return "its bias doesn't have one value per output channel";
    if (const char* reason = decode_constant(builder, *b, plan.is_float ? PITH_F32 : PITH_I32)) return reason;
    if (plan.is_float) {
      plan.bias_f32 = static_cast<const float*>(b->values);
    } else {
      plan.bias = static_cast<const int32_t*>(b->values);
    }
  }
  plan.source = &w;
  if (plan.is_float) {
    plan.clamps = float_bounds(op, &plan.low, &plan.high);
  } else {
    plan.in = x.affine;
    const U8Finish f = computed_finish(builder, op, y);
    plan.raw = f.raw;
    plan.epilogue = f.epilogue;
  }
  if (plan.transposed || reaches_out(plan, window)) {
    const int64_t pad_bytes = int64_t{plan.run} * (plan.is_float ? 4 : 1) + PITH_OVERREAD;
    uint8_t* pad = builder.memory.take<uint8_t>(pad_bytes, 16);
    if (pad != nullptr) memset(pad, plan.is_float ? 0 : plan.in.zero_point, static_cast<size_t>(pad_bytes));
    plan.pad = pad;
  }
  if (op.opcode == PITH_OPCODE_Dense && plan.is_float && w.dtype == PITH_I8 && x.count() == plan.in_c && builder.model.mode == PITH_MODE_FASTEST)
    return decode_rows(builder, op, plan);
  if (packs_at_load(builder, op)) share_packed(builder, op, plan, b);
  return nullptr;
}

}  // namespace pith::runtime
