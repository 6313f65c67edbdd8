// Fusion of transformers: GELU, normalisations, attention, rotary embedding keep their values and become whole operators;
// near misses stay as they are.
#include "importers/onnx/testing/checks.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Shape;
using ir::Tensor;
using testing::expect_fuses;
using testing::integers;
using testing::model;
using testing::node;
using testing::real;
using testing::tensor;
using testing::value;
using testing::wave;
using Ints = std::vector<int64_t>;

SourceModel on_tokens(std::vector<SourceNode> nodes, std::vector<SourceTensor> constants) { return model({value("x", {2, 3, 8})}, std::move(nodes), {"y"}, std::move(constants)); }

// ---- GELU ----

const std::vector<SourceTensor> kGelu{real("root", 1.41421356f), real("one", 1), real("half", 0.5f), real("k", 0.044715f), real("c", 0.79788456f), real("three", 3)};

TEST(FuseGelu, ErfFormsInAnyOrder) {
  expect_fuses(on_tokens({node("Div", {"x", "root"}, {"a"}), node("Erf", {"a"}, {"b"}), node("Add", {"b", "one"}, {"d"}), node("Mul", {"x", "d"}, {"e"}), node("Mul", {"e", "half"}, {"y"})}, kGelu), {{"Gelu", 1}});
  expect_fuses(on_tokens({node("Div", {"x", "root"}, {"a"}), node("Erf", {"a"}, {"b"}), node("Add", {"one", "b"}, {"d"}), node("Mul", {"x", "half"}, {"h"}), node("Mul", {"h", "d"}, {"y"})}, kGelu), {{"Gelu", 1}});
  expect_fuses(on_tokens({node("Div", {"x", "root"}, {"a"}), node("Erf", {"a"}, {"b"}), node("Add", {"b", "one"}, {"d"}), node("Mul", {"d", "half"}, {"h"}), node("Mul", {"h", "x"}, {"y"})}, kGelu), {{"Gelu", 1}});
}

TEST(FuseGelu, TanhForms) {
  const std::vector<SourceNode> tail{node("Mul", {"u", "c"}, {"v"}), node("Tanh", {"v"}, {"t"}), node("Add", {"t", "one"}, {"d"}), node("Mul", {"x", "half"}, {"h"}), node("Mul", {"h", "d"}, {"y"})};
  std::vector<SourceNode> by_power{node("Pow", {"x", "three"}, {"p"}), node("Mul", {"p", "k"}, {"q"}), node("Add", {"x", "q"}, {"u"})};
  by_power.insert(by_power.end(), tail.begin(), tail.end());
  EXPECT_EQ(expect_fuses(on_tokens(by_power, kGelu), {{"Gelu", 1}}).nodes[0].text("approximate", ""), "tanh");
  std::vector<SourceNode> by_products{node("Mul", {"x", "x"}, {"p"}), node("Mul", {"p", "x"}, {"p3"}), node("Mul", {"k", "p3"}, {"q"}), node("Add", {"q", "x"}, {"u"})};
  by_products.insert(by_products.end(), tail.begin(), tail.end());
  expect_fuses(on_tokens(by_products, kGelu), {{"Gelu", 1}});
  std::vector<SourceNode> factored{node("Mul", {"x", "x"}, {"p"}), node("Mul", {"p", "k"}, {"q"}), node("Add", {"q", "one"}, {"r"}), node("Mul", {"x", "r"}, {"u"})};
  factored.insert(factored.end(), tail.begin(), tail.end());
  expect_fuses(on_tokens(factored, kGelu), {{"Gelu", 1}});
}

TEST(FuseGelu, NotWithOtherConstants) {
  auto constants = kGelu;
  constants[0] = real("root", 1.5f);
  const auto g = testing::must_import(on_tokens({node("Div", {"x", "root"}, {"a"}), node("Erf", {"a"}, {"b"}), node("Add", {"b", "one"}, {"d"}), node("Mul", {"x", "d"}, {"e"}), node("Mul", {"e", "half"}, {"y"})}, constants), {});
  EXPECT_EQ(testing::op_counts(g).count("Gelu"), 0u);
}

// ---- normalisations ----

std::vector<SourceTensor> norm_constants() { return {wave("g", {8}, 1), wave("b", {8}, 2), real("two", 2), real("eps", 1e-3f), real("one", 1), real("power", -0.5f)}; }

std::vector<SourceNode> layer_norm_core() {
  return {node("ReduceMean", {"x"}, {"m"}, {{"axes", Ints{-1}}}), node("Sub", {"x", "m"}, {"d"}), node("Pow", {"d", "two"}, {"q"}), node("ReduceMean", {"q"}, {"v"}, {{"axes", Ints{2}}}), node("Add", {"v", "eps"}, {"e"}), node("Sqrt", {"e"}, {"s"})};
}

std::vector<SourceNode> plus(std::vector<SourceNode> nodes, const std::vector<SourceNode>& more) {
  nodes.insert(nodes.end(), more.begin(), more.end());
  return nodes;
}

TEST(FuseNorm, LayerNormalization) {
  const auto whole = plus(layer_norm_core(), {node("Div", {"d", "s"}, {"n"}), node("Mul", {"n", "g"}, {"k"}), node("Add", {"k", "b"}, {"y"})});
  const ir::Graph g = expect_fuses(on_tokens(whole, norm_constants()), {{"LayerNormalization", 1}});
  EXPECT_EQ(g.nodes[0].inputs.size(), 3u);
  EXPECT_NEAR(g.nodes[0].real("epsilon", 0), 1e-3, 1e-9);
  expect_fuses(on_tokens(plus(layer_norm_core(), {node("Reciprocal", {"s"}, {"i"}), node("Mul", {"d", "i"}, {"y"})}), norm_constants()), {{"LayerNormalization", 1}});
}

TEST(FuseNorm, NotOverOtherDimensions) {
  auto nodes = plus(layer_norm_core(), {node("Div", {"d", "s"}, {"y"})});
  nodes[3] = node("ReduceMean", {"q"}, {"v"}, {{"axes", Ints{1}}});
  const ir::Graph g = testing::must_import(on_tokens(nodes, norm_constants()), {});
  EXPECT_EQ(testing::op_counts(g).count("LayerNormalization"), 0u);
}

TEST(FuseNorm, RmsNormalization) {
  const std::vector<SourceNode> core{node("Pow", {"x", "two"}, {"q"}), node("ReduceMean", {"q"}, {"v"}, {{"axes", Ints{-1}}}), node("Add", {"v", "eps"}, {"e"})};
  expect_fuses(on_tokens(plus(core, {node("Sqrt", {"e"}, {"s"}), node("Div", {"one", "s"}, {"i"}), node("Mul", {"x", "i"}, {"n"}), node("Mul", {"g", "n"}, {"y"})}), norm_constants()), {{"RMSNormalization", 1}});
  expect_fuses(on_tokens(plus(core, {node("Pow", {"e", "power"}, {"i"}), node("Mul", {"x", "i"}, {"y"})}), norm_constants()), {{"RMSNormalization", 1}});
  expect_fuses(on_tokens(plus(core, {node("Sqrt", {"e"}, {"s"}), node("Div", {"x", "s"}, {"n"}), node("Mul", {"n", "g"}, {"k"}), node("Add", {"k", "b"}, {"y"})}), norm_constants()), {{"RMSNormalization", 1}, {"Add", 1}});
}

TEST(FuseNorm, GroupNormalization) {
  const auto m = model({value("x", {2, 6, 3, 3})}, {node("Reshape", {"x", "groups"}, {"a"}), node("InstanceNormalization", {"a", "s", "z"}, {"n"}), node("Reshape", {"n", "back"}, {"r"}), node("Mul", {"r", "g"}, {"k"}), node("Add", {"k", "b"}, {"y"})}, {"y"},
                       {integers("groups", {2, 3, -1}), integers("back", {2, 6, 3, 3}), tensor("s", Tensor::f32({3}, {1, 1, 1})), tensor("z", Tensor::f32({3}, {0, 0, 0})), wave("g", {6, 1, 1}, 1), wave("b", {6, 1, 1}, 2)});
  expect_fuses(m, {{"GroupNormalization", 1}});
}

// ---- attention: 2 batches, 3 tokens, 2 heads of 4 ----

struct AttentionForm {
  std::vector<SourceNode> scores{node("MatMul", {"q", "k"}, {"s0"}), node("Mul", {"s0", "scale"}, {"s2"})};
  std::vector<SourceTensor> more;
  Ints key_perm{0, 2, 3, 1};
};

SourceModel attention(const AttentionForm& form) {
  std::vector<SourceNode> nodes;
  for (const std::string n : {"q", "k", "v"}) {
    nodes.push_back(node("MatMul", {"x", "w" + n}, {n + "0"}));
    nodes.push_back(node("Reshape", {n + "0", "heads"}, {n + "1"}));
    nodes.push_back(node("Transpose", {n + "1"}, {n}, {{"perm", n == "k" ? form.key_perm : Ints{0, 2, 1, 3}}}));
  }
  nodes.insert(nodes.end(), form.scores.begin(), form.scores.end());
  nodes = plus(nodes, {node("Softmax", {"s2"}, {"p"}, {{"axis", int64_t{-1}}}), node("MatMul", {"p", "v"}, {"o"}), node("Transpose", {"o"}, {"t"}, {{"perm", Ints{0, 2, 1, 3}}}), node("Reshape", {"t", "joined"}, {"y"})});
  std::vector<SourceTensor> constants{wave("wq", {8, 8}), wave("wk", {8, 8}, 1), wave("wv", {8, 8}, 2), integers("heads", {0, 0, 2, 4}), integers("joined", {0, 0, 8}), real("scale", 0.5f), real("root", 0.70710678f)};
  constants.insert(constants.end(), form.more.begin(), form.more.end());
  return on_tokens(nodes, constants);
}

const std::map<std::string, int> kWhole{{"MatMul", 3}, {"Attention", 1}};

SourceTensor causal(float low) {
  return tensor("mask", Tensor::f32({1, 1, 3, 3}, {0, low, low, 0, 0, low, 0, 0, 0}));
}

TEST(FuseAttention, WithoutMoving) {
  const ir::Graph g = expect_fuses(attention({}), kWhole);
  const ir::Node& n = g.nodes.back();
  EXPECT_EQ(n.integer("q_num_heads", 0), 2);
  EXPECT_NEAR(n.real("scale", 0), 0.5, 1e-9);
}

TEST(FuseAttention, ScalesOnQueriesAndKeys) {
  AttentionForm form;
  form.scores = {node("Mul", {"q", "root"}, {"qs"}), node("Mul", {"k", "root"}, {"ks"}), node("MatMul", {"qs", "ks"}, {"s2"})};
  const ir::Graph g = expect_fuses(attention(form), kWhole);
  EXPECT_NEAR(g.nodes.back().real("scale", 0), 0.5, 1e-6);
}

TEST(FuseAttention, CausalMaskBecomesTheFlag) {
  for (const float low : {-1e9f, -INFINITY}) {
    AttentionForm form;
    form.scores = {node("MatMul", {"q", "k"}, {"s0"}), node("Mul", {"s0", "scale"}, {"s1"}), node("Add", {"mask", "s1"}, {"s2"})};
    form.more = {causal(low)};
    const ir::Graph g = expect_fuses(attention(form), kWhole);
    EXPECT_EQ(g.nodes.back().integer("is_causal", 0), 1);
    EXPECT_EQ(g.nodes.back().inputs.size(), 3u);
  }
}

TEST(FuseAttention, OtherMasksStay) {
  AttentionForm form;
  form.scores = {node("MatMul", {"q", "k"}, {"s0"}), node("Mul", {"s0", "scale"}, {"s1"}), node("Add", {"s1", "mask"}, {"s2"})};
  form.more = {wave("mask", {1, 1, 1, 3}, 3)};
  EXPECT_EQ(expect_fuses(attention(form), kWhole).nodes.back().inputs.size(), 4u);
}

TEST(FuseAttention, SelectedMask) {
  AttentionForm form;
  form.scores = {node("MatMul", {"q", "k"}, {"s0"}), node("Mul", {"s0", "scale"}, {"s1"}), node("Where", {"keep", "s1", "low"}, {"s2"})};
  form.more = {tensor("keep", Tensor::of<uint8_t>(DType::kBool, {1, 1, 3, 3}, {1, 0, 0, 1, 1, 0, 1, 1, 1})), real("low", -1e9f)};
  EXPECT_EQ(expect_fuses(attention(form), kWhole).nodes.back().integer("is_causal", 0), 1);
  form.more = {tensor("keep", Tensor::of<uint8_t>(DType::kBool, {1, 1, 3, 3}, {1, 0, 0, 1, 1, 0, 1, 1, 1})), real("low", -1)};  // doesn't mask
  EXPECT_EQ(testing::op_counts(testing::must_import(attention(form), {})).count("Attention"), 0u);
}

TEST(FuseAttention, GroupedHeads) {
  std::vector<SourceNode> nodes{node("Unsqueeze", {"k", "two"}, {"k1"}), node("Expand", {"k1", "wide"}, {"k2"}), node("Reshape", {"k2", "all"}, {"k3"}), node("Transpose", {"k3"}, {"k4"}, {{"perm", Ints{0, 1, 3, 2}}}),
                                node("Unsqueeze", {"v", "two"}, {"v1"}), node("Expand", {"v1", "wide"}, {"v2"}), node("Reshape", {"v2", "all"}, {"v3"}), node("MatMul", {"q", "k4"}, {"s0"}), node("Mul", {"s0", "scale"}, {"s1"}),
                                node("Softmax", {"s1"}, {"p"}), node("MatMul", {"p", "v3"}, {"y"})};
  const auto m = model({value("q", {1, 4, 3, 5}), value("k", {1, 2, 3, 5}), value("v", {1, 2, 3, 5})}, nodes, {"y"}, {integers("two", {2}), integers("wide", {1, 2, 2, 3, 5}), integers("all", {1, 4, 3, 5}), real("scale", 0.4f)});
  expect_fuses(m, {{"Attention", 1}});
}

TEST(FuseAttention, ThreeDimensional) {
  const auto m = model({value("q", {4, 3, 5}), value("k", {4, 5, 6}), value("v", {4, 6, 2})}, {node("MatMul", {"q", "k"}, {"s"}), node("Softmax", {"s"}, {"p"}), node("MatMul", {"p", "v"}, {"y"})}, {"y"});
  expect_fuses(m, {{"Attention", 1}, {"Reshape", 4}, {"Transpose", 1}});
}

TEST(FuseAttention, JointProjection) {
  std::vector<SourceNode> nodes{node("MatMul", {"x", "w"}, {"j"}), node("Reshape", {"j", "parts"}, {"r"}), node("Transpose", {"r"}, {"t"}, {{"perm", Ints{2, 0, 3, 1, 4}}})};
  for (const std::string n : {"0", "1", "2"}) nodes.push_back(node("Gather", {"t", "i" + n}, {"h" + n}));
  nodes = plus(nodes, {node("Transpose", {"h1"}, {"k"}, {{"perm", Ints{0, 1, 3, 2}}}), node("MatMul", {"h0", "k"}, {"s"}), node("Mul", {"s", "scale"}, {"s1"}), node("Softmax", {"s1"}, {"p"}), node("MatMul", {"p", "h2"}, {"o"}), node("Transpose", {"o"}, {"ot"}, {{"perm", Ints{0, 2, 1, 3}}}), node("Reshape", {"ot", "joined"}, {"y"})});
  const auto m = on_tokens(nodes, {wave("w", {8, 24}), integers("parts", {2, 3, 3, 2, 4}), integers("joined", {2, 3, 8}), real("scale", 0.5f), tensor("i0", Tensor::i64({}, {0})), tensor("i1", Tensor::i64({}, {1})), tensor("i2", Tensor::i64({}, {-1}))});
  expect_fuses(m, {{"MatMul", 1}, {"Slice", 3}, {"Attention", 1}});
}

// ---- rotary ----

SourceTensor angles(const std::string& name, double (*f)(double), bool twice) {
  Tensor t(DType::kF32, {1, 1, 3, 4});
  for (int64_t s = 0; s < 3; ++s)
    for (int64_t k = 0; k < 4; ++k) t.set(s * 4 + k, f(static_cast<double>(s * (twice ? k % 2 + 1 : k + 1))));
  return tensor(name, std::move(t));
}

SourceModel rotary(bool twice, bool by_split) {
  std::vector<SourceNode> nodes{node("Mul", {"x", "cos"}, {"a"})};
  if (by_split) {
    nodes.push_back(node("Split", {"x", "halves"}, {"l", "h"}, {{"axis", int64_t{-1}}}));
  } else {
    nodes.push_back(node("Slice", {"x", "zero", "two", "last"}, {"l"}));
    nodes.push_back(node("Slice", {"x", "two", "big", "last"}, {"h"}));
  }
  nodes = plus(nodes, {node("Neg", {"h"}, {"n"}), node("Concat", {"n", "l"}, {"c"}, {{"axis", int64_t{-1}}}), node("Mul", {"c", "sin"}, {"b"}), node("Add", {"a", "b"}, {"y"})});
  return model({value("x", {2, 2, 3, 4})}, nodes, {"y"},
               {angles("cos", std::cos, twice), angles("sin", std::sin, twice), integers("halves", {2, 2}), integers("zero", {0}), integers("two", {2}), integers("big", {INT64_MAX}), integers("last", {-1})});
}

TEST(FuseRotary, HalfRotation) {
  expect_fuses(rotary(true, false), {{"RotaryEmbedding", 1}});
  expect_fuses(rotary(true, true), {{"RotaryEmbedding", 1}});
}

TEST(FuseRotary, AnglesMustRepeat) { EXPECT_EQ(testing::op_counts(testing::must_import(rotary(false, false), {})).count("RotaryEmbedding"), 0u); }

TEST(FuseRotary, AnglesAtRunTime) {
  auto nodes = rotary(true, true).graph.nodes;
  nodes.insert(nodes.begin(), {node("Concat", {"f", "f"}, {"ff"}, {{"axis", int64_t{-1}}}), node("Cos", {"ff"}, {"c0"}), node("Unsqueeze", {"c0", "one"}, {"cos"}), node("Sin", {"ff"}, {"s0"}), node("Unsqueeze", {"s0", "one"}, {"sin"})});
  const auto m = model({value("x", {2, 2, 3, 4}), value("f", {2, 3, 2})}, nodes, {"y"}, {integers("halves", {2, 2}), integers("one", {1})});
  expect_fuses(m, {{"RotaryEmbedding", 1}, {"Cos", 1}, {"Sin", 1}});
}

}  // namespace
}  // namespace pith::importers
