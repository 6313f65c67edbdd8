// Blocks of weights: where they lie, that zero ones are no work, and that what is held at zero by least squares costs least.
#include "ir/blocks.h"

#include "ir/compensate.h"
#include "ir/test_graph.h"
#include "ir/work.h"

namespace pith::ir {
namespace {

// Zeroes block (down, across) of a product's weights.
void clear(Tensor& w, const Blocks& b, int64_t down, int64_t across) {
  const auto outputs = b.outputs(down), elements = b.elements(across);
  for (int64_t o = 0; o < outputs.count; ++o) {
    for (int64_t k = 0; k < elements.count; ++k) w.set(b.rows.at(outputs.first + o, elements.first + k), 0);
  }
}

TEST(Blocks, ZeroBlocksOfAConvolutionAreNoWork) {
  Random random(test_seed());
  Graph g = one_node(Op::kConv, {random_f32(random, {1, 24, 5, 5}), random_f32(random, {20, 24, 3, 3}, 0.5, 1)}, {}, 1, {1});
  ASSERT_TRUE(infer_shapes(g).ok());
  const Node& n = g.nodes[0];
  const int64_t dense = 9 * 20 * 24 * 9;
  EXPECT_EQ(mac_count(g, n), dense);
  const Blocks b{*product_rows(g, n)};
  ASSERT_EQ(b.down(), 2);
  ASSERT_EQ(b.across(), 18);
  Tensor& w = *g.value(n.inputs[1]).constant;
  clear(w, b, 0, 4);  // 16 outputs by channels 0 to 15 at the third position
  clear(w, b, 1, 3);  // 4 outputs by channels 16 to 23 at the second
  EXPECT_EQ(w.at(2), 0);
  EXPECT_EQ(w.at(15 * 9 + 2), 0);
  EXPECT_NE(w.at(16 * 9 + 2), 0);
  EXPECT_EQ(w.at(16 * 24 * 9 + 16 * 9 + 1), 0);
  EXPECT_EQ(mac_count(g, n), dense - 9 * (16 * 16 + 4 * 8));
  EXPECT_EQ(work(g, n), dense) << "who executes it plainly multiplies zeros too";
  EXPECT_EQ(zero_block_weights(w, b.rows), 16 * 16 + 4 * 8);
  const std::vector<uint8_t> mask = zero_block_mask(w, b.rows);
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), 16 * 16 + 4 * 8);
  EXPECT_EQ(mask[static_cast<size_t>(15 * b.rows.width + 2 * 24 + 15)], 1);
  w.set(2, 0.25);
  EXPECT_EQ(zero_block_weights(w, b.rows), 4 * 8) << "one weight, and the block is there";
}

TEST(Blocks, ProductsInEitherLayoutHaveThem) {
  Random random(test_seed());
  Graph wide = one_node(Op::kMatMul, {random_f32(random, {7, 32}), random_f32(random, {32, 48}, 0.5, 1)}, {}, 1, {1});
  ASSERT_TRUE(infer_shapes(wide).ok());
  clear(*wide.value(wide.nodes[0].inputs[1]).constant, Blocks{*product_rows(wide, wide.nodes[0])}, 2, 1);
  EXPECT_EQ(wide.value(wide.nodes[0].inputs[1]).constant->at(16 * 48 + 32), 0);
  EXPECT_EQ(mac_count(wide, wide.nodes[0]), 7 * (32 * 48 - 256));
  EXPECT_TRUE(zero_block_mask(random_f32(random, {32, 48}, 0.5, 1), *product_rows(wide, wide.nodes[0])).empty());
}

// One row, two elements alike: held at zero, the one's share goes to the other.
TEST(Blocks, LeastSquaresMakesUpForWhatIsHeld) {
  Random random(test_seed());
  constexpr int64_t n = 5, outputs = 3;
  const Tensor w = random_f32(random, {outputs, n});
  ProductRows rows;
  rows.outputs = outputs, rows.width = rows.depth = n;
  const Tensor root = random_f32(random, {n, n});
  ReadMoments m;
  m.width = m.original_width = n, m.count = 1;
  m.mean = m.original_mean = {0.5, -1, 2, 0, 1};
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = i == j ? 0.1 : 0;
      for (int64_t k = 0; k < n; ++k) sum += root.at(i * n + k) * root.at(j * n + k);
      m.covariance.push_back(sum);
    }
  }
  m.cross = m.covariance;
  std::vector<uint8_t> zeros(outputs * n, 0);
  for (int64_t o = 0; o < 2; ++o) zeros[static_cast<size_t>(o * n + 1)] = zeros[static_cast<size_t>(o * n + 4)] = 1;
  const LeastSquares fit = least_squares(w, rows, m, 0, zeros);
  for (int64_t o = 0; o < outputs; ++o) {
    const auto error = [&](int64_t moved, double by) {
      std::vector<double> e;
      for (int64_t k = 0; k < n; ++k) e.push_back(fit.weights[static_cast<size_t>(o * n + k)] + (k == moved ? by : 0) - w.at(o * n + k));
      return row_energy(e, m.covariance_of(0));
    };
    for (int64_t k = 0; k < n; ++k) {
      if (zeros[static_cast<size_t>(o * n + k)] != 0) {
        EXPECT_EQ(fit.weights[static_cast<size_t>(o * n + k)], 0);
      } else {
        EXPECT_LE(error(k, 0), std::min(error(k, 1e-3), error(k, -1e-3))) << "nothing else costs less";
      }
    }
    EXPECT_EQ(error(0, 0) > 1e-6, o < 2) << "a row that nothing is held of stays as it is";
    double shift = 0;
    for (int64_t k = 0; k < n; ++k) shift += (w.at(o * n + k) - fit.weights[static_cast<size_t>(o * n + k)]) * m.mean[static_cast<size_t>(k)];
    EXPECT_NEAR(fit.bias[static_cast<size_t>(o)], shift, 1e-9);
  }
}

}  // namespace
}  // namespace pith::ir
