// Pool2d: maximum, average and Lp over windows, channels last.
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

constexpr int32_t kMostTaps = 1024;  // pointers on the stack

struct Plan {
  int32_t batch, in_h, in_w, out_h, out_w, channels;
  int32_t kind, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, count_pad;
  U8Finish finish;
  int32_t code;  // of the factor from sums of x to y
  numerics::Multiplier whole;
};

// The input positions of one window, in pointers; returns how many.
template <typename T>
int32_t window(const Plan& p, const T* x, int64_t image, int32_t oy, int32_t ox, const T** inputs) {
  int32_t n = 0;
  for (int32_t ky = 0; ky < p.kernel_h; ++ky) {
    const int64_t iy = int64_t{oy} * p.stride_h + int64_t{ky} * p.dilation_h - p.pad_top;
    if (iy < 0 || iy >= p.in_h) continue;
    for (int32_t kx = 0; kx < p.kernel_w; ++kx) {
      const int64_t ix = int64_t{ox} * p.stride_w + int64_t{kx} * p.dilation_w - p.pad_left;
      if (ix < 0 || ix >= p.in_w) continue;
      inputs[n++] = x + ((image * p.in_h + iy) * p.in_w + ix) * p.channels;
    }
  }
  return n;
}

void pool_u8(const Plan& p, const Run& run, const uint8_t* const* inputs, int32_t taps, int32_t zero_in, uint8_t* y) {
  PoolU8 w{inputs, taps, p.channels, p.whole, zero_in, y, p.finish.epilogue};
  if (p.kind == 0) {
    if (taps > 0) return run.kernels.max_pool_u8(w);
    for (int32_t c = 0; c < p.channels; ++c) y[c] = static_cast<uint8_t>(p.finish.epilogue.zero_point);
    return;
  }
  if (!p.count_pad && taps != p.kernel_h * p.kernel_w)
    w.multiplier = numerics::average_multiplier(p.code, taps > 0 ? taps : 1);
  run.kernels.average_pool_u8(w);
}

void pool_f32(const Plan& p, const float* const* inputs, int32_t taps, float* y) {
  const double divisor = p.kind == 1 && p.count_pad ? p.kernel_h * p.kernel_w : taps > 0 ? taps : 1;
  for (int32_t c = 0; c < p.channels; ++c) {
    double sum = 0;
    float most = taps > 0 ? inputs[0][c] : -__builtin_huge_valf();
    for (int32_t t = 0; t < taps; ++t) {
      const float v = inputs[t][c];
      if (p.kind == 0) {
        most = v > most ? v : most;
      } else if (p.kind == 1) {
        sum += v;
      } else {
        const double magnitude = v < 0 ? -v : v;
        sum += p.count_pad == 1   ? magnitude
               : p.count_pad == 2 ? magnitude * magnitude
                                  : numerics::pow(magnitude, p.count_pad);
      }
    }
    if (p.kind == 1) sum /= divisor;
    if (p.kind == 2 && p.count_pad != 1)
      sum = p.count_pad == 2 ? numerics::sqrt(sum) : numerics::pow(sum, 1.0 / p.count_pad);
    y[c] = p.kind == 0 ? most : static_cast<float>(sum);
  }
}

}  // namespace

const char* prepare_Pool2d(Builder& builder, Op& op) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  if (const char* reason = decode_constants(builder, op)) return reason;
  if (x.dtype != y.dtype || (x.dtype != PITH_U8 && x.dtype != PITH_F32))
    return "its input and output aren't both 8-bit or both float";
  if (x.rank != 4 || y.rank != 4 || x.dims[0] != y.dims[0] || x.dims[3] != y.dims[3]) return "its dimensions don't fit";
  const int32_t* v = op.ints;
  Plan plan{};
  plan.kind = v[0], plan.kernel_h = v[1], plan.kernel_w = v[2], plan.stride_h = v[3], plan.stride_w = v[4];
  plan.dilation_h = v[5], plan.dilation_w = v[6], plan.pad_top = v[7], plan.pad_left = v[8], plan.count_pad = v[11];
  if (plan.kind < 0 || plan.kind > 2) return "its kind is unknown";
  for (int i = 1; i < 11; ++i) {
    if (v[i] < (i < 7 ? 1 : 0) || v[i] > (1 << 20)) return "a kernel, stride, dilation or padding is out of range";
  }
  if (int64_t{plan.kernel_h} * plan.kernel_w > kMostTaps)
    return "its window has more than 1024 positions; the compiler should write a Reduce";
  if (plan.kind == 2 && (x.dtype == PITH_U8 || plan.count_pad < 1))
    return "Lp pooling needs float input and p of at least 1";
  plan.batch = x.dims[0], plan.in_h = x.dims[1], plan.in_w = x.dims[2], plan.channels = x.dims[3];
  plan.out_h = y.dims[1], plan.out_w = y.dims[2];
  if (x.dtype == PITH_U8 && plan.kind == 0) {
    plan.finish.epilogue.table = moved_table(builder, op, x.affine, y);
    plan.finish.epilogue.zero_point = y.affine.zero_point;
  } else if (x.dtype == PITH_U8) {
    plan.finish = computed_finish(builder, op, y);
    plan.code = x.affine.scale_code - plan.finish.raw.scale_code;
    plan.whole = numerics::average_multiplier(plan.code, plan.kernel_h * plan.kernel_w);
  }
  Plan* p = builder.plan<Plan>(op);
  if (p != nullptr) *p = plan;
  return nullptr;
}

void run_Pool2d(const Op& op, const Run& run) {
  const Plan& p = *static_cast<const Plan*>(op.plan);
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  parallel(run.threads, int64_t{p.batch} * p.out_h, 1, [&](int64_t begin, int64_t end, int32_t) {
    const uint8_t* codes[kMostTaps];
    const float* reals[kMostTaps];
    for (int64_t line = begin; line < end; ++line) {
      const int64_t image = line / p.out_h;
      const int32_t oy = static_cast<int32_t>(line % p.out_h);
      for (int32_t ox = 0; ox < p.out_w; ++ox) {
        const int64_t to = (line * p.out_w + ox) * p.channels;
        if (x.dtype == PITH_U8) {
          const int32_t taps = window(p, run.read<uint8_t>(&x), image, oy, ox, codes);
          pool_u8(p, run, codes, taps, x.affine.zero_point, run.write<uint8_t>(&y) + to);
        } else {
          const int32_t taps = window(p, run.read<float>(&x), image, oy, ox, reals);
          pool_f32(p, reals, taps, run.write<float>(&y) + to);
          activate_f32(op, run, run.write<float>(&y) + to, p.channels);
        }
      }
    }
  });
}

}  // namespace pith::runtime
