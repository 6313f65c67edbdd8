// Branches, loops, scans, local functions and sequences, resolved at import.
#include "importers/onnx/testing/checks.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Tensor;
using testing::expect_values;
using testing::integers;
using testing::model;
using testing::must_import;
using testing::node;
using testing::run;
using testing::tensor;
using testing::value;
using Ints = std::vector<int64_t>;

std::shared_ptr<const SourceGraph> body(std::vector<SourceValue> inputs, std::vector<SourceNode> nodes, std::vector<std::string> outputs) {
  return std::make_shared<const SourceGraph>(model(std::move(inputs), std::move(nodes), std::move(outputs)).graph);
}

SourceTensor flag(const std::string& name, bool v) { return tensor(name, Tensor::of<uint8_t>(DType::kBool, {}, {v})); }

SourceNode branch(const std::string& condition) {
  return node("If", {condition}, {"y"}, {{"then_branch", body({}, {node("Relu", {"x"}, {"a"})}, {"a"})}, {"else_branch", body({}, {node("Neg", {"x"}, {"a"})}, {"a"})}});
}

TEST(Control, ConstantConditionTakesOneBranch) {
  const Tensor x = Tensor::f32({2}, {-1, 2});
  for (const bool yes : {true, false}) {
    const ir::Graph g = must_import(model({value("x", {2})}, {branch("c")}, {"y"}, {flag("c", yes)}));
    EXPECT_EQ(g.nodes.size(), 1u);
    expect_values(run(g, {x})[0], {2}, yes ? std::vector<double>{0, 2} : std::vector<double>{1, -2});
  }
}

TEST(Control, ConditionFromShapesIsConstant) {
  const SourceModel m = model({value("x", {2})}, {node("Size", {"x"}, {"n"}), node("Equal", {"n", "two"}, {"c"}), branch("c")}, {"y"}, {tensor("two", Tensor::i64({}, {2}))});
  EXPECT_EQ(must_import(m).nodes.size(), 1u);
}

TEST(Control, RunTimeConditionSelects) {
  const SourceModel m = model({value("x", {2}), value("c", {}, kBool)}, {branch("c")}, {"y"});
  const Tensor x = Tensor::f32({2}, {-1, 2});
  expect_values(run(m, {x, Tensor::of<uint8_t>(DType::kBool, {}, {1})})[0], {2}, {0, 2});
  expect_values(run(m, {x, Tensor::of<uint8_t>(DType::kBool, {}, {0})})[0], {2}, {1, -2});
}

TEST(Control, RunTimeConditionNeedsEqualShapes) {
  SourceNode n = branch("c");
  n.attributes["else_branch"] = body({}, {node("ReduceMax", {"x"}, {"a"}, {{"keepdims", int64_t{0}}})}, {"a"});
  testing::expect_refused(model({value("x", {2}), value("c", {}, kBool)}, {n}, {"y"}), ErrorCode::kUnsupported, {"branches differ in shape"});
}

// h -> h * x, collecting e = h + n
SourceNode loop(const std::string& trips, const std::string& condition, const std::string& next) {
  const auto step = body({value("n", {}, kInt64), value("c", {}, kBool), value("h", {2})},
                         {node("Mul", {"h", "x"}, {"h1"}), node("Cast", {"n"}, {"nf"}, {{"to", int64_t{kFloat}}}), node("Add", {"h", "nf"}, {"e"}), node("Less", {"n", "limit"}, {"under"}), node("Identity", {"c"}, {"same"})},
                         {next, "h1", "e"});
  return node("Loop", {trips, condition, "x"}, {"y", "all"}, {{"body", step}});
}

TEST(Control, LoopsAreUnrolled) {
  const std::vector<SourceTensor> constants{tensor("three", Tensor::i64({}, {3})), flag("yes", true), tensor("limit", Tensor::i64({}, {1}))};
  const Tensor x = Tensor::f32({2}, {2, 3});
  const auto counted = run(model({value("x", {2})}, {loop("three", "", "same")}, {"y", "all"}, constants), {x});
  expect_values(counted[0], {2}, {16, 81});
  expect_values(counted[1], {3, 2}, {2, 3, 5, 10, 10, 29});
  const auto ended = run(model({value("x", {2})}, {loop("", "yes", "under")}, {"y", "all"}, constants), {x});
  expect_values(ended[0], {2}, {8, 27});  // trips 0 and 1: the condition after trip 1 is false
  expect_values(ended[1], {2, 2}, {2, 3, 5, 10});
}

TEST(Control, RunTimeLoopsAreRefused) {
  const std::vector<SourceTensor> constants{flag("yes", true), tensor("limit", Tensor::i64({}, {1}))};
  testing::expect_refused(model({value("x", {2}), value("m", {}, kInt64)}, {loop("m", "yes", "same")}, {"y"}, constants), ErrorCode::kUnsupported, {"'trip count' is computed at run time"});
  testing::expect_refused(model({value("x", {2}), value("c", {}, kBool)}, {loop("", "c", "same")}, {"y"}, constants), ErrorCode::kUnsupported, {"condition is only known at run time"});
}

TEST(Control, ScansRunBothWays) {
  const auto step = body({value("h", {1}), value("e", {1})}, {node("Add", {"h", "e"}, {"h1"}), node("Identity", {"h1"}, {"o"})}, {"h1", "o"});
  const auto scan = [&](int64_t in, int64_t out) {
    return model({value("x", {1, 3})}, {node("Scan", {"zero", "x"}, {"last", "y"}, {{"body", step}, {"num_scan_inputs", int64_t{1}}, {"scan_input_axes", Ints{1}}, {"scan_input_directions", Ints{in}}, {"scan_output_axes", Ints{-1}}, {"scan_output_directions", Ints{out}}})},
                 {"y"}, {tensor("zero", Tensor::f32({1}, {0}))});
  };
  const Tensor x = Tensor::f32({1, 3}, {1, 2, 3});
  expect_values(run(scan(0, 0), {x})[0], {1, 3}, {1, 3, 6});
  expect_values(run(scan(1, 0), {x})[0], {1, 3}, {3, 5, 6});
  expect_values(run(scan(0, 1), {x})[0], {1, 3}, {6, 3, 1});
}

SourceModel with_function(const testing::NamedAttributes& attributes) {
  SourceModel m = model({value("x", {2})}, {node("Scale", {"x"}, {"y"}, attributes)}, {"y"});
  m.graph.nodes[0].domain = "local";
  SourceFunction f;
  f.name = "Scale";
  f.domain = "local";
  f.inputs = {"v"};
  f.outputs = {"r"};
  f.opsets[""] = 13;
  SourceNode factor = node("Constant", {}, {"f"});
  factor.references["value_float"] = "by";
  f.nodes = {factor, node("Mul", {"v", "f"}, {"r"})};
  m.functions.push_back(f);
  return m;
}

TEST(Control, FunctionsAreExpanded) {
  const ir::Graph g = must_import(with_function({{"by", 3.0}}));
  expect_values(run(g, {Tensor::f32({2}, {1, 2})})[0], {2}, {3, 6});
  EXPECT_EQ(g.nodes[0].name, "Scale_y/Mul_r");
  testing::expect_refused(with_function({}), ErrorCode::kUnsupported, {"Scale_y/Constant_f", "missing"});
}

TEST(Control, Sequences) {
  const SourceModel m = model({value("x", {4})},
                              {node("SplitToSequence", {"x", "two"}, {"s"}), node("SequenceAt", {"s", "last"}, {"b"}), node("SequenceInsert", {"s", "b", "zero"}, {"t"}), node("SequenceErase", {"t"}, {"u"}),
                               node("SequenceLength", {"u"}, {"n"}), node("ConcatFromSequence", {"u"}, {"y"}, {{"axis", int64_t{0}}, {"new_axis", int64_t{1}}})},
                              {"y", "n"}, {tensor("two", Tensor::i64({}, {2})), tensor("last", Tensor::i64({}, {-1})), tensor("zero", Tensor::i64({}, {0}))});
  const auto results = run(m, {Tensor::f32({4}, {1, 2, 3, 4})});
  expect_values(results[0], {2, 2}, {3, 4, 1, 2});
  expect_values(results[1], {}, {2});
}

TEST(Control, SequencesKeepTheirBounds) {
  const SourceModel m = model({value("x", {4})}, {node("SequenceConstruct", {"x"}, {"s"}), node("SequenceAt", {"s", "i"}, {"y"})}, {"y"}, {tensor("i", Tensor::i64({}, {1}))});
  testing::expect_refused(m, ErrorCode::kUsage, {"reads beyond its sequence"});
}

}  // namespace
}  // namespace pith::importers
