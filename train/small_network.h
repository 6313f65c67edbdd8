// A network, samples and options that train in a second, for tests.
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
