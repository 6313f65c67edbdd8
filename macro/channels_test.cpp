// Removing channels: the function stays the same, bit for bit up to the order of sums, and what is dead is gone from every
// tensor, through residual additions, depthwise filters, pooling and flattening.
#include "macro/channels.h"

#include "ir/test_graph.h"

namespace pith {
namespace {

using ir::Attributes;
using ir::Graph;
using ir::Ints;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

// Zeros `index` of `axis`.
void clear(Tensor& t, int axis, int64_t index) {
  int64_t inner = 1;
  for (size_t d = static_cast<size_t>(axis) + 1; d < t.shape().size(); ++d) inner *= t.shape()[d];
  for (int64_t i = 0; i < t.count(); ++i) {
    if ((i / inner) % t.shape()[static_cast<size_t>(axis)] == index) t.set(i, 0);
  }
}

struct Builder {
  Graph g;
  Random random{ir::test_seed()};
  ValueId input(ir::Shape shape) {
    ir::Value v;
    v.name = "x";
    v.shape = std::move(shape);
    g.inputs.push_back(g.add_value(v));
    return g.inputs.back();
  }
  ValueId node(Op op, std::vector<ValueId> inputs, Attributes attributes = {}, bool relu = false) {
    ir::Node n;
    n.op = op;
    n.name = "n" + std::to_string(g.nodes.size());
    n.inputs = std::move(inputs);
    n.attributes = std::move(attributes);
    if (relu) n.activation.function = numerics::Unary::kRelu;
    ir::Value v;
    v.name = n.name + ".y";
    n.outputs = {g.add_value(v)};
    g.nodes.push_back(n);
    return n.outputs[0];
  }
  ValueId weights(ir::Shape shape) { return g.add_constant("w" + std::to_string(g.values.size()), ir::random_f32(random, std::move(shape))); }
  Tensor& of(ValueId id) { return *g.value(id).constant; }
};

void expect_same_function(Graph before, Graph after) {
  Random random(3);
  for (int i = 0; i < 3; ++i) {
    const Tensor x = ir::random_f32(random, before.value(before.inputs[0]).shape);
    const auto a = ir::interpret(before, {x}), b = ir::interpret(after, {x});
    ASSERT_TRUE(a.ok() && b.ok());
    ir::expect_near((*b)[0], (*a)[0], 1e-4);
  }
}

TEST(Channels, DeadOnesLeaveEveryTensor) {
  Builder b;
  const ValueId x = b.input({1, 3, 8, 8});
  const ValueId w1 = b.weights({6, 3, 3, 3}), b1 = b.weights({6}), wd = b.weights({6, 1, 3, 3}), bd = b.weights({6}), w2 = b.weights({5, 6, 1, 1}), b2 = b.weights({5}), w3 = b.weights({4, 80}), b3 = b.weights({4});
  const Attributes same{{"pads", Ints{1, 1, 1, 1}}};
  ValueId y = b.node(Op::kConv, {x, w1, b1}, same, true);
  Attributes depthwise = same;
  depthwise["group"] = int64_t{6};
  y = b.node(Op::kConv, {y, wd, bd}, depthwise, true);
  y = b.node(Op::kConv, {y, w2, b2}, {}, true);
  y = b.node(Op::kMaxPool, {y}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  y = b.node(Op::kReshape, {y}, {{"shape", Ints{1, 80}}});
  y = b.node(Op::kGemm, {y, w3, b3}, {{"transB", int64_t{1}}});
  b.g.outputs = {y};
  clear(b.of(w1), 0, 2), clear(b.of(b1), 0, 2), clear(b.of(bd), 0, 2);  // nothing makes channel 2
  clear(b.of(w2), 1, 4);                                                // nobody reads channel 4
  for (int64_t i = 0; i < 16; ++i) clear(b.of(w3), 1, 3 * 16 + i);      // nor channel 3 of the second
  ASSERT_TRUE(ir::infer_shapes(b.g).ok());
  ASSERT_TRUE(ir::verify(b.g).ok());
  Graph small = b.g;
  const auto report = remove_channels(small);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->removed, 3);
  EXPECT_EQ(small.value(small.nodes[0].inputs[1]).shape, (ir::Shape{4, 3, 3, 3}));
  EXPECT_EQ(small.value(small.nodes[1].inputs[1]).shape, (ir::Shape{4, 1, 3, 3}));
  EXPECT_EQ(small.value(small.nodes[2].inputs[1]).shape, (ir::Shape{4, 4, 1, 1}));
  EXPECT_EQ(small.value(small.nodes[5].inputs[1]).shape, (ir::Shape{4, 64}));
  EXPECT_GT(report->macs, 0);
  expect_same_function(b.g, small);
}

TEST(Channels, AnAdditionNeedsBothSidesDead) {
  Builder b;
  const ValueId x = b.input({1, 2, 6, 6});
  const ValueId w1 = b.weights({4, 2, 1, 1}), w2 = b.weights({4, 4, 3, 3}), w3 = b.weights({3, 4, 1, 1});
  const ValueId trunk = b.node(Op::kConv, {x, w1}, {}, true);
  const ValueId branch = b.node(Op::kConv, {trunk, w2}, {{"pads", Ints{1, 1, 1, 1}}});
  const ValueId sum = b.node(Op::kAdd, {trunk, branch}, {}, true);
  b.g.outputs = {b.node(Op::kConv, {sum, w3})};
  clear(b.of(w1), 0, 1), clear(b.of(w2), 0, 1);  // dead on both sides
  clear(b.of(w2), 0, 2);                         // on one side only
  ASSERT_TRUE(ir::infer_shapes(b.g).ok());
  Graph small = b.g;
  const auto report = remove_channels(small);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->removed, 1);
  expect_same_function(b.g, small);
}

TEST(Channels, WhatRemovalLeavesUnreadGoesToo) {
  Builder b;
  const ValueId x = b.input({1, 5});
  const ValueId w1 = b.weights({5, 4}), w2 = b.weights({4, 3}), w3 = b.weights({3, 2});
  ValueId y = b.node(Op::kGemm, {x, w1}, {}, true);
  y = b.node(Op::kGemm, {y, w2}, {}, true);
  b.g.outputs = {b.node(Op::kGemm, {y, w3})};
  clear(b.of(w3), 0, 1);
  for (int64_t k : {0, 2}) b.of(w2).set(1 * 3 + k, 0);  // hidden 1 of the first layer feeds only hidden 1 of the second
  ASSERT_TRUE(ir::infer_shapes(b.g).ok());
  Graph small = b.g;
  const auto report = remove_channels(small);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->removed, 2);
  expect_same_function(b.g, small);
}

TEST(Channels, ConcatenationsSplitsAndEnlargementsPassThemOn) {
  Builder b;
  const ValueId x = b.input({1, 2, 4, 4});
  const ValueId w1 = b.weights({4, 2, 1, 1}), w2 = b.weights({6, 2, 1, 1}), w3 = b.weights({3, 5, 1, 1}), w4 = b.weights({2, 5, 1, 1});
  const ValueId left = b.node(Op::kConv, {x, w1}, {}, true);
  const ValueId right = b.node(Op::kConv, {x, w2}, {}, true);
  const ValueId large = b.node(Op::kResize, {right}, {{"scales", std::vector<double>{1, 1, 2, 2}}});
  const ValueId wide = b.node(Op::kResize, {left}, {{"scales", std::vector<double>{1, 1, 2, 2}}});
  const ValueId joined = b.node(Op::kConcat, {wide, large}, {{"axis", int64_t{1}}});
  const ValueId first = b.node(Op::kSplit, {joined}, {{"axis", int64_t{1}}, {"split", Ints{5, 5}}});
  ir::Value rest;
  rest.name = "rest";
  b.g.nodes.back().outputs.push_back(b.g.add_value(rest));
  const ValueId second = b.g.nodes.back().outputs[1];
  const ValueId y = b.node(Op::kConv, {first, w3}), z = b.node(Op::kConv, {second, w4});
  b.g.outputs = {y, z};
  clear(b.of(w1), 0, 1);  // channel 1 of the first part
  clear(b.of(w3), 1, 4);  // channel 0 of the right side: the first part's last
  clear(b.of(w4), 1, 2);  // channel 3 of the right side
  ASSERT_TRUE(ir::infer_shapes(b.g).ok());
  ASSERT_TRUE(ir::verify(b.g).ok());
  Graph small = b.g;
  const auto report = remove_channels(small);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->removed, 3);
  EXPECT_EQ(small.value(small.nodes[0].inputs[1]).shape[0], 3);
  EXPECT_EQ(small.value(small.nodes[1].inputs[1]).shape[0], 4);
  EXPECT_EQ(small.value(first).shape[1], 3);
  EXPECT_EQ(small.value(second).shape[1], 4);
  expect_same_function(b.g, small);
}

// Its report says so: who wants operations fewer leaves the channel where it is.
TEST(Channels, OneThatGoesMayTakeBlocksOfZerosOutOfLine) {
  Builder b;
  const ValueId x = b.input({1, 3, 4, 4}), first = b.weights({32, 3, 1, 1}), second = b.weights({32, 32, 1, 1});
  b.g.outputs = {b.node(Op::kConv, {b.node(Op::kConv, {x, first}), second})};
  clear(b.of(first), 0, 0);
  for (int64_t i = 0; i < 16 * 32; ++i) b.of(second).set(i, i % 32 < 16 ? 0 : b.of(second).at(i));
  ASSERT_TRUE(ir::infer_shapes(b.g).ok());
  Graph small = b.g;
  const auto report = remove_channels(small);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->removed, 1);
  EXPECT_EQ(report->macs, 16 * (3 + 32 * 32 - 256 - 31 * 32)) << "less than nothing";
}

TEST(Channels, ConstantsThatDifferFromZeroStay) {
  Builder b;
  const ValueId x = b.input({1, 5});
  const ValueId w1 = b.weights({5, 4}), bias = b.weights({4}), w2 = b.weights({4, 3});
  const ValueId y = b.node(Op::kGemm, {x, w1, bias}, {}, true);
  b.g.outputs = {b.node(Op::kGemm, {y, w2})};
  clear(b.of(w1), 1, 0);
  b.of(bias).set(0, 0.5);
  ASSERT_TRUE(ir::infer_shapes(b.g).ok());
  Graph small = b.g;
  const auto report = remove_channels(small);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->removed, 0);
}

}  // namespace
}  // namespace pith
