// com.microsoft operators against the same written with ONNX's.
#include "importers/onnx/testing/checks.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Shape;
using ir::Tensor;
using testing::expect_near;
using testing::feeds;
using testing::integers;
using testing::must_import;
using testing::node;
using testing::run;
using testing::tensor;
using testing::value;
using testing::wave;
using Ints = std::vector<int64_t>;

SourceNode ms(const std::string& op, std::vector<std::string> inputs, std::vector<std::string> outputs, const testing::NamedAttributes& attributes = {}) {
  SourceNode n = node(op, std::move(inputs), std::move(outputs), attributes);
  n.domain = "com.microsoft";
  return n;
}

SourceModel model(std::vector<SourceValue> inputs, std::vector<SourceNode> nodes, std::vector<std::string> outputs, std::vector<SourceTensor> constants = {}) {
  SourceModel m = testing::model(std::move(inputs), std::move(nodes), std::move(outputs), std::move(constants), 23);
  m.opsets["com.microsoft"] = 1;
  return m;
}

// Both node lists make outputs of the same names and values.
void expect_same(const std::vector<SourceValue>& inputs, const std::vector<SourceNode>& got, const std::vector<SourceNode>& wanted, const std::vector<std::string>& outputs, const std::vector<SourceTensor>& constants, double tolerance = 1e-5) {
  const ir::Graph a = must_import(model(inputs, got, outputs, constants)), b = must_import(model(inputs, wanted, outputs, constants));
  const auto x = feeds(a);
  const auto results = run(a, x), expected = run(b, x);
  ASSERT_EQ(results.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) expect_near(results[i], expected[i], tolerance);
}

TEST(Microsoft, FusedConvolutionAndProducts) {
  expect_same({value("x", {1, 2, 4, 4}), value("z", {1, 3, 4, 4})}, {ms("FusedConv", {"x", "w", "b", "z"}, {"y"}, {{"activation", std::string("LeakyRelu")}, {"activation_params", std::vector<double>{0.25}}})},
              {node("Conv", {"x", "w", "b"}, {"c"}), node("Add", {"c", "z"}, {"d"}), node("LeakyRelu", {"d"}, {"y"}, {{"alpha", 0.25}})}, {"y"}, {wave("w", {3, 2, 1, 1}), wave("b", {3})});
  expect_same({value("x", {2, 3}), value("b", {2, 4})}, {ms("FusedMatMul", {"x", "b"}, {"y"}, {{"transA", int64_t{1}}, {"alpha", 0.5}})},
              {node("Transpose", {"x"}, {"t"}), node("MatMul", {"t", "b"}, {"m"}), node("Mul", {"m", "half"}, {"y"})}, {"y"}, {tensor("half", Tensor::f32({}, {0.5f}))});
  expect_same({value("x", {2, 3})}, {ms("FusedGemm", {"x", "w"}, {"y"}, {{"activation", std::string("Relu")}})}, {node("MatMul", {"x", "w"}, {"m"}), node("Relu", {"m"}, {"y"})}, {"y"}, {wave("w", {3, 4})});
}

TEST(Microsoft, GeluForms) {
  const std::vector<SourceNode> sum{node("Add", {"x", "b"}, {"s"})};
  const auto after = [&](const SourceNode& n) { return std::vector<SourceNode>{sum[0], n}; };
  const std::vector<SourceTensor> constants{wave("b", {4}), tensor("k", Tensor::f32({}, {1.702f}))};
  expect_same({value("x", {2, 4})}, {ms("BiasGelu", {"x", "b"}, {"y"})}, after(node("Gelu", {"s"}, {"y"})), {"y"}, constants);
  expect_same({value("x", {2, 4})}, {ms("FastGelu", {"x", "b"}, {"y"})}, after(node("Gelu", {"s"}, {"y"}, {{"approximate", std::string("tanh")}})), {"y"}, constants);
  expect_same({value("x", {2, 4})}, {ms("QuickGelu", {"x"}, {"y"})}, {node("Mul", {"x", "k"}, {"m"}), node("Sigmoid", {"m"}, {"s"}), node("Mul", {"x", "s"}, {"y"})}, {"y"}, constants);
}

TEST(Microsoft, SkipNormalizations) {
  const std::vector<SourceTensor> constants{wave("g", {4}, 1), wave("b", {4}, 2), wave("c", {4}, 3)};
  const std::vector<SourceValue> inputs{value("x", {2, 4}), value("s", {2, 4})};
  expect_same(inputs, {ms("SkipLayerNormalization", {"x", "s", "g", "b", "c"}, {"y", "", "", "t"}, {{"epsilon", 1e-3}})},
              {node("Add", {"x", "s"}, {"u"}), node("Add", {"u", "c"}, {"t"}), node("LayerNormalization", {"t", "g", "b"}, {"y"}, {{"epsilon", 1e-3}})}, {"y", "t"}, constants);
  expect_same(inputs, {ms("SkipSimplifiedLayerNormalization", {"x", "s", "g"}, {"y"}, {{"epsilon", 1e-3}})}, {node("Add", {"x", "s"}, {"u"}), node("RMSNormalization", {"u", "g"}, {"y"}, {{"epsilon", 1e-3}})}, {"y"}, constants);
}

TEST(Microsoft, MultiHeadAttention) {
  const std::vector<SourceValue> inputs{value("q", {2, 3, 8}), value("k", {2, 5, 8}), value("v", {2, 5, 8}), value("keep", {2, 5}, kInt32)};
  const std::vector<SourceTensor> constants{wave("b", {24}), integers("thirds", {8, 8, 8}), tensor("one", Tensor::f32({}, {1})), tensor("low", Tensor::f32({}, {-10000})), integers("wide", {2, 1, 1, 5})};
  expect_same(inputs, {ms("MultiHeadAttention", {"q", "k", "v", "b", "keep"}, {"y"}, {{"num_heads", int64_t{2}}})},
              {node("Split", {"b", "thirds"}, {"bq", "bk", "bv"}), node("Add", {"q", "bq"}, {"q1"}), node("Add", {"k", "bk"}, {"k1"}), node("Add", {"v", "bv"}, {"v1"}), node("Cast", {"keep"}, {"kf"}, {{"to", int64_t{kFloat}}}),
               node("Sub", {"one", "kf"}, {"d"}), node("Mul", {"d", "low"}, {"m"}), node("Reshape", {"m", "wide"}, {"mask"}), node("Attention", {"q1", "k1", "v1", "mask"}, {"y"}, {{"q_num_heads", int64_t{2}}, {"kv_num_heads", int64_t{2}}})},
              {"y"}, constants);
}

TEST(Microsoft, JointAttention) {
  expect_same({value("x", {2, 3, 8})}, {ms("Attention", {"x", "w", "b"}, {"y"}, {{"num_heads", int64_t{2}}, {"unidirectional", int64_t{1}}})},
              {node("MatMul", {"x", "w"}, {"m"}), node("Add", {"m", "b"}, {"j"}), node("Split", {"j", "thirds"}, {"q", "k", "v"}, {{"axis", int64_t{2}}}), node("Attention", {"q", "k", "v"}, {"y"}, {{"q_num_heads", int64_t{2}}, {"kv_num_heads", int64_t{2}}, {"is_causal", int64_t{1}}})},
              {"y"}, {wave("w", {8, 24}), wave("b", {24}, 1), integers("thirds", {8, 8, 8})});
}

TEST(Microsoft, GroupedAttentionWithRotation) {
  const std::vector<SourceValue> inputs{value("q", {1, 3, 8}), value("k", {1, 3, 4}), value("v", {1, 3, 4})};
  const std::vector<SourceTensor> constants{wave("cos", {6, 2}, 1), wave("sin", {6, 2}, 2), tensor("n", Tensor::of<int32_t>(DType::kI32, {1}, {2})), tensor("t", Tensor::of<int32_t>(DType::kI32, {}, {3})), tensor("p", Tensor::i64({1, 3}, {0, 1, 2}))};
  const SourceAttribute two = int64_t{2}, one = int64_t{1};
  expect_same(inputs, {ms("GroupQueryAttention", {"q", "k", "v", "", "", "n", "t", "cos", "sin"}, {"y"}, {{"num_heads", two}, {"kv_num_heads", one}, {"do_rotary", one}})},
              {node("RotaryEmbedding", {"q", "cos", "sin", "p"}, {"qr"}, {{"num_heads", two}}), node("RotaryEmbedding", {"k", "cos", "sin", "p"}, {"kr"}, {{"num_heads", one}}), node("Attention", {"qr", "kr", "v"}, {"y"}, {{"q_num_heads", two}, {"kv_num_heads", one}, {"is_causal", one}})},
              {"y"}, constants);
  testing::expect_refused(model({value("q", {1, 1, 8}), value("k", {1, 1, 4}), value("v", {1, 1, 4}), value("pk", {1, 1, 2, 4}), value("pv", {1, 1, 2, 4})}, {ms("GroupQueryAttention", {"q", "k", "v", "pk", "pv", "n", "t"}, {"y"}, {{"num_heads", two}, {"kv_num_heads", one}})}, {"y"}, constants),
                          ErrorCode::kUnsupported, {"past keys"});
}

// Weights of 4 bits in blocks of 16: the first code lies in the low nibble.
TEST(Microsoft, MatMulNBits) {
  const int64_t k = 16, n = 2;
  Tensor codes(DType::kU8, {n, 1, 8}), real(DType::kF32, {k, n});
  for (int64_t c = 0; c < n; ++c)
    for (int64_t row = 0; row < k; row += 2) {
      const int64_t low = (row + c) % 16, high = (3 * row + c + 1) % 16;
      codes.set(c * 8 + row / 2, static_cast<double>(low | high << 4));
      real.set(row * n + c, static_cast<double>(low - (c ? 7 : 5)) * (c ? 0.5 : 0.25));
      real.set((row + 1) * n + c, static_cast<double>(high - (c ? 7 : 5)) * (c ? 0.5 : 0.25));
    }
  const std::vector<SourceTensor> constants{tensor("c", codes), tensor("s", Tensor::f32({2}, {0.25f, 0.5f})), tensor("z", Tensor::of<uint8_t>(DType::kU8, {2}, {5, 7})), tensor("r", real)};
  const testing::NamedAttributes attributes{{"K", k}, {"N", n}, {"bits", int64_t{4}}, {"block_size", int64_t{16}}};
  expect_same({value("x", {3, k})}, {ms("MatMulNBits", {"x", "c", "s", "z"}, {"y"}, attributes)}, {node("MatMul", {"x", "r"}, {"y"})}, {"y"}, constants);
  testing::expect_refused(model({value("x", {3, k})}, {ms("MatMulNBits", {"x", "c", "s", "z"}, {"y"}, {{"K", int64_t{32}}, {"N", n}, {"bits", int64_t{4}}, {"block_size", int64_t{16}}})}, {"y"}, constants), ErrorCode::kUsage, {"don't have the stated sizes"});
}

TEST(Microsoft, QLinearOperators) {
  const auto u8 = [](const std::string& name, uint8_t v) { return tensor(name, Tensor::of<uint8_t>(DType::kU8, {}, {v})); };
  const std::vector<SourceTensor> constants{tensor("s", Tensor::f32({}, {0.05f})), u8("z", 100), tensor("t", Tensor::f32({}, {0.1f})), u8("w", 120)};
  const std::vector<SourceNode> opened{node("DequantizeLinear", {"a", "s", "z"}, {"ar"}), node("DequantizeLinear", {"b", "t", "w"}, {"br"})};
  const std::vector<SourceValue> inputs{value("a", {2, 4}, kUint8), value("b", {2, 4}, kUint8)};
  const auto closed = [&](const SourceNode& n) { return std::vector<SourceNode>{opened[0], opened[1], n, node("QuantizeLinear", {"r", "t", "w"}, {"y"})}; };
  expect_same(inputs, {ms("QLinearAdd", {"a", "s", "z", "b", "t", "w", "t", "w"}, {"y"})}, closed(node("Add", {"ar", "br"}, {"r"})), {"y"}, constants);
  expect_same(inputs, {ms("QLinearConcat", {"t", "w", "a", "s", "z", "b", "t", "w"}, {"y"}, {{"axis", int64_t{1}}})}, closed(node("Concat", {"ar", "br"}, {"r"}, {{"axis", int64_t{1}}})), {"y"}, constants);
  expect_same(inputs, {ms("QLinearSigmoid", {"a", "s", "z", "t", "w"}, {"y"})}, closed(node("Sigmoid", {"ar"}, {"r"})), {"y"}, constants);
}

TEST(Microsoft, RefusesWhatItDoesntKnow) {
  testing::expect_refused(model({value("x", {1, 2, 4, 4})}, {ms("FusedConv", {"x", "w"}, {"y"}, {{"activation", std::string("Mystery")}})}, {"y"}, {wave("w", {3, 2, 1, 1})}), ErrorCode::kUnsupported, {"FusedConv, com.microsoft 1", "activation 'Mystery'"});
  testing::expect_refused(model({value("x", {2, 3, 8})}, {ms("MultiHeadAttention", {"x"}, {"y"}, {{"num_heads", int64_t{2}}})}, {"y"}), ErrorCode::kUnsupported, {"packed queries"});
}

}  // namespace
}  // namespace pith::importers
