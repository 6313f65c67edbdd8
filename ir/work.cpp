#include "ir/work.h"

#include <algorithm>
#include <initializer_list>

namespace pith::ir {
namespace {

constexpr int64_t kMost = int64_t{1} << 62;

int64_t product(std::initializer_list<int64_t> factors) {
  int64_t total = 1;
  for (const int64_t f : factors) {
    if (__builtin_mul_overflow(total, std::max<int64_t>(f, 0), &total) || total > kMost) return kMost;
  }
  return total;
}

Shape shape_of(const Graph& graph, const Node& node, size_t input) {
  return input < node.inputs.size() && node.inputs[input] != kNoValue ? graph.value(node.inputs[input]).shape : Shape{};
}

// A side of the steps that dense_mac_count multiplies without looking: every label's size of an Einsum, a recurrent layer's sizes.
bool may_overflow(const Graph& graph, const Node& node) {
  int64_t total = 1;
  for (const ValueId id : node.inputs) {
    if (id != kNoValue) total = product({total, std::max<int64_t>(element_count(graph.value(id).shape), 1)});
  }
  return total >= int64_t{1} << 60;
}

}  // namespace

int64_t work(const Graph& graph, const Node& node) {
  int64_t results = 0;
  for (const ValueId id : node.outputs) {
    if (id != kNoValue) results += element_count(graph.value(id).shape);
  }
  int64_t window = 1;
  for (const int64_t k : node.integers("kernel_shape")) window = product({window, k});
  if (node.op == Op::kNonMaxSuppression) {
    const Shape boxes = shape_of(graph, node, 0), scores = shape_of(graph, node, 1);
    if (boxes.size() == 3 && scores.size() == 3) return product({scores[0], scores[1], boxes[1], boxes[1]});
  }
  if (node.op == Op::kMaxPool || node.op == Op::kAveragePool || node.op == Op::kLpPool) return product({results, window});
  const bool products = node.op == Op::kEinsum || node.op == Op::kLSTM || node.op == Op::kGRU || node.op == Op::kRNN || node.op == Op::kAttention;
  if (products && may_overflow(graph, node)) return kMost;
  return std::max(results, dense_mac_count(graph, node));
}

}  // namespace pith::ir
