// Pieces of the integer execution (integer.cpp): each computes the codes of a node's result under the meaning `stage`,
// before the activation. Activations are channels-first; `y_shape` is the result's shape.
#pragma once

#include "ir/integer.h"

namespace pith::ir {

struct IntegerNode {
  const Graph& graph;
  const Node& node;
  std::vector<const Tensor*> inputs;
  numerics::Affine stage;  // meaning of the result's codes before clamping or the activation's table
  Shape y_shape;

  const Value& value(size_t i) const { return graph.value(node.inputs[i]); }
  bool has(size_t i) const { return i < inputs.size() && inputs[i] != nullptr; }
  const Shape& shape(size_t i) const { return inputs[i]->shape(); }
  numerics::Affine affine(size_t i) const { return value(i).quant->affine; }
};

// Conv, ConvTranspose, Gemm, MatMul: sums of products, bias, requantisation by channel.
Tensor integer_product(const IntegerNode& n);
// Add, Sub, Mul, PRelu.
Tensor integer_binary(const IntegerNode& n);
// MaxPool, AveragePool, global pools, ReduceMean, ReduceMax, ReduceMin.
Tensor integer_pool(const IntegerNode& n);
Tensor integer_reduce(const IntegerNode& n);
// Layer and RMS normalisation; attention without past keys (integer_sequence.cpp).
Tensor integer_norm(const IntegerNode& n);
Tensor integer_attention(const IntegerNode& n);
// Resize in linear mode, between equal meanings.
Tensor integer_interpolation(const IntegerNode& n);

// Codes under one meaning as codes under another (numerics' Identity table); the same tensor when they are equal.
Tensor translated(const Tensor& codes, numerics::Affine from, numerics::Affine to);
// An operand as u8 codes of one meaning: an activation as it is, weights of a single scale shifted by 128.
struct Codes {
  Tensor tensor;
  numerics::Affine affine;
};
Codes codes_of(const Value& v, const Tensor& t);

// Signed weights as unsigned codes around 128.
Tensor shifted_codes(const Tensor& weights);
// Codes of an operand, weights with a scale per channel included, under another meaning.
Tensor brought_to(const Value& v, const Tensor& t, numerics::Affine to);

}  // namespace pith::ir
