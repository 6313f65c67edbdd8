// Low rank: exact where results lie in a subspace, better than nothing where they don't, refused where it can't help.
#include "macro/low_rank.h"

#include "macro/eigen.h"

#include "ir/test_graph.h"

namespace pith {
namespace {

using ir::Attributes;
using ir::Graph;
using ir::Ints;
using ir::Op;
using ir::Tensor;

TEST(LowRank, EigenvectorsOfASymmetricMatrix) {
  Random random(ir::test_seed());
  constexpr int64_t n = 24;
  std::vector<double> a(n * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) a[i * n + j] = a[j * n + i] = random.normal();
  }
  const auto found = symmetric_eigen(a, n);
  ASSERT_TRUE(found.ok());
  const Eigen& e = *found;
  for (int64_t r = 0; r < n; ++r) {
    EXPECT_LE(e.values[r], e.values[r > 0 ? r - 1 : 0]);
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < n; ++j) sum += a[i * n + j] * e.vectors[j * n + r];
      EXPECT_NEAR(sum, e.values[r] * e.vectors[i * n + r], 1e-8);
    }
  }
}

// A 3 x 3 convolution of 16 outputs of which only `rank` are independent, and a dense layer behind it.
Graph network(Random& random, int64_t rank) {
  Tensor w(ir::DType::kF32, {16, 8, 3, 3});
  const Tensor mix = ir::random_f32(random, {16, rank}), base = ir::random_f32(random, {rank, 72});
  for (int64_t o = 0; o < 16; ++o) {
    for (int64_t i = 0; i < 72; ++i) {
      double sum = 0;
      for (int64_t r = 0; r < rank; ++r) sum += mix.at(o * rank + r) * base.at(r * 72 + i);
      w.set(o * 72 + i, sum);
    }
  }
  return ir::one_node(Op::kConv, {ir::random_f32(random, {1, 8, 6, 6}), w, ir::random_f32(random, {16})}, {{"pads", Ints{1, 1, 1, 1}}}, 1, {1, 2});
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

std::vector<std::vector<Tensor>> inputs(Random& random) {
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 16; ++i) samples.push_back({ir::random_f32(random, {1, 8, 6, 6})});
  return samples;
}

TEST(LowRank, ASubspaceCostsNothing) {
  Random random(ir::test_seed());
  Graph g = network(random, 4);
  g.nodes[0].activation.function = numerics::Unary::kRelu;
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  const auto samples = inputs(random);
  Graph thin = g;
  const auto report = split_low_rank(thin, samples, {}, {0.5, 512});
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_EQ(thin.nodes.size(), 2u);
  EXPECT_EQ(thin.nodes[1].activation.function, numerics::Unary::kRelu);
  EXPECT_LE(report->macs_after, report->macs_before / 2);
  EXPECT_LT(relative_error(g, thin, samples), 1e-6);
}

TEST(LowRank, TheLossIsWhatWasSaid) {
  Random random(ir::test_seed() + 1);
  Graph g = network(random, 16);
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  const auto samples = inputs(random);
  Graph thin = g;
  const auto report = split_low_rank(thin, samples, {}, {0.5, 512});
  ASSERT_TRUE(report.ok());
  double sum = 0, squares = 0;  // errors are relative to the variance, summed over outputs
  const double count = 36.0 * static_cast<double>(samples.size());
  for (int64_t o = 0; o < 16; ++o) {
    double mean = 0, square = 0;
    for (const auto& s : samples) {
      const auto y = ir::interpret(g, s);
      for (int64_t i = 0; i < 36; ++i) mean += y->at(0).at(o * 36 + i) / count, square += std::pow(y->at(0).at(o * 36 + i), 2) / count;
    }
    sum += square - mean * mean;
    squares += square;
  }
  EXPECT_NEAR(report->loss, relative_error(g, thin, samples) * squares / sum, 0.05 * report->loss);
}

TEST(LowRank, RefusesWhatCantBeSplit) {
  Random random(1);
  Graph g = network(random, 16);
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  EXPECT_FALSE(split_low_rank(g, inputs(random), {}, {0.001, 512}).ok());
}

}  // namespace
}  // namespace pith
