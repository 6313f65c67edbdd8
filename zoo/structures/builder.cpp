#include "zoo/structures/builder.h"

#include <algorithm>
#include <cmath>

namespace pith::zoo {

using ir::Op;
using ir::ValueId;
using numerics::Unary;

Builder::Builder(std::string name, const StructureOptions& options) : options_(options), random_(options.seed) {
  graph.name = std::move(name);
  graph.metadata["source"] = graph.name + " by structure, seeded random weights";
}

ValueId Builder::input(ir::Shape shape) {
  ir::Value v;
  v.name = "input";
  v.shape = std::move(shape);
  v.quant = ir::Quant{};
  v.quant->affine = kMeaning;
  graph.inputs.push_back(graph.add_value(std::move(v)));
  return graph.inputs.back();
}

ValueId Builder::node(Op op, std::vector<ValueId> inputs, std::map<std::string, ir::Attribute> attributes) {
  ir::Node n;
  n.op = op;
  n.name = ir::op_name(op) + std::to_string(graph.nodes.size());
  n.inputs = std::move(inputs);
  n.attributes = std::move(attributes);
  ir::Value v;
  v.name = n.name + ".out";
  v.quant = ir::Quant{};
  v.quant->affine = kMeaning;
  n.outputs = {graph.add_value(std::move(v))};
  graph.nodes.push_back(n);
  const Result<void> inferred = ir::infer_shapes(graph, graph.nodes.back());
  if (!inferred.ok() && failure.ok()) failure = inferred;
  return n.outputs[0];
}

ValueId Builder::weighted(Op op, ValueId x, ir::Shape weights, std::map<std::string, ir::Attribute> attributes, Unary function, double a) {
  const int64_t outputs = weights[0];
  int64_t fan_in = 1;
  for (size_t i = 1; i < weights.size(); ++i) fan_in *= weights[i];
  const int limit = (1 << (options_.weight_bits - 1)) - 1;
  ir::Value w;
  w.name = "weights" + std::to_string(graph.nodes.size());
  w.shape = weights;
  w.quant = ir::Quant{};
  w.quant->bits = options_.weight_bits;
  // a scale that keeps the variance: sum over fan_in * density of a^2
  const double rms = std::sqrt(static_cast<double>(fan_in) * options_.density) * (limit == 1 ? 1 : 0.58 * limit);
  w.quant->scale_codes = {static_cast<int16_t>(numerics::scale_code_at_least(1.3 / std::max(rms, 1.0)))};
  w.quant->scale_codes.resize(static_cast<size_t>(outputs), w.quant->scale_codes[0]);
  ir::Tensor integers(ir::DType::kI8, w.shape);
  for (int8_t& q : integers.mut<int8_t>()) {
    if (random_.uniform() >= options_.density) continue;
    const int64_t magnitude = limit == 1 ? 1 : random_.integer(1, limit);
    q = static_cast<int8_t>(random_.next() >> 63 ? magnitude : -magnitude);
  }
  w.constant = std::move(integers);
  ir::Value b;
  b.name = "bias" + std::to_string(graph.nodes.size());
  b.shape = {outputs};
  b.quant = ir::Quant{};
  b.quant->bits = 32;
  b.constant = ir::Tensor(ir::DType::kI32, b.shape);
  const ValueId weight_id = graph.add_value(std::move(w)), bias_id = graph.add_value(std::move(b));
  const ValueId y = node(op, {x, weight_id, bias_id}, std::move(attributes));
  graph.nodes.back().activation.function = function;
  graph.nodes.back().activation.a = a;
  if (function == Unary::kClip) graph.nodes.back().activation.b = 6;
  if (function > Unary::kClip) graph.nodes.back().activation.pre = kMeaning;
  return y;
}

ValueId Builder::conv(ValueId x, int64_t outputs, int64_t kernel, int64_t stride, Unary function, double a, int64_t groups, int64_t pad) {
  if (pad < 0) pad = kernel / 2;
  return weighted(Op::kConv, x, {outputs, shape(x)[1] / groups, kernel, kernel},
                  {{"group", groups}, {"strides", std::vector<int64_t>{stride, stride}}, {"pads", std::vector<int64_t>{pad, pad, pad, pad}}}, function, a);
}

ValueId Builder::dense(ValueId x, int64_t outputs, Unary function) { return weighted(Op::kGemm, x, {outputs, shape(x).back()}, {{"transB", int64_t{1}}}, function, 0); }

ValueId Builder::add(ValueId a, ValueId b, Unary function) {
  const ValueId y = node(Op::kAdd, {a, b});
  graph.nodes.back().activation.function = function;
  return y;
}

ValueId Builder::upsample(ValueId x) {
  return node(Op::kResize, {x}, {{"scales", std::vector<double>{1, 1, 2, 2}}, {"mode", std::string("nearest")}, {"coordinate_transformation_mode", std::string("asymmetric")}, {"nearest_mode", std::string("floor")}});
}

ValueId Builder::max_pool(ValueId x, int64_t kernel, int64_t stride) {
  const int64_t pad = kernel / 2;
  return node(Op::kMaxPool, {x}, {{"kernel_shape", std::vector<int64_t>{kernel, kernel}}, {"strides", std::vector<int64_t>{stride, stride}}, {"pads", std::vector<int64_t>{pad, pad, pad, pad}}});
}

ValueId Builder::whole_input(const std::string& name, ir::Shape shape) {
  ir::Value v;
  v.name = name;
  v.dtype = ir::DType::kI64;
  v.shape = std::move(shape);
  graph.inputs.push_back(graph.add_value(std::move(v)));
  return graph.inputs.back();
}

ValueId Builder::real_node(Op op, std::vector<ValueId> inputs, std::map<std::string, ir::Attribute> attributes) {
  const ValueId y = node(op, std::move(inputs), std::move(attributes));
  graph.value(y).quant.reset();
  return y;
}

ValueId Builder::sparse_table(ir::Shape shape, int16_t scale_code) {
  ir::Value w;
  w.name = "table" + std::to_string(graph.values.size());
  w.shape = std::move(shape);
  w.quant = ir::Quant{};
  w.quant->bits = 2;
  w.quant->scale_codes = {scale_code};
  ir::Tensor integers(ir::DType::kI8, w.shape);
  for (int8_t& q : integers.mut<int8_t>()) {
    if (random_.uniform() < options_.density) q = random_.next() >> 63 ? 1 : -1;
  }
  w.constant = std::move(integers);
  return graph.add_value(std::move(w));
}

ValueId Builder::parameters(int64_t count, int middle, int16_t scale_code) {
  ir::Value p;
  p.name = "parameters" + std::to_string(graph.values.size());
  p.shape = {count};
  p.quant = ir::Quant{};
  p.quant->scale_codes = {scale_code};
  ir::Tensor integers(ir::DType::kI8, p.shape);
  for (int8_t& q : integers.mut<int8_t>()) q = static_cast<int8_t>(middle + random_.integer(-10, 10));
  p.constant = std::move(integers);
  return graph.add_value(std::move(p));
}

ValueId Builder::layer_norm(ValueId x) {
  ir::Tensor one(ir::DType::kF32, {shape(x).back()}), zero(ir::DType::kF32, {shape(x).back()});
  for (float& v : one.mut<float>()) v = 1;
  const ValueId scale = graph.add_constant("scale" + std::to_string(graph.nodes.size()), one), bias = graph.add_constant("shift" + std::to_string(graph.nodes.size()), zero);
  return node(Op::kLayerNormalization, {x, scale, bias}, {{"axis", int64_t{-1}}, {"epsilon", 1e-5}});
}

}  // namespace pith::zoo
