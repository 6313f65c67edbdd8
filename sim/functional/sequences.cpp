// Recurrent and Attention: floats over time; attention on 8-bit codes and on remembered rows too.
#include <algorithm>

#include "numerics/attention.h"
#include "numerics/cache_rows.h"
#include "sim/functional/operand.h"

namespace pith::sim {
namespace {

using numerics::Unary;

float squash(int64_t function, float x) {
  const Unary f = static_cast<Unary>(function);
  const double a = f == Unary::kLeakyRelu ? 0.01 : f == Unary::kThresholdedRelu || f == Unary::kElu ? 1 : f == Unary::kHardSigmoid ? 0.2 : 0;  // ONNX's defaults
  return static_cast<float>(numerics::apply_unary(f, x, a, f == Unary::kHardSigmoid ? 0.5 : 0));
}

// One direction of one sequence: LSTM (gates i o f c), GRU (z r h) or RNN.
struct Cell {
  Call& c;
  int64_t direction, inputs, hidden, gates;
  std::vector<float> h, cell;

  float parameter(size_t operand, int64_t at) const { return c.in[operand] ? c.in[operand].f32()[at] : 0; }
  float dot(size_t operand, int64_t row, const float* x, int64_t n) const {
    float sum = 0;
    if (const ProgramConstant* w = c.in[operand].weights) {
      for (int64_t i = 0; i < n; ++i) sum += static_cast<float>(w->integers[static_cast<size_t>(row * n + i)]) * x[i];
      const int64_t per_scale = c.in[operand].count(1, c.in[operand].dims.size()) / n;
      return sum * static_cast<float>(numerics::scale_value(w->scale_codes[w->scale_codes.size() > 1 ? static_cast<size_t>(row / per_scale) : 0]));
    }
    for (int64_t i = 0; i < n; ++i) sum += c.in[operand].f32()[row * n + i] * x[i];
    return sum;
  }
  float state_bias(int64_t gate, int64_t i) const { return parameter(3, (direction * 2 * gates + gates + gate) * hidden + i); }
  float state_dot(int64_t gate, int64_t i, const float* state) const { return dot(2, (direction * gates + gate) * hidden + i, state, hidden); }
  float input_part(int64_t gate, int64_t i, const float* x) const {
    return dot(1, (direction * gates + gate) * hidden + i, x, inputs) + parameter(3, (direction * 2 * gates + gate) * hidden + i);
  }
  float both(int64_t gate, int64_t i, const float* x, const float* state) const { return state_dot(gate, i, state) + (input_part(gate, i, x) + state_bias(gate, i)); }
  float clip(float v) const { return c.op.reals[0] > 0 ? std::clamp(v, -c.op.reals[0], c.op.reals[0]) : v; }
  float peephole(int64_t which, int64_t i) const { return parameter(6, (direction * 3 + which) * hidden + i); }

  void step(const float* x) {
    const std::vector<float> last = h;
    std::vector<float> reset(h.size()), update(h.size());
    for (int64_t i = 0; i < hidden && c.i(0) == 1; ++i) {
      const size_t k = static_cast<size_t>(i);
      update[k] = squash(c.i(4), clip(both(0, i, x, last.data())));
      reset[k] = squash(c.i(4), clip(both(1, i, x, last.data())));
    }
    std::vector<float> damped(h.size());
    for (size_t k = 0; k < h.size(); ++k) damped[k] = reset[k] * last[k];
    for (int64_t i = 0; i < hidden; ++i) {
      const size_t k = static_cast<size_t>(i);
      const auto gate = [&](int64_t g) { return both(g, i, x, last.data()); };
      if (c.i(0) == 2) {
        h[k] = squash(c.i(4), clip(gate(0)));
      } else if (c.i(0) == 1) {
        const float candidate = c.i(3) ? input_part(2, i, x) + reset[k] * (state_dot(2, i, last.data()) + state_bias(2, i)) : both(2, i, x, damped.data());
        h[k] = (1 - update[k]) * squash(c.i(5), clip(candidate)) + update[k] * last[k];
      } else {
        const float in = squash(c.i(4), clip(gate(0) + peephole(0, i) * cell[k]));
        const float forget = c.i(7) ? 1 - in : squash(c.i(4), clip(gate(2) + peephole(2, i) * cell[k]));
        cell[k] = forget * cell[k] + in * squash(c.i(5), clip(gate(3)));
        h[k] = squash(c.i(4), clip(gate(1) + peephole(1, i) * cell[k])) * squash(c.i(6), cell[k]);
      }
    }
  }
};

int64_t mask_place(const Operand& mask, const int64_t (&at)[4]) {
  int64_t place = 0;
  for (size_t m = 0; m < mask.dims.size(); ++m) place = place * mask.dims[m] + (mask.dims[m] == 1 ? 0 : at[4 - mask.dims.size() + m]);
  return place;
}

// numerics/attention.h, one query after the other.
std::optional<std::string> attend_codes(Call& c) {
  const Operand &q = c.in[0], &k = c.in[1], &v = c.in[2], &mask = c.in[3];
  if (!k.is_u8() || !v.is_u8() || !c.out[0].is_u8()) return "its operands aren't all 8-bit";
  const int64_t heads = q.dims[1], queries = q.dims[2], depth = q.dims[3], key_heads = k.dims[1], keys = k.dims[2], width = v.dims[3];
  const Finish finish = finish_of(c.op, c.out[0].affine);
  const numerics::WideMultiplier units = numerics::score_multiplier(q.affine, k.affine, c.op.reals[0]);
  const numerics::Multiplier mixture = numerics::multiplier(v.affine.scale_code - finish.raw.scale_code);
  const numerics::ExponentTable table(keys);
  std::vector<int32_t> score(static_cast<size_t>(keys)), sums(static_cast<size_t>(width));
  for (int64_t i = 0; i < q.count(0, 3); ++i) {
    const int64_t query = i % queries, head = i / queries % heads, n = i / queries / heads, shared = n * key_heads + head / (heads / key_heads);
    int32_t most = INT32_MIN;
    for (int64_t t = 0; t < keys; ++t) {
      int32_t dot = 0;
      for (int64_t d = 0; d < depth; ++d) dot += (q.u8()[i * depth + d] - q.affine.zero_point) * (k.u8()[(shared * keys + t) * depth + d] - k.affine.zero_point);
      int32_t u = numerics::score_units(dot, units);
      if (mask) {
        const int64_t at = mask_place(mask, {n, head, query, t});
        u += numerics::score_addend(mask.is_u8() ? static_cast<double>(static_cast<float>(numerics::dequantize(mask.u8()[at], mask.affine))) : static_cast<double>(mask.f32()[at]));
      }
      if (c.i(0) && t > query) u = numerics::kHiddenScore;
      score[static_cast<size_t>(t)] = u;
      most = std::max(most, u);
    }
    std::fill(sums.begin(), sums.end(), 0);
    int64_t weights = 0;
    for (int64_t t = 0; t < keys; ++t) {
      const int32_t w = table.at(most - score[static_cast<size_t>(t)]);
      weights += w;
      for (int64_t d = 0; d < width; ++d) sums[static_cast<size_t>(d)] += w * (v.u8()[(shared * keys + t) * width + d] - v.affine.zero_point);
    }
    const int64_t inverse = numerics::weight_inverse(weights);
    for (int64_t d = 0; d < width; ++d) {
      const int32_t code = numerics::mixture_code(sums[static_cast<size_t>(d)], inverse, mixture, finish.raw.zero_point);
      c.out[0].u8()[i * width + d] = finish.through(static_cast<uint8_t>(numerics::clamp(code, finish.low, finish.high)));
    }
  }
  return {};
}

// Float queries on key_heads x keys rows of keys and values as floats.
void attend_floats(Call& c, const float* k, const float* v, int64_t width, bool causal) {
  const Operand &q = c.in[0], &mask = c.in[3];
  const int64_t heads = q.dims[1], queries = q.dims[2], depth = q.dims[3], key_heads = c.in[1].dims[1],
                keys = c.in[1].dims[2];
  std::vector<float> score(static_cast<size_t>(keys));
  for (int64_t i = 0; i < q.count(0, 3); ++i) {
    const int64_t query = i % queries, head = i / queries % heads, n = i / queries / heads,
                  shared = n * key_heads + head / (heads / key_heads);
    float most = -__builtin_huge_valf();
    for (int64_t t = 0; t < keys; ++t) {
      float dot = 0;
      for (int64_t d = 0; d < depth; ++d) dot += q.f32()[i * depth + d] * k[(shared * keys + t) * depth + d];
      dot *= c.op.reals[0];
      if (c.op.reals[1] > 0)
        dot = c.op.reals[1] * static_cast<float>(numerics::tanh(static_cast<double>(dot) / c.op.reals[1]));
      if (mask) {
        const int64_t at[4] = {n, head, query, t};
        const int64_t place = mask_place(mask, at);
        if (mask.dtype == PITH_F32) dot += mask.f32()[place];
        if (mask.dtype == PITH_I32 && mask.i32()[place] == 0) dot = -__builtin_huge_valf();
      }
      if (causal && t > query) dot = -__builtin_huge_valf();
      score[static_cast<size_t>(t)] = dot;
      most = std::max(most, dot);
    }
    double sum = 0;
    for (float& s : score) {
      s = most > -__builtin_huge_valf() ? static_cast<float>(numerics::exp(static_cast<double>(s - most))) : 0;
      sum += s;
    }
    for (float& s : score) s *= sum > 0 ? static_cast<float>(1 / sum) : 0;
    for (int64_t d = 0; d < width; ++d) {
      float y = 0;
      for (int64_t t = 0; t < keys; ++t) y += score[static_cast<size_t>(t)] * v[(shared * keys + t) * width + d];
      c.out[0].f32()[i * width + d] = y;
    }
  }
  activate(c.op, c.out[0].f32(), c.out[0].count());
}

}  // namespace

std::optional<std::string> execute_Recurrent(Call& c) {
  const Operand& x = c.in[0];
  if (x.dtype != PITH_F32) return "its input isn't float";
  const int64_t steps = x.dims[0], batch = x.dims[1], inputs = x.dims[2], hidden = c.i(1), directions = c.i(2) == 2 ? 2 : 1;
  const int64_t gates = c.i(0) == 0 ? 4 : c.i(0) == 1 ? 3 : 1;
  for (int64_t s = 0; s < directions * batch; ++s) {
    const int64_t direction = s / batch, n = s % batch;
    Cell cell{c, direction, inputs, hidden, gates, std::vector<float>(static_cast<size_t>(hidden)), std::vector<float>(static_cast<size_t>(hidden))};
    const auto start = [&](size_t operand, std::vector<float>& state) {
      if (c.in[operand]) std::copy_n(c.in[operand].f32() + s * hidden, hidden, state.begin());
    };
    start(4, cell.h);
    start(5, cell.cell);
    for (int64_t k = 0; k < steps; ++k) {
      const int64_t t = c.i(2) == 1 || direction == 1 ? steps - 1 - k : k;
      cell.step(x.f32() + (t * batch + n) * inputs);
      if (c.out[0]) std::copy(cell.h.begin(), cell.h.end(), c.out[0].f32() + ((t * directions + direction) * batch + n) * hidden);
    }
    if (c.out[1]) std::copy(cell.h.begin(), cell.h.end(), c.out[1].f32() + s * hidden);
    if (c.out[2]) std::copy(cell.cell.begin(), cell.cell.end(), c.out[2].f32() + s * hidden);
  }
  return {};
}

std::optional<std::string> execute_Attention(Call& c) {
  const Operand &q = c.in[0], &k = c.in[1], &v = c.in[2];
  if (c.in[4] || c.in[5] || c.out[1] || c.out[2]) return "the virtual chip keeps no past keys inside the operator";
  if (q.is_u8()) return attend_codes(c);
  if (q.dtype != PITH_F32) return "its queries aren't float";
  attend_floats(c, k.f32(), v.f32(), v.dims[3], c.i(0) != 0);
  return {};
}

namespace {

// Rows where the condition holds, coded by body(head, row's bytes).
template <typename Body>
void remember(Call& c, const Body& body) {
  const Operand &past = c.in[0], &condition = c.in[2];
  Operand& y = c.out[0];
  const int64_t rows = past.dims[2], bytes = past.dims[3];
  if (y.u8() != past.u8()) std::copy_n(past.u8(), past.count(), y.u8());
  for (int64_t i = 0; i < past.dims[1] * rows; ++i)
    if (condition.i32()[i % rows] != 0) body(i / rows, y.u8() + i * bytes);
}

std::vector<float> decoded(const Operand& cache, int32_t depth, int32_t bits) {
  const int64_t rows = cache.count(0, 3);
  std::vector<float> all(static_cast<size_t>(rows * depth));
  for (int64_t i = 0; i < rows; ++i)
    numerics::decode_cache_row(cache.u8() + i * cache.dims[3], depth, bits, all.data() + i * depth);
  return all;
}

// A constant's values, coded ones with their scale as binary32.
std::vector<float> reals_of(const Operand& x) {
  std::vector<float> all(static_cast<size_t>(x.count()));
  for (size_t i = 0; i < all.size(); ++i) {
    const ProgramConstant* w = x.weights;
    const size_t row = w != nullptr && w->scale_codes.size() > 1 ? i / (all.size() / w->scale_codes.size()) : 0;
    all[i] = w == nullptr ? x.f32()[i] : static_cast<float>(w->integers[i]) * static_cast<float>(numerics::scale_value(w->scale_codes[row]));
  }
  return all;
}

}  // namespace

std::optional<std::string> execute_RememberRows(Call& c) {
  const Operand& x = c.in[1];
  remember(c, [&](int64_t h, uint8_t* row) { numerics::encode_cache_row(x.f32() + h * x.dims[3], x.dims[3], c.op.ints[0], row); });
  return {};
}

std::optional<std::string> execute_RememberKeys(Call& c) {
  const Operand& x = c.in[1];
  const std::vector<float> levels = reals_of(c.in[3]);
  const int64_t depth = x.dims[3], heads = x.dims[1];
  remember(c, [&](int64_t h, uint8_t* row) {
    const float *from = x.f32() + h * depth, *factor = levels.data() + h * depth, *level = factor + heads * depth;
    numerics::encode_cache_values([=](int32_t i) { return numerics::lower_key(from[i], factor[i], level[i]); }, x.dims[3], c.op.ints[0], row);
  });
  return {};
}

std::optional<std::string> execute_CachedAttention(Call& c) {
  const std::vector<float> keys = decoded(c.in[1], c.in[0].dims[3], c.op.ints[0]),
                           values = decoded(c.in[2], c.out[0].dims[3], c.op.ints[1]);
  attend_floats(c, keys.data(), values.data(), c.out[0].dims[3], false);
  return {};
}

std::optional<std::string> execute_TurnedAttention(Call& c) {
  const int32_t depth = c.in[0].dims[3], rotated = c.in[5] ? c.op.ints[3] : 0;
  const int64_t rows = c.in[1].dims[2], heads = c.in[1].dims[1], half = rotated / 2;
  std::vector<float> keys = decoded(c.in[1], depth, c.op.ints[0]);
  const std::vector<float> values = decoded(c.in[2], c.out[0].dims[3], c.op.ints[1]), levels = reals_of(c.in[4]),
                           cosines = c.in[5] ? reals_of(c.in[5]) : std::vector<float>(), sines = c.in[5] ? reals_of(c.in[6]) : cosines;
  for (int64_t i = 0; i < heads * rows; ++i) {
    float* y = keys.data() + i * depth;
    const float* factors = levels.data() + i / rows * depth;
    numerics::raise_key(y, depth, factors, factors + heads * depth);
    if (rotated == 0) continue;
    const size_t at = static_cast<size_t>(numerics::table_row(c.in[7].i32()[i % rows], c.in[5].dims[0]) * half);
    numerics::turn_key(y, rotated, c.op.ints[2] != 0, [&](int32_t k) { return cosines[at + static_cast<size_t>(k)]; },
                       [&](int32_t k) { return sines[at + static_cast<size_t>(k)]; });
  }
  attend_floats(c, keys.data(), values.data(), c.out[0].dims[3], false);
  return {};
}

}  // namespace pith::sim
