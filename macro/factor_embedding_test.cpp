// A table of known rank is its factors exactly; a smaller rank keeps what is read often.
#include "macro/factor_embedding.h"

#include "ir/test_graph.h"
#include "macro/prune_vocabulary.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Ints;
using ir::Op;
using ir::Tensor;

// 20 rows of 8 numbers in a space of 3 dimensions, about a mean that lies elsewhere unless tied.
Tensor table_of_rank_3(Random& random, bool about_zero) {
  const Tensor places = ir::random_f32(random, {20, 3}), basis = ir::random_f32(random, {3, 8}), mean = ir::random_f32(random, {8}, 1, 2);
  Tensor t(ir::DType::kF32, {20, 8});
  for (int64_t i = 0; i < 160; ++i) {
    double sum = about_zero ? 0 : mean.at(i % 8);
    for (int64_t k = 0; k < 3; ++k) sum += places.at(i / 8 * 3 + k) * basis.at(k * 8 + i % 8);
    t.set(i, sum);
  }
  return t;
}

Graph network(Random& random, const Tensor& rows, bool tied) {
  Graph g;
  g.name = "net";
  ir::Value ids;
  ids.name = "ids", ids.dtype = ir::DType::kI64, ids.shape = {1, 4};
  g.inputs = {g.add_value(ids)};
  const ir::ValueId table = g.add_constant("table", rows);
  const ir::ValueId words = ir::append_node(g, Op::kGather, {table, g.inputs[0]}, {{"axis", int64_t{0}}});
  const ir::ValueId x = ir::append_node(g, Op::kMul, {words, g.add_constant("gain", ir::random_f32(random, {8}))});
  if (!tied) {
    g.outputs = {x};
    return g;
  }
  const ir::ValueId flat = ir::append_node(g, Op::kReshape, {x}, {{"shape", Ints{4, 8}}});
  g.outputs = {ir::append_node(g, Op::kGemm, {flat, table, g.add_constant("bias", ir::random_f32(random, {20}))}, {{"transB", int64_t{1}}})};
  return g;
}

double difference(const Graph& a, const Graph& b, const std::vector<int64_t>& ids) {
  const auto x = ir::interpret(a, {Tensor::i64({1, 4}, ids)}), y = ir::interpret(b, {Tensor::i64({1, 4}, ids)});
  EXPECT_TRUE(x.ok() && y.ok());
  double most = 0;
  for (int64_t i = 0; i < (*x)[0].count(); ++i) most = std::max(most, std::abs((*x)[0].at(i) - (*y)[0].at(i)));
  return most;
}

TEST(FactorEmbedding, ATableOfItsRankIsItsFactors) {
  Random random(ir::test_seed());
  for (bool tied : {false, true}) {
    const Graph whole = network(random, table_of_rank_3(random, tied), tied);
    const auto f = factor_embedding(whole, {1, 5, 0, 2}, 3);
    ASSERT_TRUE(f.ok()) << f.error().message;
    EXPECT_EQ(f->tied, tied);
    EXPECT_LT(f->lost, 1e-10);
    Graph g = whole;
    const auto change = replace_embedding(g, *f);
    ASSERT_TRUE(change.ok()) << change.error().message;
    EXPECT_EQ(change->bytes, 4 * (tied ? 20 * 3 + 2 * 3 * 8 - 20 * 8 : 20 * 3 + 3 * 8 + 8 - 20 * 8));
    EXPECT_LT(difference(whole, g, {0, 7, 19, 3}), 1e-5);
  }
}

TEST(FactorEmbedding, WhatIsReadOftenIsKeptBest) {
  Random random(ir::test_seed());
  const Graph whole = network(random, ir::random_f32(random, {20, 8}), false);
  std::vector<double> counts(20, 0);
  for (size_t i : {2u, 5u, 11u}) counts[i] = 1000;  // three points and their mean lie in a plane
  Graph g = whole;
  const auto f = factor_embedding(whole, counts, 2);
  ASSERT_TRUE(f.ok());
  ASSERT_TRUE(replace_embedding(g, *f).ok());
  EXPECT_LT(difference(whole, g, {2, 5, 11, 2}), 0.02);
  EXPECT_GT(difference(whole, g, {1, 3, 4, 6}), 0.1);
}

TEST(FactorEmbedding, RanksOfNoUseAreRefused) {
  Random random(ir::test_seed());
  const Graph whole = network(random, ir::random_f32(random, {20, 8}), false);
  EXPECT_TRUE(factor_embedding(whole, {}, 5).ok());
  for (int64_t rank : {int64_t{0}, int64_t{6}}) {
    const auto refused = factor_embedding(whole, {}, rank);
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().message.find("give 1 to 5"), std::string::npos) << refused.error().message;
  }
}

}  // namespace
}  // namespace pith
