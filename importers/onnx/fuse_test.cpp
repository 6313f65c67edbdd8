// Fusion of convolutional networks: every pattern keeps its values and leaves exactly the nodes that it should.
#include "importers/onnx/testing/checks.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Shape;
using ir::Tensor;
using testing::expect_fuses;
using testing::integers;
using testing::model;
using testing::must_import;
using testing::node;
using testing::op_counts;
using testing::real;
using testing::tensor;
using testing::value;
using testing::wave;
using Ints = std::vector<int64_t>;
using Counts = std::map<std::string, int>;

SourceTensor positive(const std::string& name, int64_t n) {
  Tensor t(DType::kF32, {n});
  for (int64_t k = 0; k < n; ++k) t.set(k, 0.5 + 0.1 * static_cast<double>(k));
  return tensor(name, std::move(t));
}

std::vector<SourceTensor> batch_norm_constants() { return {wave("s", {4}, 1), wave("b", {4}, 2), wave("m", {4}, 3), positive("v", 4)}; }

TEST(FuseConv, BatchNormalizationAndActivation) {
  auto constants = batch_norm_constants();
  constants.push_back(wave("w", {4, 2, 3, 3}));
  const auto m = model({value("x", {1, 2, 5, 5})}, {node("Conv", {"x", "w"}, {"c"}), node("BatchNormalization", {"c", "s", "b", "m", "v"}, {"n"}), node("Relu", {"n"}, {"y"})}, {"y"}, constants);
  const ir::Graph g = expect_fuses(m, {{"Conv+Relu", 1}});
  EXPECT_EQ(g.nodes[0].inputs.size(), 3u);
}

TEST(FuseConv, GroupedTransposedConvolution) {
  auto constants = batch_norm_constants();
  constants.push_back(wave("w", {4, 2, 3, 3}));
  constants.push_back(wave("cb", {4}, 5));
  const auto m = model({value("x", {1, 4, 3, 3})}, {node("ConvTranspose", {"x", "w", "cb"}, {"c"}, {{"group", int64_t{2}}}), node("BatchNormalization", {"c", "s", "b", "m", "v"}, {"y"})}, {"y"}, constants);
  expect_fuses(m, {{"ConvTranspose", 1}});
}

TEST(FuseConv, PerChannelMultiplicationAndAddition) {
  const auto m = model({value("x", {1, 2, 5, 5})}, {node("Conv", {"x", "w"}, {"c"}), node("Mul", {"c", "k"}, {"d"}), node("Sub", {"d", "l"}, {"e"}), node("Add", {"one", "e"}, {"y"})}, {"y"},
                       {wave("w", {4, 2, 3, 3}), wave("k", {4, 1, 1}), wave("l", {1, 4, 1, 1}), real("one", 1)});
  expect_fuses(m, {{"Conv", 1}});
}

TEST(FuseConv, NotWhenOthersReadTheResult) {
  auto constants = batch_norm_constants();
  constants.push_back(wave("w", {4, 2, 3, 3}));
  const auto m = model({value("x", {1, 2, 5, 5})}, {node("Conv", {"x", "w"}, {"c"}), node("BatchNormalization", {"c", "s", "b", "m", "v"}, {"n"}), node("Add", {"n", "c"}, {"y"})}, {"y"}, constants);
  expect_fuses(m, {{"Conv", 1}, {"BatchNormalization", 1}, {"Add", 1}});
}

TEST(FuseConv, NotWhenWeightsAreShared) {
  auto constants = batch_norm_constants();
  constants.push_back(wave("w", {4, 4, 1, 1}));
  const auto m = model({value("x", {1, 4, 2, 2})}, {node("Conv", {"x", "w"}, {"c"}), node("BatchNormalization", {"c", "s", "b", "m", "v"}, {"n"}), node("Conv", {"n", "w"}, {"y"})}, {"y"}, constants);
  expect_fuses(m, {{"Conv", 2}, {"BatchNormalization", 1}});
}

TEST(FuseConv, NotAlongAnotherDimension) {
  const auto m = model({value("x", {1, 2, 4, 4})}, {node("Conv", {"x", "w"}, {"c"}), node("Mul", {"c", "k"}, {"y"})}, {"y"}, {wave("w", {4, 2, 1, 1}), wave("k", {4})});
  expect_fuses(m, {{"Conv", 1}, {"Mul", 1}});
}

TEST(FuseGemm, BatchNormalizationFactorsAndBias) {
  auto constants = batch_norm_constants();
  for (auto t : {wave("w", {4, 3}), wave("c", {4}, 4)}) constants.push_back(t);
  const auto m = model({value("x", {2, 3})}, {node("Gemm", {"x", "w", "c"}, {"g"}, {{"transB", int64_t{1}}, {"alpha", 0.5}, {"beta", 2.0}}), node("BatchNormalization", {"g", "s", "b", "m", "v"}, {"n"}), node("Tanh", {"n"}, {"y"})}, {"y"}, constants);
  const ir::Graph g = expect_fuses(m, {{"Gemm+Tanh", 1}});
  EXPECT_EQ(g.nodes[0].real("alpha", 1), 1);
  EXPECT_EQ(g.nodes[0].real("beta", 1), 1);
}

TEST(FuseMatMul, BiasAndScale) {
  const auto m = model({value("x", {2, 5, 3})}, {node("MatMul", {"x", "w"}, {"g"}), node("Add", {"b", "g"}, {"h"}), node("Div", {"h", "two"}, {"y"})}, {"y"}, {wave("w", {3, 4}), wave("b", {4}), real("two", 2)});
  expect_fuses(m, {{"MatMul", 1}});
}

TEST(FuseActivation, IntoAddButNotAcrossOutputs) {
  const auto m = model({value("x", {2}), value("z", {2})}, {node("Add", {"x", "z"}, {"a"}), node("Relu", {"a"}, {"y"})}, {"y"});
  expect_fuses(m, {{"Add+Relu", 1}});
  SourceModel both = m;
  both.graph.outputs.push_back(value("a", {2}));
  expect_fuses(both, {{"Add", 1}, {"Relu", 1}});
}

SourceModel elementwise(std::vector<SourceNode> nodes, std::vector<SourceTensor> constants = {}) { return model({value("x", {2, 6})}, std::move(nodes), {"y"}, std::move(constants)); }

TEST(FuseActivation, SiluInAnyOrder) {
  expect_fuses(elementwise({node("Sigmoid", {"x"}, {"s"}), node("Mul", {"s", "x"}, {"y"})}), {{"Silu", 1}});
  expect_fuses(elementwise({node("Mul", {"x", "k"}, {"k1"}), node("Sigmoid", {"k1"}, {"s"}), node("Mul", {"x", "s"}, {"y"})}, {real("k", 1.702f)}), {{"Silu", 1}});
  expect_fuses(elementwise({node("Mul", {"x", "w"}, {"v"}), node("Sigmoid", {"v"}, {"s"}), node("Mul", {"v", "s"}, {"y"})}, {wave("w", {6})}), {{"Mul", 1}, {"Silu", 1}});
}

TEST(FuseActivation, HardSwishAndHardSigmoid) {
  const std::vector<SourceTensor> c{real("three", 3), real("zero", 0), real("six", 6), real("sixth", 1.0f / 6), real("half", 0.5f), real("one", 1)};
  expect_fuses(elementwise({node("Add", {"x", "three"}, {"a"}), node("Clip", {"a", "zero", "six"}, {"b"}), node("Mul", {"x", "b"}, {"d"}), node("Div", {"d", "six"}, {"y"})}, c), {{"HardSwish", 1}});
  expect_fuses(elementwise({node("Add", {"three", "x"}, {"a"}), node("Relu", {"a"}, {"r"}), node("Min", {"r", "six"}, {"b"}), node("Mul", {"b", "sixth"}, {"d"}), node("Mul", {"d", "x"}, {"y"})}, c), {{"HardSwish", 1}});
  expect_fuses(elementwise({node("HardSigmoid", {"x"}, {"h"}, {{"alpha", 1.0 / 6}}), node("Mul", {"x", "h"}, {"y"})}), {{"HardSwish", 1}});
  expect_fuses(elementwise({node("Mul", {"x", "sixth"}, {"a"}), node("Add", {"a", "half"}, {"b"}), node("Clip", {"b", "zero", "one"}, {"y"})}, c), {{"HardSigmoid", 1}});
  expect_fuses(elementwise({node("Add", {"x", "three"}, {"a"}), node("Clip", {"a", "zero", "six"}, {"b"}), node("Div", {"b", "six"}, {"y"})}, c), {{"HardSigmoid", 1}});
}

TEST(FuseActivation, HardSwishNeedsItsConstants) {
  const std::vector<SourceTensor> c{real("two", 2), real("zero", 0), real("six", 6)};
  expect_fuses(elementwise({node("Add", {"x", "two"}, {"a"}), node("Clip", {"a", "zero", "six"}, {"b"}), node("Mul", {"x", "b"}, {"d"}), node("Div", {"d", "six"}, {"y"})}, c), {{"Add+Clip", 1}, {"Mul", 2}});
}

TEST(FuseActivation, MishSoftplusSigmoidLeaky) {
  const std::vector<SourceTensor> c{real("one", 1), real("tenth", 0.1f)};
  expect_fuses(elementwise({node("Exp", {"x"}, {"e"}), node("Add", {"e", "one"}, {"f"}), node("Log", {"f"}, {"s"}), node("Tanh", {"s"}, {"t"}), node("Mul", {"x", "t"}, {"y"})}, c), {{"Mish", 1}});
  expect_fuses(elementwise({node("Neg", {"x"}, {"n"}), node("Exp", {"n"}, {"e"}), node("Add", {"e", "one"}, {"f"}), node("Div", {"one", "f"}, {"y"})}, c), {{"Sigmoid", 1}});
  expect_fuses(elementwise({node("Mul", {"x", "tenth"}, {"s"}), node("Max", {"x", "s"}, {"y"})}, c), {{"LeakyRelu", 1}});
  expect_fuses(elementwise({node("PRelu", {"x", "tenth"}, {"y"})}, c), {{"LeakyRelu", 1}});
}

TEST(Simplify, ChainsAndNoOperations) {
  const std::vector<SourceTensor> c{real("zero", 0), real("one", 1), real("six", 6), integers("flat", {12}), integers("back", {2, 6}), real("two", 2)};
  expect_fuses(elementwise({node("Reshape", {"x", "flat"}, {"a"}), node("Reshape", {"a", "back"}, {"b"}), node("Transpose", {"b"}, {"t"}), node("Transpose", {"t"}, {"u"}), node("Add", {"u", "zero"}, {"v"}), node("Exp", {"v"}, {"y"})}, c), {{"Exp", 1}});
  expect_fuses(elementwise({node("Relu", {"x"}, {"a"}), node("Clip", {"a", "", "six"}, {"b"}), node("Clip", {"b", "zero", "six"}, {"y"})}, c), {{"Clip", 1}});
  expect_fuses(elementwise({node("Pow", {"x", "two"}, {"y"})}, c), {{"Mul", 1}});
  expect_fuses(elementwise({node("Exp", {"x"}, {"a"}), node("Exp", {"x"}, {"b"}), node("Sub", {"a", "b"}, {"y"})}), {{"Exp", 1}, {"Sub", 1}});
}

TEST(Simplify, KeepsTheNamesOfOutputs) {
  SourceModel m = elementwise({node("Exp", {"x"}, {"a"}), node("Identity", {"a"}, {"y"})});
  const ir::Graph g = expect_fuses(m, {{"Exp", 1}});
  EXPECT_EQ(g.value(g.outputs[0]).name, "y");
}

TEST(FuseShuffle, PixelShuffleBothOrders) {
  const auto shuffle = [](const Ints& parts, const Ints& perm) {
    return model({value("x", {1, 8, 3, 5})}, {node("Reshape", {"x", "p"}, {"a"}), node("Transpose", {"a"}, {"b"}, {{"perm", perm}}), node("Reshape", {"b", "o"}, {"y"})}, {"y"}, {integers("p", parts), integers("o", {1, 2, 6, 10})});
  };
  EXPECT_EQ(expect_fuses(shuffle({1, 2, 2, 2, 3, 5}, {0, 1, 4, 2, 5, 3}), {{"DepthToSpace", 1}}).nodes[0].text("mode", "DCR"), "CRD");
  EXPECT_EQ(expect_fuses(shuffle({1, 2, 2, 2, 3, 5}, {0, 3, 4, 1, 5, 2}), {{"DepthToSpace", 1}}).nodes[0].text("mode", "DCR"), "DCR");
  expect_fuses(shuffle({1, 2, 2, 2, 3, 5}, {0, 1, 4, 3, 5, 2}), {{"Reshape", 2}, {"Transpose", 1}});
}

TEST(FuseShuffle, SpaceToDepthAndChannels) {
  const auto moved = [](const Shape& x, const Ints& parts, const Ints& perm, const Ints& out) {
    return model({value("x", x)}, {node("Reshape", {"x", "p"}, {"a"}), node("Transpose", {"a"}, {"b"}, {{"perm", perm}}), node("Reshape", {"b", "o"}, {"y"})}, {"y"}, {integers("p", parts), integers("o", out)});
  };
  expect_fuses(moved({1, 2, 4, 6}, {1, 2, 2, 2, 3, 2}, {0, 3, 5, 1, 2, 4}, {1, 8, 2, 3}), {{"SpaceToDepth", 1}});
  expect_fuses(moved({1, 6, 2, 2}, {1, 3, 2, 2, 2}, {0, 2, 1, 3, 4}, {1, 6, 2, 2}), {{"ChannelShuffle", 1}});
}

TEST(FusePad, IntoConvolutionAndPooling) {
  const auto padded = [](const SourceNode& n, std::vector<SourceTensor> constants, const std::string& mode = "constant") {
    constants.push_back(integers("p", {0, 0, 1, 2, 0, 0, 0, 1}));
    return model({value("x", {1, 2, 5, 5})}, {node("Relu", {"x"}, {"r"}), node("Pad", {"r", "p"}, {"q"}, {{"mode", mode}}), n}, {"y"}, std::move(constants));
  };
  const auto conv = node("Conv", {"q", "w"}, {"y"}, {{"pads", Ints{1, 0, 0, 0}}});
  expect_fuses(padded(conv, {wave("w", {3, 2, 3, 3})}), {{"Relu", 1}, {"Conv", 1}});
  expect_fuses(padded(conv, {wave("w", {3, 2, 3, 3})}, "edge"), {{"Relu", 1}, {"Conv", 1}, {"Pad", 1}});
  expect_fuses(padded(node("MaxPool", {"q"}, {"y"}, {{"kernel_shape", Ints{3, 3}}}), {}), {{"Relu", 1}, {"MaxPool", 1}});
  expect_fuses(padded(node("AveragePool", {"q"}, {"y"}, {{"kernel_shape", Ints{3, 3}}}), {}), {{"Relu", 1}, {"AveragePool", 1}});
  expect_fuses(padded(node("MaxPool", {"q"}, {"y"}, {{"kernel_shape", Ints{2, 2}}}), {}), {{"Relu", 1}, {"MaxPool", 1}, {"Pad", 1}});
}

TEST(FuseEinsum, TwoOperandsBecomeMatMul) {
  const auto einsum = [](const std::string& equation, const Shape& a, const Shape& b) {
    return model({value("a", a), value("b", b)}, {node("Einsum", {"a", "b"}, {"y"}, {{"equation", equation}})}, {"y"});
  };
  expect_fuses(einsum("bij,bjk->bik", {2, 3, 4}, {2, 4, 5}), {{"MatMul", 1}});
  expect_fuses(einsum("bhqd,bhkd->bhqk", {1, 2, 3, 4}, {1, 2, 5, 4}), {{"MatMul", 1}, {"Transpose", 1}});
  expect_fuses(einsum("bchw,kc->bkhw", {2, 3, 4, 5}, {6, 3}), {{"MatMul", 1}, {"Reshape", 2}, {"Transpose", 3}});
  expect_fuses(einsum("ij,jk->i", {2, 3}, {3, 4}), {{"Einsum", 1}});
  expect_fuses(einsum("ii,ij->ij", {3, 3}, {3, 4}), {{"Einsum", 1}});
}

// ---- quantised files ----

std::vector<SourceTensor> quantized_constants() {
  return {real("s", 0.05f), tensor("z", Tensor::of<uint8_t>(DType::kU8, {}, {128})), tensor("z0", Tensor::of<uint8_t>(DType::kU8, {}, {0})), tensor("w", Tensor::of<int8_t>(DType::kI8, {2, 2, 1, 1}, {10, -20, 30, 40})),
          tensor("ws", Tensor::f32({2}, {0.1f, 0.02f})), tensor("wz", Tensor::of<int8_t>(DType::kI8, {2}, {0, 0})), tensor("b", Tensor::of<int32_t>(DType::kI32, {2}, {100, -100}))};
}

TEST(FuseQuantized, QdqBecomesFloat) {
  const auto m = model({value("x", {1, 2, 3, 3})},
                       {node("QuantizeLinear", {"x", "s", "z"}, {"q"}), node("DequantizeLinear", {"q", "s", "z"}, {"d"}), node("DequantizeLinear", {"w", "ws", "wz"}, {"wd"}, {{"axis", int64_t{0}}}), node("Conv", {"d", "wd"}, {"c"}),
                        node("QuantizeLinear", {"c", "s", "z0"}, {"q2"}), node("DequantizeLinear", {"q2", "s", "z0"}, {"y"})},
                       {"y"}, quantized_constants());
  const ir::Graph g = expect_fuses(m, {{"Conv+Relu", 1}}, 0.1);  // the codes can't say negative values: a ReLU
  EXPECT_EQ(g.metadata.at("qdq.range.d"), "-6.4 6.35");
  EXPECT_EQ(g.metadata.at("qdq.weight.wd"), "i8");
}

TEST(FuseQuantized, QLinearOperatorsBecomeFloat) {
  const auto m = model({value("x", {1, 2, 3, 3})}, {node("QuantizeLinear", {"x", "s", "z"}, {"q"}), node("QLinearConv", {"q", "s", "z", "w", "ws", "wz", "s", "z", "b"}, {"c"}), node("DequantizeLinear", {"c", "s", "z"}, {"y"})}, {"y"}, quantized_constants());
  expect_fuses(m, {{"Conv", 1}}, 0.1);
  auto constants = quantized_constants();
  constants.push_back(tensor("m", Tensor::of<uint8_t>(DType::kU8, {3, 2}, {120, 130, 140, 150, 160, 170})));
  const auto product = model({value("x", {4, 3})}, {node("QuantizeLinear", {"x", "s", "z"}, {"q"}), node("QLinearMatMul", {"q", "s", "z", "m", "s", "z", "s", "z"}, {"c"}), node("DequantizeLinear", {"c", "s", "z"}, {"y"})}, {"y"}, constants);
  expect_fuses(product, {{"MatMul", 1}}, 0.15);
}

TEST(FuseQuantized, DynamicQuantisationBecomesFloat) {
  const auto m = model({value("x", {4, 3})},
                       {node("DynamicQuantizeLinear", {"x"}, {"q", "qs", "qz"}), node("MatMulInteger", {"q", "m", "qz", "mz"}, {"i"}), node("Cast", {"i"}, {"f"}, {{"to", int64_t{kFloat}}}), node("Mul", {"qs", "ms"}, {"k"}), node("Mul", {"f", "k"}, {"g"}), node("Add", {"g", "b"}, {"y"})},
                       {"y"}, {tensor("m", Tensor::of<int8_t>(DType::kI8, {3, 2}, {10, -20, 30, 40, 50, -60})), tensor("mz", Tensor::of<int8_t>(DType::kI8, {}, {1})), real("ms", 0.02f), wave("b", {2})});
  expect_fuses(m, {{"MatMul", 1}}, 0.05);
}

}  // namespace
}  // namespace pith::importers
