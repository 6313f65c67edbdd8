// Weights whose grid retraining settled: the same integers, the fewest bits, and quantize() leaves both alone.
#include <cmath>

#include "ir/test_graph.h"
#include "micro/quantize.h"

namespace pith {
namespace {

using ir::Tensor;

TEST(Grid, KeepsIntegersAndTakesFewestBits) {
  const std::vector<int16_t> codes{-40, -13};
  const std::vector<int> integers{1, 0, -1, 3, -2, 0};
  Tensor w(ir::DType::kF32, {2, 3});
  for (size_t i = 0; i < 6; ++i) w.set(static_cast<int64_t>(i), integers[i] * numerics::scale_value(codes[i / 3]));
  ir::Value v;
  v.shape = {2, 3};
  v.constant = w;
  place_on_grid(v, 0, codes);
  EXPECT_EQ(v.quant->bits, 3);
  EXPECT_EQ(v.quant->scale_codes, codes);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(v.constant->at(static_cast<int64_t>(i)), integers[i]);
}

TEST(Grid, QuantizeLeavesSettledWeightsAndRanges) {
  Random random(ir::test_seed());
  const int16_t code = -21;
  Tensor w(ir::DType::kF32, {6, 8});
  for (int64_t i = 0; i < 48; ++i) w.set(i, static_cast<double>(random.integer(-1, 1)) * numerics::scale_value(code));
  w.set(0, numerics::scale_value(code));
  ir::Graph g = ir::one_node(ir::Op::kGemm, {ir::random_f32(random, {1, 8}), w, ir::random_f32(random, {6})}, {{"transB", int64_t{1}}}, 1, {1, 2});
  ASSERT_TRUE(ir::infer_shapes(g).ok());
  QuantizeOptions options;
  options.equalize = options.correct_bias = options.round_by_covariance = false;
  options.weight_codes["input1"] = {code};
  options.activations["input0"] = {-112, 100};
  std::vector<std::vector<Tensor>> samples(8);
  for (auto& s : samples) s.push_back(ir::random_f32(random, {1, 8}));
  const auto q = quantize(g, samples, options);
  ASSERT_TRUE(q.ok()) << q.error().message;
  const ir::Value& weights = q->value(q->nodes[0].inputs[1]);
  EXPECT_EQ(weights.quant->bits, 2);
  EXPECT_EQ(weights.quant->scale_codes, std::vector<int16_t>{code});
  for (int64_t i = 0; i < 48; ++i) EXPECT_EQ(weights.constant->at(i), std::nearbyint(w.at(i) / numerics::scale_value(code)));
  const ir::Value& input = q->value(q->inputs[0]);
  ASSERT_TRUE(input.quant);
  EXPECT_EQ(input.quant->affine, (numerics::Affine{-112, 100}));
}

}  // namespace
}  // namespace pith
