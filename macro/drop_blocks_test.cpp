// Residual blocks: found where they can be left out, and the one that matters least goes first.
#include "macro/drop_blocks.h"

#include "ir/test_graph.h"

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
  ValueId convolve(ValueId x, double scale, bool relu) {
    ir::Node n;
    n.op = Op::kConv;
    n.name = "conv" + std::to_string(g.nodes.size());
    n.attributes = {{"pads", Ints{1, 1, 1, 1}}};
    n.inputs = {x, g.add_constant(n.name + ".w", ir::random_f32(random, {4, 4, 3, 3}, -scale, scale))};
    if (relu) n.activation.function = numerics::Unary::kRelu;
    return push(n);
  }
  ValueId add(ValueId a, ValueId b, bool relu) {
    ir::Node n;
    n.op = Op::kAdd;
    n.name = "add" + std::to_string(g.nodes.size());
    n.inputs = {a, b};
    if (relu) n.activation.function = numerics::Unary::kRelu;
    return push(n);
  }
  ValueId push(ir::Node& n) {
    ir::Value v;
    v.name = n.name + ".y";
    n.outputs = {g.add_value(v)};
    g.nodes.push_back(n);
    return n.outputs[0];
  }
};

// Three blocks behind a first layer; the second adds next to nothing.
Net three_blocks() {
  Net net;
  ir::Value x;
  x.name = "x", x.shape = {1, 4, 6, 6};
  net.g.inputs = {net.g.add_value(x)};
  ValueId y = net.convolve(net.g.inputs[0], 1, true);
  for (double scale : {0.5, 0.01, 0.6}) y = net.add(y, net.convolve(net.convolve(y, 0.5, true), scale, false), true);
  net.g.outputs = {net.convolve(y, 1, false)};
  EXPECT_TRUE(ir::infer_shapes(net.g).ok());
  return net;
}

std::vector<std::vector<Tensor>> inputs(Random& random) {
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 6; ++i) samples.push_back({ir::random_f32(random, {1, 4, 6, 6})});
  return samples;
}

TEST(DropBlocks, TheSmallestCorrectionGoesFirst) {
  Net net = three_blocks();
  EXPECT_EQ(residual_blocks(net.g).size(), 3u);
  const auto samples = inputs(net.random);
  Graph shorter = net.g;
  const auto report = drop_blocks(shorter, samples, {0.8, false});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->dropped, std::vector<std::string>{"add6"});
  EXPECT_LT(report->losses[0], 0.01);
  EXPECT_EQ(report->macs_before - report->macs_after, 2 * 4 * 4 * 9 * 36);
  EXPECT_EQ(shorter.nodes.size(), net.g.nodes.size() - 3);
  double error = 0, power = 0;
  for (const auto& s : samples) {
    const auto a = ir::interpret(net.g, s), b = ir::interpret(shorter, s);
    for (int64_t i = 0; i < a->at(0).count(); ++i) error += std::pow(a->at(0).at(i) - b->at(0).at(i), 2), power += std::pow(a->at(0).at(i), 2);
  }
  EXPECT_LT(error / power, 0.01);
}

TEST(DropBlocks, ABlockThatOthersReadStays) {
  Net net;
  ir::Value x;
  x.name = "x", x.shape = {1, 4, 6, 6};
  net.g.inputs = {net.g.add_value(x)};
  const ValueId first = net.convolve(net.g.inputs[0], 1, false);
  const ValueId inner = net.convolve(first, 0.5, true);
  const ValueId sum = net.add(first, inner, false);
  net.g.outputs = {net.convolve(sum, 1, false), inner};
  ASSERT_TRUE(ir::infer_shapes(net.g).ok());
  EXPECT_TRUE(residual_blocks(net.g).empty());
  net.g.outputs.pop_back();
  EXPECT_EQ(residual_blocks(net.g).size(), 1u);
}

// y = x + (what is remembered: state + mask * conv(x)); the mask and the state come from elsewhere.
TEST(DropBlocks, WhatOnlyABlockRememberedGoesWithIt) {
  Net net;
  const auto input = [&](const char* name) {
    ir::Value v;
    v.name = name, v.shape = {1, 4, 6, 6};
    net.g.inputs.push_back(net.g.add_value(v));
    return net.g.inputs.back();
  };
  const ValueId x = input("x"), mask = input("mask"), past = input("past");
  ir::Node masked;
  masked.op = Op::kMul, masked.name = "masked";
  masked.inputs = {net.convolve(x, 0.5, false), mask};
  const ValueId next = net.add(net.push(masked), past, false);
  const ValueId sum = net.add(x, net.convolve(next, 0.5, false), false);
  net.g.outputs = {next, net.convolve(sum, 1, false)};
  net.g.state = {{past, next}};
  ASSERT_TRUE(ir::infer_shapes(net.g).ok());
  ASSERT_EQ(residual_blocks(net.g).size(), 1u);
  Graph shorter = net.g;
  ASSERT_TRUE(leave_out_blocks(shorter, {"add4"}).ok());
  EXPECT_TRUE(shorter.state.empty());
  EXPECT_EQ(shorter.outputs.size(), 1u);
  EXPECT_EQ(shorter.nodes.size(), 1u);
  EXPECT_FALSE(leave_out_blocks(shorter, {"add4"}).ok());
}

TEST(DropBlocks, RefusesWhatBlocksCantGive) {
  Net net = three_blocks();
  Graph g = net.g;
  const auto report = drop_blocks(g, inputs(net.random), {0.05, false});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::kDoesNotFit);
}

}  // namespace
}  // namespace pith
