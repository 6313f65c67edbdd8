// See rounding.h.
#include "train/rounding.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>

#include "ir/recode.h"
#include "train/node.h"
#include "train/rounding_loops.h"

namespace pith::train {
namespace {

using numerics::Unary;

// Nothing of a bounded function but its ends; nothing for others.
std::optional<std::pair<double, double>> ends_of(const ir::Activation& f) {
  constexpr double kFar = std::numeric_limits<float>::max();
  switch (f.function) {
    case Unary::kIdentity: return std::pair{-kFar, kFar};
    case Unary::kRelu: return std::pair{0.0, kFar};
    case Unary::kClip: return std::pair{double{f.a}, double{f.b}};
    default: return std::nullopt;
  }
}

at::Tensor with_slack(at::IntArrayRef sizes) {
  int64_t count = 1;
  for (int64_t s : sizes) count *= s;
  return at::empty({count + kRecodeSlack}, at::kByte).narrow(0, 0, count).view(sizes);
}

void recode_rows(const uint8_t* x, uint8_t* y, int64_t rows, int64_t width, int64_t channels, int64_t row_bytes, uint8_t zero, const uint8_t* lifting) {
  ir::recode_picture(x, y, {rows, width, channels, width * channels, channels, 1}, row_bytes, zero, lifting);
}

// Pictures on whole steps, in place: each row is stored in so many bits a value, and taken up again.
void recode(const at::Tensor& values, const Codes& codes) {
  const double step = numerics::scale_value(codes.affine.scale_code);
  const int zero = codes.affine.zero_point;
  const at::Tensor last = values.permute({0, 2, 3, 1});
  const at::Tensor whole = with_slack(last.sizes()), waited = with_slack(last.sizes());
  whole.copy_((last / step).add_(zero).round_());
  const int64_t width = last.size(2), channels = last.size(3);
  const auto row_bytes = std::max<int64_t>(1, static_cast<int64_t>(std::floor(codes.bits * static_cast<double>(width * channels) / 8 + 1e-6)));
  (codes.recode ? codes.recode : Recode(recode_rows))(whole.data_ptr<uint8_t>(), waited.data_ptr<uint8_t>(), last.size(0) * last.size(1), width, channels, row_bytes, codes.affine.zero_point, static_cast<int64_t>(codes.lifting.size()) == 3 * channels ? codes.lifting.data() : nullptr);
  last.copy_((waited.to(at::kFloat) - zero) * step);
}

// Memory in the order of `like`, so that two tensors can be walked side by side.
at::Tensor in_order_of(const at::Tensor& t, const at::Tensor& like) { return t.strides() == like.strides() ? t : at::empty_like(like).copy_(t); }

struct ClampAndRound : torch::autograd::Function<ClampAndRound> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& given, double low, double high, double step, double zero) {
    const at::Tensor x = given.is_non_overlapping_and_dense() ? given : given.contiguous();
    const at::Tensor y = at::empty_like(x), passes = at::empty_like(x, x.options().dtype(at::kByte));
    const RoundLoop loop{static_cast<float>(low), static_cast<float>(high), static_cast<float>(step), static_cast<float>(zero)};
    round_codes(loop, x.data_ptr<float>(), static_cast<size_t>(x.numel()), y.data_ptr<float>(), passes.data_ptr<uint8_t>());
    context->save_for_backward({passes});
    return y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    const at::Tensor passes = context->get_saved_variables()[0];
    const at::Tensor to = at::empty_like(passes, gradients[0].options()), gradient = in_order_of(gradients[0], to);
    pass_gradient(gradient.data_ptr<float>(), passes.data_ptr<uint8_t>(), static_cast<size_t>(to.numel()), to.data_ptr<float>());
    return {to, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rounded(const ir::Activation& f, const at::Tensor& x, const Codes& codes) {
  const double s = numerics::scale_value(codes.affine.scale_code), low = (0 - codes.affine.zero_point) * s, high = (255 - codes.affine.zero_point) * s;
  const bool walked = x.is_cpu() && x.scalar_type() == at::kFloat;
  const auto ends = ends_of(f);
  const bool together = walked && ends && ends->first < high && ends->second > low;
  const at::Tensor made = together ? x : apply_function(f, x);
  const at::Tensor y = walked ? ClampAndRound::apply(made, together ? std::max(low, ends->first) : low, together ? std::min(high, ends->second) : high, s, codes.affine.zero_point) : at::hardtanh(made, low, high);
  const at::Tensor unseen = y.detach();
  if (!walked) unseen.mul_(1 / s).add_(0.5).floor_().mul_(s);  // in its place: the gradient of hardtanh looks at its input only
  if (codes.bits < 8 && y.dim() == 4) recode(unseen, codes);
  return y;
}

}  // namespace pith::train
