// From a model to a Graph: shapes and dimensions, folding, names, outputs, state, metadata.
#include "importers/onnx/testing/checks.h"

namespace pith::importers {
namespace {

using ir::Shape;
using ir::Tensor;
using testing::expect_refused;
using testing::expect_values;
using testing::feeds;
using testing::integers;
using testing::model;
using testing::must_import;
using testing::node;
using testing::run;
using testing::tensor;
using testing::value;
using testing::wave;
using Ints = std::vector<int64_t>;

SourceValue symbolic(const std::string& name, const std::vector<SourceDimension>& shape) {
  SourceValue v;
  v.name = name;
  v.element_type = kFloat;
  v.shape = shape;
  return v;
}

TEST(Import, KeepsNamesInputsAndOutputs) {
  const ir::Graph g = must_import(model({value("x", {2}), value("unused", {3})}, {node("Relu", {"x"}, {"y"})}, {"y"}));
  ASSERT_EQ(g.inputs.size(), 2u);
  EXPECT_EQ(g.value(g.inputs[1]).name, "unused");
  EXPECT_EQ(g.value(g.outputs[0]).name, "y");
  EXPECT_EQ(g.nodes.size(), 1u);
}

TEST(Import, SeedModelsRunTheSameFused) {
  for (const SourceModel& m : testing::seed_models()) {
    const ir::Graph before = must_import(m), after = must_import(m, {});
    const auto inputs = feeds(before);
    const auto expected = run(before, inputs), results = run(after, inputs);
    ASSERT_EQ(expected.size(), results.size());
    const bool quantized = m.graph.nodes[0].op == "QuantizeLinear";  // fusion takes the rounding out
    for (size_t i = 0; i < expected.size(); ++i) testing::expect_near(results[i], expected[i], quantized ? 0.15 : 2e-5);
  }
}

TEST(Import, FoldsShapeArithmetic) {
  const ir::Graph g = must_import(model({value("x", {2, 3, 4})},
                                        {node("Shape", {"x"}, {"s"}), node("Gather", {"s", "zero"}, {"n"}), node("Concat", {"n", "minus"}, {"t"}, {{"axis", int64_t{0}}}), node("Reshape", {"x", "t"}, {"y"})},
                                        {"y"}, {integers("zero", {0}), integers("minus", {-1})}));
  ASSERT_EQ(g.nodes.size(), 1u);
  EXPECT_EQ(g.value(g.outputs[0]).shape, (Shape{2, 12}));
}

TEST(Import, OutputsMayBeInputsConstantsOrShared) {
  SourceModel m = model({value("x", {2})}, {node("Identity", {"x"}, {"a"}), node("Relu", {"x"}, {"b"}), node("Identity", {"b"}, {"c"}), node("Shape", {"x"}, {"d"})}, {"a", "b", "c", "d"});
  m.graph.outputs[3].element_type = kInt64;
  const ir::Graph g = must_import(m);
  const auto results = run(g, {Tensor::f32({2}, {-1, 5})});
  expect_values(results[0], {2}, {-1, 5});
  expect_values(results[1], {2}, {0, 5});
  expect_values(results[2], {2}, {0, 5});
  expect_values(results[3], {1}, {2});
  EXPECT_EQ(g.value(g.outputs[0]).name, "a");
  EXPECT_EQ(g.value(g.outputs[2]).name, "c");
}

TEST(Import, InitialisersAsInputsAreConstants) {
  const ir::Graph g = must_import(model({value("x", {1, 2}), value("w", {2, 3})}, {node("MatMul", {"x", "w"}, {"y"})}, {"y"}, {wave("w", {2, 3})}, 9));
  EXPECT_EQ(g.inputs.size(), 1u);
}

TEST(Import, ConstantsInEveryForm) {
  const auto half = testing::tensor("", Tensor::f32({1}, {0.5}));
  const ir::Graph g = must_import(model({value("x", {2})},
                                        {node("Constant", {}, {"a"}, {{"value", half}}), node("Constant", {}, {"b"}, {{"value_float", 2.0}}), node("Constant", {}, {"c"}, {{"value_floats", std::vector<double>{1, 2}}}),
                                         node("Constant", {}, {"d"}, {{"value_ints", Ints{2}}}), node("Mul", {"x", "a"}, {"e"}), node("Mul", {"e", "b"}, {"f"}), node("Add", {"f", "c"}, {"h"}),
                                         node("Reshape", {"h", "d"}, {"y"})},
                                        {"y"}));
  expect_values(run(g, {Tensor::f32({2}, {3, 4})})[0], {2}, {4, 6});
}

TEST(Dimensions, BatchIsOneUnlessSaid) {
  const SourceModel m = model({symbolic("x", {{-1, "batch"}, {3, ""}})}, {node("Relu", {"x"}, {"y"})}, {"y"});
  EXPECT_EQ(must_import(m).value(0).shape, (Shape{1, 3}));
  OnnxOptions options;
  options.dimensions["batch"] = 5;
  EXPECT_EQ(must_import(m, options).value(0).shape, (Shape{5, 3}));
}

TEST(Dimensions, AskForWhatIsOpen) {
  const SourceModel m = model({symbolic("ids", {{-1, "batch"}, {-1, "sequence"}}), symbolic("mask", {{-1, "batch"}, {-1, "sequence"}})}, {node("Add", {"ids", "mask"}, {"y"})}, {"y"});
  expect_refused(m, ErrorCode::kUsage, {"'sequence', dimension 1 of input 'ids'", "--dimension sequence=SIZE", "--input-shape ids:1xSIZE"});
  OnnxOptions by_shape;
  by_shape.input_shapes["ids"] = {1, 7};
  const ir::Graph g = must_import(m, by_shape);
  EXPECT_EQ(g.value(g.inputs[1]).shape, (Shape{1, 7}));  // the symbol was learnt
}

TEST(Dimensions, RefuseContradictions) {
  const SourceModel m = model({symbolic("x", {{-1, "n"}, {-1, "s"}}), value("f", {2})}, {node("Relu", {"x"}, {"y"})}, {"y"});
  OnnxOptions o;
  o.dimensions["t"] = 3;
  expect_refused(m, ErrorCode::kUsage, {"no symbolic dimension 't'", "it has n, s"}, o);
  o = {};
  o.input_shapes["z"] = {1};
  expect_refused(m, ErrorCode::kUsage, {"no input 'z'", "its inputs are x, f"}, o);
  o = {};
  o.input_shapes["f"] = {3};
  expect_refused(m, ErrorCode::kUsage, {"input 'f' can't have the shape 3", "fixes dimension 0 to 2"}, o);
  o = {};
  o.input_shapes["x"] = {2, 3};
  o.dimensions["s"] = 4;
  expect_refused(m, ErrorCode::kUsage, {"dimension 's' is 4 elsewhere"}, o);
  o = {};
  o.dimensions["s"] = 0;
  expect_refused(m, ErrorCode::kUsage, {"dimension 's' can't be 0"}, o);
  o = {};
  o.input_shapes["x"] = {1, 2, 3};
  expect_refused(m, ErrorCode::kUsage, {"the model says 2 dimensions"}, o);
}

TEST(Dimensions, InputsWithoutAShapeNeedOne) {
  SourceValue v = value("x");
  v.shape.reset();
  const SourceModel m = model({v}, {node("Relu", {"x"}, {"y"})}, {"y"});
  expect_refused(m, ErrorCode::kUsage, {"input 'x' has no shape", "--input-shape x:"});
  OnnxOptions o;
  o.input_shapes["x"] = {4};
  EXPECT_EQ(must_import(m, o).value(0).shape, (Shape{4}));
}

TEST(Import, FixedInputsBecomeConstants) {
  OnnxOptions o;
  o.constants["k"] = Tensor::i64({1}, {2});
  const ir::Graph g = must_import(model({value("x", {1, 4}), value("k", {1}, kInt64)}, {node("TopK", {"x", "k"}, {"v", "i"})}, {"v"}), o);
  EXPECT_EQ(g.inputs.size(), 1u);
  EXPECT_EQ(g.value(g.outputs[0]).shape, (Shape{1, 2}));
}

TEST(State, IsPairedByNameOrOption) {
  const auto carried = [](const std::string& in, const std::string& out) {
    return model({value("x", {2}), value(in, {2})}, {node("Add", {"x", in}, {out})}, {out});
  };
  for (const auto& [in, out] : std::vector<std::pair<std::string, std::string>>{{"state", "stateN"}, {"h0", "hn"}, {"c_in", "c_out"}, {"past_key_values.0.key", "present.0.key"}, {"h", "new_h"}}) {
    const ir::Graph g = must_import(carried(in, out));
    EXPECT_EQ(g.state, (std::vector<std::pair<ir::ValueId, ir::ValueId>>{{g.inputs[1], g.outputs[0]}})) << in << " " << out;
  }
  EXPECT_TRUE(must_import(carried("a", "b")).state.empty());
  OnnxOptions o;
  o.state["a"] = "b";
  EXPECT_EQ(must_import(carried("a", "b"), o).state.size(), 1u);
  o.state["a"] = "nothing";
  expect_refused(carried("a", "b"), ErrorCode::kUsage, {"the model has no output 'nothing'"}, o);
  o = {};
  o.recognise_state = false;
  EXPECT_TRUE(must_import(carried("h0", "hn"), o).state.empty());
}

TEST(State, KeepsItsShape) {
  OnnxOptions o;
  o.state["x"] = "y";
  expect_refused(model({value("x", {1, 4})}, {node("ReduceMax", {"x"}, {"y"})}, {"y"}), ErrorCode::kUsage, {"the input is 1x4 and the output 1x1"}, o);
}

TEST(Import, CarriesMetadata) {
  SourceModel m = model({value("x", {2})}, {node("Relu", {"x"}, {"y"})}, {"y"});
  m.metadata["names"] = "{0: 'person'}";
  m.producer = "pytorch";
  const ir::Graph g = must_import(m);
  EXPECT_EQ(g.metadata.at("onnx.names"), "{0: 'person'}");
  EXPECT_EQ(g.metadata.at("producer"), "pytorch");
}

TEST(Import, ListsItsOperators) {
  const auto names = onnx_operators();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const char* name : {"Conv", "LSTM", "If", "com.microsoft.FusedConv"}) EXPECT_TRUE(std::count(names.begin(), names.end(), name)) << name;
}

}  // namespace
}  // namespace pith::importers
