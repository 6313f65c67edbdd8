// Networks, samples and options that train in a second, for tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "ir/test_graph.h"
#include "train/trainer.h"

namespace pith::train {

using ir::Op;

inline ir::Graph small_network() {
  Random random(5);
  ir::Graph g;
  g.name = "small";
  ir::Value input;
  input.name = "x";
  input.shape = {1, 2, 8, 8};
  g.inputs = {g.add_value(input)};
  ir::ValueId last = g.inputs[0];
  const auto node = [&](Op op, std::vector<ir::Tensor> constants, ir::Attributes attributes, bool relu) {
    ir::Node n;
    n.op = op;
    n.name = "n" + std::to_string(g.nodes.size());
    n.inputs = {last};
    for (size_t i = 0; i < constants.size(); ++i) n.inputs.push_back(g.add_constant(n.name + (i == 0 ? ".w" : ".b"), constants[i]));
    n.attributes = std::move(attributes);
    if (relu) n.activation.function = numerics::Unary::kRelu;
    ir::Value v;
    v.name = n.name + ".y";
    n.outputs = {last = g.add_value(v)};
    g.nodes.push_back(std::move(n));
  };
  node(Op::kConv, {ir::random_f32(random, {8, 2, 3, 3}), ir::random_f32(random, {8})}, {{"strides", ir::Ints{2, 2}}}, true);
  node(Op::kReshape, {}, {{"shape", ir::Ints{1, 72}}}, false);
  node(Op::kGemm, {ir::random_f32(random, {16, 72}), ir::random_f32(random, {16})}, {{"transB", int64_t{1}}}, true);
  node(Op::kGemm, {ir::random_f32(random, {4, 16}), ir::random_f32(random, {4})}, {{"transB", int64_t{1}}}, false);
  g.outputs = {last};
  EXPECT_TRUE(ir::infer_shapes(g).ok());
  EXPECT_TRUE(ir::verify(g).ok());
  return g;
}

// A decoder of one layer: words, norms, rotary attention, a gated product, logits by the table's own rows.
inline ir::Graph small_decoder(Random& random) {
  ir::Graph g;
  ir::Value tokens;
  tokens.name = "tokens", tokens.dtype = ir::DType::kI64, tokens.shape = {1, 4};
  g.inputs = {g.add_value(tokens)};
  const auto constant = [&](const char* name, ir::Shape shape) { return g.add_constant(name, ir::random_f32(random, std::move(shape))); };
  const auto node = [&](Op op, std::vector<ir::ValueId> inputs, ir::Attributes attributes = {}) { return ir::append_node(g, op, std::move(inputs), std::move(attributes)); };
  const ir::ValueId table = constant("table", {9, 6}), places = g.add_constant("places", ir::Tensor::i64({1, 4}, {0, 1, 2, 3}));
  const ir::ValueId words = node(Op::kGather, {table, g.inputs[0]}, {{"axis", int64_t{0}}});
  const ir::ValueId normed = node(Op::kLayerNormalization, {words, constant("gain", {6}), constant("shift", {6})}, {{"axis", int64_t{-1}}});
  const auto heads = [&](const char* name) {
    const ir::ValueId flat = node(Op::kReshape, {node(Op::kMatMul, {normed, constant(name, {6, 6})})}, {{"shape", ir::Ints{1, 4, 3, 2}}});
    return node(Op::kTranspose, {flat}, {{"perm", ir::Ints{0, 2, 1, 3}}});
  };
  const ir::ValueId cosines = constant("cosines", {4, 1}), sines = constant("sines", {4, 1});
  const ir::ValueId query = node(Op::kRotaryEmbedding, {heads("query"), cosines, sines, places}), key = node(Op::kRotaryEmbedding, {heads("key"), cosines, sines, places});
  const ir::ValueId attended = node(Op::kAttention, {query, key, heads("value")}, {{"is_causal", int64_t{1}}});
  const ir::ValueId joined = node(Op::kReshape, {node(Op::kTranspose, {attended}, {{"perm", ir::Ints{0, 2, 1, 3}}})}, {{"shape", ir::Ints{1, 4, 6}}});
  const ir::ValueId sum = node(Op::kAdd, {words, joined}), rms = node(Op::kRMSNormalization, {sum, constant("scale", {6})}, {{"axis", int64_t{-1}}});
  const ir::ValueId gate = node(Op::kSilu, {node(Op::kMatMul, {rms, constant("gate", {6, 8})})}), up = node(Op::kGelu, {node(Op::kMatMul, {rms, constant("up", {6, 8})})});
  const ir::ValueId down = node(Op::kMatMul, {node(Op::kMul, {gate, up}), constant("down", {8, 6})});
  const ir::ValueId rows = node(Op::kReshape, {node(Op::kAdd, {sum, down})}, {{"shape", ir::Ints{4, 6}}});
  g.outputs = {node(Op::kGemm, {rows, table, constant("bias", {9})}, {{"transB", int64_t{1}}})};
  EXPECT_TRUE(ir::infer_shapes(g).ok());
  EXPECT_TRUE(ir::verify(g).ok());
  return g;
}

inline Dataset small_samples(int64_t count) {
  Random random(9);
  Dataset d;
  d.shape = {1, 2, 8, 8};
  for (int64_t i = 0; i < count * 128; ++i) d.values.push_back(static_cast<float>(random.normal()));
  return d;
}

inline TrainOptions small_options(int64_t steps) {
  TrainOptions o;
  o.steps = steps;
  o.batch = 32;
  o.shift = 1;
  o.variants = 2;
  return o;
}

inline const std::atomic<bool> kGoOn{false};

}  // namespace pith::train
