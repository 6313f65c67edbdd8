// See factor_embedding.h.
#include "macro/factor_embedding.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ir/loops.h"
#include "ir/products.h"
#include "macro/eigen.h"
#include "macro/measure.h"
#include "macro/prune_vocabulary.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

constexpr double kUnread = 0.5;  // counts of a row that no sample read

// Of the rows, adding up to 1.
std::vector<double> row_weights(int64_t rows, const std::vector<double>& counts, bool tied) {
  std::vector<double> w(static_cast<size_t>(rows));
  for (size_t i = 0; i < w.size(); ++i) w[i] = (i < counts.size() ? counts[i] : 0) + kUnread;
  const double sum = std::accumulate(w.begin(), w.end(), 0.0);
  for (double& x : w) x = tied ? x / sum / 2 + 0.5 / static_cast<double>(rows) : x / sum;
  return w;
}

bool reads(const Node& n, ValueId id) { return std::find(n.inputs.begin(), n.inputs.end(), id) != n.inputs.end(); }

ValueId push(Graph& g, std::vector<Node>& nodes, Op op, const std::string& name, std::vector<ValueId> inputs, std::map<std::string, ir::Attribute> attributes, ValueId result = ir::kNoValue) {
  Node n;
  n.op = op;
  n.name = name;
  n.inputs = std::move(inputs);
  n.attributes = std::move(attributes);
  if (result == ir::kNoValue) {
    ir::Value v;
    v.name = name + ".y";
    result = g.add_value(std::move(v));
  }
  n.outputs = {result};
  nodes.push_back(std::move(n));
  return result;
}

}  // namespace

Result<EmbeddingFactors> factor_embedding(const Graph& g, const std::vector<double>& counts, int64_t rank) {
  const ValueId table = token_table(g);
  if (table == ir::kNoValue) return usage_error(fmt::format("'{}' has no table that its first input looks up, so there is nothing to factor", g.name));
  const int64_t v = g.value(table).shape[0], d = g.value(table).shape[1];
  if (rank < 1 || rank * (v + d) >= v * d) return usage_error(fmt::format("a rank of {} saves nothing in a table of {} x {}; give 1 to {}", rank, v, d, std::max<int64_t>(1, (v * d - 1) / (v + d))));
  EmbeddingFactors f;
  f.rank = rank;
  for (const Node& n : g.nodes) f.tied = f.tied || (n.op != Op::kGather && reads(n, table));
  const auto x = g.value(table).constant->as<float>();
  const std::vector<double> w = row_weights(v, counts, f.tied);
  std::vector<double> mean(static_cast<size_t>(d), 0.0), rows(x.begin(), x.end()), weighed(rows.size()), moments(static_cast<size_t>(d * d));
  for (size_t i = 0; i < rows.size() && !f.tied; ++i) mean[i % static_cast<size_t>(d)] += w[i / static_cast<size_t>(d)] * rows[i];
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] -= mean[i % static_cast<size_t>(d)];
    weighed[i] = w[i / static_cast<size_t>(d)] * rows[i];
  }
  ir::gemm(true, false, d, d, v, weighed.data(), d, rows.data(), d, false, moments.data(), d);
  for (int64_t i = 0; i < d; ++i) {  // symmetric to the last bit
    for (int64_t j = 0; j < i; ++j) moments[static_cast<size_t>(i * d + j)] = moments[static_cast<size_t>(j * d + i)];
  }
  PITH_TRY(const Eigen e, symmetric_eigen(moments, d));
  const double all = std::accumulate(e.values.begin(), e.values.end(), 0.0, [](double sum, double value) { return sum + std::max(value, 0.0); });
  f.lost = std::accumulate(e.values.begin() + rank, e.values.end(), 0.0, [](double sum, double value) { return sum + std::max(value, 0.0); }) / std::max(all, 1e-300);
  std::vector<double> basis(static_cast<size_t>(rank * d)), places(static_cast<size_t>(v * rank));
  for (int64_t r = 0; r < rank; ++r) {
    for (int64_t i = 0; i < d; ++i) basis[static_cast<size_t>(r * d + i)] = e.vectors[static_cast<size_t>(i * d + r)];
  }
  ir::gemm(false, true, v, rank, d, rows.data(), d, basis.data(), d, false, places.data(), rank);
  f.rows = Tensor::f32({v, rank}, std::vector<float>(places.begin(), places.end()));
  f.basis = Tensor::f32({rank, d}, std::vector<float>(basis.begin(), basis.end()));
  if (!f.tied) f.mean = Tensor::f32({d}, std::vector<float>(mean.begin(), mean.end()));
  return f;
}

Result<FactorChange> replace_embedding(Graph& g, const EmbeddingFactors& f) {
  const ValueId table = token_table(g);
  if (table == ir::kNoValue || g.value(table).shape[0] != f.rows.shape()[0] || g.value(table).shape[1] != f.basis.shape()[1]) return internal_error("the factors are of another table");
  const int64_t parameters = ir::parameter_count(g), macs = total_macs(g);
  const int product = logits_product(g, f.rows.shape()[0]);
  const std::string name = g.value(table).name;
  const ValueId rows = g.add_constant(name + ".rows", f.rows), basis = g.add_constant(name + ".basis", f.basis);
  std::vector<Node> nodes;
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    const Node n = g.nodes[i];
    if (!reads(n, table)) {
      nodes.push_back(n);
    } else if (n.op == Op::kGather) {
      const ValueId thin = push(g, nodes, Op::kGather, n.name + ".rows", {rows, n.inputs[1]}, n.attributes);
      std::vector<ValueId> operands = {thin, basis};
      if (!f.tied) operands.push_back(g.add_constant(name + ".mean", f.mean));
      push(g, nodes, Op::kMatMul, n.name, std::move(operands), {}, n.outputs[0]);
    } else if (static_cast<int>(i) == product && n.op == Op::kGemm && n.integer("transB", 0) != 0) {
      const ValueId thin = push(g, nodes, Op::kMatMul, n.name + ".basis", {n.inputs[0], g.add_constant(name + ".basis.turned", ir::transposed(f.basis, {1, 0}))}, {});
      nodes.push_back(n);
      nodes.back().inputs[0] = thin, nodes.back().inputs[1] = rows;
    } else {
      return error(ErrorCode::kUnsupported, fmt::format("'{}' reads the table '{}' in a way that factors don't serve", n.name, name));
    }
  }
  g.nodes = std::move(nodes);
  PITH_CHECK_OK(ir::infer_shapes(g));
  ir::remove_dead(g);
  PITH_CHECK_OK(ir::verify(g));
  return FactorChange{4 * (ir::parameter_count(g) - parameters), total_macs(g) - macs};
}

}  // namespace pith
