// A transformer's operators on codes against real arithmetic: how far they are from the exact result, in steps of the result.
// docs/transformers.md states these bounds.
#include "ir/test_graph.h"
#include "numerics/attention.h"
#include "numerics/norm.h"

namespace pith::ir {
namespace {

using numerics::Affine;

void quantise(Graph& g, ValueId id, Affine a) { g.value(id).quant = Quant{8, a, 0, {}}; }
Tensor like_real(const Tensor& codes) { return Tensor(DType::kF32, codes.shape()); }

// Runs a node on codes, and on what they stand for; the largest distance of its codes from the real result in steps.
double distance(Graph& g, const std::vector<Tensor>& inputs, Affine out) {
  const auto verified = verify(g);
  EXPECT_TRUE(verified.ok()) << verified.error().message;
  const auto y = interpret(g, inputs);
  EXPECT_TRUE(y.ok()) << y.error().message;
  Graph real = g;
  std::vector<Tensor> values;
  for (size_t i = 0; i < inputs.size(); ++i) values.push_back(dequantized(g.value(g.inputs[i]), inputs[i]));
  for (Value& v : real.values) {
    if (v.is_constant() && v.quant) v.constant = dequantized(v, *v.constant);
    v.quant.reset();
  }
  const auto exact = interpret(real, values);
  EXPECT_TRUE(exact.ok()) << exact.error().message;
  double worst = 0;
  for (int64_t i = 0; i < exact.value()[0].count(); ++i) {
    const double steps = exact.value()[0].at(i) / numerics::scale_value(out.scale_code) + out.zero_point;
    worst = std::max(worst, std::abs(std::clamp(steps, 0.0, 255.0) - y.value()[0].at(i)));
  }
  EXPECT_EQ(y.value()[0].dtype(), DType::kU8);
  return worst;
}

TEST(IntegerNorm, IsTheExactResultRounded) {
  Random random(test_seed() + 30), spreading(test_seed() + 33);
  for (int round = 0; round < 200; ++round) {
    const bool rms = random.integer(0, 1) == 1;
    const int64_t n = random.integer(1, 90);
    const Tensor x = random_u8(random, {3, 2, n});
    std::vector<Tensor> operands = {like_real(x), random_f32(random, {n}, -2, 2)};
    if (!rms) operands.push_back(random_f32(random, {n}, -1, 1));
    Attributes attributes = {{"axis", int64_t{-1}}, {"epsilon", 1e-5}};
    if (spreading.integer(0, 1) == 1) {
      Ints spread;
      for (int64_t i = 0; i < n; ++i) spread.push_back(spreading.integer(0, 5) == 0 ? spreading.integer(0, numerics::kSpreadMost) : 0);
      attributes["spread"] = spread;
    }
    Graph g = one_node(rms ? Op::kRMSNormalization : Op::kLayerNormalization, operands, attributes, 1, {1, 2});
    const Affine ax{static_cast<int16_t>(random.integer(-140, -60)), static_cast<uint8_t>(random.integer(0, 255))}, ay{static_cast<int16_t>(random.integer(-90, -50)), static_cast<uint8_t>(random.integer(60, 200))};
    quantise(g, g.inputs[0], ax), quantise(g, g.outputs[0], ay);
    ASSERT_TRUE(infer_shapes(g).ok());
    ASSERT_LE(distance(g, {x}, ay), 0.53) << (rms ? "rms " : "layer ") << n << " PITH_SEED=" << test_seed();
  }
}

TEST(IntegerNorm, EqualCodesBecomeTheBias) {
  Tensor x(DType::kU8, {1, 4});
  for (int64_t i = 0; i < 4; ++i) x.set(i, 200);
  Graph g = one_node(Op::kLayerNormalization, {like_real(x), Tensor::f32({4}, {1, 1, 1, 1}), Tensor::f32({4}, {0, 1, -1, 3})}, {{"epsilon", 0.0}}, 1, {1, 2});
  quantise(g, g.inputs[0], {-64, 10}), quantise(g, g.outputs[0], {-32, 100});
  ASSERT_TRUE(infer_shapes(g).ok());
  const auto y = interpret(g, {x});
  ASSERT_TRUE(y.ok()) << y.error().message;
  expect_values(y.value()[0], {100, 104, 96, 112});
}

TEST(IntegerNorm, RootsOfAllSizes) {
  Random random(test_seed() + 31);
  for (int bits = 1; bits <= 62; ++bits) {
    const uint64_t w = (uint64_t{1} << (bits - 1)) + static_cast<uint64_t>(random.integer(0, (int64_t{1} << (bits - 1)) - 1));
    const numerics::ReciprocalRoot r = numerics::reciprocal_root(w);
    const double got = r.root * std::exp2(r.shift - 62.0), wanted = 1 / std::sqrt(static_cast<double>(w));
    EXPECT_NEAR(got, wanted, wanted * 1e-9) << w;
  }
}

TEST(IntegerSum, IsTheExactResultRounded) {
  Random random(test_seed() + 34);
  for (int round = 0; round < 100; ++round) {
    const Tensor a = random_u8(random, {300}), b = random_u8(random, {300});
    Graph g = one_node(Op::kAdd, {like_real(a), like_real(b)});
    const Affine aa{static_cast<int16_t>(random.integer(-140, -60)), static_cast<uint8_t>(random.integer(0, 255))}, ab{static_cast<int16_t>(random.integer(-140, -60)), static_cast<uint8_t>(random.integer(0, 255))};
    const Affine ay{static_cast<int16_t>(std::max(aa.scale_code, ab.scale_code) + random.integer(-8, 24)), static_cast<uint8_t>(random.integer(0, 255))};
    quantise(g, g.inputs[0], aa), quantise(g, g.inputs[1], ab), quantise(g, g.outputs[0], ay);
    ASSERT_TRUE(infer_shapes(g).ok());
    ASSERT_LE(distance(g, {a, b}, ay), 0.52) << "PITH_SEED=" << test_seed();
  }
}

TEST(IntegerGelu, IsTheExactResultRounded) {
  Random random(test_seed() + 35);
  Tensor x(DType::kU8, {256});
  for (int64_t i = 0; i < 256; ++i) x.set(i, static_cast<double>(i));
  for (int round = 0; round < 100; ++round) {
    Graph g = one_node(Op::kGelu, {like_real(x)}, {{"approximate", std::string(random.integer(0, 1) == 1 ? "tanh" : "none")}});
    const Affine ax{static_cast<int16_t>(random.integer(-120, -40)), static_cast<uint8_t>(random.integer(0, 255))}, ay{static_cast<int16_t>(random.integer(-110, -40)), static_cast<uint8_t>(random.integer(0, 40))};
    quantise(g, g.inputs[0], ax), quantise(g, g.outputs[0], ay);
    ASSERT_TRUE(infer_shapes(g).ok());
    ASSERT_LE(distance(g, {x}, ay), 0.501) << "PITH_SEED=" << test_seed();
  }
}

TEST(IntegerAttention, IsTheExactResultRounded) {
  Random random(test_seed() + 32);
  for (int round = 0; round < 60; ++round) {
    const int64_t heads = random.integer(1, 3), shared = random.integer(1, 2), depth = random.integer(1, 40), tokens = random.integer(1, 30), keys = random.integer(tokens, 40);
    const Tensor q = random_u8(random, {2, tokens, heads * shared * depth}), k = random_u8(random, {2, keys, heads * depth}), v = random_u8(random, {2, keys, heads * depth});
    std::vector<Tensor> operands = {like_real(q), like_real(k), like_real(v)}, fed = {q, k, v};
    const bool masked = random.integer(0, 1) == 1;
    if (masked) {
      fed.push_back(random_f32(random, {1, 1, 1, keys}, -3, 0));
      operands.push_back(fed.back());
    }
    Graph g = one_node(Op::kAttention, operands, {{"q_num_heads", heads * shared}, {"kv_num_heads", heads}, {"is_causal", int64_t{tokens == keys}}, {"scale", 0.3 / static_cast<double>(depth)}});
    const Affine ax{-80, static_cast<uint8_t>(random.integer(80, 160))}, av{-70, static_cast<uint8_t>(random.integer(0, 255))}, ay{-68, static_cast<uint8_t>(random.integer(0, 255))};
    quantise(g, g.inputs[0], ax), quantise(g, g.inputs[1], ax), quantise(g, g.inputs[2], av), quantise(g, g.outputs[0], ay);
    ASSERT_TRUE(infer_shapes(g).ok());
    ASSERT_LE(distance(g, fed, ay), 0.5 + 0.0028 * 255) << "PITH_SEED=" << test_seed() << " round " << round;
  }
}

TEST(IntegerAttention, LongRowsStayWithinTheirSums) {
  const numerics::ExponentTable table(1 << 20);
  EXPECT_EQ(table.at(0), 32767 >> 12);
  EXPECT_EQ(table.at(5000), 0);
  const numerics::ExponentTable whole(256);
  EXPECT_EQ(whole.at(0), 32767);
  EXPECT_EQ(whole.at(256), 16383);
  for (int d = 0; d < 2000; ++d) EXPECT_NEAR(whole.at(d), 32767 * std::exp2(-d / 256.0), 1.01);
}

}  // namespace
}  // namespace pith::ir
