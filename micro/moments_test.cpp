// Rounding by covariance against an exhaustive search, and moments against their definition.
#include "micro/moments.h"

#include "ir/test_graph.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Op;
using ir::Tensor;

double error_of(const std::vector<double>& w, const std::vector<double>& c, const std::vector<int>& q) {
  double sum = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    for (size_t j = 0; j < w.size(); ++j) sum += (q[i] - w[i]) * c[i * w.size() + j] * (q[j] - w[j]);
  }
  return sum;
}

// All corners: each weight down or up.
double least_error(const std::vector<double>& w, const std::vector<double>& c) {
  double least = 1e300;
  std::vector<int> q(w.size());
  for (size_t corner = 0; corner < size_t{1} << w.size(); ++corner) {
    for (size_t i = 0; i < w.size(); ++i) q[i] = static_cast<int>(std::floor(w[i])) + static_cast<int>(corner >> i & 1);
    least = std::min(least, error_of(w, c, q));
  }
  return least;
}

TEST(Moments, RoundsNearlyAsWellAsASearch) {
  Random random(ir::test_seed());
  double nearest = 0, descent = 0, search = 0;
  for (int trial = 0; trial < 200; ++trial) {
    constexpr size_t kWidth = 9;
    std::vector<double> w(kWidth), c(kWidth * kWidth), root(kWidth * kWidth);
    for (double& x : w) x = random.uniform(-20, 20);
    for (double& x : root) x = 1 + 0.2 * random.normal();  // strongly correlated, as neighbouring pixels are
    for (size_t i = 0; i < kWidth; ++i) {
      for (size_t j = 0; j < kWidth; ++j) {
        for (size_t k = 0; k < kWidth; ++k) c[i * kWidth + j] += root[i * kWidth + k] * root[j * kWidth + k];
      }
    }
    std::vector<int> q(kWidth);
    const double reported = round_by_covariance(w, c, 127, q);
    EXPECT_NEAR(reported, error_of(w, c, q), 1e-6);
    descent += reported;
    search += least_error(w, c);
    for (size_t i = 0; i < kWidth; ++i) q[i] = static_cast<int>(std::floor(w[i] + 0.5));
    nearest += error_of(w, c, q);
  }
  EXPECT_LT(descent, 2 * search);
  EXPECT_LT(descent, nearest / 10);
}

TEST(Moments, KeepsTheLimit) {
  const std::vector<double> w = {9.0, -9.0, 0.4}, c = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  std::vector<int> q(3);
  round_by_covariance(w, c, 7, q);
  EXPECT_EQ(q, (std::vector<int>{7, -7, 0}));
}

// A depthwise convolution whose patches are all taken: means and covariances by definition, padding included.
TEST(Moments, GathersPaddedPatches) {
  Random random(ir::test_seed());
  const Tensor x = ir::random_f32(random, {1, 2, 5, 6}), w = ir::random_f32(random, {2, 1, 3, 3});
  Graph g = ir::one_node(Op::kConv, {x, w}, {{"group", int64_t{2}}, {"pads", ir::Ints{1, 1, 1, 1}}, {"strides", ir::Ints{2, 1}}}, 1, {1});
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  ASSERT_TRUE(gathers_patches(g, g.nodes[0]));
  PatchMoments m;
  add_patches(g, g.nodes[0], x, 0, m);
  ASSERT_EQ(m.groups, 2);
  ASSERT_EQ(m.width, 9);
  ASSERT_EQ(m.count, 3 * 6);
  const auto pixel = [&](int64_t c, int64_t h, int64_t v) { return h < 0 || h >= 5 || v < 0 || v >= 6 ? 0.0 : x.at((c * 5 + h) * 6 + v); };
  double sum = 0, product = 0;
  for (int64_t h = 0; h < 3; ++h) {
    for (int64_t v = 0; v < 6; ++v) {
      const double first = pixel(1, 2 * h - 1, v - 1), last = pixel(1, 2 * h + 1, v + 1);
      sum += first;
      product += first * last;
    }
  }
  EXPECT_NEAR(m.mean(1, 0), sum / 18, 1e-9);
  EXPECT_NEAR(m.products[81 + 8], product, 1e-9);
}

// The sums that a product makes agree with the interpreter: mean output = w . mean patch.
TEST(Moments, ExplainTheMeanOutput) {
  Random random(ir::test_seed());
  const Tensor x = ir::random_f32(random, {1, 4, 7, 7}), w = ir::random_f32(random, {6, 4, 3, 3});
  Graph g = ir::one_node(Op::kConv, {x, w}, {{"pads", ir::Ints{1, 1, 1, 1}}}, 1, {1});
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  PatchMoments m;
  add_patches(g, g.nodes[0], x, 0, m);
  const auto y = ir::interpret(g, {x});
  ASSERT_TRUE(y.ok());
  for (int64_t o = 0; o < 6; ++o) {
    double expected = 0, mean = 0;
    for (int64_t k = 0; k < 36; ++k) expected += w.at(o * 36 + k) * m.mean(0, k);
    for (int64_t i = 0; i < 49; ++i) mean += (*y)[0].at(o * 49 + i) / 49;
    EXPECT_NEAR(mean, expected, 1e-5);
  }
}

}  // namespace
}  // namespace pith
