// Block sparsity: what isn't needed goes first and costs nothing, the loss is what was said, and what can't be saved is refused.
#include "macro/block_sparse.h"

#include "ir/blocks.h"
#include "ir/test_graph.h"
#include "macro/measure.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Ints;
using ir::Op;
using ir::Tensor;

constexpr int64_t kChannels = 32;

// A 3 x 3 convolution: 2 x 18 blocks.
Graph network(Random& random) {
  Graph g = ir::one_node(Op::kConv, {ir::random_f32(random, {1, kChannels, 8, 8}), ir::random_f32(random, {kChannels, kChannels, 3, 3})}, {{"pads", Ints{1, 1, 1, 1}}}, 1, {1});
  g.nodes[0].activation.function = numerics::Unary::kRelu;
  EXPECT_TRUE(ir::infer_shapes(g).ok());
  return g;
}

std::vector<std::vector<Tensor>> inputs(Random& random) {
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 48; ++i) {
    Tensor t = ir::random_f32(random, {1, kChannels, 8, 8});
    for (int64_t k = 64; k < t.count(); ++k) t.set(k, 0.6 * t.at(k) + 0.6 * t.at(k - 64) + 0.1);
    samples.push_back({t});
  }
  return samples;
}

double error_of(const Graph& a, const Graph& b, const std::vector<std::vector<Tensor>>& samples) {
  double error = 0, count = 0;
  for (const auto& s : samples) {
    const auto x = ir::interpret(a, s), y = ir::interpret(b, s);
    EXPECT_TRUE(x.ok() && y.ok());
    for (int64_t i = 0; i < x->at(0).count(); ++i) error += std::pow(x->at(0).at(i) - y->at(0).at(i), 2);
    count += static_cast<double>(x->at(0).count() / kChannels);
  }
  return error / count;  // summed over channels
}

TEST(BlockSparse, WhatTheResultDoesNotNeedGoesFirst) {
  Random random(ir::test_seed());
  Graph g = network(random);
  auto samples = inputs(random);
  // the second 16 channels never change: whatever reads them is a matter of the bias
  for (auto& s : samples) {
    for (int64_t k = 16 * 64; k < s[0].count(); ++k) s[0].set(k, 0);
  }
  Graph sparse = g;
  const auto report = drop_weight_blocks(sparse, samples, {}, {0.5});
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_EQ(report->layers.size(), 1u);
  EXPECT_EQ(report->layers[0].dropped, 18);
  EXPECT_EQ(report->layers[0].blocks, 36);
  EXPECT_EQ(report->macs_after, report->macs_before / 2);
  const Tensor& w = *sparse.value(sparse.nodes[0].inputs[1]).constant;
  for (int64_t i = 0; i < w.count(); ++i) EXPECT_EQ(w.at(i) == 0, i / 9 % kChannels >= 16) << i;
  EXPECT_LT(error_of(g, sparse, samples), 1e-4);
}

TEST(BlockSparse, TheLossIsWhatWasSaid) {
  Random random(ir::test_seed() + 1);
  Graph g = network(random);
  g.nodes[0].activation = {};
  const auto samples = inputs(random);
  double variance = 0;  // of the results, summed over channels: what errors are relative to
  for (int64_t c = 0; c < kChannels; ++c) {
    double sum = 0, squares = 0;
    const double count = 64.0 * static_cast<double>(samples.size());
    for (const auto& s : samples) {
      const auto y = ir::interpret(g, s);
      for (int64_t i = 0; i < 64; ++i) sum += y->at(0).at(c * 64 + i) / count, squares += std::pow(y->at(0).at(c * 64 + i), 2) / count;
    }
    variance += squares - sum * sum;
  }
  Graph sparse = g;
  const auto report = drop_weight_blocks(sparse, samples, {}, {0.6});
  ASSERT_TRUE(report.ok());
  EXPECT_LE(report->macs_after, 0.6 * static_cast<double>(report->macs_before));
  EXPECT_GE(report->macs_after, 0.5 * static_cast<double>(report->macs_before));
  EXPECT_NEAR(report->loss, error_of(g, sparse, samples) / variance, 0.1 * report->loss);
}

TEST(BlockSparse, BlocksThatAreZeroAlreadyStayZero) {
  Random random(ir::test_seed() + 2);
  Graph g = network(random);
  const auto samples = inputs(random);
  Graph once = g;
  ASSERT_TRUE(drop_weight_blocks(once, samples, {}, {0.8}).ok());
  Graph twice = once;
  const auto report = drop_weight_blocks(twice, samples, {}, {0.7});
  ASSERT_TRUE(report.ok());
  EXPECT_LE(report->macs_after, 0.7 * static_cast<double>(report->macs_before));
  const auto mask = [](const Graph& x) { return ir::zero_block_mask(*x.value(x.nodes[0].inputs[1]).constant, *ir::product_rows(x, x.nodes[0])); };
  const auto before = mask(once), after = mask(twice);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_LE(before[i], after[i]);
}

TEST(BlockSparse, RefusesWhatCantBeSaved) {
  Random random(1);
  Graph g = network(random);
  const auto samples = inputs(random);
  const auto refused = drop_weight_blocks(g, samples, {}, {0.01});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kDoesNotFit);
  EXPECT_FALSE(drop_weight_blocks(g, samples, {}, {0}).ok());
}

}  // namespace
}  // namespace pith
