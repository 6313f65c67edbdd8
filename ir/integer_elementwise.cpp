// Sums, products and interpolation between 8-bit activations, and the change of their meaning.
#include "ir/integer_kernels.h"
#include "ir/loops.h"
#include "ir/resize.h"
#include "numerics/arithmetic.h"

namespace pith::ir {
namespace {

template <typename F>
Tensor broadcast_codes(const Tensor& a, const Tensor& b, const Shape& shape, F f) {
  Tensor y(DType::kU8, shape);
  uint8_t* out = y.mut<uint8_t>().data();
  const uint8_t *left = a.as<uint8_t>().data(), *right = b.as<uint8_t>().data();
  for_each_row<3>(shape, {strides_of(shape), broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                  [&](int64_t n, const auto& offset, const auto& step) {
                    for (int64_t i = 0; i < n; ++i) {
                      out[offset[0] + i * step[0]] = f(left[offset[1] + i * step[1]], right[offset[2] + i * step[2]]);
                    }
                  });
  return y;
}

}  // namespace

Tensor translated(const Tensor& codes, numerics::Affine from, numerics::Affine to) {
  if (from == to) return codes;
  uint8_t table[256];
  numerics::build_table(numerics::Unary::kIdentity, 0, 0, from, to, table);
  Tensor y(DType::kU8, codes.shape());
  const auto in = codes.as<uint8_t>();
  auto out = y.mut<uint8_t>();
  for (size_t i = 0; i < in.size(); ++i) out[i] = table[in[i]];
  return y;
}

Codes codes_of(const Value& v, const Tensor& t) {
  if (t.dtype() == DType::kU8) return {t, v.quant->affine};
  return {shifted_codes(t), {v.quant->scale_codes[0], 128}};
}

Tensor shifted_codes(const Tensor& weights) {
  Tensor y(DType::kU8, weights.shape());
  const auto in = weights.as<int8_t>();
  auto out = y.mut<uint8_t>();
  for (size_t i = 0; i < in.size(); ++i) out[i] = static_cast<uint8_t>(in[i] + 128);
  return y;
}

Tensor brought_to(const Value& v, const Tensor& t, numerics::Affine to) {
  if (t.dtype() == DType::kU8 || v.quant->scale_codes.size() == 1) {
    const Codes codes = codes_of(v, t);
    return translated(codes.tensor, codes.affine, to);
  }
  // one scale, and so one table, per index of the axis
  Tensor y = shifted_codes(t);
  const AxisSplit s = split_at(t.shape(), v.quant->axis);
  uint8_t* out = y.mut<uint8_t>().data();
  for (int64_t c = 0; c < s.size; ++c) {
    uint8_t table[256];
    numerics::build_table(numerics::Unary::kIdentity, 0, 0, {v.quant->scale_codes[static_cast<size_t>(c)], 128}, to,
                          table);
    for (int64_t o = 0; o < s.outer; ++o) {
      uint8_t* row = out + (o * s.size + c) * s.inner;
      for (int64_t i = 0; i < s.inner; ++i) row[i] = table[row[i]];
    }
  }
  return y;
}

Tensor integer_binary(const IntegerNode& n) {
  using namespace numerics;
  const Codes a = codes_of(n.value(0), *n.inputs[0]), b = codes_of(n.value(1), *n.inputs[1]);
  const auto over = [&](auto f) { return broadcast_codes(a.tensor, b.tensor, n.y_shape, f); };
  if (n.node.op == Op::kMul) {
    const MulParams p = mul_params(a.affine, b.affine, n.stage);
    return over([&](uint8_t l, uint8_t r) { return mul_u8(l, r, p); });
  }
  if (n.node.op == Op::kPRelu) {
    // x above zero changes its scale only, x below is multiplied by the slope
    const Multiplier above = multiplier(a.affine.scale_code - n.stage.scale_code);
    const Multiplier below = multiplier(a.affine.scale_code + b.affine.scale_code - n.stage.scale_code);
    return over([&](uint8_t l, uint8_t r) {
      const int32_t x = l - a.affine.zero_point, slope = r - b.affine.zero_point;
      return x >= 0 ? requantize_u8(x, above, n.stage.zero_point, 0, 255)
                    : requantize_u8(x * slope, below, n.stage.zero_point, 0, 255);
    });
  }
  const AddParams p = add_params(a.affine, b.affine, n.stage, n.node.op == Op::kSub);
  return over([&](uint8_t l, uint8_t r) { return add_u8(l, r, p); });
}

Tensor integer_interpolation(const IntegerNode& n) {
  const auto axes = resize_axes(n.node, n.shape(0)).value();
  const auto down = linear_taps(n.node, axes[2]), across = linear_taps(n.node, axes[3]);
  const int64_t width = axes[3].input, plane = axes[2].input * width;
  Tensor y(DType::kU8, n.y_shape);
  uint8_t* out = y.mut<uint8_t>().data();
  const uint8_t* in = n.inputs[0]->as<uint8_t>().data();
  for (int64_t p = 0; p < n.y_shape[0] * n.y_shape[1]; ++p, in += plane) {
    for (const LinearTap& v : down) {
      const uint8_t *top = in + v.low * width, *bottom = in + v.high * width;
      for (const LinearTap& h : across) {
        *out++ = numerics::interpolate_u8(top[h.low], top[h.high], bottom[h.low], bottom[h.high], h.weight, v.weight);
      }
    }
  }
  return y;
}

}  // namespace pith::ir
