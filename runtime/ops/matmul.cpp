// MatMul of two computed matrices, as strips of a convolution: rows of a are positions, columns of b are output
// channels, packed a tile at a time into scratch.
//
// 8-bit: (a - za)(b - zb) summed over k. Kernels multiply unsigned a by signed weights, so b is packed as b - 128, and
// what is missing, (128 - zb) times the sum of a, comes from further taps over the same a with constant weights (two,
// since 128 itself is no signed byte). The zero point of a goes to the bias, as in a convolution.
#include <string.h>

#include "program/scratch.h"
#include "runtime/kernels/ref/ref.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

constexpr int kMostRows = 96;  // of a, as pointers on the stack

struct Plan {
  int64_t rows, depth, columns;
  int64_t a_row, a_step, b_column, b_step;  // strides in elements
  int32_t batch_rank;
  int64_t batches, sizes[PITH_MAX_RANK], a_strides[PITH_MAX_RANK], b_strides[PITH_MAX_RANK];
  U8Finish finish;
  numerics::Multiplier multiplier;
  float low, high;
  bool clamps;
  int32_t taps, tap_weights[2];
};

const char* plan_shapes(const Op& op, Plan& p) {
  const Tensor &a = *op.inputs[0], &b = *op.inputs[1], &y = *op.outputs[0];
  const int n = a.rank;
  if (n < 2 || b.rank != n || y.rank != n) return "its ranks differ or are under 2";
  const bool ta = op.ints[0] != 0, tb = op.ints[1] != 0;
  p.rows = a.dims[ta ? n - 1 : n - 2], p.depth = a.dims[ta ? n - 2 : n - 1], p.columns = b.dims[tb ? n - 2 : n - 1];
  if (b.dims[tb ? n - 1 : n - 2] != p.depth || y.dims[n - 2] != p.rows || y.dims[n - 1] != p.columns || p.depth < 1)
    return "its matrices don't fit";
  p.a_row = ta ? 1 : a.dims[n - 1], p.a_step = ta ? a.dims[n - 1] : 1;
  p.b_column = tb ? b.dims[n - 1] : 1, p.b_step = tb ? 1 : b.dims[n - 1];
  p.batch_rank = n - 2;
  p.batches = 1;
  int64_t a_stride = int64_t{a.dims[n - 2]} * a.dims[n - 1], b_stride = int64_t{b.dims[n - 2]} * b.dims[n - 1];
  for (int i = n - 3; i >= 0; --i) {
    if ((a.dims[i] != y.dims[i] && a.dims[i] != 1) || (b.dims[i] != y.dims[i] && b.dims[i] != 1))
      return "its leading dimensions don't broadcast";
    p.sizes[i] = y.dims[i];
    p.a_strides[i] = a.dims[i] == 1 ? 0 : a_stride;
    p.b_strides[i] = b.dims[i] == 1 ? 0 : b_stride;
    a_stride *= a.dims[i];
    b_stride *= b.dims[i];
    p.batches *= y.dims[i];
  }
  return nullptr;
}

// One tile of up to 16 packed columns and the rows of one product, 8-bit.
void tile_u8(const Plan& p, const Op& op, const Run& run, const uint8_t* a, const uint8_t* b, const int32_t* bias,
             uint8_t* y, int64_t first, int32_t count, uint8_t* scratch) {
  const int32_t za = op.inputs[0]->affine.zero_point, zb = op.inputs[1]->affine.zero_point;
  const int64_t quads = (p.depth + 3) / 4, tap_values = quads * 4 * kLanes;
  int8_t* weights = reinterpret_cast<int8_t*>(scratch);
  memset(weights, 0, static_cast<size_t>(tap_values * p.taps));
  Channels channels;
  for (int32_t j = 0; j < kLanes; ++j) {
    channels.bias[j] = 0, channels.mantissa[j] = p.multiplier.mantissa, channels.shift[j] = p.multiplier.shift,
    channels.sum[j] = 0;
    if (j >= count) continue;
    int32_t sum = 0;  // of b - zb, which is what the taps add up to
    const uint8_t* column = b + (first + j) * p.b_column;
    for (int64_t k = 0; k < p.depth; ++k) {
      const int32_t q = column[k * p.b_step];
      weights[k / 4 * (4 * kLanes) + j * 4 + k % 4] = static_cast<int8_t>(q - 128);
      for (int32_t t = 1; t < p.taps; ++t)
        weights[t * tap_values + k / 4 * (4 * kLanes) + j * 4 + k % 4] = static_cast<int8_t>(p.tap_weights[t - 1]);
      sum += q - zb;
    }
    channels.bias[j] = (bias != nullptr ? bias[first + j] : 0) - za * sum;
    channels.sum[j] = sum;
  }
  const int32_t offsets[3] = {0, static_cast<int32_t>(tap_values), static_cast<int32_t>(2 * tap_values)};
  const uint8_t* pointers[3 * kMostRows];
  for (int64_t row = 0; row < p.rows; row += kMostRows) {
    const int32_t n = static_cast<int32_t>(p.rows - row < kMostRows ? p.rows - row : kMostRows);
    for (int32_t t = 0; t < p.taps; ++t) {
      for (int32_t i = 0; i < n; ++i) pointers[t * n + i] = a + (row + i) * p.a_row;
    }
    run.kernels.conv_u8({pointers, n, p.taps, static_cast<int32_t>(quads), weights, tap_values * p.taps, offsets,
                         &channels, count, p.multiplier.shift >= 17, y + row * p.columns + first, p.columns,
                         p.finish.epilogue});
  }
}

void tile_f32(const Plan& p, const Op& op, const Run& run, const float* a, const float* b, const float* bias, float* y,
              int64_t first, int32_t count, uint8_t* scratch) {
  float* weights = reinterpret_cast<float*>(scratch);
  const float alpha = op.reals[0];
  ChannelsF32 channels;
  for (int32_t j = 0; j < kLanes; ++j) channels.bias[j] = j < count && bias != nullptr ? bias[first + j] : 0;
  for (int64_t k = 0; k < p.depth; ++k) {
    for (int32_t j = 0; j < kLanes; ++j)
      weights[k * kLanes + j] = j < count ? alpha * b[(first + j) * p.b_column + k * p.b_step] : 0;
  }
  const int32_t offset = 0;
  const float* pointers[kMostRows];
  for (int64_t row = 0; row < p.rows; row += kMostRows) {
    const int32_t n = static_cast<int32_t>(p.rows - row < kMostRows ? p.rows - row : kMostRows);
    for (int32_t i = 0; i < n; ++i) pointers[i] = a + (row + i) * p.a_row;
    float* to = y + row * p.columns + first;
    run.kernels.conv_f32({pointers, n, 1, static_cast<int32_t>(p.depth), weights, p.depth * kLanes, &offset, &channels,
                          count, p.low, p.high, to, p.columns});
    for (int32_t i = 0; i < n && !p.clamps; ++i) activate_f32(op, run, to + i * p.columns, count);
  }
}

// Rows of a that aren't contiguous: plain loops.
void plain(const Plan& p, const Op& op, const Run& run, int64_t a, int64_t b, int64_t y) {
  const Tensor &ta = *op.inputs[0], &tb = *op.inputs[1], *bias = op.inputs[2];
  for (int64_t i = 0; i < p.rows; ++i) {
    for (int64_t j = 0; j < p.columns; ++j) {
      const int64_t at_a = a + i * p.a_row, at_b = b + j * p.b_column, to = y + i * p.columns + j;
      if (ta.dtype == PITH_U8) {
        int32_t acc = bias != nullptr ? run.read<int32_t>(bias)[j] : 0;
        for (int64_t k = 0; k < p.depth; ++k) {
          acc += (run.read<uint8_t>(&ta)[at_a + k * p.a_step] - ta.affine.zero_point) *
                 (run.read<uint8_t>(&tb)[at_b + k * p.b_step] - tb.affine.zero_point);
        }
        run.write<uint8_t>(op.outputs[0])[to] = finish(acc, p.multiplier, p.finish.epilogue);
      } else {
        float sum = 0;
        for (int64_t k = 0; k < p.depth; ++k)
          sum += run.read<float>(&ta)[at_a + k * p.a_step] * run.read<float>(&tb)[at_b + k * p.b_step];
        sum = sum * op.reals[0] + (bias != nullptr ? run.read<float>(bias)[j] : 0);
        float* v = run.write<float>(op.outputs[0]) + to;
        *v = sum < p.low ? p.low : sum > p.high ? p.high : sum;
        if (!p.clamps) activate_f32(op, run, v, 1);
      }
    }
  }
}

}  // namespace

const char* prepare_MatMul(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &a = *op.inputs[0], &b = *op.inputs[1], *bias = op.inputs[2], &y = *op.outputs[0];
  Plan plan{};
  if (a.dtype != b.dtype || a.dtype != y.dtype || (a.dtype != PITH_U8 && a.dtype != PITH_F32))
    return "its operands aren't all 8-bit or all float";
  if (const char* reason = plan_shapes(op, plan)) return reason;
  if (bias != nullptr && (bias->dtype != (a.dtype == PITH_U8 ? PITH_I32 : PITH_F32) || bias->count() != plan.columns))
    return "its bias doesn't have one value per column";
  plan.clamps = float_bounds(op, &plan.low, &plan.high);
  if (a.dtype == PITH_U8) {
    if (op.reals[0] != 1) return "its factor isn't 1; the compiler should fold it into the scales";
    if (plan.depth > 30000) return "its sums can leave 32 bits";
    plan.finish = computed_finish(builder, op, y);
    plan.multiplier = numerics::multiplier(a.affine.scale_code + b.affine.scale_code - plan.finish.raw.scale_code);
    const int32_t missing = 128 - b.affine.zero_point;
    plan.taps = missing == 0 ? 1 : missing == 128 ? 3 : 2;
    plan.tap_weights[0] = plan.taps == 3 ? 64 : missing;
    plan.tap_weights[1] = 64;
  }
  Plan* p = builder.plan<Plan>(op);
  if (p != nullptr) *p = plan;
  return nullptr;
}

void run_MatMul(const Op& op, const Run& run) {
  const Plan& p = *static_cast<const Plan*>(op.plan);
  const Tensor &a = *op.inputs[0], &b = *op.inputs[1], *bias = op.inputs[2], &y = *op.outputs[0];
  const int64_t tiles = (p.columns + kLanes - 1) / kLanes;
  parallel(run.threads, p.batches * tiles, 1, [&](int64_t begin, int64_t end, int32_t task) {
    uint8_t* scratch = run.scratch(op, task);
    for (int64_t i = begin; i < end; ++i) {
      int64_t batch = i / tiles, at_a = 0, at_b = 0;
      const int64_t first = i % tiles * kLanes, at_y = batch * p.rows * p.columns;
      for (int32_t k = p.batch_rank - 1; k >= 0; --k) {
        at_a += batch % p.sizes[k] * p.a_strides[k];
        at_b += batch % p.sizes[k] * p.b_strides[k];
        batch /= p.sizes[k];
      }
      const int32_t count = static_cast<int32_t>(p.columns - first < kLanes ? p.columns - first : kLanes);
      if (p.a_step != 1) {
        if (first == 0) plain(p, op, run, at_a, at_b, at_y);
      } else if (a.dtype == PITH_U8) {
        tile_u8(p, op, run, run.read<uint8_t>(&a) + at_a, run.read<uint8_t>(&b) + at_b,
                bias != nullptr ? run.read<int32_t>(bias) : nullptr, run.write<uint8_t>(&y) + at_y, first, count,
                scratch);
      } else {
        tile_f32(p, op, run, run.read<float>(&a) + at_a, run.read<float>(&b) + at_b,
                 bias != nullptr ? run.read<float>(bias) : nullptr, run.write<float>(&y) + at_y, first, count, scratch);
      }
    }
  });
}

}  // namespace pith::runtime
