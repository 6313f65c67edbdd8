// Heads that say nothing, or what others say, go first, and the answers stay; every form of the network loses the same.
#include "macro/prune_heads.h"

#include "ir/test_graph.h"
#include "macro/attention_sites.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Ints;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

constexpr int64_t kRows = 5, kWidth = 12, kDepth = 3;

struct Net {
  Graph g;
  Random random{ir::test_seed()};
  ValueId input(const char* name, ir::Shape shape) {
    ir::Value v;
    v.name = name, v.shape = std::move(shape);
    g.inputs.push_back(g.add_value(v));
    return g.inputs.back();
  }
  ValueId product(ValueId x, const std::string& name, int64_t in, int64_t out) {
    return ir::append_node(g, Op::kMatMul, {x, g.add_constant(name, ir::random_f32(random, {in, out})), g.add_constant(name + ".bias", ir::random_f32(random, {out}))});
  }
  Tensor& constant(const std::string& name) {
    for (ir::Value& v : g.values) {
      if (v.name == name) return *v.constant;
    }
    throw std::runtime_error(name);
  }
};

// x [1, rows, width] -> attention of so many heads, of queries and of keys -> [1, rows, width].
Net attention(int64_t heads, int64_t key_heads, bool by_axis) {
  Net n;
  const ValueId x = n.input("x", {1, kRows, kWidth});
  ValueId q = n.product(x, "q", kWidth, heads * kDepth), k = n.product(x, "k", kWidth, key_heads * kDepth), v = n.product(x, "v", kWidth, key_heads * kDepth), y;
  if (by_axis) {
    const auto split = [&](ValueId a, int64_t count) {
      return ir::append_node(n.g, Op::kTranspose, {ir::append_node(n.g, Op::kReshape, {a}, {{"shape", Ints{1, kRows, count, kDepth}}})}, {{"perm", Ints{0, 2, 1, 3}}});
    };
    q = split(q, heads), k = split(k, key_heads), v = split(v, key_heads);
    y = ir::append_node(n.g, Op::kAttention, {q, k, v});
    y = ir::append_node(n.g, Op::kReshape, {ir::append_node(n.g, Op::kTranspose, {y}, {{"perm", Ints{0, 2, 1, 3}}})}, {{"shape", Ints{1, kRows, heads * kDepth}}});
  } else {
    y = ir::append_node(n.g, Op::kAttention, {q, k, v}, {{"q_num_heads", heads}, {"kv_num_heads", key_heads}});
  }
  n.g.outputs = {n.product(y, "out", heads * kDepth, kWidth)};
  return n;
}

std::vector<std::vector<Tensor>> inputs(Random& random) {
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 30; ++i) samples.push_back({ir::random_f32(random, {1, kRows, kWidth})});
  return samples;
}

double difference(const Graph& a, const Graph& b, const std::vector<std::vector<Tensor>>& samples) {
  double error = 0, power = 0;
  for (const auto& s : samples) {
    const auto x = ir::interpret(a, s), y = ir::interpret(b, s);
    EXPECT_TRUE(x.ok() && y.ok());
    for (int64_t i = 0; i < (*x)[0].count(); ++i) error += std::pow((*x)[0].at(i) - (*y)[0].at(i), 2), power += std::pow((*x)[0].at(i), 2);
  }
  return error / power;
}

TEST(PruneHeads, WhatNobodyReadsGoesFirst) {
  for (bool by_axis : {false, true}) {
    Net n = attention(4, 4, by_axis);
    for (int64_t e = kDepth; e < 2 * kDepth; ++e) {  // head 1 is hardly read
      for (int64_t o = 0; o < kWidth; ++o) n.constant("out").set(e * kWidth + o, 1e-4);
    }
    const Graph whole = n.g;
    const auto report = prune_heads(n.g, inputs(n.random), {0.75, false, 1, ir::kNoValue});
    ASSERT_TRUE(report.ok()) << report.error().message;
    ASSERT_EQ(report->cuts.size(), 1u);
    EXPECT_EQ(report->cuts[0].kept, (std::vector<int64_t>{0, 2, 3}));
    EXPECT_EQ(report->bytes, 4 * kDepth * (3 * (kWidth + 1) + kWidth));
    EXPECT_GT(report->macs, 0);
    EXPECT_LT(difference(whole, n.g, inputs(n.random)), 1e-5);
  }
}

// Head 2 is head 0 once more: the product behind head 0 takes over what it said.
TEST(PruneHeads, HeadsThatStayMakeUpForOthers) {
  Net n = attention(4, 4, false);
  for (const char* name : {"q", "k", "v"}) {
    for (int64_t i = 0; i < kWidth; ++i) {
      for (int64_t e = 0; e < kDepth; ++e) n.constant(name).set(i * kWidth + 2 * kDepth + e, n.constant(name).at(i * kWidth + e));
    }
    for (int64_t e = 0; e < kDepth; ++e) n.constant(name + std::string(".bias")).set(2 * kDepth + e, n.constant(name + std::string(".bias")).at(e));
  }
  for (int64_t i = 0; i < kWidth * kWidth; ++i) {  // the other heads are read much more
    if (i / kWidth / kDepth % 2 == 1) n.constant("out").set(i, 4 * n.constant("out").at(i));
  }
  const Graph whole = n.g;
  const auto report = prune_heads(n.g, inputs(n.random), {0.75, false, 1, ir::kNoValue});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->heads_after, 3);
  EXPECT_TRUE(report->cuts[0].kept == (std::vector<int64_t>{0, 1, 3}) || report->cuts[0].kept == (std::vector<int64_t>{1, 2, 3}));
  EXPECT_LT(report->loss, 0.002);
  EXPECT_LT(difference(whole, n.g, inputs(n.random)), 0.002);
}

TEST(PruneHeads, QueriesGoWithTheirKeys) {
  for (bool by_axis : {false, true}) {
    Net n = attention(6, 3, by_axis);
    for (int64_t e = 0; e < 2 * kDepth; ++e) {  // what the first key's two queries say
      for (int64_t o = 0; o < kWidth; ++o) n.constant("out").set(e * kWidth + o, 0);
    }
    const Graph whole = n.g;
    const auto report = prune_heads(n.g, inputs(n.random), {0.6, false, 3, ir::kNoValue});
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->cuts[0].kept, (std::vector<int64_t>{1, 2}));
    EXPECT_EQ(report->heads_before, 3);
    EXPECT_LT(difference(whole, n.g, inputs(n.random)), 1e-5);
    Graph other = whole;
    ASSERT_TRUE(cut_heads(other, *report).ok());
    EXPECT_LT(difference(other, n.g, inputs(n.random)), 1e-12);
  }
}

TEST(PruneHeads, OneHeadStaysAndWhatIsntClearIsRefused) {
  Net n = attention(4, 4, false);
  const auto least = prune_heads(n.g, inputs(n.random), {0.01, false, 2, ir::kNoValue});
  ASSERT_TRUE(least.ok());
  EXPECT_EQ(least->heads_after, 1);
  Net shared = attention(4, 4, false);
  shared.g.nodes[2].inputs[1] = shared.g.nodes[1].inputs[1];  // keys and values by the same weights
  const auto refused = prune_heads(shared.g, inputs(shared.random), {0.5, false, 1, ir::kNoValue});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(prune_heads(n.g, {}, {}).ok());
}

}  // namespace
}  // namespace pith
