// Small graphs for tests: one node on given inputs, random tensors from PITH_SEED.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>

#include "base/random.h"
#include "ir/interpret.h"

namespace pith::ir {

using Attributes = std::map<std::string, Attribute>;
using Ints = std::vector<int64_t>;

// The seed of this run: PITH_SEED, or a fixed one. Printed once.
inline uint64_t test_seed() {
  static const uint64_t seed = [] {
    const char* text = std::getenv("PITH_SEED");
    const uint64_t value = text != nullptr ? std::strtoull(text, nullptr, 10) : 20230117;
    std::cout << "PITH_SEED=" << value << "\n";
    return value;
  }();
  return seed;
}

inline Tensor random_f32(Random& random, Shape shape, double low = -1, double high = 1) {
  Tensor t(DType::kF32, std::move(shape));
  for (float& v : t.mut<float>()) v = static_cast<float>(random.uniform(low, high));
  return t;
}
inline Tensor random_u8(Random& random, Shape shape) {
  Tensor t(DType::kU8, std::move(shape));
  for (uint8_t& v : t.mut<uint8_t>()) v = static_cast<uint8_t>(random.integer(0, 255));
  return t;
}
inline Tensor random_i8(Random& random, Shape shape, int low = -127, int high = 127) {
  Tensor t(DType::kI8, std::move(shape));
  for (int8_t& v : t.mut<int8_t>()) v = static_cast<int8_t>(random.integer(low, high));
  return t;
}

// A node at the end of a graph; returns its results, whose shapes are inferred.
inline std::vector<ValueId> append_results(Graph& g, Op op, std::vector<ValueId> inputs, Attributes attributes = {}, Activation activation = {}, int outputs = 1) {
  Node n;
  n.op = op;
  n.name = "node" + std::to_string(g.nodes.size());
  n.inputs = std::move(inputs);
  n.attributes = std::move(attributes);
  n.activation = activation;
  for (int i = 0; i < outputs; ++i) {
    Value v;
    v.name = n.name + "." + std::to_string(i);
    n.outputs.push_back(g.add_value(std::move(v)));
  }
  g.nodes.push_back(n);
  const auto inferred = infer_shapes(g, g.nodes.back());
  EXPECT_TRUE(inferred.ok()) << op_name(op) << ": " << inferred.error().message;
  return n.outputs;
}

// The same for a node of one result.
inline ValueId append_node(Graph& g, Op op, std::vector<ValueId> inputs, Attributes attributes = {}, Activation activation = {}) {
  return append_results(g, op, std::move(inputs), std::move(attributes), activation)[0];
}

// A graph of one node: its inputs are graph inputs, or constants where `constant` says so.
inline Graph one_node(Op op, const std::vector<Tensor>& inputs, const Attributes& attributes = {}, int outputs = 1,
                      const std::vector<size_t>& constant = {}) {
  Graph g;
  Node node;
  node.op = op;
  node.name = "node";
  node.attributes = attributes;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = "input" + std::to_string(i);
    if (std::find(constant.begin(), constant.end(), i) != constant.end()) {
      node.inputs.push_back(g.add_constant(name, inputs[i]));
      continue;
    }
    Value v;
    v.name = name;
    v.dtype = inputs[i].dtype();
    v.shape = inputs[i].shape();
    node.inputs.push_back(g.add_value(v));
    g.inputs.push_back(node.inputs.back());
  }
  for (int i = 0; i < outputs; ++i) {
    Value v;
    v.name = "output" + std::to_string(i);
    node.outputs.push_back(g.add_value(v));
    g.outputs.push_back(node.outputs.back());
  }
  g.nodes.push_back(node);
  return g;
}

// Runs one node; a failure is a failed test and an empty result.
inline std::vector<Tensor> run_node(Op op, const std::vector<Tensor>& inputs, const Attributes& attributes = {},
                                    int outputs = 1, const std::vector<size_t>& constant = {}) {
  Graph g = one_node(op, inputs, attributes, outputs, constant);
  const auto inferred = infer_shapes(g);
  EXPECT_TRUE(inferred.ok()) << inferred.error().message;
  if (!inferred.ok()) return std::vector<Tensor>(static_cast<size_t>(outputs));
  const auto verified = verify(g);
  EXPECT_TRUE(verified.ok()) << verified.error().message;
  std::vector<Tensor> given;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (std::find(constant.begin(), constant.end(), i) == constant.end()) given.push_back(inputs[i]);
  }
  auto result = interpret(g, given);
  EXPECT_TRUE(result.ok()) << result.error().message;
  if (!result.ok()) return std::vector<Tensor>(static_cast<size_t>(outputs));
  for (size_t i = 0; i < result->size(); ++i) {
    const Value& v = g.value(g.outputs[i]);
    EXPECT_EQ((*result)[i].shape(), v.shape);
    EXPECT_EQ((*result)[i].dtype(), v.dtype);
  }
  return std::move(result).value();
}

inline void expect_near(const Tensor& a, const Tensor& b, double tolerance = 1e-5) {
  ASSERT_EQ(a.shape(), b.shape());
  for (int64_t i = 0; i < a.count(); ++i) {
    ASSERT_NEAR(a.at(i), b.at(i), tolerance * std::max(1.0, std::abs(b.at(i)))) << "at " << i;
  }
}
inline void expect_values(const Tensor& a, const std::vector<double>& expected, double tolerance = 1e-5) {
  ASSERT_EQ(a.count(), static_cast<int64_t>(expected.size()));
  for (int64_t i = 0; i < a.count(); ++i)
    ASSERT_NEAR(a.at(i), expected[static_cast<size_t>(i)], tolerance) << "at " << i;
}
inline void expect_same(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  ASSERT_EQ(a.dtype(), b.dtype());
  for (int64_t i = 0; i < a.count(); ++i) ASSERT_EQ(a.at(i), b.at(i)) << "at " << i;
}

}  // namespace pith::ir
