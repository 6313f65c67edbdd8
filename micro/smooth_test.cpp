// Outlier channels: the float network stays the same, and 8-bit activations hold it much better.
#include "micro/smooth.h"

#include "ir/test_graph.h"
#include "micro/quantize.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

constexpr int64_t kWidth = 24, kTokens = 6;

// Two layers as BERT has them. One channel of each layer's last product is `louder` times the others.
Graph layers(Random& random, float louder, bool rms = false) {
  Graph g;
  ir::Value input;
  input.shape = {1, kTokens, kWidth};
  g.inputs = {g.add_value(std::move(input))};
  const auto norm = [&](ValueId x) {
    std::vector<ValueId> operands = {x, g.add_constant("gain", ir::random_f32(random, {kWidth}, 0.5, 1.5))};
    if (!rms) operands.push_back(g.add_constant("shift", ir::random_f32(random, {kWidth}, -0.2, 0.2)));
    return ir::append_node(g, rms ? Op::kRMSNormalization : Op::kLayerNormalization, operands, {{"axis", int64_t{-1}}});
  };
  const auto dense = [&](ValueId x, int64_t outputs, float factor) {
    Tensor w = ir::random_f32(random, {g.value(x).shape.back(), outputs}, -0.4, 0.4), b = ir::random_f32(random, {outputs}, -0.1, 0.1);
    for (int64_t i = 0; i < w.count(); i += outputs) w.set(i + 5, w.at(i + 5) * static_cast<double>(factor));
    return ir::append_node(g, Op::kMatMul, {x, g.add_constant("w" + std::to_string(g.nodes.size()), w), g.add_constant("b" + std::to_string(g.nodes.size()), b)});
  };
  ValueId x = norm(dense(g.inputs[0], kWidth, 1));
  for (int layer = 0; layer < 2; ++layer) {
    const ValueId inner = ir::append_node(g, Op::kGelu, {dense(x, 2 * kWidth, 1)});
    x = norm(ir::append_node(g, Op::kAdd, {dense(inner, kWidth, louder), x}));
  }
  g.outputs = {dense(x, 3, 1)};
  return g;
}

std::vector<std::vector<Tensor>> samples_for(Random& random) {
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 8; ++i) samples.push_back({ir::random_f32(random, {1, kTokens, kWidth}, -2, 2)});
  return samples;
}

double relative_error(const Graph& a, const Graph& b, const std::vector<std::vector<Tensor>>& samples) {
  double error = 0, power = 0;
  for (const auto& sample : samples) {
    const auto x = ir::interpret(a, sample), y = ir::interpret(b, sample);
    EXPECT_TRUE(x.ok() && y.ok());
    for (int64_t i = 0; i < x.value()[0].count(); ++i) {
      error += std::pow(x.value()[0].at(i) - y.value()[0].at(i), 2.0);
      power += std::pow(x.value()[0].at(i), 2.0);
    }
  }
  return std::sqrt(error / power);
}

TEST(Smooth, LeavesTheFloatNetworkAsItWas) {
  for (const bool rms : {false, true}) {
    Random random(ir::test_seed() + 60);
    const Graph g = layers(random, 60, rms);
    const auto samples = samples_for(random);
    Graph smoothed = g;
    const auto divided = smooth(smoothed, samples);
    ASSERT_TRUE(divided.ok()) << divided.error().message;
    EXPECT_EQ(*divided, 2);
    int spread = 0;
    for (const ir::Node& n : smoothed.nodes) spread += n.has("spread");
    EXPECT_EQ(spread, 2);
    EXPECT_LT(relative_error(g, smoothed, samples), 1e-6);
  }
}

TEST(Smooth, HelpsEightBitsByMuch) {
  Random random(ir::test_seed() + 61);
  const Graph g = layers(random, 60);
  const auto samples = samples_for(random);
  QuantizeOptions options;
  options.equalize = false;
  const auto without = quantize(g, samples, options);
  options.equalize = true;
  const auto with = quantize(g, samples, options);
  ASSERT_TRUE(without.ok() && with.ok());
  EXPECT_LT(relative_error(g, *with, samples), 0.75 * relative_error(g, *without, samples)) << "PITH_SEED=" << ir::test_seed();
}

TEST(Smooth, TouchesNothingWithoutOutliers) {
  Random random(ir::test_seed() + 62);
  Graph g = layers(random, 1);
  const Graph before = g;
  const auto divided = smooth(g, samples_for(random));
  ASSERT_TRUE(divided.ok());
  EXPECT_EQ(*divided, 0);
  EXPECT_EQ(ir::to_text(g, true), ir::to_text(before, true));
}

// What leaves the network, or is read by an operator that can't take a factor in, keeps its channels.
TEST(Smooth, LeavesWhatOthersRead) {
  Random random(ir::test_seed() + 63);
  Graph g = layers(random, 60);
  ValueId sum = ir::kNoValue;
  for (const ir::Node& n : g.nodes) {
    if (n.op == Op::kAdd) sum = n.outputs[0];
  }
  g.outputs.push_back(sum);
  const auto divided = smooth(g, samples_for(random));
  ASSERT_TRUE(divided.ok()) << divided.error().message;
  EXPECT_EQ(*divided, 1);  // of the first layer only
}

TEST(Smooth, ExponentsAreChecked) {
  Random random(ir::test_seed() + 64);
  Graph g = layers(random, 1);
  for (const ir::Ints& spread : {ir::Ints(static_cast<size_t>(kWidth), 7), ir::Ints(static_cast<size_t>(kWidth), -1), ir::Ints{1, 2}}) {
    Graph bad = g;
    for (ir::Node& n : bad.nodes) {
      if (n.op == Op::kLayerNormalization) n.attributes["spread"] = spread;
    }
    EXPECT_FALSE(ir::verify(bad).ok());
  }
}

}  // namespace
}  // namespace pith
