// See cut_head.h.
#include "macro/cut_head.h"

#include <fmt/format.h>

namespace pith {
namespace {

bool is_product(const ir::Graph& g, const ir::Node& n) {
  const bool kind = n.op == ir::Op::kConv || n.op == ir::Op::kGemm || n.op == ir::Op::kConvTranspose || n.op == ir::Op::kMatMul;
  // the expectation over a distribution (DFL) is a convolution to one channel: it belongs to the decoding
  return kind && g.value(n.inputs[1]).is_constant() && (n.op != ir::Op::kConv || g.value(n.inputs[1]).shape[0] > 1);
}

}  // namespace

Result<int> cut_head(ir::Graph& g) {
  std::vector<bool> leads(g.values.size(), false);  // to a product
  for (size_t i = g.nodes.size(); i-- > 0;) {
    bool onwards = is_product(g, g.nodes[i]);
    for (ir::ValueId id : g.nodes[i].outputs) onwards = onwards || (id != ir::kNoValue && leads[static_cast<size_t>(id)]);
    for (ir::ValueId id : g.nodes[i].inputs) {
      if (id != ir::kNoValue && onwards) leads[static_cast<size_t>(id)] = true;
    }
  }
  std::vector<ir::ValueId> outputs;
  for (const ir::Node& n : g.nodes) {
    if (is_product(g, n) && !leads[static_cast<size_t>(n.outputs[0])]) outputs.push_back(n.outputs[0]);
  }
  if (outputs.empty()) return usage_error(fmt::format("'{}' has no layer with weights before its outputs; leave out --cut-head", g.name));
  g.outputs = outputs;
  ir::remove_dead(g);
  PITH_CHECK_OK(ir::verify(g));
  return static_cast<int>(outputs.size());
}

}  // namespace pith
