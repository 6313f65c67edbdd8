#include "ir/graph.h"

#include <gtest/gtest.h>

namespace pith::ir {
namespace {

Value typed(std::string name, Shape shape) {
  Value v;
  v.name = std::move(name);
  v.shape = std::move(shape);
  return v;
}

// x -> Conv(w) -> y -> Relu -> z, and a dead Sigmoid beside it
Graph small_graph() {
  Graph g;
  const ValueId x = g.add_value(typed("x", {1, 2, 4, 4}));
  const ValueId dead = g.add_value(typed("dead", {1, 2, 4, 4}));
  const ValueId w = g.add_constant("w", Tensor(DType::kF32, {3, 2, 3, 3}));
  const ValueId y = g.add_value(typed("y", {1, 3, 2, 2}));
  const ValueId z = g.add_value(typed("z", {1, 3, 2, 2}));
  g.inputs = {x};
  g.outputs = {z};
  Node conv{Op::kConv, "conv", {x, w}, {y}, {}, {}};
  conv.attributes["strides"] = std::vector<int64_t>{1, 1};
  g.nodes.push_back(conv);
  g.nodes.push_back({Op::kSigmoid, "unused", {x}, {dead}, {}, {}});
  g.nodes.push_back({Op::kRelu, "relu", {y}, {z}, {}, {}});
  return g;
}

TEST(Ops, NamesAndTraits) {
  for (int i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    EXPECT_EQ(op_from_name(op_name(op)), op);
    EXPECT_GE(op_traits(op).least_inputs, 1);
  }
  EXPECT_FALSE(op_from_name("Convolve").has_value());
  EXPECT_EQ(op_traits(Op::kConv).integer_form, IntegerForm::kExact);
  EXPECT_STREQ(op_traits(Op::kGelu).family, "unary");
}

TEST(Node, AttributesFallBackWhenAbsentOrOfAnotherKind) {
  Node n;
  n.attributes["a"] = int64_t{3};
  n.attributes["b"] = std::string("SAME");
  EXPECT_EQ(n.integer("a", 0), 3);
  EXPECT_EQ(n.real("a", 0), 3.0);
  EXPECT_EQ(n.integer("b", 9), 9);
  EXPECT_EQ(n.text("b", ""), "SAME");
  EXPECT_EQ(n.integers("c", {1, 2}), (std::vector<int64_t>{1, 2}));
  EXPECT_TRUE(n.has("a"));
  EXPECT_FALSE(n.has("c"));
}

TEST(Graph, KnowsWhoReadsAndWhoMakes) {
  const Graph g = small_graph();
  EXPECT_EQ(consumers(g)[0], (std::vector<int>{0, 1}));
  EXPECT_EQ(producers(g)[0], -1);
  EXPECT_EQ(producers(g)[4], 2);
}

TEST(Graph, RemoveDeadRenumbers) {
  Graph g = small_graph();
  remove_dead(g);
  ASSERT_EQ(g.nodes.size(), 2u);
  ASSERT_EQ(g.values.size(), 4u);
  EXPECT_EQ(g.value(g.nodes[0].inputs[1]).name, "w");
  EXPECT_EQ(g.value(g.nodes[1].inputs[0]).name, "y");
  EXPECT_EQ(g.value(g.outputs[0]).name, "z");
}

TEST(Graph, RemoveDeadKeepsStateAndDropsUnreadOutputs) {
  Graph g;
  const ValueId x = g.add_value(typed("x", {4}));
  const ValueId values = g.add_value(typed("values", {2}));
  const ValueId indices = g.add_value(typed("indices", {2}));
  const ValueId next = g.add_value(typed("next", {4}));
  g.inputs = {x};
  g.outputs = {indices};
  g.state = {{x, next}};
  g.nodes.push_back({Op::kTopK, "topk", {x}, {values, indices}, {}, {}});
  g.nodes.push_back({Op::kNeg, "neg", {x}, {next}, {}, {}});
  remove_dead(g);
  ASSERT_EQ(g.nodes.size(), 2u);
  EXPECT_EQ(g.nodes[0].outputs[0], kNoValue);
  EXPECT_EQ(g.value(g.nodes[0].outputs[1]).name, "indices");
  EXPECT_EQ(g.value(g.state[0].second).name, "next");
}

TEST(Graph, CountsMacsAndParameters) {
  const Graph g = small_graph();
  EXPECT_EQ(dense_mac_count(g, g.nodes[0]), 3 * 2 * 2 * 2 * 9);
  EXPECT_EQ(mac_count(g, g.nodes[0]), 0) << "all of its weights are zero";
  EXPECT_EQ(mac_count(g, g.nodes[2]), 0);
  EXPECT_EQ(parameter_count(g), 54);
}

}  // namespace
}  // namespace pith::ir
