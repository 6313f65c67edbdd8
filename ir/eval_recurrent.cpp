// LSTM, GRU and RNN, as ONNX's operator texts state them.
//
// The inputs' part of the gates is one matrix product over all steps; the state's part is one per step. Sequences of a
// batch may differ in length: a finished sequence keeps its state and gives zeros.
#include <algorithm>
#include <cmath>

#include "ir/eval.h"
#include "ir/loops.h"
#include "ir/products.h"
#include "ir/recurrent.h"

namespace pith::ir {
namespace {

struct Layer {
  Op op;
  int64_t steps, batch, input, hidden, gates;
  float clip;
  bool input_forget, linear_before_reset;
  std::vector<int64_t> lengths;
};

// One direction's weights, functions and states (batch x hidden).
struct Direction {
  bool reverse;
  const float *w, *r, *bias_w, *bias_r, *peepholes;  // biases and peepholes may be null
  const RecurrentFunction* f;
  float *h, *c;
};

// What one step of one sequence works on: gates from the input and from the state, `hidden` numbers each.
void lstm_cell(const Layer& l, const Direction& d, const float* gates, float* h, float* c) {
  const auto clipped = [&](float v) { return l.clip > 0 ? std::clamp(v, -l.clip, l.clip) : v; };
  for (int64_t k = 0; k < l.hidden; ++k) {
    const auto gate = [&](int64_t g) { return gates[g * l.hidden + k]; };  // i, o, f, c
    const auto peep = [&](int64_t p, float state) {
      return d.peepholes != nullptr ? d.peepholes[p * l.hidden + k] * state : 0.0f;
    };
    const float i = d.f[0](clipped(gate(0) + peep(0, c[k])));
    const float forget = l.input_forget ? 1 - i : d.f[0](clipped(gate(2) + peep(2, c[k])));
    const float next = forget * c[k] + i * d.f[1](clipped(gate(3)));
    const float o = d.f[0](clipped(gate(1) + peep(1, next)));
    c[k] = next;
    h[k] = o * d.f[2](next);
  }
}

// `x` are the input's gates z, r, h with its biases; `s` the state's (without bias); `reset` is room for r * h.
void gru_cell(const Layer& l, const Direction& d, const float* x, const float* s, std::vector<float>& reset, float* h) {
  const int64_t n = l.hidden;
  const auto clipped = [&](float v) { return l.clip > 0 ? std::clamp(v, -l.clip, l.clip) : v; };
  const auto bias = [&](int64_t g, int64_t k) { return d.bias_r != nullptr ? d.bias_r[g * n + k] : 0.0f; };
  std::vector<float> z(static_cast<size_t>(n)), candidate(static_cast<size_t>(n));
  for (int64_t k = 0; k < n; ++k) {
    const auto at = static_cast<size_t>(k);
    z[at] = d.f[0](clipped(x[k] + s[k] + bias(0, k)));
    const float r = d.f[0](clipped(x[n + k] + s[n + k] + bias(1, k)));
    reset[at] = r * h[k];
    candidate[at] = x[2 * n + k] + (l.linear_before_reset ? r * (s[2 * n + k] + bias(2, k)) : bias(2, k));
  }
  if (!l.linear_before_reset) {
    gemm(false, true, 1, n, n, reset.data(), n, d.r + 2 * n * n, n, true, candidate.data(), n);
  }
  for (int64_t k = 0; k < n; ++k) {
    const auto at = static_cast<size_t>(k);
    h[k] = (1 - z[at]) * d.f[1](clipped(candidate[at])) + z[at] * h[k];
  }
}

void run_direction(const Layer& l, const Direction& d, const float* x, float* y, int64_t y_step, int64_t y_batch) {
  const int64_t width = l.gates * l.hidden;
  std::vector<float> from_input(static_cast<size_t>(l.steps * l.batch * width)),
      from_state(static_cast<size_t>(l.batch * width));
  gemm(false, true, l.steps * l.batch, width, l.input, x, l.input, d.w, l.input, false, from_input.data(), width);
  const bool gru = l.op == Op::kGRU;
  for (size_t i = 0; i < from_input.size() && d.bias_w != nullptr; ++i) {
    const int64_t g = static_cast<int64_t>(i) % width;
    from_input[i] += d.bias_w[g] + (gru ? 0.0f : d.bias_r[g]);  // a GRU adds the state's biases in the cell
  }
  std::vector<float> gates(static_cast<size_t>(width)), reset(static_cast<size_t>(l.hidden));
  for (int64_t step = 0; step < l.steps; ++step) {
    gemm(false, true, l.batch, width, l.hidden, d.h, l.hidden, d.r, l.hidden, false, from_state.data(), width);
    for (int64_t b = 0; b < l.batch; ++b) {
      const int64_t length = l.lengths[static_cast<size_t>(b)];
      if (step >= length) continue;
      const int64_t t = d.reverse ? length - 1 - step : step;
      const float *in = from_input.data() + (t * l.batch + b) * width, *state = from_state.data() + b * width;
      float *h = d.h + b * l.hidden, *c = d.c + b * l.hidden;
      if (gru) {
        gru_cell(l, d, in, state, reset, h);
      } else {
        for (int64_t g = 0; g < width; ++g) gates[static_cast<size_t>(g)] = in[g] + state[g];
        if (l.op == Op::kLSTM) {
          lstm_cell(l, d, gates.data(), h, c);
        } else {
          for (int64_t k = 0; k < l.hidden; ++k) {
            const float v = gates[static_cast<size_t>(k)];
            h[k] = d.f[0](l.clip > 0 ? std::clamp(v, -l.clip, l.clip) : v);
          }
        }
      }
      std::copy_n(h, l.hidden, y + t * y_step + b * y_batch);
    }
  }
}

Result<Layer> layer_of(const Evaluation& e, bool batch_first) {
  const Shape& x = e.shape(0);
  const int64_t hidden = e.shape(2)[2];
  Layer l{e.node.op,
          x[batch_first ? 1 : 0],
          x[batch_first ? 0 : 1],
          x[2],
          hidden,
          e.shape(2)[1] / std::max<int64_t>(hidden, 1),
          static_cast<float>(e.node.real("clip", 0)),
          e.node.integer("input_forget", 0) != 0,
          e.node.integer("linear_before_reset", 0) != 0,
          {}};
  l.lengths.assign(static_cast<size_t>(l.batch), l.steps);
  for (int64_t b = 0; b < l.batch && e.has(4); ++b) {
    const auto length = static_cast<int64_t>(e.in(4).at(b));
    if (length < 0 || length > l.steps)
      return e.fail(fmt::format("a sequence of length {} among {} steps", length, l.steps));
    l.lengths[static_cast<size_t>(b)] = length;
  }
  return l;
}

// (directions, batch, hidden) of an initial state, or zeros.
Tensor initial_state(const Evaluation& e, size_t input, const Layer& l, int64_t directions, bool batch_first) {
  if (!e.has(input)) return Tensor(DType::kF32, {directions, l.batch, l.hidden});
  return batch_first ? transposed(e.in(input), {1, 0, 2}) : e.in(input);
}

}  // namespace

Result<void> eval_recurrent(Evaluation& e) {
  const bool batch_first = e.node.integer("layout", 0) == 1;
  const std::string direction = e.node.text("direction", "forward");
  const int64_t directions = direction == "bidirectional" ? 2 : 1;
  PITH_TRY(const Layer l, layer_of(e, batch_first));
  const auto functions = recurrent_functions(e.node, directions).value();
  const Tensor x = batch_first ? transposed(e.in(0), {1, 0, 2}) : e.in(0);
  Tensor h = initial_state(e, 5, l, directions, batch_first);
  Tensor c = initial_state(e, l.op == Op::kLSTM ? 6 : 99, l, directions, batch_first);
  Tensor y(DType::kF32, {l.steps, directions, l.batch, l.hidden});

  const int64_t width = l.gates * l.hidden, state = l.batch * l.hidden;
  for (int64_t k = 0; k < directions; ++k) {
    const float* bias = e.has(3) ? e.f32(3) + k * 2 * width : nullptr;
    const Direction d{direction == "reverse" || k == 1,
                      e.f32(1) + k * width * l.input,
                      e.f32(2) + k * width * l.hidden,
                      bias,
                      bias != nullptr ? bias + width : nullptr,
                      e.has(7) ? e.f32(7) + k * 3 * l.hidden : nullptr,
                      functions.data() + static_cast<size_t>(k) * functions.size() / static_cast<size_t>(directions),
                      h.mut<float>().data() + k * state,
                      c.mut<float>().data() + k * state};
    run_direction(l, d, x.as<float>().data(), y.mut<float>().data() + k * state, directions * state, l.hidden);
  }
  e.outputs[0] = batch_first ? transposed(y, {2, 0, 1, 3}) : std::move(y);
  if (e.outputs.size() > 1) e.outputs[1] = batch_first ? transposed(h, {1, 0, 2}) : std::move(h);
  if (e.outputs.size() > 2) e.outputs[2] = batch_first ? transposed(c, {1, 0, 2}) : std::move(c);
  return {};
}

}  // namespace pith::ir
