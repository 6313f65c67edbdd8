// See make_up.h.
#include "macro/make_up.h"

#include <algorithm>

#include "ir/blocks.h"

namespace pith {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::ProductRows;
using ir::Tensor;

bool stands_alone(const Graph& g, const Node& n, const ProductRows& rows) {
  int64_t readers = 0;
  for (const Node& other : g.nodes) readers += std::count(other.inputs.begin(), other.inputs.end(), n.inputs[1]);
  if (readers != 1) return false;
  if (n.inputs.size() < 3 || n.inputs[2] == ir::kNoValue) return true;
  const ir::Value& bias = g.value(n.inputs[2]);
  return bias.is_constant() && bias.constant->count() == rows.outputs;
}

void set_rows(Graph& g, const Node& n, const ProductRows& rows, std::span<const double> weights) {
  ir::Value& value = g.value(n.inputs[1]);
  Tensor w(ir::DType::kF32, value.shape);
  for (int64_t o = 0; o < rows.outputs; ++o) {
    for (int64_t i = 0; i < rows.width; ++i) w.set(rows.at(o, i), weights[static_cast<size_t>(o * rows.width + i)]);
  }
  value.constant = std::move(w);
}

void add_to_bias(Graph& g, Node& n, std::span<const double> shift) {
  if (n.op != Op::kConv && n.op != Op::kGemm) return;  // a MatMul has none
  Tensor sum(ir::DType::kF32, {static_cast<int64_t>(shift.size())});
  const bool biased = n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue;
  for (size_t o = 0; o < shift.size(); ++o) sum.set(static_cast<int64_t>(o), shift[o] + (biased ? g.value(n.inputs[2]).constant->at(static_cast<int64_t>(o)) : 0));
  n.inputs.resize(3, ir::kNoValue);
  n.inputs[2] = g.add_constant(g.value(n.inputs[1]).name + ".bias", std::move(sum));
}

Result<void> make_up(const Graph& original, Graph& student, size_t k, const ir::SideBySide& inputs, int64_t positions, const std::vector<uint8_t>* zeros) {
  const Node& before = original.nodes[k];
  const auto rows = ir::product_rows(original, before);
  if (!rows || !stands_alone(original, before, *rows)) return {};
  PITH_TRY(ir::ReadMoments m, ir::read_moments(original, student, before, student.nodes[k], inputs, positions, true));
  ir::shrink(m);
  const Tensor& w = *original.value(before.inputs[1]).constant;
  const ir::LeastSquares fit = ir::least_squares(w, *rows, m, kMakeUpDamping, zeros != nullptr ? *zeros : ir::zero_block_mask(w, *rows));
  set_rows(student, student.nodes[k], *rows, fit.weights);
  add_to_bias(student, student.nodes[k], fit.bias);
  return {};
}

}  // namespace pith
