// Conv2d, ConvTranspose2d, Dense, MatMul.
//
// A position's inputs are gathered once, less their zero point (padding is then 0), and every filter sums over its
// weights other than zero: what a core does with its multiplexers, one position at a time.
#include "coding/decode/activation_rows.h"
#include "sim/functional/operand.h"

namespace pith::sim {
namespace {

using numerics::Affine;

struct Geometry {
  int64_t batch, in_h, in_w, channels, out_h, out_w, outputs, kernel_h, kernel_w, depth, groups;
  int64_t stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
};

Geometry conv_geometry(const Call& c, bool transposed) {
  Geometry g{};
  const auto &x = c.in[0].dims, &w = c.in[1].dims, &y = c.out[0].dims;
  g.batch = x[0], g.in_h = x[1], g.in_w = x[2], g.channels = x[3];
  g.out_h = y[1], g.out_w = y[2], g.outputs = y[3];
  g.groups = c.i(8);
  g.kernel_h = w[1], g.kernel_w = w[2], g.depth = transposed ? w[3] / g.groups : w[3];
  g.stride_h = c.i(0), g.stride_w = c.i(1), g.dilation_h = c.i(2), g.dilation_w = c.i(3), g.pad_top = c.i(4), g.pad_left = c.i(5);
  return g;
}
Geometry dense_geometry(const Call& c) {
  Geometry g{};
  g.in_h = g.kernel_h = g.kernel_w = g.groups = g.stride_h = g.stride_w = g.dilation_h = g.dilation_w = g.out_h = g.batch = 1;
  g.channels = g.depth = c.in[1].dims[1], g.outputs = c.in[1].dims[0];
  g.in_w = g.out_w = g.channels > 0 ? c.in[0].count() / g.channels : 0;
  return g;
}

// A filter's weights other than zero, as places in the gathered inputs [kernel][channels].
template <typename W>
struct Filter {
  std::vector<int32_t> at;
  std::vector<W> weight;
};
template <typename W, typename Read>
std::vector<Filter<W>> filters_of(const Geometry& g, const Read& read) {
  std::vector<Filter<W>> filters(static_cast<size_t>(g.outputs));
  const int64_t taps = g.kernel_h * g.kernel_w, per_group = g.outputs / g.groups;
  for (int64_t o = 0; o < g.outputs; ++o) {
    for (int64_t k = 0; k < taps * g.depth; ++k) {
      const W w = read(o * taps * g.depth + k);
      if (w == 0) continue;
      filters[static_cast<size_t>(o)].at.push_back(static_cast<int32_t>(k / g.depth * g.channels + o / per_group * g.depth + k % g.depth));
      filters[static_cast<size_t>(o)].weight.push_back(w);
    }
  }
  return filters;
}

// Calls body(inputs, position) for every output position; T: element of x, P: gathered type.
template <typename T, typename P, typename Body>
void each_position(const Geometry& g, const T* x, P zero, const Body& body) {
  std::vector<P> patch(static_cast<size_t>(g.kernel_h * g.kernel_w * g.channels));
  for (int64_t p = 0; p < g.batch * g.out_h * g.out_w; ++p) {
    const int64_t n = p / (g.out_h * g.out_w), oy = p / g.out_w % g.out_h, ox = p % g.out_w;
    P* to = patch.data();
    for (int64_t ky = 0; ky < g.kernel_h; ++ky) {
      const int64_t iy = oy * g.stride_h + ky * g.dilation_h - g.pad_top;
      for (int64_t kx = 0; kx < g.kernel_w; ++kx, to += g.channels) {
        const int64_t ix = ox * g.stride_w + kx * g.dilation_w - g.pad_left;
        const bool inside = iy >= 0 && iy < g.in_h && ix >= 0 && ix < g.in_w;
        const T* from = x + ((n * g.in_h + iy) * g.in_w + ix) * g.channels;
        for (int64_t c = 0; c < g.channels; ++c) to[c] = inside ? static_cast<P>(static_cast<P>(from[c]) - zero) : P{0};
      }
    }
    body(patch.data(), p);
  }
}

int scale_code(const ProgramConstant& w, int64_t row) { return w.scale_codes[w.scale_codes.size() > 1 ? static_cast<size_t>(row) : 0]; }

std::optional<std::string> wrong_types(const Call& c) {
  const Operand &x = c.in[0], &y = c.out[0];
  if (x.is_u8() && y.is_u8() && c.in[1].weights && (!c.in[2] || c.in[2].dtype == PITH_I32)) return {};
  if (x.dtype == PITH_F32 && y.dtype == PITH_F32 && (c.in[1].dtype == PITH_F32 || c.in[1].weights)) return {};
  return "its data types don't fit together";
}

std::optional<std::string> convolve(Call& c, const Geometry& g) {
  if (auto reason = wrong_types(c)) return reason;
  const Operand &x = c.in[0], &w = c.in[1], &b = c.in[2];
  Operand& y = c.out[0];
  if (x.is_u8()) {
    const Finish finish = finish_of(c.op, y.affine);
    const auto filters = filters_of<int32_t>(g, [&](int64_t i) { return w.weights->integers[static_cast<size_t>(i)]; });
    std::vector<numerics::Multiplier> factors;
    for (int64_t o = 0; o < g.outputs; ++o) factors.push_back(numerics::multiplier(x.affine.scale_code + scale_code(*w.weights, o) - finish.raw.scale_code));
    each_position<uint8_t, int32_t>(g, x.u8(), x.affine.zero_point, [&](const int32_t* inputs, int64_t p) {
      for (size_t o = 0; o < filters.size(); ++o) {
        int32_t acc = b ? b.i32()[o] : 0;
        const Filter<int32_t>& f = filters[o];
        for (size_t k = 0; k < f.at.size(); ++k) acc += inputs[f.at[k]] * f.weight[k];
        y.u8()[p * g.outputs + static_cast<int64_t>(o)] = finish(acc, factors[o]);
      }
    });
    return {};
  }
  if (c.op.opcode == PITH_OPCODE_Dense && w.weights && g.batch * g.out_h * g.out_w == 1) {  // whole numbers are summed, and scaled once
    for (int64_t o = 0; o < g.outputs; ++o) {
      float sum = 0;
      for (int64_t k = 0; k < g.channels; ++k) sum += x.f32()[k] * static_cast<float>(w.weights->integers[static_cast<size_t>(o * g.channels + k)]);
      y.f32()[o] = sum * static_cast<float>(numerics::scale_value(scale_code(*w.weights, o))) + (b ? b.f32()[o] : 0);
    }
    activate(c.op, y.f32(), y.count());
    return {};
  }
  const auto filters = filters_of<float>(g, [&](int64_t i) { return w.f32()[i]; });
  each_position<float, float>(g, x.f32(), 0, [&](const float* inputs, int64_t p) {
    for (size_t o = 0; o < filters.size(); ++o) {
      float acc = b ? b.f32()[o] : 0;
      const Filter<float>& f = filters[o];
      for (size_t k = 0; k < f.at.size(); ++k) acc += inputs[f.at[k]] * f.weight[k];
      y.f32()[p * g.outputs + static_cast<int64_t>(o)] = acc;
    }
  });
  activate(c.op, y.f32(), y.count());
  return {};
}

// Adds every input's contribution to the outputs it reaches. add(output element, input element, weight element)
template <typename Add>
void spread(const Geometry& g, const Add& add) {
  const int64_t per_group = g.outputs / g.groups, row = g.kernel_h * g.kernel_w * g.channels;
  for (int64_t p = 0; p < g.batch * g.in_h * g.in_w; ++p) {
    const int64_t n = p / (g.in_h * g.in_w), iy = p / g.in_w % g.in_h, ix = p % g.in_w;
    for (int64_t ky = 0; ky < g.kernel_h; ++ky) {
      for (int64_t kx = 0; kx < g.kernel_w; ++kx) {
        const int64_t oy = iy * g.stride_h + ky * g.dilation_h - g.pad_top, ox = ix * g.stride_w + kx * g.dilation_w - g.pad_left;
        if (oy < 0 || oy >= g.out_h || ox < 0 || ox >= g.out_w) continue;
        for (int64_t o = 0; o < g.outputs; ++o) {
          const int64_t group = o / per_group, to = ((n * g.out_h + oy) * g.out_w + ox) * g.outputs + o;
          for (int64_t d = 0; d < g.depth; ++d) {
            const int64_t channel = group * g.depth + d;
            add(to, p * g.channels + channel, o % per_group * row + (ky * g.kernel_w + kx) * g.channels + channel);
          }
        }
      }
    }
  }
}

}  // namespace

std::optional<std::string> execute_Conv2d(Call& c) { return convolve(c, conv_geometry(c, false)); }
std::optional<std::string> execute_Dense(Call& c) { return convolve(c, dense_geometry(c)); }

std::optional<std::string> execute_CodedConv2d(Call& c) {  // on decoded rows: sums are the same in any order
  const Operand &x = c.in[0], &y = c.out[0];
  Geometry g{};
  g.kernel_h = g.kernel_w = g.groups = g.stride_h = g.stride_w = g.dilation_h = g.dilation_w = g.batch = 1;
  g.channels = g.depth = c.in[1].dims[3], g.outputs = y.dims[3];
  g.in_h = g.out_h = y.dims[1], g.in_w = g.out_w = y.dims[2];
  std::vector<coding::RowChannel> state(static_cast<size_t>(g.channels));
  std::vector<uint8_t> values(static_cast<size_t>(g.in_h * g.in_w * g.channels));
  for (int64_t i = 0; i < g.in_h; ++i)
    coding::decode_activation_row(x.u8() + i * x.dims[3], x.dims[3], x.affine.zero_point, y.dims[2], c.in[1].dims[3], state.data(), values.data() + i * g.in_w * g.channels);
  Call plain{c.op, c.in, c.out};
  plain.in[0].bytes = values.data();
  return convolve(plain, g);
}

std::optional<std::string> execute_ConvTranspose2d(Call& c) {
  if (auto reason = wrong_types(c)) return reason;
  const Geometry g = conv_geometry(c, true);
  const Operand &x = c.in[0], &w = c.in[1], &b = c.in[2];
  Operand& y = c.out[0];
  const size_t n = static_cast<size_t>(y.count());
  if (x.is_u8()) {
    std::vector<int32_t> acc(n);
    for (size_t i = 0; i < n && b; ++i) acc[i] = b.i32()[i % static_cast<size_t>(g.outputs)];
    spread(g, [&](int64_t to, int64_t from, int64_t k) { acc[static_cast<size_t>(to)] += (x.u8()[from] - x.affine.zero_point) * w.weights->integers[static_cast<size_t>(k)]; });
    const Finish finish = finish_of(c.op, y.affine);
    for (size_t i = 0; i < n; ++i) {
      const int64_t row = static_cast<int64_t>(i) % g.outputs % (g.outputs / g.groups);
      y.u8()[i] = finish(acc[i], numerics::multiplier(x.affine.scale_code + scale_code(*w.weights, row) - finish.raw.scale_code));
    }
    return {};
  }
  std::vector<float> acc(n);
  for (size_t i = 0; i < n && b; ++i) acc[i] = b.f32()[i % static_cast<size_t>(g.outputs)];
  spread(g, [&](int64_t to, int64_t from, int64_t k) { acc[static_cast<size_t>(to)] += x.f32()[from] * w.f32()[k]; });
  std::memcpy(y.f32(), acc.data(), n * 4);
  activate(c.op, y.f32(), y.count());
  return {};
}

std::optional<std::string> execute_MatMul(Call& c) {
  const Operand &a = c.in[0], &b = c.in[1], &bias = c.in[2];
  Operand& y = c.out[0];
  const size_t r = a.dims.size();
  const bool ta = c.i(0) != 0, tb = c.i(1) != 0;
  const int64_t rows = y.dims[r - 2], columns = y.dims[r - 1], depth = a.dims[ta ? r - 2 : r - 1];
  const std::vector<int32_t> lead(y.dims.begin(), y.dims.end() - 2);
  const auto plane = [&](const Operand& t, int64_t batch) {
    return broadcast_offset(batch, lead, std::vector<int32_t>(t.dims.begin(), t.dims.end() - 2)) * t.dims[r - 1] * t.dims[r - 2];
  };
  const int64_t a_row = ta ? 1 : a.dims[r - 1], a_step = ta ? a.dims[r - 1] : 1, b_column = tb ? b.dims[r - 1] : 1, b_step = tb ? 1 : b.dims[r - 1];
  if (!(a.is_u8() && b.is_u8() && y.is_u8()) && !(a.dtype == PITH_F32 && y.dtype == PITH_F32 && b.dtype != PITH_U8)) return "its operands aren't all 8-bit or all float";
  const Finish finish = a.is_u8() ? finish_of(c.op, y.affine) : Finish{};
  const numerics::Multiplier m = numerics::multiplier(a.affine.scale_code + b.affine.scale_code - finish.raw.scale_code);
  for (int64_t batch = 0; batch < y.count(0, r - 2); ++batch) {
    const int64_t at_a = plane(a, batch), at_b = plane(b, batch);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t to = (batch * rows + i) * columns + j, from_a = at_a + i * a_row, from_b = at_b + j * b_column;
        if (a.is_u8()) {
          int32_t acc = bias ? bias.i32()[j] : 0;
          for (int64_t k = 0; k < depth; ++k) acc += (a.u8()[from_a + k * a_step] - a.affine.zero_point) * (b.u8()[from_b + k * b_step] - b.affine.zero_point);
          y.u8()[to] = finish(acc, m);
        } else {
          float sum = 0;
          for (int64_t k = 0; k < depth; ++k) sum += a.f32()[from_a + k * a_step] * b.f32()[from_b + k * b_step];
          y.f32()[to] = sum * c.op.reals[0] + (bias ? bias.f32()[j] : 0);
        }
      }
    }
  }
  if (!a.is_u8()) activate(c.op, y.f32(), y.count());
  return {};
}

}  // namespace pith::sim
