// Pruning with compensation: what others can say goes first, and its readers make up for it.
#include "macro/prune_channels.h"

#include "ir/test_graph.h"
#include "macro/channels.h"

namespace pith {
namespace {

using ir::Attributes;
using ir::Graph;
using ir::Ints;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

struct Net {
  Graph g;
  Random random{ir::test_seed()};
  std::vector<std::vector<Tensor>> samples;

  ValueId constant(ir::Shape shape) { return g.add_constant("c" + std::to_string(g.values.size()), ir::random_f32(random, std::move(shape))); }
  ValueId node(Op op, std::vector<ValueId> inputs, Attributes attributes, bool relu) {
    ir::Node n;
    n.op = op;
    n.name = "n" + std::to_string(g.nodes.size());
    n.inputs = std::move(inputs), n.attributes = std::move(attributes);
    if (relu) n.activation.function = numerics::Unary::kRelu;
    ir::Value v;
    v.name = n.name + ".y";
    n.outputs = {g.add_value(v)};
    g.nodes.push_back(n);
    return n.outputs[0];
  }
  Tensor& weights(size_t node) { return *g.value(g.nodes[node].inputs[1]).constant; }
};

// 3 -> 16 -> depthwise -> 6, of whose 16 channels the last 8 repeat the first with another factor.
Net repeating() {
  Net net;
  ir::Value x;
  x.name = "x", x.shape = {1, 3, 8, 8};
  net.g.inputs = {net.g.add_value(x)};
  const Attributes same{{"pads", Ints{1, 1, 1, 1}}}, depthwise{{"pads", Ints{1, 1, 1, 1}}, {"group", int64_t{16}}};
  ValueId y = net.node(Op::kConv, {net.g.inputs[0], net.constant({16, 3, 3, 3}), net.constant({16})}, same, true);
  y = net.node(Op::kConv, {y, net.constant({16, 1, 3, 3}), net.constant({16})}, depthwise, true);
  net.g.outputs = {net.node(Op::kConv, {y, net.constant({6, 16, 1, 1}), net.constant({6})}, {}, false)};
  for (size_t n : {0, 1}) {
    for (size_t operand : {1, 2}) {
      Tensor& t = *net.g.value(net.g.nodes[n].inputs[operand]).constant;
      const int64_t half = t.count() / 2;
      for (int64_t i = 0; i < half; ++i) t.set(half + i, t.at(i) * (n == 0 ? 1.5 : operand == 1 ? 1.0 : 1.5));
    }
  }
  EXPECT_TRUE(ir::infer_shapes(net.g).ok());
  for (int i = 0; i < 32; ++i) net.samples.push_back({ir::random_f32(net.random, x.shape)});
  return net;
}

double relative_error(const Graph& a, const Graph& b, const std::vector<std::vector<Tensor>>& samples) {
  double error = 0, power = 0;
  for (const auto& s : samples) {
    const auto x = ir::interpret(a, s), y = ir::interpret(b, s);
    EXPECT_TRUE(x.ok() && y.ok());
    for (int64_t i = 0; i < x->at(0).count(); ++i) error += std::pow(x->at(0).at(i) - y->at(0).at(i), 2), power += std::pow(x->at(0).at(i), 2);
  }
  return error / power;
}

TEST(PruneChannels, RepeatedChannelsCostNothing) {
  const Net net = repeating();
  const auto pruned = prune_channels(net.g, net.samples, {}, {0.5, 4, 512});
  ASSERT_TRUE(pruned.ok()) << pruned.error().message;
  EXPECT_EQ(pruned->removed, 8);
  EXPECT_NEAR(static_cast<double>(pruned->macs_after) / static_cast<double>(pruned->macs_before), 0.5, 0.01);
  EXPECT_EQ(pruned->graph.value(pruned->graph.nodes[0].inputs[1]).shape, (ir::Shape{8, 3, 3, 3}));
  EXPECT_LT(pruned->activations_after, pruned->activations_before);
  EXPECT_LT(relative_error(net.g, pruned->graph, net.samples), 0.01);
}

TEST(PruneChannels, WhatIsLostIsWhatReadersCantMakeUpFor) {
  Net net = repeating();
  for (float& w : net.weights(0).mut<float>()) w += static_cast<float>(0.3 * net.random.normal());  // no longer repeated
  const auto pruned = prune_channels(net.g, net.samples, {}, {0.7, 3, 512});
  ASSERT_TRUE(pruned.ok());
  // the same channels without making up for them
  Graph plain = net.g;
  const double error = relative_error(net.g, pruned->graph, net.samples);
  for (int64_t c = 0; c < 5; ++c) {
    for (size_t operand : {1, 2}) {
      Tensor& t = *plain.value(plain.nodes[1].inputs[operand]).constant;
      for (int64_t i = 0; i < t.count() / 16; ++i) t.set(c * (t.count() / 16) + i, 0);
    }
  }
  ASSERT_TRUE(remove_channels(plain).ok());
  EXPECT_LT(error, 0.5 * relative_error(net.g, plain, net.samples));
}

TEST(PruneChannels, RefusesWhatChannelsCantGive) {
  const Net net = repeating();
  EXPECT_FALSE(prune_channels(net.g, net.samples, {}, {0.001, 1, 512}).ok());
  const auto none = prune_channels(net.g, net.samples, {}, {0, 1, 512});
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("choose more than 0"), std::string::npos);
}

}  // namespace
}  // namespace pith
