// Maxima and averages of 8-bit activations.
//
// A maximum is taken on the codes, since quantisation keeps the order, and then brought to the output's meaning. An
// average is the sum of centred codes times numerics::average_multiplier, one rounding.
#include <algorithm>

#include "ir/integer_kernels.h"
#include "ir/loops.h"
#include "ir/pool.h"
#include "numerics/arithmetic.h"

namespace pith::ir {
namespace {

uint8_t averaged(const IntegerNode& n, int32_t sum, int32_t count) {
  const numerics::Multiplier m = numerics::average_multiplier(n.affine(0).scale_code - n.stage.scale_code, count);
  return numerics::requantize_u8(sum, m, n.stage.zero_point, 0, 255);
}

// Folds codes over the dimensions where `kept` is 1 and the input isn't.
template <typename T, typename F>
std::vector<T> fold_codes(const IntegerNode& n, const Shape& kept, T start, F f) {
  std::vector<T> sums(static_cast<size_t>(element_count(kept)), start);
  const uint8_t* x = n.inputs[0]->as<uint8_t>().data();
  for_each_row<2>(n.shape(0), {broadcast_strides(kept, n.shape(0)), strides_of(n.shape(0))},
                  [&](int64_t count, const auto& offset, const auto& step) {
                    for (int64_t i = 0; i < count; ++i) {
                      T& sum = sums[static_cast<size_t>(offset[0] + i * step[0])];
                      sum = f(sum, x[offset[1] + i * step[1]]);
                    }
                  });
  return sums;
}

}  // namespace

Tensor integer_pool(const IntegerNode& n) {
  const auto w = pool_windows(n.node, n.shape(0));
  const int64_t planes = n.shape(0)[0] * n.shape(0)[1], plane = w[0].input * w[1].input;
  Tensor y(DType::kU8, n.y_shape);
  uint8_t* out = y.mut<uint8_t>().data();
  const uint8_t* in = n.inputs[0]->as<uint8_t>().data();
  if (n.node.op == Op::kMaxPool) {
    max_pool(in, planes, w, out);
    return translated(y, n.affine(0), n.stage);
  }
  const std::vector<int32_t> counts = pool_counts(n.node, w);
  const int zero = n.affine(0).zero_point;
  std::vector<int32_t> sums(counts.size());
  for (int64_t p = 0; p < planes; ++p) {
    sum_pool(in + p * plane, 1, w, sums.data(), [zero](uint8_t q) { return q - zero; });
    for (size_t i = 0; i < sums.size(); ++i) *out++ = averaged(n, sums[i], counts[i]);
  }
  return y;
}

Tensor integer_reduce(const IntegerNode& n) {
  const Op op = n.node.op;
  const Shape& x = n.shape(0);
  Shape kept = x;
  if (op == Op::kGlobalAveragePool || op == Op::kGlobalMaxPool) {
    std::fill(kept.begin() + 2, kept.end(), 1);
  } else {
    const auto reduced = reduced_axes(n.node, x.size());
    for (size_t i = 0; i < x.size(); ++i) kept[i] = reduced[i] ? 1 : x[i];
  }
  Tensor y(DType::kU8, n.y_shape);
  auto out = y.mut<uint8_t>();
  if (op == Op::kReduceMean || op == Op::kGlobalAveragePool) {
    const int zero = n.affine(0).zero_point;
    const auto sums = fold_codes<int32_t>(n, kept, 0, [zero](int32_t sum, uint8_t q) { return sum + q - zero; });
    const auto count = static_cast<int32_t>(element_count(x) / element_count(kept));
    for (size_t i = 0; i < out.size(); ++i) out[i] = averaged(n, sums[i], count);
    return y;
  }
  const auto best = op == Op::kReduceMin
                        ? fold_codes<uint8_t>(n, kept, 255, [](uint8_t a, uint8_t b) { return std::min(a, b); })
                        : fold_codes<uint8_t>(n, kept, 0, [](uint8_t a, uint8_t b) { return std::max(a, b); });
  std::copy(best.begin(), best.end(), out.begin());
  return translated(y, n.affine(0), n.stage);
}

}  // namespace pith::ir
