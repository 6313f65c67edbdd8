// Integer execution against its definition in 64-bit arithmetic, over random shapes, scales and zero points.
#include "ir/geometry.h"
#include "ir/loops.h"
#include "ir/pool.h"
#include "ir/resize.h"
#include "ir/test_graph.h"
#include "numerics/arithmetic.h"

namespace pith::ir {
namespace {

using numerics::Affine;
using numerics::Unary;

Affine random_affine(Random& random) {
  return {static_cast<int16_t>(random.integer(-140, -60)), static_cast<uint8_t>(random.integer(0, 255))};
}

Quant activation_quant(Affine a) { return {8, a, 0, {}}; }

void quantise(Graph& g, ValueId id, Affine a) { g.value(id).quant = activation_quant(a); }

// Makes input `i` of the only node a constant of quantised weights.
void set_weights(Graph& g, size_t i, const Tensor& codes, std::vector<int16_t> scale_codes, int axis) {
  Value& v = g.value(g.nodes[0].inputs[i]);
  v.dtype = DType::kF32;
  v.constant = codes;
  v.quant = Quant{8, {}, axis, std::move(scale_codes)};
}

std::vector<int16_t> random_codes(Random& random, int64_t count) {
  std::vector<int16_t> codes;
  for (int64_t i = 0; i < count; ++i) codes.push_back(static_cast<int16_t>(random.integer(-130, -90)));
  return codes;
}

Tensor like_real(const Tensor& codes) { return Tensor(DType::kF32, codes.shape()); }

Tensor run(Graph& g, const std::vector<Tensor>& inputs) {
  const auto verified = verify(g);
  EXPECT_TRUE(verified.ok()) << verified.error().message;
  auto y = interpret(g, inputs);
  EXPECT_TRUE(y.ok()) << y.error().message;
  return y.ok() ? y.value()[0] : Tensor();
}

int64_t sum_of_products(const std::array<Window, 2>& w, const Tensor& x, int zero, const Tensor& weights, int64_t group,
                        int64_t n, int64_t o, int64_t p) {
  const int64_t in = weights.shape()[1], out = weights.shape()[0] / group;
  int64_t sum = 0;
  for (int64_t k = 0; k < in; ++k) {
    for (int64_t kh = 0; kh < w[0].kernel; ++kh) {
      for (int64_t kw = 0; kw < w[1].kernel; ++kw) {
        const int64_t h = p / w[1].output * w[0].stride - w[0].pad_begin + kh * w[0].dilation;
        const int64_t v = p % w[1].output * w[1].stride - w[1].pad_begin + kw * w[1].dilation;
        if (h < 0 || h >= w[0].input || v < 0 || v >= w[1].input) continue;
        const int64_t at = ((n * x.shape()[1] + o / out * in + k) * w[0].input + h) * w[1].input + v;
        sum += (x.as<uint8_t>()[static_cast<size_t>(at)] - int64_t{zero}) *
               weights.as<int8_t>()[static_cast<size_t>(((o * in + k) * w[0].kernel + kh) * w[1].kernel + kw)];
      }
    }
  }
  return sum;
}

TEST(IntegerConv, IsItsDefinition) {
  Random random(test_seed() + 10);
  for (int round = 0; round < 200; ++round) {
    const int64_t group = random.integer(1, 3), in = random.integer(1, 5), out = random.integer(1, 4);
    const Tensor x = random_u8(random, {random.integer(1, 2), group * in, random.integer(3, 8), random.integer(3, 8)});
    const Tensor w = random_i8(random, {group * out, in, random.integer(1, 3), random.integer(1, 3)});
    const Attributes attributes{
        {"strides", Ints{random.integer(1, 2), random.integer(1, 2)}},
        {"pads", Ints{random.integer(0, 2), random.integer(0, 2), random.integer(0, 2), random.integer(0, 2)}},
        {"group", group}};
    const bool with_bias = random.integer(0, 1) == 1, last = random.integer(0, 1) == 1;
    std::vector<Tensor> real{like_real(x), like_real(w)};
    Tensor bias(DType::kI32, {group * out});
    for (int32_t& b : bias.mut<int32_t>()) b = static_cast<int32_t>(random.integer(-100000, 100000));
    if (with_bias) real.push_back(like_real(bias));
    Graph g = one_node(Op::kConv, real, attributes, 1, {1, 2});
    const bool per_channel = random.integer(0, 1) == 1;
    const auto codes = random_codes(random, per_channel ? group * out : 1);
    set_weights(g, 1, w, codes, 0);
    if (with_bias) {
      g.value(g.nodes[0].inputs[2]).constant = bias;
      g.value(g.nodes[0].inputs[2]).quant = Quant{};
    }
    const Affine ax = random_affine(random), ay = random_affine(random), pre = random_affine(random);
    quantise(g, g.inputs[0], ax);
    quantise(g, g.outputs[0], ay);
    ASSERT_TRUE(infer_shapes(g).ok());
    const Shape y_shape = g.value(g.outputs[0]).shape;
    const auto windows_of = as_2d(windows(g.nodes[0], spatial(x.shape()), spatial(w.shape())).value());

    const int64_t kind = random.integer(0, 3);
    Activation& a = g.nodes[0].activation;
    if (kind == 1) a.function = Unary::kRelu;
    if (kind == 2) a = {Unary::kClip, numerics::dequantize(40, ay), numerics::dequantize(200, ay), {}};
    if (kind == 3) a = {Unary::kSilu, 1, 0, pre};
    const Affine stage = kind == 3 ? pre : ay;
    const int low = kind == 1 ? ay.zero_point : kind == 2 ? 40 : 0, high = kind == 2 ? 200 : 255;
    uint8_t table[256];
    numerics::build_table(Unary::kSilu, 1, 0, pre, ay, table);

    Tensor given = x;
    if (last) {
      g.nodes[0].attributes["channels_last"] = int64_t{1};
      given = to_channels_last(x);
      g.value(g.inputs[0]).shape = given.shape();
      ASSERT_TRUE(infer_shapes(g).ok());
    }
    Tensor y = run(g, {given});
    ASSERT_EQ(y.dtype(), DType::kU8);
    if (last) y = to_channels_first(y);
    ASSERT_EQ(y.shape(), y_shape);
    const int64_t positions = y_shape[2] * y_shape[3];
    for (int64_t i = 0; i < y.count(); ++i) {
      const int64_t o = i / positions % y_shape[1], n = i / positions / y_shape[1];
      int64_t sum = sum_of_products(windows_of, x, ax.zero_point, w, group, n, o, i % positions);
      if (with_bias) sum += bias.as<int32_t>()[static_cast<size_t>(o)];
      const int code = ax.scale_code + codes[per_channel ? static_cast<size_t>(o) : 0] - stage.scale_code;
      int q =
          numerics::requantize_u8(static_cast<int32_t>(sum), numerics::multiplier(code), stage.zero_point, low, high);
      if (kind == 3) q = table[q];
      ASSERT_EQ(y.as<uint8_t>()[static_cast<size_t>(i)], q) << "round " << round << " at " << i;
    }
  }
}

// A transposed convolution in integers is the float one of the dequantised operands, to half a step and the
// multiplier's rounding.
TEST(IntegerConvTranspose, IsCloseToFloat) {
  Random random(test_seed() + 11);
  for (int round = 0; round < 50; ++round) {
    const int64_t group = random.integer(1, 2), in = random.integer(1, 3), out = random.integer(1, 3);
    const Tensor x = random_u8(random, {1, group * in, random.integer(2, 5), random.integer(2, 5)});
    const Tensor w = random_i8(random, {group * in, out, random.integer(1, 3), random.integer(1, 3)});
    const Attributes attributes{{"strides", Ints{random.integer(1, 2), 2}}, {"group", group}};
    Graph g = one_node(Op::kConvTranspose, {like_real(x), like_real(w)}, attributes, 1, {1});
    set_weights(g, 1, w, random_codes(random, out), 1);
    quantise(g, g.inputs[0], random_affine(random));
    quantise(g, g.outputs[0], {-40, 128});
    ASSERT_TRUE(infer_shapes(g).ok());
    const Tensor y = dequantized(g.value(g.outputs[0]), run(g, {x}));
    const Tensor real =
        run_node(Op::kConvTranspose,
                 {dequantized(g.value(g.inputs[0]), x), dequantized(g.value(g.nodes[0].inputs[1]), w)}, attributes)[0];
    const double step = numerics::scale_value(-40);
    for (int64_t i = 0; i < y.count(); ++i) {
      const double expected = std::clamp(real.at(i), -128 * step, 127 * step);
      ASSERT_NEAR(y.at(i), expected, step * 0.5 + std::abs(expected) * 1e-3) << "round " << round << " at " << i;
    }
  }
}

TEST(IntegerMatMul, WeightsAndActivations) {
  Random random(test_seed() + 12);
  for (int round = 0; round < 60; ++round) {
    const int64_t batch = random.integer(1, 2), m = random.integer(1, 4), k = random.integer(1, 40),
                  n = random.integer(1, 4);
    const bool two_activations = round % 3 == 0, gemm = round % 3 == 1;
    const Tensor a = random_u8(random, gemm ? Shape{m, k} : Shape{batch, m, k});
    const Tensor b =
        two_activations ? random_u8(random, {batch, k, n}) : random_i8(random, gemm ? Shape{n, k} : Shape{k, n});
    Graph g = one_node(gemm ? Op::kGemm : Op::kMatMul, {like_real(a), like_real(b)},
                       gemm ? Attributes{{"transB", int64_t{1}}} : Attributes{}, 1,
                       two_activations ? std::vector<size_t>{} : std::vector<size_t>{1});
    const Affine aa = random_affine(random), ab = random_affine(random), ay = random_affine(random);
    quantise(g, g.inputs[0], aa);
    std::vector<int16_t> codes(static_cast<size_t>(n), ab.scale_code);
    if (two_activations) {
      quantise(g, g.inputs[1], ab);
    } else {
      codes = random_codes(random, n);
      set_weights(g, 1, b, codes, gemm ? 0 : 1);
    }
    quantise(g, g.outputs[0], ay);
    ASSERT_TRUE(infer_shapes(g).ok());
    const Tensor y = two_activations ? run(g, {a, b}) : run(g, {a});
    for (int64_t i = 0; i < y.count(); ++i) {
      const int64_t column = i % n, row = i / n, of = two_activations ? row / m * k * n : 0;
      int64_t sum = 0;
      for (int64_t j = 0; j < k; ++j) {
        const double other = b.at(gemm ? column * k + j : of + j * n + column) - (two_activations ? ab.zero_point : 0);
        sum += static_cast<int64_t>((a.at(row * k + j) - aa.zero_point) * other);
      }
      const auto factor = numerics::multiplier(aa.scale_code + codes[static_cast<size_t>(column)] - ay.scale_code);
      ASSERT_EQ(y.at(i), numerics::requantize_u8(static_cast<int32_t>(sum), factor, ay.zero_point, 0, 255))
          << "round " << round;
    }
  }
}

TEST(IntegerBinary, AddSubMulFollowNumerics) {
  Random random(test_seed() + 13);
  for (int round = 0; round < 60; ++round) {
    const Op op = std::array{Op::kAdd, Op::kSub, Op::kMul}[static_cast<size_t>(round % 3)];
    const Tensor a = random_u8(random, {2, 3, 4}), b = random_u8(random, {3, 1});
    Graph g = one_node(op, {like_real(a), like_real(b)});
    const Affine aa = random_affine(random), ab = random_affine(random), ay = random_affine(random);
    quantise(g, g.inputs[0], aa), quantise(g, g.inputs[1], ab), quantise(g, g.outputs[0], ay);
    if (round % 2 == 0) g.nodes[0].activation.function = Unary::kRelu;
    const int low = round % 2 == 0 ? ay.zero_point : 0;
    ASSERT_TRUE(infer_shapes(g).ok());
    const Tensor y = run(g, {a, b});
    for (int64_t i = 0; i < y.count(); ++i) {
      const uint8_t l = a.as<uint8_t>()[static_cast<size_t>(i)], r = b.as<uint8_t>()[static_cast<size_t>(i / 4 % 3)];
      const int q = op == Op::kMul ? numerics::mul_u8(l, r, numerics::mul_params(aa, ab, ay, low))
                                   : numerics::add_u8(l, r, numerics::add_params(aa, ab, ay, op == Op::kSub, low));
      ASSERT_EQ(y.at(i), q) << "round " << round << " at " << i;
    }
  }
}

TEST(IntegerBinary, ConstantsAreCodesAround128) {
  Random random(test_seed() + 14);
  const Tensor a = random_u8(random, {2, 3}), b = random_i8(random, {3});
  Graph g = one_node(Op::kMul, {like_real(a), like_real(b)}, {}, 1, {1});
  set_weights(g, 1, b, {-100}, 0);
  const Affine aa = random_affine(random), ay{-90, 100};
  quantise(g, g.inputs[0], aa), quantise(g, g.outputs[0], ay);
  ASSERT_TRUE(infer_shapes(g).ok());
  const Tensor y = run(g, {a});
  const auto p = numerics::mul_params(aa, {-100, 128}, ay);
  for (int64_t i = 0; i < 6; ++i) {
    const auto code = static_cast<uint8_t>(b.as<int8_t>()[static_cast<size_t>(i % 3)] + 128);
    EXPECT_EQ(y.at(i), numerics::mul_u8(a.as<uint8_t>()[static_cast<size_t>(i)], code, p));
  }
}

TEST(IntegerPool, MaximaMoveAndAveragesRoundOnce) {
  Random random(test_seed() + 15);
  for (int round = 0; round < 60; ++round) {
    const Tensor x = random_u8(random, {1, 2, random.integer(4, 7), random.integer(4, 7)});
    const Attributes attributes{{"kernel_shape", Ints{3, 2}},
                                {"strides", Ints{2, random.integer(1, 2)}},
                                {"pads", Ints{1, 0, 1, 1}},
                                {"ceil_mode", random.integer(0, 1)}};
    const bool average = round % 2 == 0;
    Graph g = one_node(average ? Op::kAveragePool : Op::kMaxPool, {like_real(x)}, attributes);
    if (average) g.nodes[0].attributes["count_include_pad"] = random.integer(0, 1);
    const Affine ax = random_affine(random), ay = round % 4 == 1 ? ax : random_affine(random);
    quantise(g, g.inputs[0], ax), quantise(g, g.outputs[0], ay);
    ASSERT_TRUE(infer_shapes(g).ok());
    const Tensor y = run(g, {x});
    const auto w = pool_windows(g.nodes[0], x.shape());
    const auto counts = pool_counts(g.nodes[0], w);
    uint8_t table[256];
    numerics::build_table(Unary::kIdentity, 0, 0, ax, ay, table);
    const int64_t positions = w[0].output * w[1].output;
    for (int64_t i = 0; i < y.count(); ++i) {
      int sum = 0, best = 0;
      for (int64_t kh = 0; kh < 3; ++kh) {
        for (int64_t kw = 0; kw < 2; ++kw) {
          const int64_t h = i % positions / w[1].output * w[0].stride - 1 + kh, v = i % w[1].output * w[1].stride + kw;
          if (h < 0 || h >= w[0].input || v >= w[1].input) continue;
          const int q = static_cast<int>(x.at((i / positions * w[0].input + h) * w[1].input + v));
          sum += q - ax.zero_point, best = std::max(best, q);
        }
      }
      const int count = counts[static_cast<size_t>(i % positions)];
      const int expected =
          average ? numerics::requantize_u8(sum, numerics::average_multiplier(ax.scale_code - ay.scale_code, count),
                                            ay.zero_point, 0, 255)
                  : table[best];
      ASSERT_EQ(y.at(i), expected) << "round " << round << " at " << i;
    }
  }
}

TEST(IntegerReduce, MeanOverAxesAndPlanes) {
  Random random(test_seed() + 16);
  const Tensor x = random_u8(random, {2, 3, 4, 5});
  const Affine ax = random_affine(random), ay{static_cast<int16_t>(ax.scale_code - 10), 77};
  const auto mean_of = [&](Op op, const Attributes& attributes) {
    Graph g = one_node(op, {like_real(x)}, attributes);
    quantise(g, g.inputs[0], ax), quantise(g, g.outputs[0], ay);
    EXPECT_TRUE(infer_shapes(g).ok());
    return run(g, {x});
  };
  const Tensor y = mean_of(Op::kReduceMean, {{"axes", Ints{2, 3}}});
  expect_same(mean_of(Op::kGlobalAveragePool, {}), y);
  for (int64_t i = 0; i < 6; ++i) {
    int sum = 0;
    for (int64_t k = 0; k < 20; ++k) sum += static_cast<int>(x.at(i * 20 + k)) - ax.zero_point;
    EXPECT_EQ(y.at(i), numerics::requantize_u8(sum, numerics::average_multiplier(10, 20), 77, 0, 255));
  }
}

TEST(IntegerMove, ConcatTranslatesWhatDiffers) {
  Random random(test_seed() + 17);
  const Tensor a = random_u8(random, {2, 3}), b = random_u8(random, {2, 2});
  const Affine same{-80, 10}, other{-95, 200};
  Graph g = one_node(Op::kConcat, {like_real(a), like_real(b)}, {{"axis", int64_t{1}}});
  quantise(g, g.inputs[0], same), quantise(g, g.inputs[1], other), quantise(g, g.outputs[0], same);
  ASSERT_TRUE(infer_shapes(g).ok());
  const Tensor y = run(g, {a, b});
  uint8_t table[256];
  numerics::build_table(Unary::kIdentity, 0, 0, other, same, table);
  for (int64_t r = 0; r < 2; ++r) {
    for (int64_t c = 0; c < 3; ++c) EXPECT_EQ(y.at(r * 5 + c), a.at(r * 3 + c));
    for (int64_t c = 0; c < 2; ++c) EXPECT_EQ(y.at(r * 5 + 3 + c), table[static_cast<int>(b.at(r * 2 + c))]);
  }
}

TEST(IntegerMove, PaddingIsTheCodeOfItsValue) {
  const Tensor x = Tensor::of<uint8_t>(DType::kU8, {2}, {7, 9});
  Graph g = one_node(Op::kPad, {like_real(x)}, {{"pads", Ints{1, 1}}, {"value", 0.0}});
  quantise(g, g.inputs[0], {-64, 33}), quantise(g, g.outputs[0], {-64, 33});
  ASSERT_TRUE(infer_shapes(g).ok());
  expect_values(run(g, {x}), {33, 7, 9, 33});
}

TEST(IntegerMove, EmbeddingRowsHaveTheirOwnScales) {
  const Tensor rows = Tensor::of<int8_t>(DType::kI8, {2, 2}, {10, -20, 30, 40});
  Graph g = one_node(Op::kGather, {like_real(rows), Tensor::i64({3}, {1, 0, -1})}, {}, 1, {0});
  set_weights(g, 0, rows, {-64, -32}, 0);
  const Affine ay{-48, 100};
  quantise(g, g.outputs[0], ay);
  ASSERT_TRUE(infer_shapes(g).ok());
  const Tensor y = run(g, {Tensor::i64({3}, {1, 0, -1})});
  const auto code = [&](int q, int16_t scale) {
    return static_cast<double>(numerics::quantize_u8(q * numerics::scale_value(scale), ay));
  };
  expect_values(y, {code(30, -32), code(40, -32), code(10, -64), code(-20, -64), code(30, -32), code(40, -32)});
}

TEST(IntegerResize, NearestMovesAndLinearInterpolates) {
  Random random(test_seed() + 18);
  const Tensor x = random_u8(random, {1, 2, 3, 4});
  for (const char* mode : {"nearest", "linear"}) {
    Graph g = one_node(Op::kResize, {like_real(x)}, {{"sizes", Ints{1, 2, 7, 6}}, {"mode", std::string(mode)}});
    const Affine a = random_affine(random);
    quantise(g, g.inputs[0], a), quantise(g, g.outputs[0], a);
    ASSERT_TRUE(infer_shapes(g).ok());
    const Tensor y = run(g, {x});
    const Tensor real = run_node(Op::kResize, {x.cast(DType::kF32)}, g.nodes[0].attributes)[0];
    for (int64_t i = 0; i < y.count(); ++i) ASSERT_NEAR(y.at(i), real.at(i), mode[0] == 'n' ? 0 : 0.7) << mode << i;
  }
}

TEST(IntegerTable, UnaryFunctionsAreTables) {
  Tensor x(DType::kU8, {256});
  for (int q = 0; q < 256; ++q) x.set(q, q);
  const Affine ax{-70, 120}, ay{-112, 0};
  Graph g = one_node(Op::kSigmoid, {like_real(x)});
  quantise(g, g.inputs[0], ax), quantise(g, g.outputs[0], ay);
  ASSERT_TRUE(infer_shapes(g).ok());
  const Tensor y = run(g, {x});
  uint8_t table[256];
  numerics::build_table(Unary::kSigmoid, 0, 0, ax, ay, table);
  for (int q = 0; q < 256; ++q) ASSERT_EQ(y.at(q), table[q]);
}

// Operators without an integer form see real values.
TEST(IntegerFallback, DequantisesComputesQuantises) {
  Random random(test_seed() + 19);
  const Tensor x = random_u8(random, {2, 8});
  Graph g = one_node(Op::kSoftmax, {like_real(x)});
  quantise(g, g.inputs[0], {-80, 100}), quantise(g, g.outputs[0], {-128, 0});
  ASSERT_TRUE(infer_shapes(g).ok());
  const Tensor y = run(g, {x});
  const Tensor real = run_node(Op::kSoftmax, {dequantized(g.value(g.inputs[0]), x)})[0];
  expect_same(y, quantized(g.value(g.outputs[0]), real));
}

// A last layer may give real values from quantised operands, bias included.
TEST(IntegerFallback, RealResultOfQuantisedOperands) {
  Random random(test_seed() + 20);
  const Tensor x = random_u8(random, {2, 3}), w = random_i8(random, {3, 2});
  const Tensor bias = Tensor::of<int32_t>(DType::kI32, {2}, {1000, -2000});
  Graph g = one_node(Op::kMatMul, {like_real(x), like_real(w), like_real(bias)}, {}, 1, {1, 2});
  set_weights(g, 1, w, {-100, -90}, 1);
  g.value(g.nodes[0].inputs[2]).constant = bias;
  g.value(g.nodes[0].inputs[2]).quant = Quant{};
  const Affine ax{-60, 5};
  quantise(g, g.inputs[0], ax);
  ASSERT_TRUE(infer_shapes(g).ok());
  const Tensor y = run(g, {x});
  ASSERT_EQ(y.dtype(), DType::kF32);
  for (int64_t i = 0; i < 4; ++i) {
    double sum = bias.at(i % 2);
    for (int64_t k = 0; k < 3; ++k) sum += (x.at(i / 2 * 3 + k) - 5) * w.at(k * 2 + i % 2);
    EXPECT_NEAR(y.at(i), sum * numerics::scale_value(-60 + (i % 2 == 0 ? -100 : -90)), 1e-4 * std::abs(sum));
  }
}

TEST(Quantised, InputsMayBeRealOrCodes) {
  Graph g = one_node(Op::kIdentity, {Tensor::f32({3}, {0, 0, 0})});
  quantise(g, g.inputs[0], {0, 10}), quantise(g, g.outputs[0], {0, 10});
  ASSERT_TRUE(infer_shapes(g).ok());
  expect_values(run(g, {Tensor::f32({3}, {-20, 1.4f, 500})}), {0, 11, 255});
  expect_values(run(g, {Tensor::of<uint8_t>(DType::kU8, {3}, {1, 2, 3})}), {1, 2, 3});
}

}  // namespace
}  // namespace pith::ir
