// Operators whose meaning or form changed with the opset: old and new spellings compute the same known values.
#include "importers/onnx/testing/checks.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Shape;
using ir::Tensor;
using testing::expect_near;
using testing::expect_values;
using testing::integers;
using testing::model;
using testing::node;
using testing::real;
using testing::run;
using testing::tensor;
using testing::value;
using testing::wave;
using Ints = std::vector<int64_t>;
using Reals = std::vector<double>;

// The result of one node on x.
Tensor apply(const SourceNode& n, const Tensor& x, int64_t opset, std::vector<SourceTensor> constants = {}) {
  constexpr int32_t kTypes[] = {kFloat, kUint8, kInt8, kInt32, kInt64, kBool};
  const SourceModel m = model({value("x", x.shape(), kTypes[static_cast<size_t>(x.dtype())])}, {n}, {"y"}, std::move(constants), opset);
  const auto results = run(m, {x});
  return results.empty() ? Tensor() : results[0];
}

const Tensor kRamp = Tensor::f32({2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7});

TEST(Opset, SoftmaxFlattensBefore13) {
  const Tensor old = apply(node("Softmax", {"x"}, {"y"}), kRamp, 11), now = apply(node("Softmax", {"x"}, {"y"}), kRamp, 13);
  double sum = 0;
  for (int64_t k = 0; k < 4; ++k) sum += old.at(k);
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_NEAR(now.at(0) + now.at(1), 1, 1e-6);
  EXPECT_NEAR(old.at(3) / old.at(2), std::exp(1), 1e-4);
  expect_near(apply(node("Softmax", {"x"}, {"y"}, {{"axis", int64_t{2}}}), kRamp, 11), now);
}

TEST(Opset, ClipBounds) {
  const Tensor x = Tensor::f32({3}, {-3, 0.5, 9});
  expect_values(apply(node("Clip", {"x"}, {"y"}, {{"min", 0.0}, {"max", 6.0}}), x, 6), {3}, {0, 0.5, 6});
  expect_values(apply(node("Clip", {"x", "", "h"}, {"y"}), x, 13, {real("h", 6)}), {3}, {-3, 0.5, 6});
  const SourceModel run_time = model({value("x", {3}), value("l")}, {node("Clip", {"x", "l"}, {"y"})}, {"y"});
  expect_values(run(run_time, {x, Tensor::f32({}, {1})})[0], {3}, {1, 1, 9});
}

TEST(Opset, SliceAttributesAndInputs) {
  const Tensor x = Tensor::f32({4}, {0, 1, 2, 3});
  expect_values(apply(node("Slice", {"x"}, {"y"}, {{"starts", Ints{1}}, {"ends", Ints{99}}}), x, 9), {3}, {1, 2, 3});
  expect_values(apply(node("Slice", {"x", "s", "e", "a", "t"}, {"y"}), x, 13, {integers("s", {-1}), integers("e", {-99}), integers("a", {0}), integers("t", {-2})}), {2}, {3, 1});
}

TEST(Opset, PadForms) {
  const Tensor x = Tensor::f32({2}, {1, 2});
  expect_values(apply(node("Pad", {"x"}, {"y"}, {{"pads", Ints{1, 0}}, {"value", 5.0}}), x, 2), {3}, {5, 1, 2});
  expect_values(apply(node("Pad", {"x", "p", "v"}, {"y"}), x, 13, {integers("p", {0, 1}), real("v", 5)}), {3}, {1, 2, 5});
  expect_values(apply(node("Pad", {"x", "p", "", "a"}, {"y"}, {{"mode", std::string("edge")}}), x, 18, {integers("p", {1, 1}), integers("a", {-1})}), {4}, {1, 1, 2, 2});
}

TEST(Opset, UpsampleAndResize) {
  const Tensor x = Tensor::f32({1, 1, 1, 2}, {0, 1});
  const auto scales = tensor("s", Tensor::f32({4}, {1, 1, 1, 2}));
  const Reals doubled{0, 0, 1, 1}, slanted{0, 0.5, 1, 1}, centred{0, 0.25, 0.75, 1};
  const auto linear = SourceAttribute(std::string("linear"));
  expect_values(apply(node("Upsample", {"x"}, {"y"}, {{"scales", Reals{1, 1, 1, 2}}}), x, 7), {1, 1, 1, 4}, doubled);
  expect_values(apply(node("Upsample", {"x", "s"}, {"y"}, {{"mode", linear}}), x, 9, {scales}), {1, 1, 1, 4}, slanted);
  expect_values(apply(node("Resize", {"x", "s"}, {"y"}, {{"mode", linear}}), x, 10, {scales}), {1, 1, 1, 4}, slanted);
  expect_values(apply(node("Resize", {"x", "", "s"}, {"y"}, {{"mode", linear}}), x, 11, {scales}), {1, 1, 1, 4}, centred);
  expect_values(apply(node("Resize", {"x", "", "", "z"}, {"y"}, {{"mode", linear}}), x, 13, {integers("z", {1, 1, 1, 4})}), {1, 1, 1, 4}, centred);
}

// tf_half_pixel_for_nn samples floor((k + 0.5) / scale).
TEST(Opset, ResizeTensorflowNearest) {
  const Tensor x = Tensor::f32({1, 1, 1, 5}, {0, 1, 2, 3, 4});
  const auto scales = tensor("s", Tensor::f32({4}, {1, 1, 1, 0.4f}));
  const Tensor y = apply(node("Resize", {"x", "", "s"}, {"y"}, {{"coordinate_transformation_mode", std::string("tf_half_pixel_for_nn")}, {"nearest_mode", std::string("floor")}}), x, 11, {scales});
  expect_values(y, {1, 1, 1, 2}, {1, 3});
}

TEST(Opset, SqueezeUnsqueezeAxes) {
  const Tensor x = Tensor::f32({1, 2}, {3, 4});
  expect_values(apply(node("Squeeze", {"x"}, {"y"}, {{"axes", Ints{0}}}), x, 11), {2}, {3, 4});
  expect_values(apply(node("Squeeze", {"x", "a"}, {"y"}), x, 13, {integers("a", {-2})}), {2}, {3, 4});
  expect_values(apply(node("Squeeze", {"x"}, {"y"}), x, 13), {2}, {3, 4});
  expect_values(apply(node("Unsqueeze", {"x"}, {"y"}, {{"axes", Ints{0, 3}}}), x, 11), {1, 1, 2, 1}, {3, 4});
  expect_values(apply(node("Unsqueeze", {"x", "a"}, {"y"}), x, 13, {integers("a", {-1})}), {1, 2, 1}, {3, 4});
}

TEST(Opset, ReductionAxes) {
  expect_values(apply(node("ReduceSum", {"x"}, {"y"}, {{"axes", Ints{2}}, {"keepdims", int64_t{0}}}), kRamp, 11), {2, 2}, {1, 5, 9, 13});
  expect_values(apply(node("ReduceSum", {"x", "a"}, {"y"}, {{"keepdims", int64_t{0}}}), kRamp, 13, {integers("a", {-1})}), {2, 2}, {1, 5, 9, 13});
  expect_values(apply(node("ReduceMean", {"x", "a"}, {"y"}), kRamp, 18, {integers("a", {0, 1})}), {1, 1, 2}, {3, 4});
  expect_near(apply(node("ReduceMax", {"x", "a"}, {"y"}, {{"noop_with_empty_axes", int64_t{1}}}), kRamp, 18, {integers("a", {})}), kRamp);
}

TEST(Opset, SplitSizes) {
  const Tensor x = Tensor::f32({5}, {0, 1, 2, 3, 4});
  expect_values(apply(node("Split", {"x"}, {"a", "y"}, {{"split", Ints{2, 3}}}), x, 11), {3}, {2, 3, 4});
  expect_values(apply(node("Split", {"x", "s"}, {"a", "y"}), x, 13, {integers("s", {1, 4})}), {4}, {1, 2, 3, 4});
  expect_values(apply(node("Split", {"x"}, {"a", "y"}, {{"num_outputs", int64_t{2}}}), x, 18), {2}, {3, 4});
}

TEST(Opset, TopKForms) {
  const Tensor x = Tensor::f32({4}, {3, 1, 4, 2});
  expect_values(apply(node("TopK", {"x"}, {"y", "i"}, {{"k", int64_t{2}}}), x, 9), {2}, {4, 3});
  expect_values(apply(node("TopK", {"x", "k"}, {"v", "y"}, {{"largest", int64_t{0}}}), x, 11, {integers("k", {2})}), {2}, {1, 3});
}

TEST(Opset, CastsByNumberNameAndExample) {
  const Tensor x = Tensor::f32({2}, {1.7f, -2.2f});
  EXPECT_EQ(apply(node("Cast", {"x"}, {"y"}, {{"to", std::string("INT32")}}), x, 1).dtype(), DType::kI32);
  expect_values(apply(node("Cast", {"x"}, {"y"}, {{"to", int64_t{kInt64}}}), x, 13), {2}, {1, -2});
  EXPECT_EQ(apply(node("CastLike", {"x", "e"}, {"y"}), x, 15, {tensor("e", Tensor::of<uint8_t>(DType::kBool, {}, {1}))}).dtype(), DType::kBool);
  EXPECT_EQ(apply(node("Cast", {"x"}, {"y"}, {{"to", int64_t{kFloat16}}}), x, 13).dtype(), DType::kF32);
}

TEST(Opset, BroadcastingBefore7) {
  const Tensor x = Tensor::f32({1, 2, 2}, {0, 0, 0, 0});
  const auto b = tensor("b", Tensor::f32({2}, {1, 2}));
  expect_values(apply(node("Add", {"x", "b"}, {"y"}, {{"broadcast", int64_t{1}}, {"axis", int64_t{1}}}), x, 6, {b}), {1, 2, 2}, {1, 1, 2, 2});
  expect_values(apply(node("Add", {"x", "b"}, {"y"}), x, 7, {b}), {1, 2, 2}, {1, 2, 1, 2});
  const Tensor minus = Tensor::f32({1, 2, 2}, {-1, -1, -1, -1});
  expect_values(apply(node("PRelu", {"x", "b"}, {"y"}), minus, 6, {b}), {1, 2, 2}, {-1, -1, -2, -2});
}

TEST(Opset, DropoutPasses) {
  const SourceModel m = model({value("x", {2})}, {node("Dropout", {"x", "r"}, {"y", "mask"})}, {"y", "mask"}, {real("r", 0.5f)}, 13);
  const auto results = run(m, {Tensor::f32({2}, {1, 2})});
  expect_values(results[0], {2}, {1, 2});
  EXPECT_EQ(results[1].dtype(), DType::kBool);
  expect_values(results[1], {2}, {1, 1});
}

TEST(Opset, TileAndGemmBefore7) {
  const Tensor x = Tensor::f32({1, 2}, {1, 2});
  expect_values(apply(node("Tile", {"x", "n", "a"}, {"y"}), x, 1, {integers("n", {2}), integers("a", {0})}), {2, 2}, {1, 2, 1, 2});
  expect_values(apply(node("Gemm", {"x", "w", "b"}, {"y"}, {{"broadcast", int64_t{1}}}), x, 6, {tensor("w", Tensor::f32({2, 1}, {3, 4})), tensor("b", Tensor::f32({1}, {1}))}), {1, 1}, {12});
}

TEST(Opset, SixteenBitQuantisationByFormula) {
  const Tensor x = Tensor::f32({3}, {-10, 0.26f, 5000});
  const auto scale = real("s", 0.1f), zero = tensor("z", Tensor::of<int32_t>(DType::kI32, {}, {3}), kInt16);
  expect_values(apply(node("QuantizeLinear", {"x", "s", "z"}, {"y"}), x, 21, {scale, zero}), {3}, {-97, 6, 32767});
  const SourceModel round_trip = model({value("x", {3})}, {node("QuantizeLinear", {"x", "s", "z"}, {"q"}), node("DequantizeLinear", {"q", "s", "z"}, {"y"})}, {"y"}, {scale, zero}, 21);
  expect_values(run(round_trip, {x})[0], {3}, {-10, 0.3, 3276.4}, 1e-3);
}

TEST(Opset, OperatorsWrittenWithOthers) {
  const Tensor x = Tensor::f32({3}, {-0.5f, 0.25f, 0.75f}), above = Tensor::f32({2}, {1.5f, 3});
  const std::vector<std::pair<const char*, double (*)(double)>> functions = {{"Tan", std::tan}, {"Sinh", std::sinh}, {"Cosh", std::cosh}, {"Asin", std::asin}, {"Acos", std::acos}, {"Asinh", std::asinh}, {"Atanh", std::atanh}};
  for (const auto& [name, f] : functions) expect_values(apply(node(name, {"x"}, {"y"}), x, 13), {3}, {f(-0.5), f(0.25), f(0.75)}, 1e-5);
  expect_values(apply(node("Acosh", {"x"}, {"y"}), above, 13), {2}, {std::acosh(1.5), std::acosh(3)});
  const Tensor odd = Tensor::f32({3}, {INFINITY, -INFINITY, 1});
  expect_values(apply(node("IsInf", {"x"}, {"y"}), odd, 13), {3}, {1, 1, 0});
  expect_values(apply(node("IsInf", {"x"}, {"y"}, {{"detect_positive", int64_t{0}}}), odd, 13), {3}, {0, 1, 0});
  expect_values(apply(node("Mod", {"x", "m"}, {"y"}), Tensor::f32({2}, {-5.5, 5.5}), 28, {real("m", 3)}), {2}, {0.5, 2.5});
}

TEST(Opset, DepthAndSpace) {
  const Tensor x = Tensor::f32({1, 4, 1, 1}, {0, 1, 2, 3});
  expect_values(apply(node("DepthToSpace", {"x"}, {"y"}, {{"blocksize", int64_t{2}}}), x, 1), {1, 1, 2, 2}, {0, 1, 2, 3});
  const Tensor square = Tensor::f32({1, 2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  expect_values(apply(node("SpaceToDepth", {"x"}, {"y"}, {{"blocksize", int64_t{2}}}), square, 13), {1, 8, 1, 1}, {0, 4, 1, 5, 2, 6, 3, 7});
  expect_values(apply(node("SpaceToDepth", {"x"}, {"y"}, {{"blocksize", int64_t{2}}, {"mode", std::string("CRD")}}), square, 28), {1, 8, 1, 1}, {0, 1, 2, 3, 4, 5, 6, 7});
}

TEST(Opset, OneHotAndGlobalPool) {
  const SourceModel m = model({value("x", {2}, kInt64)}, {node("OneHot", {"x", "d", "v"}, {"y"})}, {"y"}, {integers("d", {3}), tensor("v", Tensor::f32({2}, {-1, 2}))});
  expect_values(run(m, {Tensor::i64({2}, {2, 0})})[0], {2, 3}, {-1, -1, 2, 2, -1, -1});
  expect_values(apply(node("GlobalLpPool", {"x"}, {"y"}), Tensor::f32({1, 1, 2}, {3, 4}), 2), {1, 1, 1}, {5});
}

}  // namespace
}  // namespace pith::importers
