// Recurrent: LSTM, GRU and RNN as ONNX defines them, one time step after the other, float with integer or float
// weights.
//
// Gates of one step: W x_t + R h + b. Weights stay as the file has them (bytes and a scale per row, or floats); rows
// are dotted with x and h. The output order is T, directions, N, hidden.
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

float apply(int32_t function, float x) {
  const Unary f = static_cast<Unary>(function);
  double a = 0, b = 0;  // ONNX's defaults
  if (f == Unary::kLeakyRelu) a = 0.01;
  if (f == Unary::kThresholdedRelu || f == Unary::kElu) a = 1;
  if (f == Unary::kHardSigmoid) a = 0.2, b = 0.5;
  return static_cast<float>(numerics::apply_unary(f, static_cast<double>(x), a, b));
}

// Row `row` of a matrix of `length` columns times x.
float dot_row(const Run& run, const Tensor& w, int64_t row, int64_t length, const float* x) {
  if (w.dtype == PITH_F32) {
    const float* v = run.read<float>(&w) + row * length;
    float sum = 0;
    for (int64_t i = 0; i < length; ++i) sum += v[i] * x[i];
    return sum;
  }
  const int8_t* v = static_cast<const int8_t*>(w.values) + row * length;
  float sum = 0;
  for (int64_t i = 0; i < length; ++i) sum += static_cast<float>(v[i]) * x[i];
  const int64_t rows_per_scale = w.count_of(1, w.rank) / length;  // dims: rows, length; or directions, rows, length
  const int16_t code = w.scale_codes[w.row_scales ? row / rows_per_scale : 0];
  return sum * static_cast<float>(numerics::scale_value(code));
}

struct Step {
  const Op& op;
  const Run& run;
  Size size;
  int64_t direction;
  float* gates;  // [gates * hidden] W x + b
  float* reset;  // [hidden] GRU: r * h
  const float* x;
  float *h, *c;  // [hidden]

  float bias(int64_t which, int64_t i) const {  // which: gate, or gates + gate for the recurrent half
    const Tensor* b = op.inputs[3];
    return b == nullptr ? 0 : run.read<float>(b)[direction * 2 * size.gates * size.hidden + which * size.hidden + i];
  }
  float clip(float v) const {
    const float limit = op.reals[0];
    return limit > 0 ? (v < -limit ? -limit : v > limit ? limit : v) : v;
  }
  float input_part(int64_t gate, int64_t i) const {
    return dot_row(run, *op.inputs[1], (direction * size.gates + gate) * size.hidden + i, size.inputs, x) +
           bias(gate, i);
  }
  float hidden_part(int64_t gate, int64_t i, const float* state) const {
    return dot_row(run, *op.inputs[2], (direction * size.gates + gate) * size.hidden + i, size.hidden, state) +
           bias(size.gates + gate, i);
  }
  float peephole(int64_t which, int64_t i) const {
    const Tensor* p = op.inputs[6];
    return p == nullptr ? 0 : run.read<float>(p)[(direction * 3 + which) * size.hidden + i];
  }

  void lstm() const {  // gates in ONNX's order: input, output, forget, cell
    const int64_t n = size.hidden;
    for (int64_t g = 0; g < 4; ++g) {
      for (int64_t i = 0; i < n; ++i) gates[g * n + i] = input_part(g, i) + hidden_part(g, i, h);
    }
    for (int64_t i = 0; i < n; ++i) {
      const float in = apply(op.ints[kActivationF], clip(gates[i] + peephole(0, i) * c[i]));
      const float forget =
          op.ints[kInputForget] ? 1 - in : apply(op.ints[kActivationF], clip(gates[2 * n + i] + peephole(2, i) * c[i]));
      const float cell = apply(op.ints[kActivationG], clip(gates[3 * n + i]));
      c[i] = forget * c[i] + in * cell;
      const float out = apply(op.ints[kActivationF], clip(gates[n + i] + peephole(1, i) * c[i]));
      h[i] = out * apply(op.ints[kActivationH], c[i]);
    }
  }
  void gru() const {  // update, reset, hidden
    const int64_t n = size.hidden;
    for (int64_t i = 0; i < n; ++i) {
      gates[i] = apply(op.ints[kActivationF], clip(input_part(0, i) + hidden_part(0, i, h)));
      gates[n + i] = apply(op.ints[kActivationF], clip(input_part(1, i) + hidden_part(1, i, h)));
      reset[i] = gates[n + i] * h[i];
    }
    for (int64_t i = 0; i < n; ++i) {
      const float recurrent = op.ints[kResetMode] ? gates[n + i] * hidden_part(2, i, h) : hidden_part(2, i, reset);
      gates[2 * n + i] = apply(op.ints[kActivationG], clip(input_part(2, i) + recurrent));
    }
    for (int64_t i = 0; i < n; ++i) h[i] = (1 - gates[i]) * gates[2 * n + i] + gates[i] * h[i];
  }
  void rnn() const {
    for (int64_t i = 0; i < size.hidden; ++i)
      gates[i] = apply(op.ints[kActivationF], clip(input_part(0, i) + hidden_part(0, i, h)));
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
  Step step{op, run, s, direction, gates, reset, nullptr, h, c};
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
  return op.activation != Unary::kIdentity ? "an activation on a recurrent layer" : nullptr;
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
