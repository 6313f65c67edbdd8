// Types of convolutions and matrix products, float and ONNX's quantised ones.
#include "ir/einsum.h"
#include "ir/geometry.h"
#include "ir/infer.h"

namespace pith::ir {
namespace {

// The result of a convolution of `x` (N,C,...) with `w`; `channels` is the number of output channels.
Result<Shape> convolved(const Inference& node, const Shape& x, const Shape& w, int64_t channels) {
  if (x.size() != 3 && x.size() != 4) {
    return node.fail(fmt::format("{}-D convolution; 1-D and 2-D are supported", static_cast<int64_t>(x.size()) - 2));
  }
  if (w.size() != x.size()) return node.fail("the weights' rank doesn't fit the input's");
  const auto w2 = windows(node.node, spatial(x), spatial(w));
  if (!w2.ok()) return node.fail(w2.error().message);
  Shape y{x[0], channels};
  for (const Window& window : w2.value()) y.push_back(window.output);
  return y;
}

Result<Shape> forward_convolution(const Inference& node, const Shape& x, const Shape& w) {
  PITH_TRY(const int64_t group, node.ranged("group", 1, 1, kLargestCount));
  if (x.size() < 3 || w.size() != x.size()) return convolved(node, x, w, 0);
  if (x[1] != w[1] * group) {
    return node.fail(fmt::format("the weights expect {} x {} channels, the input has {}", group, w[1], x[1]));
  }
  if (w[0] % group != 0) return node.fail(fmt::format("{} output channels in {} groups", w[0], group));
  return convolved(node, x, w, w[0]);
}

Result<void> check_bias(const Inference& node, size_t i, int64_t channels, DType dtype) {
  if (!node.has(i)) return {};
  PITH_CHECK_OK(node.need_dtype(i, {dtype}));
  if (node.shape(i) == Shape{channels}) return {};
  return node.fail(fmt::format("the bias must have {} elements", channels));
}

Result<Shape> multiplied(const Inference& node, Shape a, Shape b) {
  if (a.empty() || b.empty()) return node.fail("a scalar has no matrix product");
  const bool vector_a = a.size() == 1, vector_b = b.size() == 1;
  if (vector_a) a.insert(a.begin(), 1);
  if (vector_b) b.push_back(1);
  if (a.back() != b[b.size() - 2]) return node.fail(fmt::format("{} columns meet {} rows", a.back(), b[b.size() - 2]));
  const auto batch = broadcast({a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
  if (!batch.ok()) return node.fail(batch.error().message);
  Shape y = batch.value();
  if (!vector_a) y.push_back(a[a.size() - 2]);
  if (!vector_b) y.push_back(b.back());
  return y;
}

// A zero point or scale: one number, or one per `channels`.
Result<void> check_parameter(const Inference& node, size_t i, int64_t channels) {
  if (!node.has(i)) return {};
  const int64_t count = element_count(node.shape(i));
  if (count == 1 || (count == channels && node.rank(i) == 1)) return {};
  return node.fail(fmt::format("input {} must hold 1 or {} numbers", i, channels));
}

constexpr std::initializer_list<DType> kBytes = {DType::kU8, DType::kI8};

}  // namespace

Result<void> infer_conv(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.need_float(1));
  PITH_TRY(Shape y, forward_convolution(node, node.shape(0), node.shape(1)));
  PITH_CHECK_OK(check_bias(node, 2, node.shape(1)[0], DType::kF32));
  node.output(DType::kF32, std::move(y));
  return {};
}

Result<void> infer_conv_transpose(Inference& node) {
  PITH_CHECK_OK(node.need_float(0));
  PITH_CHECK_OK(node.need_float(1));
  PITH_TRY(const int64_t group, node.ranged("group", 1, 1, kLargestCount));
  const Shape &x = node.shape(0), &w = node.shape(1);
  PITH_CHECK_OK(node.need_rank(0, 3, 4));
  if (w.size() != x.size()) return node.fail("the weights' rank doesn't fit the input's");
  if (x[1] != w[0] || x[1] % group != 0) {
    return node.fail(fmt::format("the weights expect {} channels in {} groups, the input has {}", w[0], group, x[1]));
  }
  PITH_TRY(Shape y, convolved(node, x, w, w[1] * group));
  PITH_CHECK_OK(check_bias(node, 2, y[1], DType::kF32));
  node.output(DType::kF32, std::move(y));
  return {};
}

Result<void> infer_gemm(Inference& node) {
  PITH_CHECK_OK(node.need_dtype(0, {DType::kF32, DType::kI32, DType::kI64}));
  PITH_CHECK_OK(node.need_same_dtype(0, 1));
  PITH_CHECK_OK(node.need_rank(0, 2, 2));
  PITH_CHECK_OK(node.need_rank(1, 2, 2));
  const bool ta = node.node.integer("transA", 0) != 0, tb = node.node.integer("transB", 0) != 0;
  const Shape &a = node.shape(0), &b = node.shape(1);
  const int64_t rows = a[ta ? 1 : 0], depth = a[ta ? 0 : 1], columns = b[tb ? 0 : 1];
  if (depth != b[tb ? 1 : 0]) return node.fail(fmt::format("{} columns meet {} rows", depth, b[tb ? 1 : 0]));
  if (node.has(2)) {
    PITH_CHECK_OK(node.need_same_dtype(0, 2));
    const auto c = broadcast(node.shape(2), {rows, columns});
    if (!c.ok() || c.value() != Shape{rows, columns}) {
      return node.fail("the third input doesn't broadcast to " + to_string(Shape{rows, columns}));
    }
  }
  node.output(node.dtype(0), {rows, columns});
  return {};
}

Result<void> infer_matmul(Inference& node) {
  PITH_CHECK_OK(node.need_dtype(0, {DType::kF32, DType::kI32, DType::kI64}));
  PITH_CHECK_OK(node.need_same_dtype(0, 1));
  PITH_TRY(Shape y, multiplied(node, node.shape(0), node.shape(1)));
  if (node.has(2)) {
    if (node.dtype(0) != DType::kF32 || node.rank(1) < 2)
      return node.fail("only a product of f32 matrices takes a bias");
    PITH_CHECK_OK(check_bias(node, 2, node.shape(1).back(), DType::kF32));
  }
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_einsum(Inference& node) {
  std::vector<Shape> shapes;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    PITH_CHECK_OK(node.need_float(i));
    shapes.push_back(node.shape(i));
  }
  const auto plan = plan_einsum(node.node.text("equation", ""), shapes);
  if (!plan.ok()) return node.fail(plan.error().message);
  Shape y;
  for (int label : plan.value().result) y.push_back(plan.value().sizes[static_cast<size_t>(label)]);
  node.output(DType::kF32, std::move(y));
  return {};
}

Result<void> infer_matmul_integer(Inference& node) {
  PITH_CHECK_OK(node.need_dtype(0, kBytes));
  PITH_CHECK_OK(node.need_dtype(1, kBytes));
  const bool conv = node.node.op == Op::kConvInteger;
  PITH_TRY(Shape y, conv ? forward_convolution(node, node.shape(0), node.shape(1))
                         : multiplied(node, node.shape(0), node.shape(1)));
  if (node.has(2)) PITH_CHECK_OK(node.need_same_dtype(0, 2));
  if (node.has(3)) PITH_CHECK_OK(node.need_same_dtype(1, 3));
  const int64_t rows = node.rank(0) < 2 ? 1 : node.shape(0)[node.shape(0).size() - 2];
  PITH_CHECK_OK(check_parameter(node, 2, conv ? 1 : rows));
  PITH_CHECK_OK(check_parameter(node, 3, conv ? node.shape(1)[0] : node.shape(1).back()));
  node.output(DType::kI32, std::move(y));
  return {};
}

Result<void> infer_qlinear(Inference& node) {
  for (size_t i : {size_t{0}, size_t{3}}) {
    PITH_CHECK_OK(node.need_dtype(i, kBytes));
    PITH_CHECK_OK(node.need_float(i + 1));
    PITH_CHECK_OK(node.need_same_dtype(i, i + 2));
  }
  PITH_CHECK_OK(node.need_float(6));
  PITH_CHECK_OK(node.need_dtype(7, kBytes));
  const bool conv = node.node.op == Op::kQLinearConv;
  PITH_TRY(Shape y, conv ? forward_convolution(node, node.shape(0), node.shape(3))
                         : multiplied(node, node.shape(0), node.shape(3)));
  const int64_t rows = conv || node.rank(0) < 2 ? 1 : node.shape(0)[node.shape(0).size() - 2];
  const int64_t channels = conv ? node.shape(3)[0] : node.shape(3).back();
  for (size_t i : {1, 2}) PITH_CHECK_OK(check_parameter(node, i, rows));
  for (size_t i : {4, 5}) PITH_CHECK_OK(check_parameter(node, i, channels));
  for (size_t i : {6, 7}) PITH_CHECK_OK(check_parameter(node, i, 1));
  if (conv) PITH_CHECK_OK(check_bias(node, 8, channels, DType::kI32));
  node.output(node.dtype(7), std::move(y));
  return {};
}

}  // namespace pith::ir
