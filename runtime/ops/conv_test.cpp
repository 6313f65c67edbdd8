// Convolutions of random shapes against plain sums: every instruction set, both modes, one and several threads.
#include <cmath>

#include "runtime/testing/one_op.h"

namespace pith::runtime {
namespace {

using numerics::Affine;
using numerics::Unary;
using testing::OneOp;
using testing::Seeded;

struct Conv {
  int opcode = PITH_OPCODE_Conv2d;
  int32_t batch = 1, in_h = 1, in_w = 1, in_c = 1, out_h = 1, out_w = 1, out_c = 1, groups = 1;
  int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, pad_top = 0,
          pad_left = 0, pad_bottom = 0, pad_right = 0;
  bool has_bias = true, row_scales = true;
  Affine in, out, pre;
  Unary activation = Unary::kIdentity;
  float a = 0, b = 0;
  std::vector<uint8_t> x;
  std::vector<float> x_f32, bias_f32, w_f32;
  std::vector<int8_t> w;
  std::vector<int32_t> bias;
  std::vector<int16_t> codes;

  bool transposed() const { return opcode == PITH_OPCODE_ConvTranspose2d; }
  int32_t depth() const { return in_c / groups; }
  int32_t group_out() const { return out_c / groups; }
  std::vector<int32_t> w_dims() const {
    if (opcode == PITH_OPCODE_Dense) return {out_c, in_c};
    return transposed() ? std::vector<int32_t>{group_out(), kernel_h, kernel_w, in_c}
                        : std::vector<int32_t>{out_c, kernel_h, kernel_w, depth()};
  }
  std::string text() const {
    return "opcode " + std::to_string(opcode) + " in " + std::to_string(batch) + "x" + std::to_string(in_h) + "x" +
           std::to_string(in_w) + "x" + std::to_string(in_c) + " out " + std::to_string(out_h) + "x" +
           std::to_string(out_w) + "x" + std::to_string(out_c) + " kernel " + std::to_string(kernel_h) + "x" +
           std::to_string(kernel_w) + " stride " + std::to_string(stride_h) + "x" + std::to_string(stride_w) +
           " dilation " + std::to_string(dilation_h) + "x" + std::to_string(dilation_w) + " pads " +
           std::to_string(pad_top) + "," + std::to_string(pad_left) + "," + std::to_string(pad_bottom) + "," +
           std::to_string(pad_right) + " groups " + std::to_string(groups) + " activation " +
           numerics::unary_name(activation) + " seed " + std::to_string(Seeded::first_seed());
  }

  // body(index of x, index of w, row of w) for every product of an output.
  template <typename Body>
  void products(int32_t n, int32_t oy, int32_t ox, int32_t oc, const Body& body) const {
    const int32_t g = oc / group_out();
    for (int32_t ky = 0; ky < kernel_h; ++ky) {
      for (int32_t kx = 0; kx < kernel_w; ++kx) {
        int32_t iy = oy * stride_h + ky * dilation_h - pad_top, ix = ox * stride_w + kx * dilation_w - pad_left;
        if (transposed()) {
          const int32_t up = oy + pad_top - ky * dilation_h, left = ox + pad_left - kx * dilation_w;
          if (up < 0 || left < 0 || up % stride_h != 0 || left % stride_w != 0) continue;
          iy = up / stride_h;
          ix = left / stride_w;
        }
        if (iy < 0 || iy >= in_h || ix < 0 || ix >= in_w) continue;
        for (int32_t i = 0; i < depth(); ++i) {
          const size_t at_x = static_cast<size_t>(((n * in_h + iy) * in_w + ix) * in_c + g * depth() + i);
          const int32_t row = transposed() ? oc % group_out() : oc;
          const size_t at_w =
              transposed() ? static_cast<size_t>(((row * kernel_h + ky) * kernel_w + kx) * in_c + g * depth() + i)
                           : static_cast<size_t>(((row * kernel_h + ky) * kernel_w + kx) * depth() + i);
          body(at_x, at_w);
        }
      }
    }
  }
  int16_t code(int32_t oc) const {
    return codes[row_scales ? static_cast<size_t>(transposed() ? oc % group_out() : oc) : 0];
  }

  template <typename Body>
  void outputs(const Body& body) const {
    size_t at = 0;
    for (int32_t n = 0; n < batch; ++n) {
      for (int32_t oy = 0; oy < out_h; ++oy) {
        for (int32_t ox = 0; ox < out_w; ++ox) {
          for (int32_t oc = 0; oc < out_c; ++oc, ++at) body(at, n, oy, ox, oc);
        }
      }
    }
  }
  std::vector<uint8_t> expected_u8() const {
    std::vector<uint8_t> y(static_cast<size_t>(batch * out_h * out_w * out_c));
    const bool clamp = activation == Unary::kIdentity || activation == Unary::kRelu || activation == Unary::kClip;
    const Affine raw = clamp ? out : pre;
    int low = 0, high = 255;
    if (activation == Unary::kRelu) low = out.zero_point;
    if (activation == Unary::kClip) low = numerics::quantize_u8(a, out), high = numerics::quantize_u8(b, out);
    uint8_t table[256];
    numerics::build_table(activation, a, b, pre, out, table);
    outputs([&](size_t at, int32_t n, int32_t oy, int32_t ox, int32_t oc) {
      int32_t acc = has_bias ? bias[static_cast<size_t>(oc)] : 0;
      products(n, oy, ox, oc, [&](size_t i, size_t k) { acc += (x[i] - in.zero_point) * w[k]; });
      const uint8_t q = numerics::requantize_u8(acc, numerics::multiplier(in.scale_code + code(oc) - raw.scale_code),
                                                raw.zero_point, low, high);
      y[at] = clamp ? q : table[q];
    });
    return y;
  }
  std::vector<double> expected_f32(bool integer_weights, std::vector<double>* magnitude) const {
    std::vector<double> y(static_cast<size_t>(batch * out_h * out_w * out_c));
    magnitude->assign(y.size(), 0);
    outputs([&](size_t at, int32_t n, int32_t oy, int32_t ox, int32_t oc) {
      double acc = has_bias ? bias_f32[static_cast<size_t>(oc)] : 0;
      products(n, oy, ox, oc, [&](size_t i, size_t k) {
        const double product = x_f32[i] * (integer_weights ? w[k] * numerics::scale_value(code(oc)) : double{w_f32[k]});
        acc += product;
        (*magnitude)[at] += std::abs(product);
      });
      y[at] = numerics::apply_unary(activation, acc, a, b);
    });
    return y;
  }

  OneOp op(bool is_float, bool integer_weights) const {
    std::vector<int32_t> ints;
    if (opcode != PITH_OPCODE_Dense)
      ints = {stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, pad_bottom, pad_right, groups};
    OneOp o(opcode, ints, {});
    const int dtype = is_float ? PITH_F32 : PITH_U8;
    const std::vector<int32_t> in_dims = opcode == PITH_OPCODE_Dense ? std::vector<int32_t>{batch * in_w, in_c}
                                                                     : std::vector<int32_t>{batch, in_h, in_w, in_c};
    const std::vector<int32_t> out_dims = opcode == PITH_OPCODE_Dense
                                              ? std::vector<int32_t>{batch * out_w, out_c}
                                              : std::vector<int32_t>{batch, out_h, out_w, out_c};
    o.input(dtype, in_dims, in, is_float ? static_cast<const void*>(x_f32.data()) : x.data());
    if (integer_weights) {
      o.constant(PITH_I8, w_dims(), w.data(), codes);
    } else {
      o.constant(PITH_F32, w_dims(), w_f32.data());
    }
    if (!has_bias) {
      o.absent_input();
    } else if (is_float) {
      o.constant(PITH_F32, {out_c}, bias_f32.data());
    } else {
      o.constant(PITH_I32, {out_c}, bias.data());
    }
    o.output(dtype, out_dims, out);
    o.activation(activation, a, b, pre);
    return o;
  }
};

Affine random_affine(Seeded& r, int low, int high) {
  return {static_cast<int16_t>(r.integer(low, high)), static_cast<uint8_t>(r.chance(20)   ? 0
                                                                           : r.chance(20) ? 255
                                                                                          : r.integer(0, 255))};
}

void fill(Conv& c, Seeded& r) {
  c.in = random_affine(r, -120, -60);
  c.out = random_affine(r, -110, -50);
  c.pre = random_affine(r, -110, -50);
  c.has_bias = r.chance(80);
  c.row_scales = c.w_dims()[0] > 1 && r.chance(80);
  const Unary functions[] = {Unary::kIdentity, Unary::kRelu, Unary::kClip, Unary::kSilu, Unary::kSigmoid};
  c.activation = functions[r.integer(0, 4)];
  c.a = c.activation == Unary::kSilu ? 1.0f : c.activation == Unary::kClip ? -0.5f : 0.0f;
  c.b = c.activation == Unary::kClip ? 1.5f : 0.0f;
  size_t weights = 1;
  for (int32_t d : c.w_dims()) weights *= static_cast<size_t>(d);
  const bool extreme = r.chance(15);
  for (size_t i = 0; i < static_cast<size_t>(c.batch * c.in_h * c.in_w * c.in_c); ++i) {
    c.x.push_back(static_cast<uint8_t>(extreme ? 255 : r.integer(0, 255)));
    c.x_f32.push_back(r.real(-2, 2));
  }
  for (size_t i = 0; i < weights; ++i) {
    c.w.push_back(static_cast<int8_t>(extreme ? (r.chance(50) ? 127 : -127) : r.integer(-127, 127)));
    c.w_f32.push_back(r.real(-1, 1));
  }
  const int wide = r.chance(15) ? 40 : 0;  // factors above 1/4 take the 64-bit way
  for (int32_t i = 0; i < c.w_dims()[0]; ++i) c.codes.push_back(static_cast<int16_t>(r.integer(-150, -90) + wide));
  if (!c.row_scales) c.codes.resize(1);
  for (int32_t i = 0; i < c.out_c; ++i) {
    c.bias.push_back(r.integer(-20000, 20000));
    c.bias_f32.push_back(r.real(-1, 1));
  }
}

// Sets a share of the blocks to zero, 16 output channels of a group by 16 input channels of a tap.
void clear_blocks(Conv& c, Seeded& r) {
  const int share = r.integer(0, 4) * 25;
  const int32_t taps = c.kernel_h * c.kernel_w, depth = c.depth();
  for (int32_t first = 0; first < c.out_c; first += 16 - first % c.group_out() % 16) {
    const int32_t end = std::min({c.out_c, first + 16, (first / c.group_out() + 1) * c.group_out()});
    for (int32_t at = 0; at < taps * depth; at += std::min(16, depth - at % depth)) {
      if (!r.chance(share)) continue;
      for (int32_t o = first; o < end; ++o)
        std::fill_n(c.w.begin() + int64_t{o} * taps * depth + at, std::min(16, depth - at % depth), int8_t{0});
    }
  }
}

int32_t outputs_of(int32_t in, int32_t kernel, int32_t stride, int32_t dilation, int32_t pads) {
  return (in + pads - dilation * (kernel - 1) - 1) / stride + 1;
}

Conv random_conv(Seeded& r) {
  Conv c;
  const int kind = r.integer(0, 9);
  c.batch = r.chance(80) ? 1 : 2;
  c.in_h = r.integer(1, 12), c.in_w = r.integer(1, 40);
  c.kernel_h = r.integer(1, 5), c.kernel_w = r.integer(1, 6);
  c.stride_h = r.integer(1, 3), c.stride_w = r.integer(1, 3);
  if (r.chance(25)) c.dilation_h = r.integer(1, 3), c.dilation_w = r.integer(1, 3);
  c.pad_top = r.integer(0, 3), c.pad_left = r.integer(0, 3), c.pad_bottom = r.integer(0, 3),
  c.pad_right = r.integer(0, 3);
  c.in_c = r.integer(1, 40), c.out_c = r.integer(1, 100);
  if (kind == 0) {  // a matrix product
    c.opcode = PITH_OPCODE_Dense;
    c.batch = c.in_h = c.out_h = c.kernel_h = c.kernel_w = c.stride_h = c.stride_w = c.dilation_h = c.dilation_w = 1;
    c.pad_top = c.pad_left = c.pad_bottom = c.pad_right = 0;
    if (r.chance(40)) c.in_w = 1;  // a vector
    c.in_c = r.integer(1, 300), c.out_w = c.in_w;
    return c;
  }
  if (kind == 1)
    c.kernel_h = c.kernel_w = c.stride_h = c.stride_w = 1,
    c.pad_top = c.pad_left = c.pad_bottom = c.pad_right = 0;                    // pointwise
  if (kind == 2 || kind == 3) c.in_c = c.out_c = c.groups = r.integer(2, 150);  // depthwise
  if (kind == 4) c.groups = r.integer(2, 4), c.in_c = c.groups * r.integer(1, 9), c.out_c = c.groups * r.integer(1, 20);
  if (kind == 5) c.in_c = r.integer(1, 4);  // merged taps
  if (kind == 6)
    c.in_c = 1, c.in_h = c.kernel_h = 1, c.pad_top = c.pad_bottom = 0, c.in_w = r.integer(100, 300),
    c.kernel_w = r.integer(30, 100);
  if (kind >= 8) {
    c.opcode = PITH_OPCODE_ConvTranspose2d;
    c.groups = r.chance(70) ? 1 : r.integer(2, 3);
    c.in_c = c.groups * r.integer(1, 12), c.out_c = c.groups * r.integer(1, 40);
    c.in_h = r.integer(1, 6), c.in_w = r.integer(1, 9);
    c.out_h = (c.in_h - 1) * c.stride_h + c.dilation_h * (c.kernel_h - 1) + 1 - c.pad_top - c.pad_bottom +
              r.integer(0, c.stride_h - 1);
    c.out_w = (c.in_w - 1) * c.stride_w + c.dilation_w * (c.kernel_w - 1) + 1 - c.pad_left - c.pad_right +
              r.integer(0, c.stride_w - 1);
  } else {
    c.out_h = outputs_of(c.in_h, c.kernel_h, c.stride_h, c.dilation_h, c.pad_top + c.pad_bottom);
    c.out_w = outputs_of(c.in_w, c.kernel_w, c.stride_w, c.dilation_w, c.pad_left + c.pad_right);
    if (c.in_h + c.pad_top + c.pad_bottom < c.dilation_h * (c.kernel_h - 1) + 1) c.out_h = 0;
    if (c.in_w + c.pad_left + c.pad_right < c.dilation_w * (c.kernel_w - 1) + 1) c.out_w = 0;
  }
  return c;
}

TEST(Conv, IntegersAreThoseOfThePlainSumsEverywhere) {
  Seeded r;
  for (int i = 0; i < 300; ++i) {
    Conv c = random_conv(r);
    if (c.out_h < 1 || c.out_w < 1) continue;
    fill(c, r);
    if (!c.transposed() && r.chance(50)) clear_blocks(c, r);
    const std::vector<uint8_t> expected = c.expected_u8();
    OneOp op = c.op(false, true);
    for (Isa isa : testing::available_isas()) {
      for (pith_mode mode : {PITH_MODE_FASTEST, PITH_MODE_SMALLEST}) {
        const int threads = mode == PITH_MODE_FASTEST ? r.integer(1, 3) : 2;
        ASSERT_EQ(op.run(isa, mode, threads), "") << c.text();
        ASSERT_EQ(op.result<uint8_t>(0), expected)
            << isa_name(isa) << " mode " << mode << " case " << i << ": " << c.text();
      }
    }
  }
}

TEST(Conv, FloatsAreCloseToThePlainSumsEverywhere) {
  Seeded r(Seeded::first_seed() + 7);
  for (int i = 0; i < 150; ++i) {
    Conv c = random_conv(r);
    if (c.out_h < 1 || c.out_w < 1) continue;
    fill(c, r);
    if (!c.transposed() && r.chance(50)) clear_blocks(c, r);
    const bool integer_weights = r.chance(50);
    std::vector<double> magnitude;
    const std::vector<double> expected = c.expected_f32(integer_weights, &magnitude);
    OneOp op = c.op(true, integer_weights);
    for (Isa isa : testing::available_isas()) {
      for (pith_mode mode : {PITH_MODE_FASTEST, PITH_MODE_SMALLEST}) {
        ASSERT_EQ(op.run(isa, mode, r.integer(1, 3)), "") << c.text();
        const std::vector<float> y = op.result<float>(0);
        for (size_t k = 0; k < y.size(); ++k) {
          ASSERT_NEAR(y[k], expected[k], 1e-6 + 4e-6 * magnitude[k])
              << isa_name(isa) << " mode " << mode << " case " << i << ": " << c.text();
        }
      }
    }
  }
}

// Weights that are packed at load shrink with their blocks of zeros, where those are a quarter or more.
TEST(Conv, BlocksOfZerosTakeNoMemory) {
  Seeded r;
  Conv c;
  c.in_h = c.out_h = c.in_w = c.out_w = 6, c.in_c = 128, c.out_c = 96, c.kernel_h = c.kernel_w = 3;
  c.pad_top = c.pad_bottom = c.pad_left = c.pad_right = 1;
  fill(c, r);
  for (const bool is_float : {false, true}) {
    OneOp op = c.op(is_float, true);
    ASSERT_EQ(op.run(best_isa(), PITH_MODE_FASTEST, 1), "");
    const auto dense = static_cast<double>(op.prepared_bytes());
    for (const int cleared : {1, 2, 6}) {  // of every eight blocks of a row
      Conv z = c;
      for (size_t i = 0; i < z.w.size(); ++i) z.w[i] = i / 16 % 8 < static_cast<size_t>(cleared) ? 0 : z.w[i];
      OneOp sparse = z.op(is_float, true);
      ASSERT_EQ(sparse.run(best_isa(), PITH_MODE_FASTEST, 1), "");
      const double kept = static_cast<double>(sparse.prepared_bytes()) / dense;
      if (cleared == 1) EXPECT_EQ(kept, 1);
      else EXPECT_NEAR(kept, 1 - cleared / 8.0 + 1 / 6.0, 0.05) << cleared;  // a block of outputs is unpacked whole
    }
  }
}

TEST(Conv, RefusesWhatDoesNotFit) {
  Seeded r;
  Conv c;
  c.in_h = c.in_w = c.out_h = c.out_w = 4, c.in_c = 6, c.out_c = 8;
  fill(c, r);
  c.groups = 4;
  EXPECT_NE(c.op(false, true).run(Isa::kReference, PITH_MODE_FASTEST, 1), "");
  c.groups = 1;
  EXPECT_EQ(c.op(false, true).run(Isa::kReference, PITH_MODE_FASTEST, 1), "");
  EXPECT_NE(c.op(false, false).run(Isa::kReference, PITH_MODE_FASTEST, 1), "")
      << "float weights under 8-bit activations";
  c.stride_h = 0;
  EXPECT_NE(c.op(false, true).run(Isa::kReference, PITH_MODE_FASTEST, 1), "");
}

}  // namespace
}  // namespace pith::runtime
