// Conv2d, ConvTranspose2d and Dense: strips of output positions through the convolution kernels.
#include <string.h>

#include "runtime/kernels/ref/ref.h"
#include "runtime/ops/conv_sparse.h"
#include "runtime/ops/depthwise.h"
#include "runtime/ops/weights.h"

namespace pith::runtime {
namespace {

// Packed weights of consecutive output channels of one group, and the positions to compute.
struct Share {
  const ConvPhase* phase;
  const void* weights;
  const SparseBlock* sparse;  // instead of weights, or null
  const void* channels;
  bool narrow;
  int32_t first_channel, channel_count;  // of all output channels
  int32_t group;
  int64_t begin, end;  // output positions of the phase
};

// Copies of border positions of merged taps.
struct BorderCopies {
  alignas(16) uint8_t bytes[kBorderBytes + PITH_OVERREAD];
  int64_t used = 0;
};

// A kernel row that overlaps the left or right border: what lies inside, zero points around it.
template <typename T>
const T* copy_row(const ConvPlan& plan, const T* row, int32_t x, BorderCopies& copies) {
  T* to = reinterpret_cast<T*>(copies.bytes + copies.used);
  copies.used += (plan.run * static_cast<int64_t>(sizeof(T)) + 15) / 16 * 16;
  const int32_t c = plan.in_c, taps = plan.run / c;
  const int32_t first = x < 0 ? -x : 0;
  int32_t last = plan.in_w - x;
  if (last > taps) last = taps;
  memcpy(to, plan.pad, sizeof(T) * static_cast<size_t>(plan.run));
  if (last > first)
    memcpy(to + first * c, row + int64_t{x + first} * c, sizeof(T) * static_cast<size_t>((last - first) * c));
  return to;
}

// Pointers of one tap for `count` positions of one output row that starts at column `column`.
template <typename T>
void point_tap(const ConvPlan& plan, const T* row, int32_t x, int32_t count, const T** to, BorderCopies& copies) {
  const T* pad = static_cast<const T*>(plan.pad);
  if (row == nullptr) {
    for (int32_t i = 0; i < count; ++i) to[i] = pad;
    return;
  }
  const int32_t width = plan.merged ? plan.run / plan.in_c : 1, step = plan.in_step_w;
  const int64_t stride = int64_t{step} * plan.in_c;
  // inside: 0 <= x + i * step <= in_w - width
  int32_t first = x >= 0 ? 0 : (-x + step - 1) / step;
  int32_t last = plan.in_w - width - x < 0 ? 0 : (plan.in_w - width - x) / step + 1;
  if (first > count) first = count;
  if (last > count) last = count;
  if (last < first) last = first;
  const T* inside = row + int64_t{x} * plan.in_c;
  for (int32_t i = first; i < last; ++i) to[i] = inside + i * stride;
  for (int32_t i = 0; i < count; ++i) {
    if (i == first) i = last;
    if (i >= count) break;
    to[i] = plan.merged ? copy_row(plan, row, x + i * step, copies) : pad;
  }
}

// Pointers [tap][count] for the positions from `position` on, and where the first one's output lies.
template <typename T>
void point_strip(const ConvPlan& plan, const ConvPhase& phase, const T* x, int64_t position, int32_t count,
                 const T** pointers, BorderCopies& copies) {
  for (int32_t done = 0; done < count;) {
    const int64_t line = (position + done) / phase.columns;
    const int32_t column = static_cast<int32_t>((position + done) % phase.columns);
    const int32_t image = static_cast<int32_t>(line / phase.rows), i = static_cast<int32_t>(line % phase.rows);
    const int32_t n = phase.columns - column < count - done ? phase.columns - column : count - done;
    for (int32_t t = 0; t < phase.taps; ++t) {
      const int32_t iy = i * plan.in_step_h + phase.dy[t];
      const T* row =
          iy < 0 || iy >= plan.in_h ? nullptr : x + (int64_t{image} * plan.in_h + iy) * plan.in_w * plan.in_c;
      point_tap(plan, row, column * plan.in_step_w + phase.dx[t], n, pointers + int64_t{t} * count + done, copies);
    }
    done += n;
  }
}

// Where position p of a phase lies in the output, elements.
int64_t output_offset(const ConvPlan& plan, const ConvPhase& phase, int64_t p) {
  const int64_t line = p / phase.columns, column = p % phase.columns;
  const int64_t image = line / phase.rows, i = line % phase.rows;
  return ((image * plan.out_h + phase.first_y + i * plan.step_h) * plan.out_w + phase.first_x + column * plan.step_w) *
         plan.out_c;
}

void strip_kernel(const ConvPlan& plan, const Op&, const Run& run, const Share& s, const uint8_t* const* inputs,
                  int32_t pixels, uint8_t* y) {
  const ConvU8 strip{inputs, pixels, s.phase->taps, plan.tap_values / 4, static_cast<const int8_t*>(s.weights),
                     plan.block_values(), s.phase->offsets, static_cast<const Channels*>(s.channels), s.channel_count,
                     s.narrow, y, int64_t{plan.step_w} * plan.out_c, plan.epilogue};
  if (s.sparse != nullptr) return run.kernels.sparse_conv_u8(strip, s.sparse);
  run.kernels.conv_u8(strip);
}

void strip_kernel(const ConvPlan& plan, const Op& op, const Run& run, const Share& s, const float* const* inputs,
                  int32_t pixels, float* y) {
  const int64_t stride = int64_t{plan.step_w} * plan.out_c;
  const ConvF32 strip{inputs, pixels, s.phase->taps, plan.run, static_cast<const float*>(s.weights),
                      plan.block_values(), s.phase->offsets, static_cast<const ChannelsF32*>(s.channels),
                      s.channel_count, plan.low, plan.high, y, stride};
  if (s.sparse != nullptr) {
    run.kernels.sparse_conv_f32(strip, s.sparse);
  } else {
    run.kernels.conv_f32(strip);
  }
  if (plan.clamps) return;
  if (stride == s.channel_count) return activate_f32(op, run, y, stride * pixels);
  for (int32_t p = 0; p < pixels; ++p) activate_f32(op, run, y + p * stride, s.channel_count);
}

template <typename T>
void compute(const ConvPlan& plan, const Op& op, const Run& run, const Share& s) {
  const T* pointers[kMostPointers];
  BorderCopies copies;
  const T* x = run.read<T>(op.inputs[0]) + int64_t{s.group} * plan.depth;
  T* y = run.write<T>(op.outputs[0]) + s.first_channel;
  const ConvPhase& phase = *s.phase;
  const bool rows_join = plan.step_w == 1 && phase.columns == plan.out_w && plan.step_h == 1;
  const int64_t count = s.end - s.begin, strips = (count + plan.strip - 1) / plan.strip;
  for (int64_t i = 0; i < strips; ++i) {
    int64_t position = s.begin + count * i / strips;
    const int64_t end = s.begin + count * (i + 1) / strips;
    while (position < end) {
      int64_t n = end - position;
      const int64_t row_left = phase.columns - position % phase.columns;
      if (!rows_join && n > row_left) n = row_left;
      copies.used = 0;
      point_strip(plan, phase, x, position, static_cast<int32_t>(n), pointers, copies);
      strip_kernel(plan, op, run, s, pointers, static_cast<int32_t>(n), y + output_offset(plan, phase, position));
      position += n;
    }
  }
}

void compute_share(const ConvPlan& plan, const Op& op, const Run& run, const Share& s) {
  if (plan.is_float) {
    compute<float>(plan, op, run, s);
  } else {
    compute<uint8_t>(plan, op, run, s);
  }
}

// Tiles hold `copies` groups; shares of each of them and of each phase, over positions.
void run_tile(const ConvPlan& plan, const Op& op, const Run& run, const ConvTile& tile, int32_t group) {
  SparseTile gaps;
  const SparseBlock* sparse = close_gaps(plan, tile, gaps) ? gaps.blocks : nullptr;
  const int32_t blocks = (tile.row_count + kLanes - 1) / kLanes, copies = plan.transposed ? plan.groups : 1;
  const int64_t value_bytes = plan.is_float ? 4 : 1;
  const int64_t set_bytes = static_cast<int64_t>(plan.is_float ? sizeof(ChannelsF32) : sizeof(Channels));
  for (int32_t p = 0; p < plan.phase_count; ++p) {
    const ConvPhase& phase = plan.phases[p];
    const int64_t positions = int64_t{plan.batch} * phase.rows * phase.columns;
    parallel(run.threads, positions, grain_of(int64_t{plan.taps} * plan.run * tile.row_count * copies, 8), [&](int64_t begin, int64_t end, int32_t) {
      for (int32_t copy = 0; copy < copies; ++copy) {
        const int64_t block = int64_t{copy} * blocks;
        const int32_t g = plan.transposed ? copy : group;
        const int32_t first = plan.transposed ? g * plan.group_out + tile.first_row : tile.first_row;
        compute_share(
            plan, op, run,
            {&phase, static_cast<const uint8_t*>(tile.weights) + block * plan.block_values() * value_bytes,
             sparse, static_cast<const uint8_t*>(tile.channels) + (int64_t{copy} * plan.phase_count + p) * blocks * set_bytes,
             tile.narrow, first, tile.row_count, g, begin, end});
      }
    });
  }
}

// Dense on one vector with weights in floats, in the same order of sums.
void run_vector_floats(const ConvPlan& plan, const Op& op, const Run& run) {
  const float* x = run.read<float>(op.inputs[0]);
  float* y = run.write<float>(op.outputs[0]);
  for (int32_t channel = 0; channel < plan.out_c; ++channel) {
    const int64_t first = int64_t{channel} * plan.in_c;
    float acc = plan.bias_f32 != nullptr ? plan.bias_f32[channel] : 0;
    for (int32_t i = 0; i < plan.in_c; ++i) acc += x[i] * float_at(*plan.source, first + i);
    y[channel] = acc < plan.low ? plan.low : acc > plan.high ? plan.high : acc;
  }
  if (!plan.clamps) activate_f32(op, run, y, plan.out_c);
}

// Dense on one vector: each row of weights is decoded, multiplied and forgotten.
void run_vector(const ConvPlan& plan, const Op& op, const Run& run) {
  if (plan.source->dtype == PITH_F32) return run_vector_floats(plan, op, run);
  int8_t* row = reinterpret_cast<int8_t*>(run.scratch(op, 0));
  memset(row, 0, static_cast<size_t>(plan.in_c));
  WeightRows source(*plan.source);
  for (int32_t channel = 0; channel < plan.out_c; ++channel) {
    const int code = source.next(row, plan.in_c);
    if (plan.is_float) {
      const float scale = static_cast<float>(numerics::scale_value(code));
      run.kernels.rows_f32({run.read<float>(op.inputs[0]), row, plan.in_c, 1, &scale, plan.bias_f32 != nullptr ? plan.bias_f32 + channel : nullptr, plan.low, plan.high,
                            run.write<float>(op.outputs[0]) + channel});
    } else {
      const uint8_t* x = run.read<uint8_t>(op.inputs[0]);
      uint32_t acc = plan.bias != nullptr ? static_cast<uint32_t>(plan.bias[channel]) : 0;  // wraps where a malformed file overflows
      for (int32_t i = 0; i < plan.in_c; ++i) acc += static_cast<uint32_t>((x[i] - plan.in.zero_point) * row[i]);
      const numerics::Multiplier m = numerics::multiplier(plan.in.scale_code + code - plan.raw.scale_code);
      run.write<uint8_t>(op.outputs[0])[channel] = finish(static_cast<int32_t>(acc), m, plan.epilogue);
    }
  }
  if (plan.is_float && !plan.clamps) activate_f32(op, run, run.write<float>(op.outputs[0]), plan.out_c);
}

// The same with rows decoded at load, whole or without blocks of zeros.
void run_rows(const ConvPlan& plan, const Op& op, const Run& run) {
  float* y = run.write<float>(op.outputs[0]);
  const int64_t grain = 65536 / plan.in_c / kLanes + 1;
  parallel(run.threads, plan.group_blocks(), grain, [&](int64_t begin, int64_t end, int32_t) {
    const int64_t first = begin * kLanes, last = end * kLanes < plan.out_c ? end * kLanes : plan.out_c;
    RowsF32 rows{run.read<float>(op.inputs[0]), nullptr, plan.in_c, static_cast<int32_t>(last - first), plan.row_scales + first,
                 plan.bias_f32 != nullptr ? plan.bias_f32 + first : nullptr, plan.low, plan.high, y + first};
    if (plan.sparse != nullptr) return run.kernels.sparse_rows_f32(rows, plan.sparse + begin);
    rows.rows = plan.rows + first * plan.in_c;
    run.kernels.rows_f32(rows);
  });
  if (!plan.clamps) activate_f32(op, run, y, plan.out_c);
}

void run_coded(const ConvPlan& plan, const Op& op, const Run& run) {
  if (op.opcode == PITH_OPCODE_Dense && (plan.source->dtype == PITH_I8 || plan.is_float) && plan.out_w == 1) return run_vector(plan, op, run);
  const int32_t rows = plan.transposed ? plan.group_out : plan.out_c, copies = plan.transposed ? plan.groups : 1;
  const int64_t value_bytes = plan.is_float ? 4 : 1;
  const int32_t tile_rows = static_cast<int32_t>(pith_weight_tile(plan.group_out, int64_t{plan.taps} * plan.run));
  const int64_t blocks = int64_t{(tile_rows + kLanes - 1) / kLanes} * copies;
  const int64_t weights_bytes = (blocks * plan.block_values() * value_bytes + 63) / 64 * 64;
  const int64_t set_bytes = static_cast<int64_t>(plan.is_float ? sizeof(ChannelsF32) : sizeof(Channels));
  uint8_t* scratch = run.scratch(op, 0);
  ConvTile tile{};
  tile.weights = scratch;
  tile.channels = scratch + weights_bytes;
  tile.row = reinterpret_cast<int8_t*>(scratch + weights_bytes + blocks * plan.phase_count * set_bytes);
  memset(tile.row, 0, static_cast<size_t>(int64_t{plan.taps} * plan.run * copies));
  WeightRows source(*plan.source);
  for (int32_t first = 0; first < rows;) {
    const int32_t group = plan.transposed ? 0 : first / plan.group_out;
    const int32_t left = (plan.transposed ? rows : (group + 1) * plan.group_out) - first;
    tile.first_row = first;
    tile.row_count = left < tile_rows ? left : tile_rows;
    pack_tile(plan, source, tile);
    run_tile(plan, op, run, tile, group);
    first += tile.row_count;
  }
}

void run_packed(const ConvPlan& plan, const Op& op, const Run& run) {
  const int64_t value_bytes = plan.is_float ? 4 : 1;
  const int64_t set_bytes = static_cast<int64_t>(plan.is_float ? sizeof(ChannelsF32) : sizeof(Channels));
  const int64_t group_blocks = plan.group_blocks();
  for (int32_t p = 0; p < plan.phase_count; ++p) {
    const ConvPhase& phase = plan.phases[p];
    const int64_t positions = int64_t{plan.batch} * phase.rows * phase.columns;
    const auto share = [&](int32_t g, int64_t begin, int64_t end, int64_t first_block, int64_t end_block) {
      const int64_t set = (int64_t{g} * plan.phase_count + p) * group_blocks + first_block;
      const int64_t first = first_block * kLanes;
      const int64_t last = end_block * kLanes < plan.group_out ? end_block * kLanes : plan.group_out;
      const int64_t block = g * group_blocks + first_block;
      const bool sparse = plan.sparse != nullptr;
      compute_share(plan, op, run,
                    {&phase,
                     sparse ? nullptr : static_cast<const uint8_t*>(plan.weights) + block * plan.block_values() * value_bytes,
                     sparse ? plan.sparse + block : nullptr,
                     static_cast<const uint8_t*>(plan.channels) + set * set_bytes, plan.narrow,
                     static_cast<int32_t>(g * int64_t{plan.group_out} + first), static_cast<int32_t>(last - first), g,
                     begin, end});
    };
    const int64_t work = int64_t{plan.taps} * plan.run * plan.out_c;  // of a position
    if (positions >= int64_t{16} * run.threads.count || group_blocks < run.threads.count) {
      parallel(run.threads, positions, grain_of(work, 8), [&](int64_t begin, int64_t end, int32_t) {
        for (int32_t g = 0; g < plan.groups; ++g) share(g, begin, end, 0, group_blocks);
      });
    } else {
      parallel(run.threads, group_blocks, grain_of(work * positions / group_blocks, 1), [&](int64_t begin, int64_t end, int32_t) {
        for (int32_t g = 0; g < plan.groups; ++g) share(g, 0, positions, begin, end);
      });
    }
  }
}

}  // namespace

void run_conv(const ConvPlan& plan, const Op& op, const Run& run) {
  if (plan.row_scales != nullptr) {
    run_rows(plan, op, run);
  } else if (plan.channels != nullptr) {
    run_packed(plan, op, run);
  } else {
    run_coded(plan, op, run);
  }
}

namespace {
struct Plan {
  bool depthwise;
  ConvPlan conv;
  DepthwisePlan rows;
};
}  // namespace

const char* prepare_Conv2d(Builder& builder, Op& op) {
  if (is_depthwise(op)) {
    DepthwisePlan plan{};
    const char* reason = plan_depthwise(builder, op, plan);
    Plan* p = builder.plan<Plan>(op);
    if (p != nullptr) p->depthwise = true, p->rows = plan;
    return reason;
  }
  ConvPlan plan{};
  const char* reason = plan_conv(builder, op, plan);
  Plan* p = builder.plan<Plan>(op);
  if (p != nullptr) p->depthwise = false, p->conv = plan;
  return reason;
}
void run_Conv2d(const Op& op, const Run& run) {
  const Plan& plan = *static_cast<const Plan*>(op.plan);
  if (plan.depthwise) return run_depthwise(plan.rows, op, run);
  run_conv(plan.conv, op, run);
}

const char* prepare_ConvTranspose2d(Builder& builder, Op& op) {
  ConvPlan plan{};
  const char* reason = plan_conv(builder, op, plan);
  ConvPlan* p = builder.plan<ConvPlan>(op);
  if (p != nullptr) *p = plan;
  return reason;
}
void run_ConvTranspose2d(const Op& op, const Run& run) { run_conv(*static_cast<const ConvPlan*>(op.plan), op, run); }

const char* prepare_Dense(Builder& builder, Op& op) { return prepare_ConvTranspose2d(builder, op); }
void run_Dense(const Op& op, const Run& run) { run_ConvTranspose2d(op, run); }

}  // namespace pith::runtime
