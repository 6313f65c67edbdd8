// Recurrent: LSTM, GRU and RNN as ONNX defines them, one time step after the other, float with integer or float
// weights.
//
// Gates of one step: W x_t + R h + b. Weights stay as the file has them (bytes and a scale per row, or floats); all
// rows are multiplied by x, then by h, then functions go over whole gates. The output order is T, directions, N, hidden.
#include <math.h>
#include <string.h>

#include "program/schema.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

using numerics::Unary;

enum Kind { kLstm, kGru, kRnn };
enum Ints { kKind, kHidden, kDirections, kResetMode, kActivationF, kActivationG, kActivationH, kInputForget };

struct Size {
  int64_t steps, batch, inputs, hidden, gates, directions;
  explicit Size(const Op& op)
      : steps(op.inputs[0]->dims[0]),
        batch(op.inputs[0]->dims[1]),
        inputs(op.inputs[0]->dims[2]),
        hidden(op.ints[kHidden]),
        gates(op.ints[kKind] == kLstm  ? 4
              : op.ints[kKind] == kGru ? 3
                                       : 1),
        directions(op.ints[kDirections] == 2 ? 2 : 1) {}
};

// The rows of W and R that a step multiplies: bytes with a factor each, or floats.
struct Matrix {
  const Tensor* tensor;
  int64_t length;       // columns
  const float* factors;  // [rows], of bytes
};
struct Plan {
  float *input_factors, *state_factors;
};

// y[i] = row (first + i) of m times x, plus bias[i]; bias may be y.
void add_rows(const Run& run, const Matrix& m, int64_t first, int64_t count, const float* x, const float* bias, float* y) {
  if (m.tensor->dtype == PITH_I8) {
    run.kernels.rows_f32({x, static_cast<const int8_t*>(m.tensor->values) + first * m.length, static_cast<int32_t>(m.length), static_cast<int32_t>(count),
                          m.factors + first, bias, -HUGE_VALF, HUGE_VALF, y});
    return;
  }
  const float* row = run.read<float>(m.tensor) + first * m.length;
  for (int64_t r = 0; r < count; ++r, row += m.length) {
    float sum = 0;
    for (int64_t i = 0; i < m.length; ++i) sum += row[i] * x[i];
    y[r] = sum + bias[r];
  }
}

struct Step {
  const Op& op;
  const Run& run;
  Size size;
  int64_t direction;
  Matrix w, r;
  float* gates;  // [gates * hidden]
  float* reset;  // [hidden] GRU: r * h, or what r multiplies
  const float* x;
  float *h, *c;  // [hidden]

  float bias(int64_t which, int64_t i) const {  // which: gate, or gates + gate for the recurrent half
    const Tensor* b = op.inputs[3];
    return b == nullptr ? 0 : run.read<float>(b)[direction * 2 * size.gates * size.hidden + which * size.hidden + i];
  }
  // The first `full` gates become W x + b of both halves + R h, those after them W x + b of their own half.
  void products(int64_t full) const {
    const int64_t n = size.hidden, rows = size.gates * n, first = direction * rows;
    for (int64_t i = 0; i < rows; ++i) gates[i] = bias(0, i);
    add_rows(run, w, first, rows, x, gates, gates);
    for (int64_t i = 0; i < full * n; ++i) gates[i] += bias(size.gates, i);
    add_rows(run, r, first, full * n, h, gates, gates);
  }
  void clip(float* v, int64_t count) const {
    const float limit = op.reals[0];
    for (int64_t i = 0; i < count && limit > 0; ++i) v[i] = v[i] < -limit ? -limit : v[i] > limit ? limit : v[i];
  }
  void apply(int32_t function, float* v, int64_t count) const {
    const Unary f = static_cast<Unary>(function);
    float a = 0, b = 0;  // ONNX's defaults
    if (f == Unary::kLeakyRelu) a = 0.01f;
    if (f == Unary::kThresholdedRelu || f == Unary::kElu) a = 1;
    if (f == Unary::kHardSigmoid) a = 0.2f, b = 0.5f;
    run.kernels.unary_f32(v, v, count, f, a, b);
  }
  void squash(int32_t function, float* v, int64_t count) const {
    clip(v, count);
    apply(function, v, count);
  }
  void add_peephole(int64_t which, float* gate) const {
    const Tensor* p = op.inputs[6];
    if (p == nullptr) return;
    const float* weights = run.read<float>(p) + (direction * 3 + which) * size.hidden;
    for (int64_t i = 0; i < size.hidden; ++i) gate[i] += weights[i] * c[i];
  }

  void lstm() const {  // gates in ONNX's order: input, output, forget, cell
    const int64_t n = size.hidden;
    float *in = gates, *out = gates + n, *forget = gates + 2 * n, *cell = gates + 3 * n;
    products(4);
    add_peephole(0, in);
    squash(op.ints[kActivationF], in, n);
    if (op.ints[kInputForget]) {
      for (int64_t i = 0; i < n; ++i) forget[i] = 1 - in[i];
    } else {
      add_peephole(2, forget);
      squash(op.ints[kActivationF], forget, n);
    }
    squash(op.ints[kActivationG], cell, n);
    for (int64_t i = 0; i < n; ++i) h[i] = c[i] = forget[i] * c[i] + in[i] * cell[i];
    add_peephole(1, out);
    squash(op.ints[kActivationF], out, n);
    apply(op.ints[kActivationH], h, n);
    for (int64_t i = 0; i < n; ++i) h[i] *= out[i];
  }
  void gru() const {  // update, reset, hidden
    const int64_t n = size.hidden, first = direction * 3 * n + 2 * n;
    float *update = gates, *open = gates + n, *hidden = gates + 2 * n;
    products(2);
    squash(op.ints[kActivationF], update, 2 * n);
    if (op.ints[kResetMode]) {
      for (int64_t i = 0; i < n; ++i) reset[i] = bias(5, i);
      add_rows(run, r, first, n, h, reset, reset);
      for (int64_t i = 0; i < n; ++i) hidden[i] += open[i] * reset[i];
    } else {
      for (int64_t i = 0; i < n; ++i) reset[i] = open[i] * h[i], hidden[i] += bias(5, i);
      add_rows(run, r, first, n, reset, hidden, hidden);
    }
    squash(op.ints[kActivationG], hidden, n);
    for (int64_t i = 0; i < n; ++i) h[i] = (1 - update[i]) * hidden[i] + update[i] * h[i];
  }
  void rnn() const {
    products(1);
    squash(op.ints[kActivationF], gates, size.hidden);
    memcpy(h, gates, static_cast<size_t>(size.hidden) * sizeof(float));
  }
};

void start_state(const Run& run, const Tensor* initial, int64_t index, int64_t n, float* state) {
  if (initial == nullptr) {
    memset(state, 0, static_cast<size_t>(n) * sizeof(float));
  } else {
    memcpy(state, run.read<float>(initial) + index * n, static_cast<size_t>(n) * sizeof(float));
  }
}

void run_sequence(const Op& op, const Run& run, const Size& s, int64_t direction, int64_t batch, float* scratch) {
  const int64_t n = s.hidden, state = direction * s.batch + batch;
  float *h = scratch, *c = h + n, *reset = c + n, *gates = reset + n;
  start_state(run, op.inputs[4], state, n, h);
  start_state(run, op.inputs[5], state, n, c);
  const Plan& plan = *static_cast<const Plan*>(op.plan);
  Step step{op, run, s, direction, {op.inputs[1], s.inputs, plan.input_factors}, {op.inputs[2], n, plan.state_factors}, gates, reset, nullptr, h, c};
  const bool backward = op.ints[kDirections] == 1 || direction == 1;
  for (int64_t k = 0; k < s.steps; ++k) {
    const int64_t t = backward ? s.steps - 1 - k : k;
    step.x = run.read<float>(op.inputs[0]) + (t * s.batch + batch) * s.inputs;
    switch (op.ints[kKind]) {
      case kLstm:
        step.lstm();
        break;
      case kGru:
        step.gru();
        break;
      default:
        step.rnn();
    }
    if (op.outputs[0] != nullptr) {
      memcpy(run.write<float>(op.outputs[0]) + ((t * s.directions + direction) * s.batch + batch) * n, h,
             static_cast<size_t>(n) * sizeof(float));
    }
  }
  for (int i = 1; i < 3; ++i) {
    if (op.outputs[i] != nullptr)
      memcpy(run.write<float>(op.outputs[i]) + state * n, i == 1 ? h : c, static_cast<size_t>(n) * sizeof(float));
  }
}

// A factor for each row of integer weights; null for floats and while counting.
float* row_factors(Builder& builder, const Tensor& t, int64_t length) {
  const int64_t rows = t.count() / length, rows_per_scale = t.count_of(1, t.rank) / length;  // dims: rows, length; or directions, rows, length
  float* factors = t.dtype == PITH_I8 ? builder.memory.take<float>(rows) : nullptr;
  for (int64_t r = 0; factors != nullptr && r < rows; ++r)
    factors[r] = static_cast<float>(numerics::scale_value(t.scale_codes[t.row_scales ? r / rows_per_scale : 0]));
  return factors;
}

bool fits(const Tensor* t, int64_t count) { return t == nullptr || (t->dtype == PITH_F32 && t->count() == count); }

}  // namespace

const char* prepare_Recurrent(Builder& builder, Op& op) {
  for (int i = 0; i < format::kSchemas[op.opcode].inputs; ++i) {
    Tensor* t = op.inputs[i];
    if (t == nullptr || !t->is_constant()) continue;
    const bool matrix = i == 1 || i == 2;
    const int dtype = t->dtype == PITH_I8 && !matrix ? int{PITH_F32} : int{t->dtype};
    if (const char* reason = decode_constant(builder, *t, dtype)) return reason;
  }
  const Tensor &x = *op.inputs[0], &w = *op.inputs[1], &r = *op.inputs[2];
  const int32_t kind = op.ints[kKind];
  if (kind < kLstm || kind > kRnn || op.ints[kDirections] < 0 || op.ints[kDirections] > 2 || op.ints[kHidden] < 1)
    return "its kind or direction is unknown";
  for (int i = kActivationF; i <= kActivationH; ++i) {
    if (op.ints[i] < 0 || op.ints[i] >= numerics::kUnaryCount) return "an activation function is unknown";
  }
  if (x.rank != 3 || x.dtype != PITH_F32) return "its input isn't a float sequence of rank 3";
  const Size s(op);
  const int64_t rows = s.directions * s.gates * s.hidden, states = s.directions * s.batch * s.hidden;
  const Tensor* const matrices[] = {&w, &r};
  for (const Tensor* t : matrices) {
    if (t->dtype != PITH_F32 && !(t->dtype == PITH_I8 && t->is_constant())) return "its weights have the wrong type";
    if (t->rank < 2 || t->rank > 3) return "its weights don't fit";
    // one scale for each row, or for all rows of a direction
    if (t->row_scales && t->count_of(1, t->rank) % (t == &w ? s.inputs : s.hidden) != 0)
      return "its weights' scales don't fit";
  }
  if (w.count() != rows * s.inputs || r.count() != rows * s.hidden) return "its weights don't fit";
  if (!fits(op.inputs[3], 2 * rows) || !fits(op.inputs[4], states) || !fits(op.inputs[5], states) ||
      !fits(op.inputs[6], 3 * s.directions * s.hidden)) {
    return "its bias, initial state or peephole doesn't fit";
  }
  if (!fits(op.outputs[0], s.steps * states) || !fits(op.outputs[1], states) || !fits(op.outputs[2], states))
    return "its outputs don't fit";
  if (op.activation != Unary::kIdentity) return "an activation on a recurrent layer";
  Plan* plan = builder.plan<Plan>(op);
  float *input_factors = row_factors(builder, w, s.inputs), *state_factors = row_factors(builder, r, s.hidden);
  if (plan != nullptr) *plan = {input_factors, state_factors};
  return nullptr;
}

void run_Recurrent(const Op& op, const Run& run) {
  const Size s(op);
  parallel(run.threads, s.directions * s.batch, 1, [&](int64_t begin, int64_t end, int32_t task) {
    for (int64_t i = begin; i < end; ++i) {
      run_sequence(op, run, s, i / s.batch, i % s.batch, reinterpret_cast<float*>(run.scratch(op, task)));
    }
  });
}

}  // namespace pith::runtime
