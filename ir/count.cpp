// How much a network computes and holds: multiply-accumulates per node, trained parameters in all.
//
// Counted as everyone counts them: a multiply and its addition are one; padding is counted as if it were data; what an
// activation, a normalisation or an element-wise operator does is not counted. Zero blocks of weights are no work.
#include "ir/blocks.h"

namespace pith::ir {
namespace {

const Shape& shape_of(const Graph& graph, const Node& node, size_t input) {
  static const Shape kNone;
  if (input >= node.inputs.size() || node.inputs[input] == kNoValue) return kNone;
  return graph.value(node.inputs[input]).shape;
}

int64_t result_count(const Graph& graph, const Node& node) {
  if (node.outputs.empty() || node.outputs[0] == kNoValue) return 0;
  return element_count(graph.value(node.outputs[0]).shape);
}

// The elements of one output's worth of weights: all dimensions of `weights` but the first.
int64_t per_filter(const Shape& weights) {
  return weights.empty() ? 0 : element_count(Shape(weights.begin() + 1, weights.end()));
}

int64_t recurrent_macs(const Graph& graph, const Node& node, int64_t gates) {
  const Shape& x = shape_of(graph, node, 0);
  const Shape& r = shape_of(graph, node, 2);  // directions, gates * hidden, hidden
  if (x.size() != 3 || r.size() != 3) return 0;
  return x[0] * x[1] * r[0] * gates * r[2] * (x[2] + r[2]);
}

// q x k and scores x v. Shapes are batch, heads, length, size or batch, length, heads * size.
int64_t attention_macs(const Graph& graph, const Node& node) {
  const Shape& q = shape_of(graph, node, 0);
  const Shape& k = shape_of(graph, node, 1);
  const Shape& v = shape_of(graph, node, 2);
  const Shape& past = shape_of(graph, node, 4);
  if (q.size() < 3 || k.size() != q.size() || v.size() != q.size()) return 0;
  const int64_t keys = k[k.size() - 2] + (past.size() == 4 ? past[2] : 0);
  if (q.size() == 4) return element_count(q) * keys + q[0] * q[1] * q[2] * keys * v[3];
  const int64_t q_heads = node.integer("q_num_heads", 1), kv_heads = node.integer("kv_num_heads", 1);
  if (q_heads < 1 || kv_heads < 1) return 0;
  return element_count(q) * keys + q[0] * q[1] * q_heads * keys * (v[2] / kv_heads);
}

// The product of the sizes of all distinct labels: exact for two operands, an upper bound for more.
int64_t einsum_macs(const Graph& graph, const Node& node) {
  const std::string equation = node.text("equation", "");
  std::map<char, int64_t> sizes;
  size_t operand = 0, position = 0;
  for (char c : equation.substr(0, equation.find("->"))) {
    if (c == ' ') continue;
    if (c == ',') {
      ++operand, position = 0;
    } else if (const Shape& s = shape_of(graph, node, operand); position < s.size()) {
      sizes[c] = s[position++];
    }
  }
  if (operand == 0) return 0;
  int64_t product = 1;
  for (const auto& [label, size] : sizes) product *= size;
  return product;
}

}  // namespace

int64_t dense_mac_count(const Graph& graph, const Node& node) {
  const Shape& a = shape_of(graph, node, 0);
  switch (node.op) {
    case Op::kConv:
    case Op::kConvInteger:
      return result_count(graph, node) * per_filter(shape_of(graph, node, 1));
    case Op::kQLinearConv:
      return result_count(graph, node) * per_filter(shape_of(graph, node, 3));
    case Op::kConvTranspose:
      return element_count(a) * per_filter(shape_of(graph, node, 1));
    case Op::kGemm:
      return a.size() == 2 ? result_count(graph, node) * a[node.integer("transA", 0) != 0 ? 0 : 1] : 0;
    case Op::kMatMul:
    case Op::kMatMulInteger:
    case Op::kQLinearMatMul:
      return a.empty() ? 0 : result_count(graph, node) * a.back();
    case Op::kEinsum:
      return einsum_macs(graph, node);
    case Op::kLSTM:
      return recurrent_macs(graph, node, 4);
    case Op::kGRU:
      return recurrent_macs(graph, node, 3);
    case Op::kRNN:
      return recurrent_macs(graph, node, 1);
    case Op::kAttention:
      return attention_macs(graph, node);
    default:
      return 0;
  }
}

// Looking for zero blocks ends at each block's first other weight, so it takes long only where it finds some.
int64_t mac_count(const Graph& graph, const Node& node) {
  const int64_t dense = dense_mac_count(graph, node);
  const auto rows = dense > 0 ? product_rows(graph, node) : std::nullopt;
  if (!rows || rows->groups != 1) return dense;
  const int64_t weights = rows->outputs * rows->width;
  return dense / weights * (weights - zero_block_weights(*graph.value(node.inputs[1]).constant, *rows));
}

int64_t parameter_count(const Graph& graph) {
  int64_t count = 0;
  for (const Value& v : graph.values) {
    if (v.is_constant() && (v.dtype == DType::kF32 || v.quant)) count += element_count(v.shape);
  }
  return count;
}

}  // namespace pith::ir
