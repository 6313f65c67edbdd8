// Rounded activations: the one walk gives what libtorch's own operators give, values and gradients, whatever the order in
// memory; and what waits in coded form comes back as the coder's own bytes say.
#include "train/rounding.h"

#include <gtest/gtest.h>

#include "coding/decode/activation_rows.h"
#include "train/node.h"

namespace pith::train {
namespace {

using numerics::Unary;

at::Tensor gradient_of(const at::Tensor& y, const at::Tensor& weights, const at::Tensor& x) {
  (y * weights).sum().backward();
  const at::Tensor g = x.grad().clone();
  x.mutable_grad() = at::Tensor();
  return g;
}

class Rounding : public testing::TestWithParam<ir::Activation> {};

TEST_P(Rounding, IsClampingAndRoundingApart) {
  at::manual_seed(3);
  const numerics::Affine affine{-64, 20};  // a sixteenth; -1.25 to 14.6875
  const double s = numerics::scale_value(affine.scale_code);
  for (const bool last : {false, true}) {
    at::Tensor x = at::randn({2, 5, 6, 7}) * 6;
    if (last) x = x.contiguous(at::MemoryFormat::ChannelsLast);
    x.set_requires_grad(true);
    const at::Tensor weights = at::randn({2, 5, 6, 7});
    const at::Tensor limited = at::hardtanh(apply_function(GetParam(), x), -20 * s, 235 * s);
    const at::Tensor expected = limited + ((limited / s + 0.5).floor() * s - limited).detach();
    const at::Tensor expected_gradient = gradient_of(expected, weights, x);
    const at::Tensor y = rounded(GetParam(), x, {affine, 8, {}});
    EXPECT_LT((y - expected).abs().max().item<double>(), 1e-5);
    EXPECT_LT((gradient_of(y, weights, x) - expected_gradient).abs().max().item<double>(), 1e-5);
    EXPECT_EQ(y.strides(), x.strides());
  }
}

ir::Activation function(Unary f, float a, float b) {
  ir::Activation made;
  made.function = f, made.a = a, made.b = b;
  return made;
}

INSTANTIATE_TEST_SUITE_P(Functions, Rounding,
                         testing::Values(ir::Activation{}, function(Unary::kRelu, 0, 0), function(Unary::kClip, 0, 6), function(Unary::kClip, -30, 3), function(Unary::kSilu, 1, 0)));

TEST(RoundingOfNarrowViews, GradientsFindTheirPlaces) {
  at::manual_seed(4);
  const at::Tensor x = (at::randn({4, 6}) * 2).set_requires_grad(true), weights = at::randn({6, 4});
  const at::Tensor g = gradient_of(rounded({}, x.transpose(0, 1), {{-100, 128}, 8, {}}), weights, x);  // a small step: ends cut
  const double s = numerics::scale_value(-100);
  const at::Tensor inside = ((x > -128 * s) & (x < 127 * s)).to(at::kFloat);
  EXPECT_GT(inside.sum().item<double>(), 0);
  EXPECT_LT(inside.sum().item<double>(), 24);
  EXPECT_TRUE(at::equal(g, weights.transpose(0, 1) * inside));
}

void expect_what_the_coder_says(bool lifted) {
  at::manual_seed(5);
  const numerics::Affine affine{-64, 40};
  const double s = numerics::scale_value(affine.scale_code);
  constexpr int64_t kBatch = 2, kChannels = 12, kRows = 5, kWidth = 16;
  const at::Tensor x = (at::randn({kBatch, kChannels, kRows, kWidth}) * 3).contiguous(at::MemoryFormat::ChannelsLast).set_requires_grad(true);
  std::vector<uint8_t> lifting;
  for (int i = 0; lifted && i < 3 * kChannels; ++i) lifting.push_back(static_cast<uint8_t>(i < kChannels ? i / 2 : i < 2 * kChannels ? i - kChannels : i % 3));
  const at::Tensor y = rounded({}, x, {affine, 3.5, {}, lifting}), whole = rounded({}, x, {affine, 8, {}});
  const int64_t row_bytes = kWidth * kChannels * 7 / 16;
  std::vector<coding::RowChannel> state(kChannels);
  std::vector<uint8_t> row(kWidth * kChannels), decoded(kChannels), bytes(static_cast<size_t>(row_bytes)), back(row.size());
  std::vector<coding::LiftedChannel> shown(kChannels);
  const coding::LiftedRows rows{{lifting.data(), kChannels}, affine.zero_point, kWidth, state.data(), shown.data()};
  int coarse = 0;
  for (int64_t n = 0; n < kBatch; ++n) {
    for (int64_t h = 0; h < kRows; ++h) {
      for (int64_t w = 0; w < kWidth; ++w)
        for (int64_t c = 0; c < kChannels; ++c) row[static_cast<size_t>(w * kChannels + c)] = numerics::quantize_u8(whole[n][c][h][w].item<double>(), affine);
      if (lifted) {
        coarse += rows.encode(row.data(), decoded.data(), bytes.data(), row_bytes) > 0;
        rows.decode(bytes.data(), row_bytes, back.data());
      } else {
        coarse += coding::encode_activation_row(row.data(), affine.zero_point, kWidth, kChannels, state.data(), decoded.data(), bytes.data(), row_bytes) > 0;
        coding::decode_activation_row(bytes.data(), row_bytes, affine.zero_point, kWidth, kChannels, state.data(), back.data());
      }
      for (int64_t w = 0; w < kWidth; ++w)
        for (int64_t c = 0; c < kChannels; ++c) ASSERT_NEAR(y[n][c][h][w].item<double>(), (back[static_cast<size_t>(w * kChannels + c)] - 40) * s, 1e-5);
    }
  }
  EXPECT_GT(coarse, 0);  // something was lost
  EXPECT_TRUE(at::equal(gradient_of(y, at::ones({1}), x), gradient_of(whole, at::ones({1}), x)));  // which gradients don't see
}

TEST(RoundingOfPictures, ComesBackAsTheCoderSays) {
  for (const bool lifted : {false, true}) {
    SCOPED_TRACE(lifted);
    expect_what_the_coder_says(lifted);
  }
}

}  // namespace
}  // namespace pith::train
