// Types of the operators whose places are data: gathering, scattering, one-hot, selection.
#include <algorithm>

#include "ir/geometry.h"
#include "ir/infer.h"

namespace pith::ir {
namespace {

constexpr std::initializer_list<DType> kIndices = {DType::kI64, DType::kI32};

// Every dimension of `small` but `axis` must be at most that of `large`.
Result<void> need_within(const Inference& node, const Shape& small, const Shape& large, int64_t axis) {
  if (small.size() != large.size()) return node.fail("the indices' rank doesn't fit the input's");
  for (size_t i = 0; i < small.size(); ++i) {
    if (static_cast<int64_t>(i) != axis && small[i] > large[i]) {
      return node.fail(fmt::format("the indices have {} places in dimension {}, the input {}", small[i], i, large[i]));
    }
  }
  return {};
}

}  // namespace

Result<void> infer_gather(Inference& node) {
  PITH_CHECK_OK(node.need_dtype(1, kIndices));
  const Shape &x = node.shape(0), &indices = node.shape(1);
  Shape y;
  if (node.node.op == Op::kGatherND) {
    PITH_CHECK_OK(node.need_rank(0, 1, 16));
    PITH_CHECK_OK(node.need_rank(1, 1, 16));
    PITH_TRY(const int64_t batch, node.ranged("batch_dims", 0, 0, std::min(node.rank(0), node.rank(1)) - 1));
    const int64_t depth = indices.back();
    if (depth < 1 || batch + depth > node.rank(0))
      return node.fail(fmt::format("the indices name {} dimensions", depth));
    if (!std::equal(x.begin(), x.begin() + batch, indices.begin())) return node.fail("the batch dimensions differ");
    y.assign(indices.begin(), indices.end() - 1);
    y.insert(y.end(), x.begin() + batch + depth, x.end());
  } else {
    PITH_TRY(const int64_t axis, node.axis_of(node.node.integer("axis", 0), node.rank(0)));
    if (node.node.op == Op::kGatherElements) {
      PITH_CHECK_OK(need_within(node, indices, x, axis));
      y = indices;
    } else {
      y.assign(x.begin(), x.begin() + axis);
      y.insert(y.end(), indices.begin(), indices.end());
      y.insert(y.end(), x.begin() + axis + 1, x.end());
    }
  }
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_scatter(Inference& node) {
  PITH_CHECK_OK(node.need_dtype(1, kIndices));
  PITH_CHECK_OK(node.need_same_dtype(0, 2));
  PITH_CHECK_OK(node.choice("reduction", {"none", "add", "mul", "max", "min"}));
  const Shape &x = node.shape(0), &indices = node.shape(1), &updates = node.shape(2);
  if (node.node.op == Op::kScatterND) {
    PITH_CHECK_OK(node.need_rank(0, 1, 16));
    PITH_CHECK_OK(node.need_rank(1, 1, 16));
    const int64_t depth = indices.back();
    if (depth < 1 || depth > node.rank(0)) return node.fail(fmt::format("the indices name {} dimensions", depth));
    Shape expected(indices.begin(), indices.end() - 1);
    expected.insert(expected.end(), x.begin() + depth, x.end());
    if (updates != expected) return node.fail("the updates must have the shape " + to_string(expected));
  } else {
    PITH_TRY(const int64_t axis, node.axis_of(node.node.integer("axis", 0), node.rank(0)));
    PITH_CHECK_OK(need_within(node, indices, x, axis));
    if (updates != indices) return node.fail("indices and updates differ in shape");
  }
  node.output(node.dtype(0), x);
  return {};
}

Result<void> infer_one_hot(Inference& node) {
  if (node.dtype(0) == DType::kBool) return node.fail("the indices must be numbers");
  PITH_TRY(const int64_t depth, node.ranged("depth", 0, 1, kLargestCount));
  PITH_TRY(const int64_t axis, node.axis_of(node.node.integer("axis", -1), node.rank(0) + 1));
  const auto type = dtype_from_name(node.node.text("to", "f32"));
  if (!type) return node.fail("attribute to isn't a type");
  Shape y = node.shape(0);
  y.insert(y.begin() + axis, depth);
  node.output(*type, std::move(y));
  return {};
}

Result<void> infer_compress(Inference& node) {
  PITH_TRY(const auto condition, node.bounded("condition"));
  const bool flat = !node.node.has("axis");
  int64_t axis = 0;
  if (!flat) {
    PITH_TRY(axis, node.axis_of(node.node.integer("axis", 0), node.rank(0)));
  }
  const int64_t size = flat ? element_count(node.shape(0)) : node.shape(0)[static_cast<size_t>(axis)];
  if (static_cast<int64_t>(condition.size()) > size) return node.fail("the condition is longer than the axis");
  int64_t kept = 0;
  for (int64_t c : condition) kept += c != 0;
  Shape y = flat ? Shape{kept} : node.shape(0);
  y[static_cast<size_t>(axis)] = kept;
  node.output(node.dtype(0), std::move(y));
  return {};
}

Result<void> infer_reverse_sequence(Inference& node) {
  PITH_CHECK_OK(node.need_rank(0, 2, 16));
  PITH_CHECK_OK(node.need_dtype(1, kIndices));
  PITH_TRY(const int64_t batch, node.ranged("batch_axis", 1, 0, 1));
  PITH_TRY(const int64_t time, node.ranged("time_axis", 0, 0, 1));
  if (batch == time) return node.fail("batch_axis and time_axis are the same");
  if (node.shape(1) != Shape{node.shape(0)[static_cast<size_t>(batch)]}) {
    return node.fail("one length for each sequence of the batch is needed");
  }
  node.output(node.dtype(0), node.shape(0));
  return {};
}

}  // namespace pith::ir
