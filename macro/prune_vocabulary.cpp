// See prune_vocabulary.h.
#include "macro/prune_vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

#include "macro/channel_classes.h"
#include "macro/channels.h"
#include "macro/measure.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::ValueId;

bool only_moves(Op op) { return op == Op::kReshape || op == Op::kIdentity || op == Op::kFlatten || op == Op::kSqueeze || op == Op::kUnsqueeze; }

// The first output that is no state.
ValueId answer(const Graph& g) {
  for (ValueId id : g.outputs) {
    if (std::none_of(g.state.begin(), g.state.end(), [&](const auto& s) { return s.second == id; })) return id;
  }
  return ir::kNoValue;
}

// The product's rows, its bias and the shapes that are written down on the way to the output.
void cut_logits(Graph& g, int product, ValueId table, const ChannelCut& rows, int64_t before) {
  Node& n = g.nodes[static_cast<size_t>(product)];
  if (n.inputs[1] != table) cut_constant(g, n.inputs[1], {weight_axis(n, true), rows.kept});
  if (n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue && g.value(n.inputs[2]).shape.back() == before) cut_constant(g, n.inputs[2], {static_cast<int>(g.value(n.inputs[2]).shape.size()) - 1, rows.kept});
  const std::vector<int> made_by = ir::producers(g);
  for (int maker = made_by[static_cast<size_t>(answer(g))]; maker > product; maker = made_by[static_cast<size_t>(g.nodes[static_cast<size_t>(maker)].inputs[0])]) {
    Node& move = g.nodes[static_cast<size_t>(maker)];
    if (!move.has("shape")) continue;
    std::vector<int64_t> shape = move.integers("shape");
    std::replace(shape.begin(), shape.end(), before, static_cast<int64_t>(rows.kept.size()));
    move.attributes["shape"] = shape;
  }
}

}  // namespace

ValueId token_table(const Graph& g) {
  for (const Node& n : g.nodes) {
    if (n.op == Op::kGather && !g.inputs.empty() && n.inputs[1] == g.inputs[0] && n.integer("axis", 0) == 0 && g.value(n.inputs[0]).is_constant() && g.value(n.inputs[0]).shape.size() == 2) return n.inputs[0];
  }
  return ir::kNoValue;
}

int logits_product(const Graph& g, int64_t tokens) {
  const ValueId logits = answer(g);
  if (logits == ir::kNoValue || g.value(logits).shape.empty() || g.value(logits).shape.back() != tokens) return -1;
  const std::vector<int> made_by = ir::producers(g);
  int maker = made_by[static_cast<size_t>(logits)];
  while (maker >= 0 && only_moves(g.nodes[static_cast<size_t>(maker)].op)) maker = made_by[static_cast<size_t>(g.nodes[static_cast<size_t>(maker)].inputs[0])];
  if (maker < 0 || !reads_matrix(g, g.nodes[static_cast<size_t>(maker)])) return -1;
  const Node& n = g.nodes[static_cast<size_t>(maker)];
  return g.value(n.inputs[1]).shape[static_cast<size_t>(weight_axis(n, true))] == tokens ? maker : -1;
}

Result<VocabularyCut> cut_vocabulary(Graph& g, const std::vector<uint32_t>& kept) {
  const ValueId table = token_table(g);
  if (table == ir::kNoValue) return usage_error(fmt::format("'{}' has no table that its first input looks up, so no token of it can be left out", g.name));
  const int64_t before = g.value(table).shape[0];
  if (kept.empty() || kept.back() >= before) return usage_error(fmt::format("the vocabulary has tokens beyond the {} rows of '{}'; they don't belong together", before, g.value(table).name));
  const int product = logits_product(g, before);
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& n = g.nodes[i];
    const bool looked_up = n.op == Op::kGather && n.inputs[1] == g.inputs[0];
    const bool read = std::find(n.inputs.begin(), n.inputs.end(), table) != n.inputs.end();
    if (read && !looked_up && static_cast<int>(i) != product) return error(ErrorCode::kUnsupported, fmt::format("'{}' reads the table '{}' beside the tokens, so no row of it can be left out", n.name, g.value(table).name));
  }
  VocabularyCut cut{before, static_cast<int64_t>(kept.size()), 0, 0};
  const int64_t macs = total_macs(g), parameters = ir::parameter_count(g);
  const ChannelCut rows{0, {kept.begin(), kept.end()}};
  if (product >= 0) cut_logits(g, product, table, rows, before);
  cut_constant(g, table, rows);
  PITH_CHECK_OK(ir::infer_shapes(g));
  PITH_CHECK_OK(ir::verify(g));
  cut.bytes = 4 * (parameters - ir::parameter_count(g));
  cut.macs = macs - total_macs(g);
  return cut;
}

}  // namespace pith
