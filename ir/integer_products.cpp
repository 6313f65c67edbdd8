// Sums of products of integers, and their requantisation.
//
// The sums are made by the same code as the float ones, in double, where they are exact (see products.h); what makes
// them codes is numerics::requantize_u8 with one multiplier per output channel.
#include "ir/geometry.h"
#include "ir/integer_kernels.h"
#include "ir/products.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

template <typename T>
std::vector<double> centred(const Tensor& t, int zero) {
  const auto in = t.as<T>();
  std::vector<double> out(in.size());
  for (size_t i = 0; i < in.size(); ++i) out[i] = in[i] - zero;
  return out;
}

std::vector<double> sums_of_products(const IntegerNode& n) {
  const std::vector<double> x = centred<uint8_t>(*n.inputs[0], n.affine(0).zero_point);
  const std::vector<double> w = is_weights(n.value(1)) ? centred<int8_t>(*n.inputs[1], 0)
                                                       : centred<uint8_t>(*n.inputs[1], n.affine(1).zero_point);
  std::vector<double> y(static_cast<size_t>(element_count(n.y_shape)));
  const Shape &xs = n.shape(0), &ws = n.shape(1);
  switch (n.node.op) {
    case Op::kConv:
      convolve(convolution_size(n.node, xs, ws, n.y_shape), x.data(), w.data(), y.data());
      break;
    case Op::kConvTranspose:
      convolve_transposed(convolution_size(n.node, xs, ws, n.y_shape), x.data(), w.data(), y.data());
      break;
    case Op::kGemm: {
      const bool ta = n.node.integer("transA", 0) != 0, tb = n.node.integer("transB", 0) != 0;
      gemm(ta, tb, n.y_shape[0], n.y_shape[1], xs[ta ? 0 : 1], x.data(), xs[1], w.data(), ws[1], false, y.data(),
           n.y_shape[1]);
      break;
    }
    default:
      multiply_matrices(xs, x.data(), ws, w.data(), n.y_shape, y.data());
      break;
  }
  return y;
}

}  // namespace

int product_axis(const Node& node, const Shape& weights) {
  const auto rank = static_cast<int>(weights.size());
  switch (node.op) {
    case Op::kConv:
      return 0;
    case Op::kConvTranspose:
      return 1;
    case Op::kGemm:
      return node.integer("transB", 0) != 0 ? 0 : 1;
    default:
      return rank < 2 ? -1 : rank - 1;
  }
}

int64_t product_channels(const Node& node, const Shape& weights) {
  const int axis = product_axis(node, weights);
  const int64_t channels = axis < 0 ? 1 : weights[static_cast<size_t>(axis)];
  return node.op == Op::kConvTranspose ? channels * node.integer("group", 1) : channels;
}

Tensor integer_product(const IntegerNode& n) {
  const std::vector<double> sums = sums_of_products(n);
  const Value& w = n.value(1);
  const int64_t channels = product_channels(n.node, n.shape(1));
  const bool planes = n.node.op == Op::kConv || n.node.op == Op::kConvTranspose;
  const int64_t inner = planes ? element_count(spatial(n.y_shape)) : 1;
  // a transposed convolution's groups share their scales
  const auto codes = is_weights(w) ? static_cast<int64_t>(w.quant->scale_codes.size()) : 0;
  std::vector<numerics::Multiplier> factor;
  for (int64_t c = 0; c < channels; ++c) {
    const int w_code = codes == 0 ? w.quant->affine.scale_code : weight_code(*w.quant, c % codes);
    factor.push_back(numerics::multiplier(n.affine(0).scale_code + w_code - n.stage.scale_code));
  }
  Tensor y(DType::kU8, n.y_shape);
  auto out = y.mut<uint8_t>();
  for (size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<int64_t>(i) / inner % channels;
    const double bias = n.has(2) ? n.inputs[2]->as<int32_t>()[static_cast<size_t>(c)] : 0;
    const auto sum = saturate_to<int32_t>(sums[i] + bias);
    out[i] = numerics::requantize_u8(sum, factor[static_cast<size_t>(c)], n.stage.zero_point, 0, 255);
  }
  return y;
}

}  // namespace pith::ir
