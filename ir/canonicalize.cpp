// Fewer forms of the same thing, before quantisation and lowering: factors of Gemm and the constants of batch
// normalisation are folded into weights while those are still float, so that every product is x * W + b.
#include <cmath>

#include "ir/graph.h"

namespace pith::ir {
namespace {

bool float_constant(const Graph& g, ValueId id) {
  return id != ir::kNoValue && g.value(id).is_constant() && !g.value(id).quant;
}

Tensor scaled(const Tensor& t, double factor) {
  Tensor out = t.cast(DType::kF32);
  for (float& x : out.mut<float>()) x = static_cast<float>(x * factor);
  return out;
}

// Gemm(alpha, beta, transA, transB) with constant B: alpha, beta and a broadcast bias become plain.
void fold_gemm(Graph& g, Node& n) {
  if (!float_constant(g, n.inputs[1])) return;
  const double alpha = n.real("alpha", 1), beta = n.real("beta", 1);
  if (alpha != 1) n.inputs[1] = g.add_constant(n.name + ".weights", scaled(*g.value(n.inputs[1]).constant, alpha));
  n.attributes.erase("alpha");
  if (n.inputs.size() > 2 && float_constant(g, n.inputs[2])) {
    const int64_t outputs = g.value(n.outputs[0]).shape.back();
    const Tensor c = scaled(*g.value(n.inputs[2]).constant, beta);
    if (c.count() == outputs || c.count() == 1) {
      Tensor row(DType::kF32, {outputs});
      for (int64_t i = 0; i < outputs; ++i) row.set(i, c.at(c.count() == 1 ? 0 : i));
      n.inputs[2] = g.add_constant(n.name + ".bias", row);
      n.attributes.erase("beta");
    }
  }
}

// BatchNormalization of images is a convolution of one tap per channel.
void batch_norm_to_conv(Graph& g, Node& n) {
  const Shape& x = g.value(n.inputs[0]).shape;
  if (x.size() < 3 || x.size() > 4) return;
  for (size_t i = 1; i < 5; ++i) {
    if (!float_constant(g, n.inputs[i])) return;
  }
  const auto parameter = [&](size_t i, int64_t c) { return g.value(n.inputs[i]).constant->at(c); };
  const int64_t channels = x[1];
  const double epsilon = n.real("epsilon", 1e-5);
  Tensor weights(DType::kF32, x.size() == 3 ? Shape{channels, 1, 1} : Shape{channels, 1, 1, 1}),
      bias(DType::kF32, {channels});
  for (int64_t c = 0; c < channels; ++c) {
    const double factor = parameter(1, c) / std::sqrt(parameter(4, c) + epsilon);
    weights.set(c, factor);
    bias.set(c, parameter(2, c) - parameter(3, c) * factor);
  }
  n.op = Op::kConv;
  n.attributes = {{"group", channels}};
  n.inputs = {n.inputs[0], g.add_constant(n.name + ".weights", weights), g.add_constant(n.name + ".bias", bias)};
}

}  // namespace

Result<void> canonicalize(Graph& g) {
  for (Node& n : g.nodes) {
    if (n.op == Op::kGemm && n.integer("transA", 0) == 0) fold_gemm(g, n);
    if (n.op == Op::kBatchNormalization) batch_norm_to_conv(g, n);
  }
  remove_dead(g);
  return infer_shapes(g);
}

}  // namespace pith::ir
