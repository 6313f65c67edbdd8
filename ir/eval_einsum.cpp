// Einsum as a sequence of matrix products.
//
// Operands are contracted from left to right. A label is summed over as soon as no later operand and not the result has
// it. Two operands meet as a batched matrix product: labels of both that stay are the batch, labels of both that go are
// the depth, the rest are rows and columns.
#include <algorithm>

#include "ir/einsum.h"
#include "ir/eval.h"
#include "ir/loops.h"
#include "ir/products.h"

namespace pith::ir {
namespace {

struct Labelled {
  std::vector<int> labels;
  Tensor tensor;  // one dimension per label
};

bool contains(const std::vector<int>& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

// `x` over exactly `labels`: repeated labels become diagonals, labels it lacks become dimensions of 1, and labels that
// aren't wanted are summed over.
Labelled arranged(const Labelled& x, const std::vector<int>& labels) {
  const Shape own = strides_of(x.tensor.shape());
  std::map<int, std::pair<int64_t, int64_t>> of;  // label -> size, stride
  for (size_t i = 0; i < x.labels.size(); ++i) {
    auto& [size, stride] = of.try_emplace(x.labels[i], std::pair<int64_t, int64_t>{1, 0}).first->second;
    const int64_t d = x.tensor.shape()[i];
    if (d != 1) size = d, stride += own[i];
  }
  Shape shape, walk, from;
  for (int label : labels) {
    const auto it = of.find(label);
    shape.push_back(it == of.end() ? 1 : it->second.first);
    from.push_back(it == of.end() ? 0 : it->second.second);
  }
  Tensor result(DType::kF32, shape);
  Shape to = strides_of(shape);
  walk = shape;
  for (const auto& [label, size_stride] : of) {
    if (contains(labels, label)) continue;
    walk.push_back(size_stride.first);
    from.push_back(size_stride.second);
    to.push_back(0);
  }
  float* y = result.mut<float>().data();
  const float* in = x.tensor.as<float>().data();
  for_each_row<2>(walk, {to, from}, [&](int64_t n, const auto& offset, const auto& step) {
    for (int64_t i = 0; i < n; ++i) y[offset[0] + i * step[0]] += in[offset[1] + i * step[1]];
  });
  return {labels, std::move(result)};
}

int64_t size_of(const Labelled& x, int label) {
  const auto at = std::find(x.labels.begin(), x.labels.end(), label) - x.labels.begin();
  return x.tensor.shape()[static_cast<size_t>(at)];
}

// The product of a and b over all their labels that are in `kept`.
Labelled contract(const Labelled& a, const Labelled& b, const std::vector<int>& kept) {
  std::vector<int> batch, rows, columns, depth;
  for (int label : a.labels) {
    if (contains(batch, label) || contains(rows, label) || contains(depth, label)) continue;
    const bool both = contains(b.labels, label) && size_of(a, label) == size_of(b, label);
    if (contains(b.labels, label) && !both) {
      batch.push_back(label);  // broadcast: the product is made element by element
    } else if (!both) {
      if (contains(kept, label)) rows.push_back(label);
    } else {
      (contains(kept, label) ? batch : depth).push_back(label);
    }
  }
  for (int label : b.labels) {
    if (!contains(a.labels, label) && !contains(columns, label) && contains(kept, label)) columns.push_back(label);
  }
  const auto joined = [](std::vector<int> first, const std::vector<int>& second, const std::vector<int>& third) {
    first.insert(first.end(), second.begin(), second.end());
    first.insert(first.end(), third.begin(), third.end());
    return first;
  };
  const Labelled left = arranged(a, joined(batch, rows, depth)), right = arranged(b, joined(batch, depth, columns));
  const auto extent = [](const Labelled& x, size_t first, size_t count) {
    const Shape& s = x.tensor.shape();
    const auto begin = s.begin() + static_cast<std::ptrdiff_t>(first);
    return element_count(Shape(begin, begin + static_cast<std::ptrdiff_t>(count)));
  };
  const int64_t m = extent(left, batch.size(), rows.size());
  const int64_t k = extent(left, batch.size() + rows.size(), depth.size());
  const int64_t n = extent(right, batch.size() + depth.size(), columns.size());
  Shape a_shape(left.tensor.shape().begin(), left.tensor.shape().begin() + static_cast<std::ptrdiff_t>(batch.size()));
  Shape b_shape(right.tensor.shape().begin(), right.tensor.shape().begin() + static_cast<std::ptrdiff_t>(batch.size()));
  Shape full = broadcast(a_shape, b_shape).value(), y_shape = full;
  for (size_t i = 0; i < rows.size(); ++i) full.push_back(left.tensor.shape()[batch.size() + i]);
  for (size_t i = 0; i < columns.size(); ++i) full.push_back(right.tensor.shape()[batch.size() + depth.size() + i]);
  for (int64_t d : {m, k}) a_shape.push_back(d);
  for (int64_t d : {k, n}) b_shape.push_back(d);
  for (int64_t d : {m, n}) y_shape.push_back(d);
  Labelled y{joined(batch, rows, columns), Tensor(DType::kF32, full)};
  multiply_matrices(a_shape, left.tensor.as<float>().data(), b_shape, right.tensor.as<float>().data(), y_shape,
                    y.tensor.mut<float>().data());
  return y;
}

}  // namespace

Result<void> eval_einsum(Evaluation& e) {
  std::vector<Shape> shapes;
  for (const Tensor* t : e.inputs) shapes.push_back(t->shape());
  const EinsumPlan plan = plan_einsum(e.node.text("equation", ""), shapes).value();
  Labelled sum{plan.operands[0], e.in(0)};
  for (size_t i = 1; i < e.inputs.size(); ++i) {
    std::vector<int> kept = plan.result;
    for (size_t later = i + 1; later < e.inputs.size(); ++later) {
      kept.insert(kept.end(), plan.operands[later].begin(), plan.operands[later].end());
    }
    sum = contract(sum, {plan.operands[i], e.in(i)}, kept);
  }
  Tensor y = arranged(sum, plan.result).tensor;
  // a label whose only operands have the dimension 1 keeps it; all others have been broadcast
  e.outputs[0] = y.reshaped(e.outputs[0].shape());
  return {};
}

}  // namespace pith::ir
