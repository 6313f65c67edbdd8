// Each promise of a Graph, broken once.
#include "ir/test_graph.h"

namespace pith::ir {
namespace {

// x -> Conv(w, b) -> y -> Relu -> z
Graph sound() {
  Graph g = one_node(Op::kConv,
                     {Tensor(DType::kF32, {1, 2, 5, 5}), Tensor(DType::kF32, {3, 2, 3, 3}), Tensor(DType::kF32, {3})},
                     {{"pads", Ints{1, 1, 1, 1}}}, 1, {1, 2});
  g.nodes[0].name = "conv1";
  Value z;
  z.name = "z";
  const ValueId id = g.add_value(z);
  g.nodes.push_back({Op::kRelu, "relu1", {g.outputs[0]}, {id}, {}, {}});
  g.outputs = {id};
  EXPECT_TRUE(infer_shapes(g).ok());
  return g;
}

// The same with quantised operands: 8-bit activations, weights per channel, bias.
Graph sound_quantised() {
  Graph g = sound();
  Value &w = g.value(g.nodes[0].inputs[1]), &b = g.value(g.nodes[0].inputs[2]);
  w.constant = Tensor(DType::kI8, w.shape);
  w.quant = Quant{8, {}, 0, {-90, -91, -92}};
  b.constant = Tensor(DType::kI32, b.shape);
  b.quant = Quant{};
  for (ValueId id : {g.inputs[0], g.nodes[0].outputs[0], g.outputs[0]}) g.value(id).quant = Quant{8, {-80, 3}, 0, {}};
  return g;
}

void expect_refused(const Graph& g, const std::string& part) {
  const auto result = verify(g);
  ASSERT_FALSE(result.ok()) << "expected: " << part;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  EXPECT_EQ(result.error().code, ErrorCode::kUsage);
}

TEST(Verify, SoundGraphsPass) {
  EXPECT_TRUE(verify(sound()).ok());
  const auto quantised = verify(sound_quantised());
  EXPECT_TRUE(quantised.ok()) << quantised.error().message;
}

TEST(Verify, Structure) {
  Graph g = sound();
  g.nodes[0].inputs[0] = 77;
  expect_refused(g, "Conv 'conv1' reads value 77");
  g = sound();
  std::swap(g.nodes[0], g.nodes[1]);
  expect_refused(g, "before it is made");
  g = sound();
  g.nodes[1].outputs[0] = g.nodes[0].outputs[0];
  expect_refused(g, "made already");
  g = sound();
  g.nodes[1].outputs[0] = 99;
  expect_refused(g, "makes value 99");
  g = sound();
  g.inputs.push_back(g.inputs[0]);
  expect_refused(g, "an input twice");
  g = sound();
  g.inputs.push_back(g.nodes[0].inputs[1]);
  expect_refused(g, "both input and constant");
  g = sound();
  g.inputs = {-5};
  expect_refused(g, "graph input -5");
  g = sound();
  g.outputs.clear();
  expect_refused(g, "no outputs");
  g = sound();
  g.outputs = {42};
  expect_refused(g, "graph output 42");
  g = sound();
  g.nodes.pop_back();
  expect_refused(g, "never made");
  g = sound();
  g.nodes[0].op = static_cast<Op>(250);
  expect_refused(g, "unknown operator");
}

TEST(Verify, State) {
  Graph g = sound();
  g.state = {{g.inputs[0], g.nodes[0].outputs[0]}};
  expect_refused(g, "doesn't pair");
  g = sound();
  g.state = {{g.inputs[0], g.outputs[0]}};
  expect_refused(g, "differ in type");
}

TEST(Verify, Operands) {
  Graph g = sound();
  g.nodes[0].inputs.resize(1);
  expect_refused(g, "has 1 inputs, 2 to 3");
  g = sound();
  g.nodes[0].inputs[1] = kNoValue;
  expect_refused(g, "input 1 is missing");
  g = sound();
  g.nodes[1].outputs.clear();
  expect_refused(g, "never made");
  g = sound();
  g.nodes[1].outputs.push_back(kNoValue);
  expect_refused(g, "has 2 outputs");
}

TEST(Verify, ValuesAndConstants) {
  Graph g = sound();
  g.value(g.nodes[0].inputs[1]).shape = {3, 2, 3, 4};
  expect_refused(g, "is stated as 3x2x3x4 and holds 3x2x3x3");
  g = sound();
  g.value(g.nodes[0].inputs[1]).constant = Tensor(DType::kI32, {3, 2, 3, 3});
  expect_refused(g, "is stated as f32 and holds i32");
  g = sound();
  g.value(g.inputs[0]).shape = {1, 2, -5, 5};
  expect_refused(g, "has the shape");
  g = sound();
  g.value(g.inputs[0]).shape = {1 << 20, 1 << 20};
  expect_refused(g, "2^31 elements");
}

TEST(Verify, Attributes) {
  Graph g = sound();
  g.nodes[0].attributes["padding"] = int64_t{1};
  expect_refused(g, "Conv has no attribute padding");
  g = sound();
  g.nodes[0].attributes["pads"] = int64_t{1};
  expect_refused(g, "attribute pads has the wrong kind");
  g = sound();
  g.nodes[0].attributes["auto_pad"] = std::string("SAME");
  expect_refused(g, "attribute auto_pad is \"SAME\"");
  g = sound();
  g.nodes[0].attributes["group"] = int64_t{0};
  expect_refused(g, "attribute group is 0");
}

TEST(Verify, Types) {
  Graph g = sound();
  g.value(g.outputs[0]).shape = {1, 3, 5, 4};
  expect_refused(g, "'z' is stated as f32 1x3x5x4, it follows as f32 1x3x5x5");
  g = sound();
  g.value(g.outputs[0]).dtype = DType::kI32;
  expect_refused(g, "it follows as f32");
}

TEST(Verify, ActivationQuantisation) {
  Graph g = sound_quantised();
  g.value(g.inputs[0]).quant->bits = 4;
  expect_refused(g, "activation of 4 bits");
  g = sound_quantised();
  g.value(g.inputs[0]).quant->affine.scale_code = 2000;
  expect_refused(g, "scale code 2000");
  g = sound_quantised();
  g.value(g.inputs[0]).quant->scale_codes = {1};
  expect_refused(g, "only weights do");
  g = one_node(Op::kIdentity, {Tensor(DType::kI64, {2})});
  g.value(g.inputs[0]).quant = Quant{};
  ASSERT_TRUE(infer_shapes(g).ok());
  expect_refused(g, "only f32 can be");
}

TEST(Verify, WeightQuantisation) {
  const auto weights = [](Graph& g) -> Value& { return g.value(g.nodes[0].inputs[1]); };
  Graph g = sound_quantised();
  weights(g).quant->scale_codes.pop_back();
  expect_refused(g, "2 scale codes for 3 channels");
  g = sound_quantised();
  weights(g).quant->axis = 7;
  expect_refused(g, "along axis 7");
  g = sound_quantised();
  weights(g).quant->bits = 9;
  expect_refused(g, "weights of 9 bits");
  g = sound_quantised();
  weights(g).quant->bits = 3;
  weights(g).constant->set(5, 4);
  expect_refused(g, "holds 4, which 3 bits can't");
  g = sound_quantised();
  weights(g).constant = Tensor(DType::kI64, weights(g).shape);
  expect_refused(g, "is quantised and holds i64");
}

TEST(Verify, BiasNeedsQuantisedOperands) {
  Graph g = sound_quantised();
  g.value(g.inputs[0]).quant.reset();
  expect_refused(g, "is a quantised bias");
}

TEST(Verify, AccumulatorsStayWithin32Bits) {
  const auto matmul = [](int64_t depth, int8_t weight, int32_t bias) {
    Graph g = one_node(Op::kMatMul,
                       {Tensor(DType::kF32, {1, depth}), Tensor(DType::kF32, {depth, 1}), Tensor(DType::kF32, {1})}, {},
                       1, {1, 2});
    Tensor w(DType::kI8, {depth, 1});
    for (int8_t& v : w.mut<int8_t>()) v = weight;
    g.value(g.nodes[0].inputs[1]).constant = w;
    g.value(g.nodes[0].inputs[1]).quant = Quant{8, {}, 1, {-90}};
    g.value(g.nodes[0].inputs[2]).constant = Tensor::of<int32_t>(DType::kI32, {1}, {bias});
    g.value(g.nodes[0].inputs[2]).quant = Quant{};
    g.value(g.inputs[0]).quant = Quant{};
    g.value(g.outputs[0]).quant = Quant{};
    EXPECT_TRUE(infer_shapes(g).ok());
    return g;
  };
  EXPECT_TRUE(verify(matmul(66000, 127, 0)).ok());
  expect_refused(matmul(67000, 127, 0), "beyond 32 bits");
  EXPECT_TRUE(verify(matmul(67000, 100, 0)).ok());
  expect_refused(matmul(66000, 127, 2000000000), "beyond 32 bits");
}

TEST(Verify, Activations) {
  Graph g = sound_quantised();
  g.nodes[0].activation.function = numerics::Unary::kSilu;
  expect_refused(g, "needs the meaning `pre`");
  g.nodes[0].activation.pre = numerics::Affine{-80, 128};
  EXPECT_TRUE(verify(g).ok());
  g.nodes[0].activation.pre->scale_code = 3000;
  expect_refused(g, "scale code 3000");
  g = sound();
  g.nodes[0].activation = {numerics::Unary::kClip, 6, 0, {}};
  expect_refused(g, "clips to [6, 0]");
  g = sound();
  g.nodes[0].activation.a = std::nan("");
  g.nodes[0].activation.function = numerics::Unary::kLeakyRelu;
  expect_refused(g, "isn't a number");
  g = one_node(Op::kEqual, {Tensor(DType::kF32, {2}), Tensor(DType::kF32, {2})});
  g.nodes[0].activation.function = numerics::Unary::kRelu;
  ASSERT_TRUE(infer_shapes(g).ok());
  expect_refused(g, "an activation needs an f32 result");
}

TEST(Verify, RequantizeNeedsBothMeanings) {
  Graph g = one_node(Op::kRequantize, {Tensor(DType::kF32, {2})});
  ASSERT_TRUE(infer_shapes(g).ok());
  expect_refused(g, "must be quantised activations");
}

}  // namespace
}  // namespace pith::ir
