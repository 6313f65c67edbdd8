// Convolutions and matrix products. Paddings that libtorch can't express are made before the convolution.
#include "ir/geometry.h"
#include "train/node.h"

namespace pith::train {
namespace {

using ir::Op;
using Values = Network::Values;

// Pads (or crops) the two last dimensions.
at::Tensor padded(const at::Tensor& x, const std::array<ir::Window, 2>& w, double with) {
  if (w[0].pad_begin == 0 && w[0].pad_end == 0 && w[1].pad_begin == 0 && w[1].pad_end == 0) return x;
  return at::constant_pad_nd(x, {w[1].pad_begin, w[1].pad_end, w[0].pad_begin, w[0].pad_end}, with);
}

at::Tensor two_dimensional(const at::Tensor& t, bool one_dimensional) { return one_dimensional ? t.unsqueeze(2) : t; }

Built build_conv(const NodeView& n) {
  if (n.input_axis(0) != 0) return n.fail("the samples aren't along its first axis");
  const bool last = ir::is_channels_last(n.node), flat = n.shape(0).size() == 3;
  const ir::Shape x = last ? ir::channels_first(n.shape(0)) : n.shape(0);
  const auto w = ir::windows(n.node, ir::spatial(x), ir::spatial(n.shape(1)));
  if (!w.ok()) return n.fail(w.error().message);
  const auto window = ir::as_2d(w.value());
  const int64_t group = n.node.integer("group", 1);
  const bool transposed = n.node.op == Op::kConvTranspose;
  const ir::Shape out = ir::spatial(last ? ir::channels_first(n.output_shape()) : n.output_shape());
  n.set_axis(0);
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    at::Tensor t = last ? in[0].movedim(-1, 1) : in[0];
    t = two_dimensional(t, flat);
    const at::Tensor k = two_dimensional(in[1], flat);
    const at::Tensor bias = in.size() > 2 ? in[2] : at::Tensor();
    const std::vector<int64_t> stride{window[0].stride, window[1].stride}, dilation{window[0].dilation, window[1].dilation};
    at::Tensor y;
    if (transposed) {  // the whole result, then the part that the padding leaves
      y = at::conv_transpose2d(t, k, at::Tensor(), stride, {0, 0}, {0, 0}, group, dilation);
      for (int d = 0; d < 2; ++d) {
        const int64_t size = d == 0 && flat ? 1 : out[out.size() - 2 + static_cast<size_t>(d)];
        const int64_t missing = window[static_cast<size_t>(d)].pad_begin + size - y.size(2 + d);
        if (missing > 0) y = at::constant_pad_nd(y, d == 0 ? std::vector<int64_t>{0, 0, 0, missing} : std::vector<int64_t>{0, missing}, 0);
        y = y.narrow(2 + d, window[static_cast<size_t>(d)].pad_begin, size);
      }
      if (bias.defined()) y = y + bias.view({1, -1, 1, 1});
    } else if (window[0].pad_begin == window[0].pad_end && window[1].pad_begin == window[1].pad_end) {
      y = at::conv2d(t, k, bias, stride, at::IntArrayRef{window[0].pad_begin, window[1].pad_begin}, dilation, group);
    } else {
      y = at::conv2d(padded(t, window, 0), k, bias, stride, at::IntArrayRef{0, 0}, dilation, group);
    }
    if (flat) y = y.squeeze(2);
    return {last ? y.movedim(1, -1) : y};
  });
}

Built build_gemm(const NodeView& n) {
  if (n.node.integer("transA", 0) != 0 || n.input_axis(0) != 0) return n.fail("the samples aren't its rows");
  if (n.input_axis(1) >= 0) return n.fail("its weights depend on the sample");
  const double alpha = n.node.real("alpha", 1), beta = n.node.real("beta", 1);
  const bool transposed = n.node.integer("transB", 0) != 0;
  n.set_axis(0);
  return std::optional<Network::Step>([=](const Values& in) -> Values {
    at::Tensor y = at::matmul(in[0], transposed ? in[1].t() : in[1]);
    if (alpha != 1) y = y * alpha;
    if (in.size() > 2 && in[2].defined()) y = y + (beta == 1 ? in[2] : in[2] * beta);
    return {y};
  });
}

Built build_matmul(const NodeView& n) {
  const int a = n.input_axis(0), b = n.input_axis(1);
  const int rank_a = static_cast<int>(n.shape(0).size()), rank_b = static_cast<int>(n.shape(1).size());
  const int rank = static_cast<int>(n.output_shape().size());
  if (n.folded(1) || (n.folded(0) && rank_b > 2)) return n.fail("the samples lie along an axis of several places each");
  if (a >= 0 && (a == rank_a - 1 || (b >= 0 && (a != b || rank_a != rank_b || a >= rank_a - 2)))) return n.fail("its operands carry the samples along axes that it sums over or that differ");
  if (b >= 0 && (a < 0 && (rank_b < 3 || b >= rank_b - 2))) return n.fail("its weights depend on the sample");
  n.set_axis(a >= 0 ? rank - (rank_a - a) : b >= 0 ? rank - (rank_b - b) : -1);
  return std::optional<Network::Step>([](const Values& in) -> Values {
    at::Tensor y = at::matmul(in[0], in[1]);
    return {in.size() > 2 && in[2].defined() ? y + in[2] : y};
  });
}

}  // namespace

Built build_product(const NodeView& n) {
  switch (n.node.op) {
    case Op::kConv: case Op::kConvTranspose: return build_conv(n);
    case Op::kGemm: return build_gemm(n);
    case Op::kMatMul: return build_matmul(n);
    default: return std::optional<Network::Step>();
  }
}

}  // namespace pith::train
