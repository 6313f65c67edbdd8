// What can't be imported is said in one error that lists every offending node, and never crashes.
#include "importers/onnx/testing/checks.h"

namespace pith::importers {
namespace {

using ir::Tensor;
using testing::expect_refused;
using testing::integers;
using testing::model;
using testing::node;
using testing::tensor;
using testing::value;
using testing::wave;
using Ints = std::vector<int64_t>;

constexpr ErrorCode kUnsupported = ErrorCode::kUnsupported, kUsage = ErrorCode::kUsage;

SourceModel one(const SourceNode& n, std::vector<SourceTensor> initializers = {}, int64_t opset = 17) {
  return model({value("x", {1, 2, 4, 4}), value("i", {1}, kInt64)}, {n}, {"y"}, std::move(initializers), opset);
}

TEST(Refusal, ListsEveryNodeOnce) {
  SourceNode foreign = node("Mystery", {"b"}, {"c"});
  foreign.domain = "org.example";
  const SourceModel m = model({value("x", {2})}, {node("Det", {"x"}, {"a"}), node("Relu", {"a"}, {"b"}), foreign, node("Unique", {"c"}, {"y"})}, {"y"});
  expect_refused(m, kUnsupported, {"3 nodes of the model can't be imported", "node 'Det_a' (Det, ai.onnx 17): pith has no such operator", "node 'Mystery_c' (Mystery, org.example)", "node 'Unique_y'"});
}

TEST(Refusal, OneNodeIsOneLine) {
  const auto g = testing::import(one(node("Det", {"x"}, {"y"})));
  ASSERT_FALSE(g.ok());
  EXPECT_EQ(g.error().message.find('\n'), std::string::npos);
}

TEST(Refusal, RunTimeShapes) {
  for (const auto& n : {node("Reshape", {"x", "i"}, {"y"}), node("Expand", {"x", "i"}, {"y"}), node("Tile", {"x", "i"}, {"y"}), node("TopK", {"x", "i"}, {"y", "z"}), node("Range", {"i", "i", "i"}, {"y"}),
                        node("NonZero", {"x"}, {"y"}), node("ConstantOfShape", {"i"}, {"y"}), node("Pad", {"x", "i"}, {"y"}), node("Resize", {"x", "", "", "i"}, {"y"})})
    expect_refused(one(n), kUnsupported, {"is computed at run time"});
}

TEST(Refusal, SpatialDimensions) {
  const SourceModel m = model({value("x", {1, 2, 3, 4, 5})}, {node("Conv", {"x", "w"}, {"y"})}, {"y"}, {wave("w", {2, 2, 1, 1, 1})});
  expect_refused(m, kUnsupported, {"3 spatial dimensions", "1-D and 2-D"});
}

TEST(Refusal, Attributes) {
  expect_refused(one(node("Relu", {"x"}, {"y"}, {{"surprise", int64_t{1}}})), kUnsupported, {"attribute 'surprise' isn't supported"});
  expect_refused(one(node("LeakyRelu", {"x"}, {"y"}, {{"alpha", std::string("big")}})), kUnsupported, {"attribute 'alpha' isn't a real number"});
  expect_refused(one(node("Cast", {"x"}, {"y"}, {{"to", int64_t{kString}}})), kUnsupported, {"casting to string isn't supported"});
  expect_refused(one(node("Cast", {"x"}, {"y"}, {{"to", int64_t{77}}})), kUnsupported, {"casting to undefined type"});
}

TEST(Refusal, Training) {
  expect_refused(model({value("x", {1, 2, 3})}, {node("BatchNormalization", {"x", "s", "s", "s", "s"}, {"y", "m", "v"}, {{"training_mode", int64_t{1}}})}, {"y"}, {wave("s", {2})}), kUnsupported, {"training mode", "model.eval()"});
  const auto yes = tensor("t", Tensor::of<uint8_t>(ir::DType::kBool, {}, {1}));
  expect_refused(one(node("Dropout", {"x", "", "t"}, {"y"}), {yes}), kUnsupported, {"training mode"});
}

TEST(Refusal, MalformedGraphs) {
  expect_refused(one(node("Relu", {"nowhere"}, {"y"})), kUsage, {"it reads 'nowhere', which nothing before it makes"});
  expect_refused(one(node("Add", {"x"}, {"y"})), kUsage, {"input 1 is missing"});
  expect_refused(one(node("Concat", {"x"}, {"y"}, {{"axis", int64_t{9}}})), kUsage, {"Concat"});
  expect_refused(one(node("Reshape", {"x", "s"}, {"y"}), {integers("s", {5, 5})}), kUsage, {"Reshape"});
  expect_refused(one(node("Squeeze", {"x", "s"}, {"y"}), {integers("s", {1})}), kUsage, {"dimension 1 of 1x2x4x4"});
  expect_refused(one(node("Unsqueeze", {"x", "s"}, {"y"}), {integers("s", {0, 0})}), kUsage, {"axis 0"});
  expect_refused(one(node("Split", {"x"}, {"y", "z", "w"}, {{"axis", int64_t{1}}})), kUsage, {"2 can't be split into 3"});
  expect_refused(model({value("x", {2})}, {}, {"y"}), kUsage, {"output 'y' is made by nothing"});
  SourceModel no_opset = one(node("Relu", {"x"}, {"y"}));
  no_opset.opsets.clear();
  expect_refused(no_opset, kUsage, {"states no opset version"});
}

TEST(Refusal, InputsThatArentNumbers) {
  SourceModel text = model({value("x", {2}, kString)}, {node("Relu", {"x"}, {"y"})}, {"y"});
  expect_refused(text, kUnsupported, {"input 'x' is a tensor of string"});
  text.graph.inputs[0].is_tensor = false;
  expect_refused(text, kUnsupported, {"input 'x' is not a tensor"});
}

TEST(Refusal, UnheldTensorsOnlyWhereUsed) {
  SourceModel m = model({value("x", {2})}, {node("Relu", {"x"}, {"y"})}, {"y"});
  SourceTensor text;
  text.name = "words";
  text.element_type = kString;
  text.tensor = Tensor(ir::DType::kU8, {0});
  m.graph.initializers.push_back(text);
  EXPECT_TRUE(testing::import(m).ok());
  m.graph.nodes[0] = node("Gather", {"words", "x"}, {"y"});
  expect_refused(m, kUnsupported, {"tensors of string aren't supported"});
}

TEST(Refusal, HugeResults) {
  expect_refused(one(node("Tile", {"x", "r"}, {"y"}), {integers("r", {1, 1, 1 << 20, 1 << 20})}), kUsage, {"2^31 elements or more"});
  OnnxOptions small;
  small.most_constant_bytes = 1000;
  expect_refused(one(node("ConstantOfShape", {"s"}, {"y"}), {integers("s", {1000})}), kUnsupported, {"limit for constant folding"}, small);
}

// Much work out of few bytes: a product, a pool whose window is the picture, pairs of boxes.
TEST(Refusal, LongFolding) {
  OnnxOptions small;
  small.most_constant_bytes = 1'000'000;
  const auto made = [](SourceNode last, std::vector<int64_t> sides) {
    return model({value("x", {1})}, {node("ConstantOfShape", {"s"}, {"c"}), std::move(last)}, {"y"}, {integers("s", std::move(sides))});
  };
  expect_refused(made(node("MatMul", {"c", "c"}, {"y"}), {200, 200}), kUnsupported, {"limit for constant folding"}, small);
  expect_refused(made(node("MaxPool", {"c"}, {"y"}, {{"kernel_shape", Ints{100, 100}}, {"pads", Ints{50, 50, 50, 50}}}), {1, 1, 100, 100}), kUnsupported, {"limit for constant folding"}, small);
}

TEST(Refusal, EndlessFunctions) {
  SourceModel m = one(node("F", {"x"}, {"y"}));
  m.graph.nodes[0].domain = "local";
  SourceFunction f;
  f.name = "F";
  f.domain = "local";
  f.inputs = {"a"};
  f.outputs = {"b"};
  f.nodes = {node("F", {"a"}, {"b"})};
  f.nodes[0].domain = "local";
  m.functions.push_back(f);
  expect_refused(m, kUnsupported, {"nested more than 48 deep"});
}

TEST(Refusal, LoopsThatDontEnd) {
  const auto body = std::make_shared<const SourceGraph>(model({value("n", {}, kInt64), value("c", {}, kBool)}, {node("Identity", {"c"}, {"d"})}, {"d"}).graph);
  const auto yes = tensor("t", Tensor::of<uint8_t>(ir::DType::kBool, {}, {1}));
  expect_refused(one(node("Loop", {"", "t"}, {}, {{"body", body}}), {yes}), kUnsupported, {"runs more than 100000 times"});
}

TEST(Refusal, SequencesAsOutputs) {
  expect_refused(one(node("SequenceConstruct", {"x"}, {"y"})), kUnsupported, {"output 'y' isn't a tensor"});
}

}  // namespace
}  // namespace pith::importers
