// Separable forms: exact where a convolution is separable, the loss as said where it isn't, and taken where they are the best.
#include "macro/separable.h"

#include "ir/test_graph.h"
#include "macro/low_rank.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Ints;
using ir::Op;
using ir::Tensor;

constexpr int64_t kIn = 8, kOut = 16, kSide = 9;

// Sums over filters of what a column's and a row's numbers multiply to.
Tensor columns_and_rows(Random& random, int64_t rank) {
  Tensor w(ir::DType::kF32, {kOut, kIn, 3, 3});
  const Tensor column = ir::random_f32(random, {rank, kIn, 3}), row = ir::random_f32(random, {kOut, rank, 3});
  for (int64_t i = 0; i < w.count(); ++i) {
    const int64_t o = i / (kIn * 9), c = i / 9 % kIn, y = i / 3 % 3, x = i % 3;
    double sum = 0;
    for (int64_t r = 0; r < rank; ++r) sum += column.at((r * kIn + c) * 3 + y) * row.at((o * rank + r) * 3 + x);
    w.set(i, sum);
  }
  return w;
}

Tensor depthwise_and_pointwise(Random& random) {
  Tensor w(ir::DType::kF32, {kOut, kIn, 3, 3});
  const Tensor filter = ir::random_f32(random, {kIn, 9}), mix = ir::random_f32(random, {kOut, kIn});
  for (int64_t i = 0; i < w.count(); ++i) w.set(i, filter.at(i / 9 % kIn * 9 + i % 9) * mix.at(i / 9));
  return w;
}

Graph network(Random& random, const Tensor& w, int64_t stride, int64_t dilation) {
  Graph g = ir::one_node(Op::kConv, {ir::random_f32(random, {1, kIn, kSide, kSide}), w, ir::random_f32(random, {kOut})},
                         {{"pads", Ints{1, 2, 1, 0}}, {"strides", Ints{stride, stride}}, {"dilations", Ints{dilation, dilation}}}, 1, {1, 2});
  g.nodes[0].activation.function = numerics::Unary::kRelu;
  EXPECT_TRUE(ir::infer_shapes(g).ok());
  return g;
}

std::vector<std::vector<Tensor>> inputs(Random& random) {
  std::vector<std::vector<Tensor>> samples;
  for (int i = 0; i < 24; ++i) samples.push_back({ir::random_f32(random, {1, kIn, kSide, kSide})});
  return samples;
}

// Squared error of all results, and their squares.
std::pair<double, double> compare(const Graph& a, const Graph& b, const std::vector<std::vector<Tensor>>& samples) {
  double error = 0, power = 0;
  for (const auto& s : samples) {
    const auto x = ir::interpret(a, s), y = ir::interpret(b, s);
    EXPECT_TRUE(x.ok() && y.ok());
    for (int64_t i = 0; i < x->at(0).count(); ++i) error += std::pow(x->at(0).at(i) - y->at(0).at(i), 2), power += std::pow(x->at(0).at(i), 2);
  }
  return {error, power};
}

TEST(Separable, WhatIsSeparableCostsNothing) {
  Random random(ir::test_seed());
  const auto samples = inputs(random);
  const struct {
    Tensor weights;
    std::string form;
    double share;
  } cases[] = {{columns_and_rows(random, 3), "columns and rows", 0.4}, {depthwise_and_pointwise(random), "depthwise and pointwise", 0.2}};
  for (const auto& c : cases) {
    for (const int64_t stride : {1, 2}) {
      for (const int64_t dilation : {1, 2}) {
        const Graph g = network(random, c.weights, stride, dilation);
        Graph made = g;
        const auto report = split_low_rank(made, samples, {}, {c.share, 512});
        ASSERT_TRUE(report.ok()) << report.error().message;
        ASSERT_EQ(made.nodes.size(), 2u);
        EXPECT_EQ(report->layers.at(0).form, c.form);
        EXPECT_LE(static_cast<double>(report->macs_after), c.share * static_cast<double>(report->macs_before));
        const auto [error, power] = compare(g, made, samples);
        EXPECT_LT(error, 1e-5 * power) << c.form << ", stride " << stride << ", dilation " << dilation;
      }
    }
  }
}

TEST(Separable, TheLossIsWhatWasSaid) {
  Random random(ir::test_seed() + 1);
  const auto samples = inputs(random);
  Graph g = network(random, ir::random_f32(random, {kOut, kIn, 3, 3}), 1, 1);
  g.nodes[0].activation = {};
  SplitProduct p;
  p.rows = *ir::product_rows(g, g.nodes[0]);
  p.weights = ir::weight_rows(*g.value(g.nodes[0].inputs[1]).constant, p.rows);
  p.scale.assign(kOut, 2.0);
  std::vector<Tensor> read;
  for (const auto& s : samples) read.push_back(s[0]);
  const auto m = ir::read_moments(g, g, g.nodes[0], g.nodes[0], {read, read}, 1000, false);
  ASSERT_TRUE(m.ok());
  const auto windows = ir::windows(g.nodes[0], {kSide, kSide}, {3, 3});
  ASSERT_TRUE(windows.ok());
  for (const auto kind : {Separable::Kind::kColumnsRows, Separable::Kind::kDepthwise}) {
    const auto s = Separable::make(kind, p, m->covariance, ir::as_2d(*windows));
    ASSERT_TRUE(s.ok() && *s);
    double before = 1e300;
    for (int64_t rank = (*s)->any_rank() ? 1 : (*s)->most(); rank <= (*s)->most(); ++rank) {
      const std::vector<double> together = (*s)->factors(rank).together(p.rows);
      double loss = 0;
      for (int64_t o = 0; o < kOut; ++o) {
        std::vector<double> missing(p.weights.begin() + o * p.rows.width, p.weights.begin() + (o + 1) * p.rows.width);
        for (size_t i = 0; i < missing.size(); ++i) missing[i] -= together[static_cast<size_t>(o * p.rows.width) + i];
        loss += 4 * ir::row_energy(missing, m->covariance);
      }
      EXPECT_NEAR((*s)->loss(rank), loss, 1e-3 * loss);
      EXPECT_LT(loss, before);
      before = loss;
    }
  }
}

TEST(Separable, OnlySquareWindowsOfOneGroup) {
  Random random(3);
  Graph g = ir::one_node(Op::kConv, {ir::random_f32(random, {1, kIn, kSide, kSide}), ir::random_f32(random, {kOut, kIn, 1, 3})}, {}, 1, {1});
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  SplitProduct p;
  p.rows = *ir::product_rows(g, g.nodes[0]);
  const auto windows = ir::windows(g.nodes[0], {kSide, kSide}, {1, 3});
  ASSERT_TRUE(windows.ok());
  for (const auto kind : {Separable::Kind::kColumnsRows, Separable::Kind::kDepthwise}) {
    const auto s = Separable::make(kind, p, {}, ir::as_2d(*windows));
    EXPECT_TRUE(s.ok() && !*s);
  }
}

}  // namespace
}  // namespace pith
