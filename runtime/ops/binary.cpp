// Binary: two operands with broadcast; 8-bit sums, differences, products and PRelu in integers, the rest in float or
// i32.
#include "runtime/ops/broadcast.h"

namespace pith::runtime {
namespace {

struct Plan {
  Broadcast<2> loops;
  numerics::AddParams add;
  numerics::MulParams mul;
  const uint8_t* table;
  const uint8_t* positive;  // PRelu: x >= 0, as a table
  uint8_t zero_a;
};

bool is_comparison(int32_t kind) { return kind >= PITH_BINARY_EQUAL && kind <= PITH_BINARY_XOR; }

template <typename T>
int32_t compare(int32_t kind, T a, T b) {
  switch (kind) {
    case PITH_BINARY_EQUAL:
      return a == b;
    case PITH_BINARY_LESS:
      return a < b;
    case PITH_BINARY_LESS_EQUAL:
      return a <= b;
    case PITH_BINARY_GREATER:
      return a > b;
    case PITH_BINARY_GREATER_EQUAL:
      return a >= b;
    case PITH_BINARY_AND:
      return a != 0 && b != 0;
    case PITH_BINARY_OR:
      return a != 0 || b != 0;
    default:
      return (a != 0) != (b != 0);
  }
}

int32_t integer_power(int32_t base, int32_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  uint32_t result = 1, factor = static_cast<uint32_t>(base);
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1) result *= factor;
    factor *= factor;
  }
  return static_cast<int32_t>(result);
}

// Two's complement, as ONNX's int32 arithmetic; division truncates, by zero gives zero.
int32_t integer_binary(int32_t kind, int32_t a, int32_t b) {
  const uint32_t ua = static_cast<uint32_t>(a), ub = static_cast<uint32_t>(b);
  switch (kind) {
    case PITH_BINARY_ADD:
      return static_cast<int32_t>(ua + ub);
    case PITH_BINARY_SUB:
      return static_cast<int32_t>(ua - ub);
    case PITH_BINARY_MUL:
      return static_cast<int32_t>(ua * ub);
    case PITH_BINARY_DIV:
      return b == 0 ? 0 : b == -1 ? static_cast<int32_t>(0 - ua) : a / b;
    case PITH_BINARY_POW:
      return integer_power(a, b);
    case PITH_BINARY_MIN:
      return a < b ? a : b;
    case PITH_BINARY_MAX:
      return a > b ? a : b;
    case PITH_BINARY_FMOD:
      return b == 0 || b == -1 ? 0 : a % b;
    case PITH_BINARY_MOD: {
      const int32_t r = b == 0 || b == -1 ? 0 : a % b;
      return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
    case PITH_BINARY_PRELU:
      return a < 0 ? static_cast<int32_t>(ua * ub) : a;
    default:
      return compare(kind, a, b);
  }
}

const char* prepare_u8(Builder& builder, Op& op, Plan& plan) {
  const Tensor &a = *op.inputs[0], &b = *op.inputs[1], &y = *op.outputs[0];
  const int32_t kind = op.ints[0];
  const U8Finish f = computed_finish(builder, op, y);
  plan.table = f.epilogue.table;
  plan.zero_a = a.affine.zero_point;
  switch (kind) {
    case PITH_BINARY_ADD:
    case PITH_BINARY_SUB:
      plan.add =
          numerics::add_params(a.affine, b.affine, f.raw, kind == PITH_BINARY_SUB, f.epilogue.low, f.epilogue.high);
      return nullptr;
    case PITH_BINARY_MUL:
    case PITH_BINARY_PRELU:
      plan.mul = numerics::mul_params(a.affine, b.affine, f.raw, f.epilogue.low, f.epilogue.high);
      if (kind == PITH_BINARY_PRELU) {
        uint8_t* positive = builder.memory.take<uint8_t>(256);
        if (positive == nullptr) return nullptr;
        const numerics::Multiplier m = numerics::multiplier(a.affine.scale_code - f.raw.scale_code);
        for (int q = 0; q < 256; ++q) {
          positive[q] =
              numerics::requantize_u8(q - a.affine.zero_point, m, f.raw.zero_point, f.epilogue.low, f.epilogue.high);
        }
        plan.positive = positive;
      }
      return nullptr;
    default:
      return "this kind has no 8-bit form; the compiler should convert its inputs to float";
  }
}

void run_u8(const Plan& plan, const Op& op, const Run& run) {
  const uint8_t *a = run.read<uint8_t>(op.inputs[0]), *b = run.read<uint8_t>(op.inputs[1]);
  uint8_t* y = run.write<uint8_t>(op.outputs[0]);
  const bool ra = plan.loops.repeats[0], rb = plan.loops.repeats[1];
  plan.loops.each(run.threads, [&](const int64_t(&at)[2], int64_t to, int64_t count) {
    switch (op.ints[0]) {
      case PITH_BINARY_MUL:
        return run.kernels.mul_u8({a + at[0], b + at[1], y + to, count, ra, rb, plan.mul, plan.table});
      case PITH_BINARY_PRELU:
        for (int64_t i = 0; i < count; ++i) {
          const uint8_t x = a[at[0] + (ra ? 0 : i)], slope = b[at[1] + (rb ? 0 : i)];
          const uint8_t q = x >= plan.zero_a ? plan.positive[x] : numerics::mul_u8(x, slope, plan.mul);
          y[to + i] = plan.table != nullptr ? plan.table[q] : q;
        }
        return;
      default:
        return run.kernels.add_u8({a + at[0], b + at[1], y + to, count, ra, rb, plan.add, plan.table});
    }
  });
}

void run_f32(const Plan& plan, const Op& op, const Run& run) {
  const float *a = run.read<float>(op.inputs[0]), *b = run.read<float>(op.inputs[1]);
  const int32_t kind = op.ints[0];
  const bool ra = plan.loops.repeats[0], rb = plan.loops.repeats[1];
  if (is_comparison(kind)) {
    int32_t* y = run.write<int32_t>(op.outputs[0]);
    plan.loops.each(run.threads, [&](const int64_t(&at)[2], int64_t to, int64_t count) {
      for (int64_t i = 0; i < count; ++i) y[to + i] = compare(kind, a[at[0] + (ra ? 0 : i)], b[at[1] + (rb ? 0 : i)]);
    });
    return;
  }
  float* y = run.write<float>(op.outputs[0]);
  plan.loops.each(run.threads, [&](const int64_t(&at)[2], int64_t to, int64_t count) {
    run.kernels.binary_f32({a + at[0], b + at[1], y + to, count, ra, rb, kind});
    activate_f32(op, run, y + to, count);
  });
}

}  // namespace

const char* prepare_Binary(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &a = *op.inputs[0], &b = *op.inputs[1], &y = *op.outputs[0];
  const Tensor* operands[2] = {&a, &b};
  Plan plan{};
  if (op.ints[0] < 0 || op.ints[0] >= PITH_BINARY_COUNT) return "its kind is unknown";
  if (a.dtype != b.dtype) return "its inputs have different data types";
  if (!plan.loops.plan(y, operands)) return "its dimensions don't broadcast";
  if (a.dtype == PITH_U8) {
    if (y.dtype != PITH_U8) return "its 8-bit inputs have another output";
    if (const char* reason = prepare_u8(builder, op, plan)) return reason;
  } else if (y.dtype != (is_comparison(op.ints[0]) ? int{PITH_I32} : int{a.dtype})) {
    return "its output has the wrong data type";
  }
  if (a.dtype == PITH_I32 && op.activation != numerics::Unary::kIdentity) return "an activation on integers";
  Plan* p = builder.plan<Plan>(op);
  if (p != nullptr) *p = plan;
  return nullptr;
}

void run_Binary(const Op& op, const Run& run) {
  const Plan& plan = *static_cast<const Plan*>(op.plan);
  if (op.inputs[0]->dtype == PITH_U8) return run_u8(plan, op, run);
  if (op.inputs[0]->dtype == PITH_F32) return run_f32(plan, op, run);
  const int32_t *a = run.read<int32_t>(op.inputs[0]), *b = run.read<int32_t>(op.inputs[1]);
  int32_t* y = run.write<int32_t>(op.outputs[0]);
  const bool ra = plan.loops.repeats[0], rb = plan.loops.repeats[1];
  plan.loops.each(run.threads, [&](const int64_t(&at)[2], int64_t to, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      y[to + i] = integer_binary(op.ints[0], a[at[0] + (ra ? 0 : i)], b[at[1] + (rb ? 0 : i)]);
  });
}

}  // namespace pith::runtime
