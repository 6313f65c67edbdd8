// Reduce: sums, means, extremes and norms over any set of dimensions.
//
// Neighbouring dimensions of one kind are joined, so that the loops alternate between kept and reduced ones. Sums of
// floats are made in double; 8-bit means are sums of codes and one requantisation, as numerics/arithmetic.h defines.
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

constexpr int kChunk = 64;  // kept elements that are reduced side by side when the innermost dimension is kept

struct Plan {
  // Kept and reduced loops, outermost first; strides in elements of x.
  int32_t kept_rank, reduced_rank;
  int64_t kept_size[PITH_MAX_RANK], kept_stride[PITH_MAX_RANK], reduced_size[PITH_MAX_RANK],
      reduced_stride[PITH_MAX_RANK];
  int64_t kept, reduced;
  bool inner_kept;  // the last kept loop has stride 1
  U8Finish finish;
  numerics::Multiplier multiplier;
};

void join(Plan& p, const Tensor& x, uint32_t mask) {
  int64_t stride = 1;
  int32_t last = -1;  // kind of the dimension inside
  int64_t sizes[2][PITH_MAX_RANK], strides[2][PITH_MAX_RANK];
  int32_t ranks[2] = {0, 0};
  for (int k = x.rank - 1; k >= 0; --k) {
    const int32_t kind = static_cast<int32_t>(mask >> k & 1);
    if (x.dims[k] != 1) {
      if (kind == last) {
        sizes[kind][ranks[kind] - 1] *= x.dims[k];
      } else {
        sizes[kind][ranks[kind]] = x.dims[k];
        strides[kind][ranks[kind]] = stride;
        ++ranks[kind];
        last = kind;
      }
    }
    stride *= x.dims[k];
  }
  p.kept = p.reduced = 1;
  p.kept_rank = ranks[0], p.reduced_rank = ranks[1];
  for (int32_t i = 0; i < ranks[0]; ++i) {
    p.kept_size[i] = sizes[0][ranks[0] - 1 - i], p.kept_stride[i] = strides[0][ranks[0] - 1 - i];
    p.kept *= p.kept_size[i];
  }
  for (int32_t i = 0; i < ranks[1]; ++i) {
    p.reduced_size[i] = sizes[1][ranks[1] - 1 - i], p.reduced_stride[i] = strides[1][ranks[1] - 1 - i];
    p.reduced *= p.reduced_size[i];
  }
  p.inner_kept = p.kept_rank > 0 && p.kept_stride[p.kept_rank - 1] == 1;
}

int64_t locate(int64_t index, int32_t rank, const int64_t* sizes, const int64_t* strides) {
  int64_t offset = 0;
  for (int32_t k = rank - 1; k >= 0; --k) {
    offset += index % sizes[k] * strides[k];
    index /= sizes[k];
  }
  return offset;
}

// body(offset of the first, how many side by side, index of the first output) for every kept element.
template <typename Body>
void each_kept(const Plan& p, const Threads& threads, const Body& body) {
  const int64_t inner = p.inner_kept ? p.kept_size[p.kept_rank - 1] : 1;
  const int64_t chunks = (inner + kChunk - 1) / kChunk;
  parallel(threads, p.kept / inner * chunks, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t outer = i / chunks, first = i % chunks * kChunk;
      const int64_t n = inner - first < kChunk ? inner - first : kChunk;
      const int64_t offset = locate(outer, p.kept_rank - (p.inner_kept ? 1 : 0), p.kept_size, p.kept_stride) + first;
      body(offset, static_cast<int32_t>(n), outer * inner + first);
    }
  });
}

template <typename T, typename Accumulator, typename Step>
void accumulate(const Plan& p, const T* x, int32_t n, Accumulator* acc, const Step& step) {
  for (int64_t r = 0; r < p.reduced; ++r) {
    const T* from = x + locate(r, p.reduced_rank, p.reduced_size, p.reduced_stride);
    for (int32_t i = 0; i < n; ++i) acc[i] = step(acc[i], from[i]);
  }
}

void reduce_u8(const Plan& p, const Op& op, const Run& run) {
  const uint8_t* x = run.read<uint8_t>(op.inputs[0]);
  uint8_t* y = run.write<uint8_t>(op.outputs[0]);
  const int32_t kind = op.ints[0], zero = op.inputs[0]->affine.zero_point;
  each_kept(p, run.threads, [&](int64_t offset, int32_t n, int64_t to) {
    int32_t acc[kChunk];
    for (int32_t i = 0; i < n; ++i) acc[i] = kind == PITH_REDUCE_MAX ? 0 : kind == PITH_REDUCE_MIN ? 255 : 0;
    const uint8_t* from = x + offset;
    if (kind == PITH_REDUCE_MAX) {
      accumulate(p, from, n, acc, [](int32_t a, uint8_t q) { return a > q ? a : q; });
    } else if (kind == PITH_REDUCE_MIN) {
      accumulate(p, from, n, acc, [](int32_t a, uint8_t q) { return a < q ? a : q; });
    } else {
      accumulate(p, from, n, acc, [zero](int32_t a, uint8_t q) { return a + q - zero; });
    }
    const Epilogue& e = p.finish.epilogue;
    for (int32_t i = 0; i < n; ++i) {
      if (kind == PITH_REDUCE_MEAN) {
        acc[i] = numerics::requantize_u8(acc[i], p.multiplier, e.zero_point, e.low, e.high);
      }
      y[to + i] = e.table != nullptr ? e.table[acc[i]] : static_cast<uint8_t>(acc[i]);
    }
  });
}

double first_value(int32_t kind) {
  switch (kind) {
    case PITH_REDUCE_MAX:
    case PITH_REDUCE_LOG_SUM_EXP:
      return -__builtin_huge_val();
    case PITH_REDUCE_MIN:
      return __builtin_huge_val();
    case PITH_REDUCE_PROD:
      return 1;
    default:
      return 0;
  }
}

template <typename T>
void reduce_real(const Plan& p, int32_t kind, const T* x, int32_t n, double* acc) {
  for (int32_t i = 0; i < n; ++i) acc[i] = first_value(kind);
  const double count = static_cast<double>(p.reduced);
  switch (kind) {
    case PITH_REDUCE_MAX:
      return accumulate(p, x, n, acc, [](double a, T v) { return v > a ? v : a; });
    case PITH_REDUCE_MIN:
      return accumulate(p, x, n, acc, [](double a, T v) { return v < a ? v : a; });
    case PITH_REDUCE_PROD:
      return accumulate(p, x, n, acc, [](double a, T v) { return a * v; });
    case PITH_REDUCE_L1:
      return accumulate(p, x, n, acc, [](double a, T v) { return a + (v < 0 ? -static_cast<double>(v) : v); });
    case PITH_REDUCE_L2:
    case PITH_REDUCE_SUM_SQUARE:
      accumulate(p, x, n, acc, [](double a, T v) { return a + static_cast<double>(v) * v; });
      for (int32_t i = 0; i < n && kind == PITH_REDUCE_L2; ++i) acc[i] = numerics::sqrt(acc[i]);
      return;
    case PITH_REDUCE_LOG_SUM_EXP: {
      double most[kChunk], sum[kChunk] = {};
      accumulate(p, x, n, acc, [](double a, T v) { return v > a ? v : a; });
      for (int32_t i = 0; i < n; ++i)
        most[i] = acc[i] > -__builtin_huge_val() && acc[i] < __builtin_huge_val() ? acc[i] : 0;
      for (int64_t r = 0; r < p.reduced; ++r) {
        const T* from = x + locate(r, p.reduced_rank, p.reduced_size, p.reduced_stride);
        for (int32_t i = 0; i < n; ++i) sum[i] += numerics::exp(from[i] - most[i]);
      }
      for (int32_t i = 0; i < n; ++i) acc[i] = most[i] + numerics::log(sum[i]);
      return;
    }
    default:
      accumulate(p, x, n, acc, [](double a, T v) { return a + v; });
      for (int32_t i = 0; i < n; ++i)
        acc[i] = kind == PITH_REDUCE_MEAN      ? acc[i] / count
                 : kind == PITH_REDUCE_LOG_SUM ? numerics::log(acc[i])
                                               : acc[i];
  }
}

template <typename T>
T narrow(double v) {
  if constexpr (sizeof(T) == 4 && T(0.5f) == 0) {
    return v <= -2147483648.0 ? INT32_MIN : v >= 2147483647.0 ? INT32_MAX : static_cast<int32_t>(v);
  } else {
    return static_cast<T>(v);
  }
}

template <typename T>
void reduce_typed(const Plan& p, const Op& op, const Run& run) {
  const T* x = run.read<T>(op.inputs[0]);
  T* y = run.write<T>(op.outputs[0]);
  each_kept(p, run.threads, [&](int64_t offset, int32_t n, int64_t to) {
    double acc[kChunk];
    reduce_real(p, op.ints[0], x + offset, n, acc);
    for (int32_t i = 0; i < n; ++i) y[to + i] = narrow<T>(acc[i]);
  });
}

}  // namespace

const char* prepare_Reduce(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const int32_t kind = op.ints[0];
  const uint32_t mask = static_cast<uint32_t>(op.ints[1]);
  if (kind < 0 || kind >= PITH_REDUCE_COUNT) return "its kind is unknown";
  if (x.dtype != y.dtype || x.rank != y.rank || x.count() == 0) return "its input and output differ";
  for (int k = 0; k < x.rank; ++k) {
    if (y.dims[k] != (mask >> k & 1 ? 1 : x.dims[k])) return "its dimensions don't fit its axes";
  }
  Plan plan{};
  join(plan, x, mask);
  if (x.dtype == PITH_U8) {
    if (kind == PITH_REDUCE_MAX || kind == PITH_REDUCE_MIN) {
      plan.finish.epilogue.table = moved_table(builder, op, x.affine, y);
    } else if (kind == PITH_REDUCE_MEAN) {
      if (plan.reduced >= (1 << 23)) return "it reduces more elements than 32-bit sums hold";
      plan.finish = computed_finish(builder, op, y);
      plan.multiplier = numerics::average_multiplier(x.affine.scale_code - plan.finish.raw.scale_code,
                                                     static_cast<int32_t>(plan.reduced));
    } else {
      return "this kind has no 8-bit form; the compiler should convert its input to float";
    }
  } else if (x.dtype == PITH_I32 && op.activation != numerics::Unary::kIdentity) {
    return "an activation on integers";
  }
  Plan* p = builder.plan<Plan>(op);
  if (p != nullptr) *p = plan;
  return nullptr;
}

void run_Reduce(const Op& op, const Run& run) {
  const Plan& plan = *static_cast<const Plan*>(op.plan);
  const Tensor& y = *op.outputs[0];
  if (y.dtype == PITH_U8) return reduce_u8(plan, op, run);
  if (y.dtype == PITH_I32) return reduce_typed<int32_t>(plan, op, run);
  reduce_typed<float>(plan, op, run);
  activate_f32(op, run, run.write<float>(&y), y.count());
}

}  // namespace pith::runtime
