// Convolutions and matrix products against direct sums over random shapes.
#include "ir/geometry.h"
#include "ir/loops.h"
#include "ir/test_graph.h"

namespace pith::ir {
namespace {

struct RandomConvolution {
  Tensor x, w, bias;
  Attributes attributes;
  int64_t group;
};

RandomConvolution random_convolution(Random& random, bool transposed_one) {
  RandomConvolution c;
  const bool flat = random.integer(0, 3) == 0;
  const int64_t in = random.integer(1, 4), out = random.integer(1, 4);
  c.group = random.integer(1, 3);
  Shape x{random.integer(1, 2), in * c.group}, w = transposed_one ? Shape{in * c.group, out} : Shape{out * c.group, in};
  Ints strides, dilations, pads;
  for (int d = flat ? 1 : 0; d < 2; ++d) {
    w.push_back(random.integer(1, 3));
    dilations.push_back(random.integer(1, 2));
    strides.push_back(random.integer(1, 3));
    x.push_back(random.integer((w.back() - 1) * dilations.back() + 1, 9));
  }
  for (size_t i = 0; i < 2 * strides.size(); ++i) pads.push_back(transposed_one ? 0 : random.integer(0, 2));
  c.attributes = {{"strides", strides}, {"dilations", dilations}, {"pads", pads}, {"group", c.group}};
  c.x = random_f32(random, x);
  c.w = random_f32(random, w);
  c.bias = random_f32(random, {out * c.group});
  return c;
}

// The definition: y[n, o, p] = bias[o] + sum over channels and kernel positions.
Tensor direct_convolution(const RandomConvolution& c, const Shape& y_shape) {
  Node node{Op::kConv, "", {}, {}, c.attributes, {}};
  const auto w = as_2d(windows(node, spatial(c.x.shape()), spatial(c.w.shape())).value());
  const int64_t in = c.w.shape()[1], out = c.w.shape()[0] / c.group, positions = w[0].output * w[1].output;
  Tensor y(DType::kF32, y_shape);
  for (int64_t i = 0; i < y.count(); ++i) {
    const int64_t p = i % positions, o = i / positions % y_shape[1], n = i / positions / y_shape[1];
    double sum = c.bias.at(o);
    for (int64_t k = 0; k < in; ++k) {
      for (int64_t kh = 0; kh < w[0].kernel; ++kh) {
        for (int64_t kw = 0; kw < w[1].kernel; ++kw) {
          const int64_t h = p / w[1].output * w[0].stride - w[0].pad_begin + kh * w[0].dilation;
          const int64_t v = p % w[1].output * w[1].stride - w[1].pad_begin + kw * w[1].dilation;
          if (h < 0 || h >= w[0].input || v < 0 || v >= w[1].input) continue;
          const int64_t channel = o / out * in + k;
          sum += c.x.at(((n * c.x.shape()[1] + channel) * w[0].input + h) * w[1].input + v) *
                 c.w.at(((o * in + k) * w[0].kernel + kh) * w[1].kernel + kw);
        }
      }
    }
    y.set(i, sum);
  }
  return y;
}

TEST(Conv, IsTheDirectSum) {
  Random random(test_seed());
  for (int round = 0; round < 200; ++round) {
    const RandomConvolution c = random_convolution(random, false);
    const Tensor y = run_node(Op::kConv, {c.x, c.w, c.bias}, c.attributes)[0];
    expect_near(y, direct_convolution(c, y.shape()));
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
}

TEST(Conv, ChannelsLastIsTheSameTransposed) {
  Random random(test_seed() + 1);
  for (int round = 0; round < 50; ++round) {
    RandomConvolution c = random_convolution(random, false);
    const Tensor first = run_node(Op::kConv, {c.x, c.w, c.bias}, c.attributes)[0];
    c.attributes["channels_last"] = int64_t{1};
    const Tensor last = run_node(Op::kConv, {to_channels_last(c.x), c.w, c.bias}, c.attributes)[0];
    expect_same(to_channels_first(last), first);
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
}

TEST(Conv, AutoPadKeepsOrCutsTheSize) {
  const Tensor x = Tensor::f32({1, 1, 5, 5}, std::vector<float>(25, 1)),
               w = Tensor::f32({1, 1, 3, 3}, std::vector<float>(9, 1));
  const auto shape_under = [&](const char* mode) {
    return run_node(Op::kConv, {x, w}, {{"auto_pad", std::string(mode)}, {"strides", Ints{2, 2}}})[0].shape();
  };
  EXPECT_EQ(shape_under("SAME_UPPER"), (Shape{1, 1, 3, 3}));
  EXPECT_EQ(shape_under("SAME_LOWER"), (Shape{1, 1, 3, 3}));
  EXPECT_EQ(shape_under("VALID"), (Shape{1, 1, 2, 2}));
}

// <conv(x), y> = <x, conv_transpose(y)>: the transposed convolution is the adjoint.
TEST(ConvTranspose, IsTheAdjoint) {
  Random random(test_seed() + 2);
  for (int round = 0; round < 100; ++round) {
    const RandomConvolution c = random_convolution(random, true);
    const Tensor y = run_node(Op::kConvTranspose, {c.x, c.w}, c.attributes)[0];
    // the same weights as a convolution from y's space to x's: (I, O/g, k) is its (O, I/g, k)
    const Tensor probe = random_f32(random, y.shape());
    const Tensor back = run_node(Op::kConv, {probe, c.w}, c.attributes)[0];
    ASSERT_EQ(back.shape(), c.x.shape());
    double left = 0, right = 0;
    for (int64_t i = 0; i < y.count(); ++i) left += y.at(i) * probe.at(i);
    for (int64_t i = 0; i < back.count(); ++i) right += back.at(i) * c.x.at(i);
    ASSERT_NEAR(left, right, 1e-4 * (1 + std::abs(left))) << "round " << round;
  }
}

TEST(MatMul, BroadcastsAsNumpyDoes) {
  Random random(test_seed() + 3);
  for (int round = 0; round < 100; ++round) {
    const int64_t m = random.integer(1, 4), k = random.integer(1, 4), n = random.integer(1, 4);
    Shape a, b, y;
    for (int64_t d = random.integer(0, 2); d > 0; --d) {
      const int64_t size = random.integer(1, 3);
      a.push_back(random.integer(0, 1) == 0 ? 1 : size);
      b.push_back(random.integer(0, 1) == 0 ? 1 : size);
      y.push_back(std::max(a.back(), b.back()));
    }
    const Shape batch = y;
    a.insert(a.end(), {m, k}), b.insert(b.end(), {k, n}), y.insert(y.end(), {m, n});
    const Tensor ta = random_f32(random, a), tb = random_f32(random, b), bias = random_f32(random, {n});
    Tensor expected(DType::kF32, y);
    const Shape sa = broadcast_strides({a.begin(), a.end() - 2}, batch),
                sb = broadcast_strides({b.begin(), b.end() - 2}, batch);
    for (int64_t i = 0; i < expected.count(); ++i) {
      int64_t rest = i / (m * n), at_a = 0, at_b = 0;
      for (size_t d = batch.size(); d-- > 0; rest /= batch[d])
        at_a += rest % batch[d] * sa[d], at_b += rest % batch[d] * sb[d];
      double sum = bias.at(i % n);
      for (int64_t j = 0; j < k; ++j)
        sum += ta.at(at_a * m * k + i / n % m * k + j) * tb.at(at_b * k * n + j * n + i % n);
      expected.set(i, sum);
    }
    expect_near(run_node(Op::kMatMul, {ta, tb, bias})[0], expected);
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
}

TEST(MatMul, VectorsLoseTheirDimension) {
  const Tensor v = Tensor::f32({2}, {1, 2}), m = Tensor::f32({2, 2}, {1, 2, 3, 4});
  expect_values(run_node(Op::kMatMul, {v, m})[0], {7, 10});
  expect_values(run_node(Op::kMatMul, {m, v})[0], {5, 11});
  EXPECT_EQ(run_node(Op::kMatMul, {v, v})[0].shape(), Shape{});
}

TEST(Gemm, ScalesTransposesAndBroadcasts) {
  const Tensor a = Tensor::f32({2, 3}, {1, 2, 3, 4, 5, 6}), b = Tensor::f32({2, 1}, {1, 10}), c = Tensor::f32({}, {1});
  expect_values(run_node(Op::kGemm, {a, b, c}, {{"transA", int64_t{1}}, {"alpha", 0.5}, {"beta", 2.0}})[0],
                {22.5, 28, 33.5});
}

TEST(Einsum, AgreesWithMatMulTransposeAndTrace) {
  Random random(test_seed() + 4);
  const Tensor a = random_f32(random, {2, 3, 4}), b = random_f32(random, {2, 4, 5}), s = random_f32(random, {3, 3});
  const auto einsum = [](const char* equation, const std::vector<Tensor>& inputs) {
    return run_node(Op::kEinsum, inputs, {{"equation", std::string(equation)}})[0];
  };
  const Tensor product = run_node(Op::kMatMul, {a, b})[0];
  expect_near(einsum("bij,bjk->bik", {a, b}), product);
  expect_near(einsum("...ij,...jk", {a, b}), product);
  expect_near(einsum("bij, bjk -> kib", {a, b}), run_node(Op::kTranspose, {product}, {{"perm", Ints{2, 1, 0}}})[0]);
  expect_values(einsum("ii->", {s}), {s.at(0) + s.at(4) + s.at(8)});
  expect_values(einsum("ii->i", {s}), {s.at(0), s.at(4), s.at(8)});
  expect_near(einsum("ij,jk,kl->il", {s, s, s}), run_node(Op::kMatMul, {s, run_node(Op::kMatMul, {s, s})[0]})[0]);
}

}  // namespace
}  // namespace pith::ir
