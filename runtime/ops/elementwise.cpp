// Unary, Where, Fill and Convert.
#include <string.h>

#include "runtime/ops/broadcast.h"

namespace pith::runtime {
namespace {

using numerics::Affine;
using numerics::Unary;

struct TablePlan {
  const uint8_t* table;
};
struct WherePlan {
  Broadcast<3> loops;
  const uint8_t *table_a, *table_b;
};

int32_t to_integer(double x) {  // towards zero, saturated; NaN is zero
  if (x != x) return 0;
  return x <= -2147483648.0 ? INT32_MIN : x >= 2147483647.0 ? INT32_MAX : static_cast<int32_t>(x);
}

const char* table_plan(Builder& builder, Op& op, const uint8_t* table) {
  TablePlan* p = builder.plan<TablePlan>(op);
  if (p != nullptr) p->table = table;
  return nullptr;
}

// Writes pick(i) ? a : b for one data type.
template <typename T, typename Condition>
void select(const WherePlan& plan, const Op& op, const Run& run, const Condition* condition) {
  const T *a = run.read<T>(op.inputs[1]), *b = run.read<T>(op.inputs[2]);
  T* y = run.write<T>(op.outputs[0]);
  const bool rc = plan.loops.repeats[0], ra = plan.loops.repeats[1], rb = plan.loops.repeats[2];
  plan.loops.each(run.threads, [&](const int64_t(&at)[3], int64_t to, int64_t count) {
    const bool all_first = condition[at[0]] != 0;
    const bool whole = sizeof(T) == 4 && rc && !(all_first ? ra : rb);  // the run is one operand's, and may stand there already
    const T* only = all_first ? a + at[1] : b + at[2];
    if (whole && only != y + to) memcpy(y + to, only, static_cast<size_t>(count) * sizeof(T));
    for (int64_t i = 0; i < count && !whole; ++i) {
      const bool first = condition[at[0] + (rc ? 0 : i)] != 0;
      const T value = first ? a[at[1] + (ra ? 0 : i)] : b[at[2] + (rb ? 0 : i)];
      if constexpr (sizeof(T) == 1) {
        const uint8_t* table = first ? plan.table_a : plan.table_b;
        y[to + i] = table != nullptr ? table[value] : value;
      } else {
        y[to + i] = value;
      }
    }
    if constexpr (sizeof(T) == 4) {
      if (op.outputs[0]->dtype == PITH_F32) activate_f32(op, run, run.write<float>(op.outputs[0]) + to, count);
    }
  });
}

template <typename Condition>
void select_any(const WherePlan& plan, const Op& op, const Run& run, const Condition* condition) {
  if (op.outputs[0]->dtype == PITH_U8) return select<uint8_t>(plan, op, run, condition);
  if (op.outputs[0]->dtype == PITH_F32) return select<float>(plan, op, run, condition);
  select<int32_t>(plan, op, run, condition);
}

}  // namespace

const char* prepare_Unary(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const Unary function = static_cast<Unary>(op.ints[0]);
  if (op.ints[0] < 0 || op.ints[0] >= numerics::kUnaryCount) return "its function is unknown";
  if (x.dtype != y.dtype || x.count() != y.count()) return "its input and output differ";
  if (x.dtype == PITH_I32 && op.activation != Unary::kIdentity) return "an activation on integers";
  if (x.dtype != PITH_U8) return nullptr;
  const U8Finish f = computed_finish(builder, op, y);
  uint8_t* table = builder.memory.take<uint8_t>(256, 64);
  if (table != nullptr) {
    numerics::build_table(function, op.reals[0], op.reals[1], x.affine, f.raw, table);
    for (int q = 0; q < 256; ++q) {
      table[q] = static_cast<uint8_t>(numerics::clamp(table[q], f.epilogue.low, f.epilogue.high));
      if (f.epilogue.table != nullptr) table[q] = f.epilogue.table[table[q]];
    }
  }
  return table_plan(builder, op, table);
}

void run_Unary(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const Unary function = static_cast<Unary>(op.ints[0]);
  parallel(run.threads, y.count(), 4096, [&](int64_t begin, int64_t end, int32_t) {
    const int64_t n = end - begin;
    if (y.dtype == PITH_U8) {
      const TablePlan& plan = *static_cast<const TablePlan*>(op.plan);
      return run.kernels.table_u8(run.read<uint8_t>(&x) + begin, run.write<uint8_t>(&y) + begin, n, plan.table);
    }
    if (y.dtype == PITH_F32) {
      float* to = run.write<float>(&y) + begin;
      run.kernels.unary_f32(run.read<float>(&x) + begin, to, n, function, op.reals[0], op.reals[1]);
      return activate_f32(op, run, to, n);
    }
    const int32_t* from = run.read<int32_t>(&x) + begin;
    int32_t* to = run.write<int32_t>(&y) + begin;
    for (int64_t i = 0; i < n; ++i)
      to[i] = to_integer(numerics::apply_unary(function, from[i], op.reals[0], op.reals[1]));
  });
}

const char* prepare_Where(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &a = *op.inputs[1], &b = *op.inputs[2], &y = *op.outputs[0];
  const Tensor* operands[3] = {op.inputs[0], &a, &b};
  WherePlan plan{};
  if (a.dtype != y.dtype || b.dtype != y.dtype) return "its inputs and output have different data types";
  if (!plan.loops.plan(y, operands)) return "its dimensions don't broadcast";
  if (y.dtype == PITH_U8) {
    plan.table_a = moved_table(builder, op, a.affine, y);
    plan.table_b = moved_table(builder, op, b.affine, y);
  }
  if (y.dtype == PITH_I32 && op.activation != Unary::kIdentity) return "an activation on integers";
  WherePlan* p = builder.plan<WherePlan>(op);
  if (p != nullptr) *p = plan;
  return nullptr;
}

void run_Where(const Op& op, const Run& run) {
  const WherePlan& plan = *static_cast<const WherePlan*>(op.plan);
  switch (op.inputs[0]->dtype) {
    case PITH_U8:
      return select_any(plan, op, run, run.read<uint8_t>(op.inputs[0]));
    case PITH_F32:
      return select_any(plan, op, run, run.read<float>(op.inputs[0]));
    default:
      return select_any(plan, op, run, run.read<int32_t>(op.inputs[0]));
  }
}

const char* prepare_Fill(Builder&, Op& op) {
  return op.activation != Unary::kIdentity ? "an activation on a constant" : nullptr;
}

void run_Fill(const Op& op, const Run& run) {
  const Tensor& y = *op.outputs[0];
  const float value = op.reals[0];
  const int64_t n = y.count();
  if (y.dtype == PITH_U8) {
    memset(run.write<uint8_t>(&y), numerics::quantize_u8(value, y.affine), static_cast<size_t>(n));
  } else if (y.dtype == PITH_F32) {
    for (int64_t i = 0; i < n; ++i) run.write<float>(&y)[i] = value;
  } else {
    for (int64_t i = 0; i < n; ++i) run.write<int32_t>(&y)[i] = to_integer(value);
  }
}

const char* prepare_Convert(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  if (x.count() != y.count()) return "its input and output differ in size";
  if (y.dtype != PITH_F32 && x.dtype != PITH_U8 && op.activation != Unary::kIdentity)
    return "an activation on integers";
  if (x.dtype == PITH_U8 && y.dtype == PITH_U8) return table_plan(builder, op, moved_table(builder, op, x.affine, y));
  return nullptr;
}

void run_Convert(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  parallel(run.threads, y.count(), 4096, [&](int64_t begin, int64_t end, int32_t) {
    const int64_t n = end - begin;
    const uint8_t* codes = run.read<uint8_t>(&x) + begin;
    const float* reals = run.read<float>(&x) + (x.dtype == PITH_F32 ? begin : 0);
    const int32_t* integers = run.read<int32_t>(&x) + (x.dtype == PITH_I32 ? begin : 0);
    if (y.dtype == PITH_U8) {
      uint8_t* to = run.write<uint8_t>(&y) + begin;
      if (x.dtype == PITH_F32) return run.kernels.quantize_u8(reals, to, n, y.affine);
      if (x.dtype == PITH_U8) {
        const uint8_t* table = static_cast<const TablePlan*>(op.plan)->table;
        if (table != nullptr) return run.kernels.table_u8(codes, to, n, table);
        if (to != codes) memcpy(to, codes, static_cast<size_t>(n));
        return;
      }
      for (int64_t i = 0; i < n; ++i) to[i] = numerics::quantize_u8(integers[i], y.affine);
      return;
    }
    if (y.dtype == PITH_F32) {
      float* to = run.write<float>(&y) + begin;
      if (x.dtype == PITH_U8) run.kernels.dequantize_u8(codes, to, n, x.affine);
      for (int64_t i = 0; i < n && x.dtype != PITH_U8; ++i)
        to[i] = x.dtype == PITH_F32 ? reals[i] : static_cast<float>(integers[i]);
      return activate_f32(op, run, to, n);
    }
    int32_t* to = run.write<int32_t>(&y) + begin;
    for (int64_t i = 0; i < n; ++i) {
      to[i] = x.dtype == PITH_U8    ? to_integer(numerics::dequantize(codes[i], x.affine))
              : x.dtype == PITH_F32 ? to_integer(reals[i])
                                    : integers[i];
    }
  });
}

}  // namespace pith::runtime
