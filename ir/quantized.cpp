// What the integers of quantised values mean.
#include "ir/eval.h"
#include "ir/integer.h"
#include "ir/interpret.h"
#include "ir/loops.h"

namespace pith::ir {
namespace {

// Weights: one scale per index of the axis.
Tensor dequantized_weights(const Quant& quant, const Tensor& t) {
  Tensor real(DType::kF32, t.shape());
  const auto in = t.as<int8_t>();
  auto out = real.mut<float>();
  const bool single = quant.scale_codes.size() == 1;
  const int64_t channels = single ? 1 : t.shape()[static_cast<size_t>(quant.axis)];
  int64_t inner = single ? t.count() : 1;
  for (size_t i = static_cast<size_t>(quant.axis) + 1; !single && i < t.shape().size(); ++i) inner *= t.shape()[i];
  if (inner == 0) return real;
  for (size_t row = 0; row * static_cast<size_t>(inner) < in.size(); ++row) {
    const double scale = numerics::scale_value(weight_code(quant, static_cast<int64_t>(row) % channels));
    const size_t begin = row * static_cast<size_t>(inner);
    for (size_t i = begin; i < begin + static_cast<size_t>(inner); ++i) out[i] = static_cast<float>(in[i] * scale);
  }
  return real;
}

}  // namespace

DType stored_dtype(const Value& v) {
  if (!v.quant) return v.dtype;
  return v.constant ? v.constant->dtype() : DType::kU8;
}
bool is_activation(const Value& v) { return v.quant && stored_dtype(v) == DType::kU8; }
bool is_weights(const Value& v) { return v.quant && stored_dtype(v) == DType::kI8; }
bool is_bias(const Value& v) { return v.quant && stored_dtype(v) == DType::kI32; }

Tensor dequantized(const Value& v, const Tensor& t) {
  if (!v.quant) return t;
  if (t.dtype() == DType::kI8) return dequantized_weights(*v.quant, t);
  if (t.dtype() != DType::kU8) return t.cast(DType::kF32);
  float meaning[256];
  for (int q = 0; q < 256; ++q) meaning[q] = static_cast<float>(numerics::dequantize(q, v.quant->affine));
  Tensor real(DType::kF32, t.shape());
  const auto in = t.as<uint8_t>();
  auto out = real.mut<float>();
  for (size_t i = 0; i < in.size(); ++i) out[i] = meaning[in[i]];
  return real;
}

Tensor quantized(const Value& v, const Tensor& real) {
  if (!v.quant || real.dtype() != DType::kF32) return real;
  const double scale = numerics::scale_value(v.quant->affine.scale_code);
  const int zero = v.quant->affine.zero_point;
  Tensor codes(DType::kU8, real.shape());
  const auto in = real.as<float>();
  auto out = codes.mut<uint8_t>();
  for (size_t i = 0; i < in.size(); ++i) {
    out[i] = static_cast<uint8_t>(numerics::clamp(numerics::round_half_up(in[i] / scale) + zero, 0, 255));
  }
  return codes;
}

Tensor dequantized_bias(const Graph& graph, const Node& node, const Tensor& bias) {
  const Quant& x = *graph.value(node.inputs[0]).quant;
  const Quant& w = *graph.value(node.inputs[1]).quant;
  Tensor real(DType::kF32, bias.shape());
  const auto in = bias.as<int32_t>();
  auto out = real.mut<float>();
  for (size_t i = 0; i < in.size(); ++i) {
    const int64_t channel = static_cast<int64_t>(i % std::max<size_t>(w.scale_codes.size(), 1));
    const int w_code = w.scale_codes.empty() ? w.affine.scale_code : weight_code(w, channel);
    out[i] = static_cast<float>(in[i] * numerics::scale_value(x.affine.scale_code + w_code));
  }
  return real;
}

}  // namespace pith::ir
