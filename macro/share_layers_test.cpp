// The layers that are most alike share first, the matrices are held once, and norms and biases stay a layer's own.
#include "macro/share_layers.h"

#include "ir/test_graph.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

// x + tanh(x W + b), four times; layers 1 and 2 have nearly the same weights, biases differ.
Graph four_layers(Random& random, int64_t odd_width = 6) {
  Graph g;
  g.name = "net";
  ir::Value v;
  v.name = "x", v.shape = {5, 6};
  g.inputs = {g.add_value(v)};
  ValueId x = g.inputs[0];
  Tensor kept;
  for (int i = 0; i < 4; ++i) {
    Tensor w = ir::random_f32(random, {6, 6});
    if (i == 1) kept = w;
    if (i == 2) {
      for (int64_t k = 0; k < w.count(); ++k) w.set(k, kept.at(k) + 0.002 * w.at(k));
    }
    const std::string at = "layer." + std::to_string(i) + ".";
    ValueId y = ir::append_node(g, Op::kMatMul, {x, g.add_constant(at + "weight", w), g.add_constant(at + "bias", ir::random_f32(random, {6}))});
    if (i == 3 && odd_width != 6) {
      y = ir::append_node(g, Op::kMatMul, {y, g.add_constant(at + "wide.weight", ir::random_f32(random, {6, odd_width}))});
      y = ir::append_node(g, Op::kMatMul, {y, g.add_constant(at + "thin.weight", ir::random_f32(random, {odd_width, 6}))});
    }
    x = ir::append_node(g, Op::kAdd, {x, ir::append_node(g, Op::kTanh, {y})});
  }
  g.outputs = {x};
  return g;
}

std::vector<std::vector<Tensor>> inputs(Random& random) {
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 8; ++i) samples.push_back({ir::random_f32(random, {5, 6})});
  return samples;
}

TEST(ShareLayers, TheMostAlikeShareFirst) {
  Random random(ir::test_seed());
  const Graph whole = four_layers(random);
  Graph g = whole, other = whole;
  const auto samples = inputs(random);
  const auto report = share_layers(g, samples, {3, false});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->sets, (std::vector<std::vector<int64_t>>{{0}, {1, 2}, {3}}));
  EXPECT_EQ(report->bytes, 4 * 36);
  EXPECT_LT(report->losses[0], 1e-4);
  ASSERT_TRUE(share_as(other, *report).ok());
  for (const auto& sample : samples) {
    const auto expected = ir::interpret(whole, sample), shared = ir::interpret(g, sample), same = ir::interpret(other, sample);
    ASSERT_TRUE(expected.ok() && shared.ok() && same.ok());
    for (int64_t i = 0; i < (*expected)[0].count(); ++i) {
      EXPECT_NEAR((*shared)[0].at(i), (*expected)[0].at(i), 0.1);
      EXPECT_EQ((*shared)[0].at(i), (*same)[0].at(i));
    }
  }
}

TEST(ShareLayers, AllShareOneSetInTheEnd) {
  Random random(ir::test_seed());
  Graph g = four_layers(random);
  const auto report = share_layers(g, inputs(random), {1, false});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->losses.size(), 3u);
  EXPECT_EQ(report->bytes, 3 * 4 * 36);
  EXPECT_EQ(std::count_if(g.values.begin(), g.values.end(), [](const ir::Value& v) { return v.name.ends_with(".weight"); }), 1);
  EXPECT_EQ(std::count_if(g.values.begin(), g.values.end(), [](const ir::Value& v) { return v.name.ends_with(".bias"); }), 4);
}

TEST(ShareLayers, RefusesWhatDoesNotMatch) {
  Random random(ir::test_seed());
  Graph odd = four_layers(random, 4);
  const auto refused = share_layers(odd, inputs(random), {1, false});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kDoesNotFit);
  EXPECT_NE(refused.error().message.find("leave 2 sets"), std::string::npos);
  Graph unnamed = four_layers(random);
  for (ir::Value& v : unnamed.values) v.name = "w" + v.name.substr(0, v.name.find('.'));
  EXPECT_FALSE(share_layers(unnamed, inputs(random), {1, false}).ok());
  EXPECT_FALSE(share_layers(odd, {}, {1, false}).ok());
}

}  // namespace
}  // namespace pith
