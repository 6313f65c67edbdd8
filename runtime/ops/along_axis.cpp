// Operators that work along one axis: ArgReduce, Softmax, CumSum, TopK.
#include "runtime/ops/ops.h"
#include "runtime/ops/sort.h"

namespace pith::runtime {
namespace {

// x as [outer][size][inner] around an axis.
struct Axis {
  int64_t outer, size, inner;
  Axis(const Tensor& x, int32_t axis)
      : outer(x.count_of(0, axis)), size(x.dims[axis]), inner(x.count_of(axis + 1, x.rank)) {}
};

const char* check_axis(const Tensor& x, int32_t axis) {
  return axis < 0 || axis >= x.rank ? "its axis is out of range" : x.count() == 0 ? "its input is empty" : nullptr;
}

template <typename T>
void arg_reduce(const Axis& a, const T* x, int32_t* y, bool least, bool last) {
  for (int64_t o = 0; o < a.outer; ++o) {
    for (int64_t i = 0; i < a.inner; ++i) {
      const T* from = x + o * a.size * a.inner + i;
      int64_t best = 0;
      for (int64_t k = 1; k < a.size; ++k) {
        const T v = from[k * a.inner], b = from[best * a.inner];
        if (least ? v < b : v > b) best = k;
        if (last && v == b) best = k;
      }
      y[o * a.inner + i] = static_cast<int32_t>(best);
    }
  }
}

// One line of softmax (0), log-softmax (1) or hardmax (2), stride apart.
void softmax_line(int32_t kind, const Run& run, const float* x, float* y, int64_t n, int64_t stride) {
  if (kind == 0 && stride == 1) return run.kernels.softmax_f32(x, y, n);
  float most = x[0];
  int64_t best = 0;
  for (int64_t k = 1; k < n; ++k) {
    if (x[k * stride] > most) most = x[k * stride], best = k;
  }
  if (kind == 2) {
    for (int64_t k = 0; k < n; ++k) y[k * stride] = k == best ? 1.0f : 0.0f;
    return;
  }
  if (kind == 1) {
    double sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += numerics::exp(static_cast<double>(x[k * stride]) - most);
    const double log_sum = numerics::log(sum);
    for (int64_t k = 0; k < n; ++k) y[k * stride] = static_cast<float>(x[k * stride] - most - log_sum);
    return;
  }
  double sum = 0;
  for (int64_t k = 0; k < n; ++k) {
    y[k * stride] = static_cast<float>(numerics::exp(static_cast<double>(x[k * stride] - most)));
    sum += y[k * stride];
  }
  const float factor = static_cast<float>(1 / sum);
  for (int64_t k = 0; k < n; ++k) y[k * stride] *= factor;
}

// Sums of floats in double; of integers (as unsigned) wrapping around.
template <typename T, typename Sum>
void cumulate(const Axis& a, const T* x, T* y, bool exclusive, bool reverse, Sum zero) {
  for (int64_t o = 0; o < a.outer; ++o) {
    for (int64_t i = 0; i < a.inner; ++i) {
      const int64_t base = o * a.size * a.inner + i;
      Sum sum = zero;
      for (int64_t k = 0; k < a.size; ++k) {
        const int64_t at = base + (reverse ? a.size - 1 - k : k) * a.inner;
        const Sum value = static_cast<Sum>(x[at]);
        if (exclusive) {
          y[at] = static_cast<T>(sum);
          sum += value;
        } else {
          sum += value;
          y[at] = static_cast<T>(sum);
        }
      }
    }
  }
}

template <typename T>
void top_k(const Axis& a, const Op& op, const Run& run, const T* x, const uint8_t* table) {
  const int64_t k = op.ints[0];
  const bool largest = op.ints[2] != 0;
  T* values = op.outputs[0] != nullptr ? run.write<T>(op.outputs[0]) : nullptr;
  int32_t* indices = op.outputs[1] != nullptr ? run.write<int32_t>(op.outputs[1]) : nullptr;
  int32_t* order = reinterpret_cast<int32_t*>(run.scratch(op, 0));
  for (int64_t o = 0; o < a.outer; ++o) {
    for (int64_t i = 0; i < a.inner; ++i) {
      const T* from = x + o * a.size * a.inner + i;
      for (int64_t j = 0; j < a.size; ++j) order[j] = static_cast<int32_t>(j);
      sort_indices(order, a.size, [&](int32_t l, int32_t r) {
        const T u = from[l * a.inner], v = from[r * a.inner];
        if (u != v) return largest ? u > v : u < v;
        return l < r;
      });
      for (int64_t j = 0; j < k; ++j) {
        const int64_t to = (o * k + j) * a.inner + i;
        const T value = from[order[j] * a.inner];
        if constexpr (sizeof(T) == 1) {
          if (values != nullptr) values[to] = table != nullptr ? table[value] : value;
        } else {
          if (values != nullptr) values[to] = value;
        }
        if (indices != nullptr) indices[to] = order[j];
      }
    }
  }
}

}  // namespace

const char* prepare_ArgReduce(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  if (const char* reason = check_axis(x, op.ints[1])) return reason;
  if (y.dtype != PITH_I32 || y.count() * x.dims[op.ints[1]] != x.count())
    return "its output isn't one integer per line";
  return nullptr;
}

void run_ArgReduce(const Op& op, const Run& run) {
  const Tensor& x = *op.inputs[0];
  const Axis a(x, op.ints[1]);
  int32_t* y = run.write<int32_t>(op.outputs[0]);
  const bool least = op.ints[0] != 0, last = op.ints[2] != 0;
  if (x.dtype == PITH_U8) return arg_reduce(a, run.read<uint8_t>(&x), y, least, last);
  if (x.dtype == PITH_F32) return arg_reduce(a, run.read<float>(&x), y, least, last);
  arg_reduce(a, run.read<int32_t>(&x), y, least, last);
}

const char* prepare_Softmax(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  if (const char* reason = check_axis(x, op.ints[1])) return reason;
  if (op.ints[0] < 0 || op.ints[0] > 2) return "its kind is unknown";
  if (x.dtype != PITH_F32 || y.dtype != PITH_F32)
    return "its input and output aren't float; the compiler should convert them";
  return x.count() != y.count() ? "its dimensions don't fit" : nullptr;
}

void run_Softmax(const Op& op, const Run& run) {
  const Tensor& x = *op.inputs[0];
  const Axis a(x, op.ints[1]);
  const float* from = run.read<float>(&x);
  float* to = run.write<float>(op.outputs[0]);
  parallel(run.threads, a.outer * a.inner, a.size >= 1024 ? 1 : 1024 / a.size,
           [&](int64_t begin, int64_t end, int32_t) {
             for (int64_t line = begin; line < end; ++line) {
               const int64_t at = line / a.inner * a.size * a.inner + line % a.inner;
               softmax_line(op.ints[0], run, from + at, to + at, a.size, a.inner);
             }
           });
  activate_f32(op, run, to, x.count());
}

const char* prepare_CumSum(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  if (const char* reason = check_axis(x, op.ints[0])) return reason;
  if (x.dtype != y.dtype || x.dtype == PITH_U8 || x.count() != y.count())
    return "its input and output aren't both float or both integers";
  return y.dtype == PITH_I32 && op.activation != numerics::Unary::kIdentity ? "an activation on integers" : nullptr;
}

void run_CumSum(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const Axis a(x, op.ints[0]);
  const bool exclusive = op.ints[1] != 0, reverse = op.ints[2] != 0;
  if (x.dtype == PITH_F32) {
    cumulate(a, run.read<float>(&x), run.write<float>(&y), exclusive, reverse, 0.0);
    activate_f32(op, run, run.write<float>(&y), y.count());
  } else {
    cumulate(a, run.read<int32_t>(&x), run.write<int32_t>(&y), exclusive, reverse, uint32_t{0});
  }
}

const char* prepare_TopK(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], *values = op.outputs[0], *indices = op.outputs[1];
  if (const char* reason = check_axis(x, op.ints[1])) return reason;
  const int64_t k = op.ints[0], count = x.count() / x.dims[op.ints[1]] * k;
  if (k < 0 || k > x.dims[op.ints[1]]) return "k is out of range";
  if (values != nullptr && (values->dtype != x.dtype || values->count() != count)) return "its values don't fit";
  if (indices != nullptr && (indices->dtype != PITH_I32 || indices->count() != count)) return "its indices don't fit";
  if (op.activation != numerics::Unary::kIdentity) return "an activation on selected values";
  if (x.dtype == PITH_U8 && values != nullptr) op.plan = moved_table(builder, op, x.affine, *values);
  return nullptr;
}

void run_TopK(const Op& op, const Run& run) {
  const Tensor& x = *op.inputs[0];
  const Axis a(x, op.ints[1]);
  if (x.dtype == PITH_U8) return top_k(a, op, run, run.read<uint8_t>(&x), static_cast<const uint8_t*>(op.plan));
  if (x.dtype == PITH_F32) return top_k(a, op, run, run.read<float>(&x), nullptr);
  top_k(a, op, run, run.read<int32_t>(&x), nullptr);
}

}  // namespace pith::runtime
