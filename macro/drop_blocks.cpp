// See drop_blocks.h.
#include "macro/drop_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "macro/measure.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

// What follows from other inputs than the first: masks, positions, states. A path may end there.
std::vector<bool> side_values(const Graph& g) {
  std::vector<bool> side(g.values.size(), true);
  if (!g.inputs.empty()) side[static_cast<size_t>(g.inputs[0])] = false;
  for (const Node& n : g.nodes) {
    const bool all = std::all_of(n.inputs.begin(), n.inputs.end(), [&](ValueId id) { return id == ir::kNoValue || side[static_cast<size_t>(id)]; });
    for (ValueId id : n.outputs) {
      if (id != ir::kNoValue) side[static_cast<size_t>(id)] = all;
    }
  }
  return side;
}

// The nodes between `from` and `to`, backwards from `to`; nothing where a path leads past `from`.
std::optional<std::set<size_t>> between(const Graph& g, const std::vector<int>& made_by, const std::vector<bool>& side, ValueId from, ValueId to) {
  std::set<size_t> found;
  std::vector<ValueId> open{to};
  while (!open.empty()) {
    const ValueId v = open.back();
    open.pop_back();
    if (v == from || v == ir::kNoValue || side[static_cast<size_t>(v)]) continue;
    const int maker = made_by[static_cast<size_t>(v)];
    if (maker < 0) return std::nullopt;
    if (!found.insert(static_cast<size_t>(maker)).second) continue;
    for (ValueId id : g.nodes[static_cast<size_t>(maker)].inputs) open.push_back(id);
  }
  return found;
}

// relu(x) = x where x is a relu's result already.
bool keeps(const Graph& g, const std::vector<int>& made_by, const Node& join, ValueId x) {
  if (join.activation.function == numerics::Unary::kIdentity) return true;
  const int maker = made_by[static_cast<size_t>(x)];
  if (join.activation.function != numerics::Unary::kRelu || maker < 0) return false;
  const Node& n = g.nodes[static_cast<size_t>(maker)];
  return n.activation.function == numerics::Unary::kRelu || n.op == Op::kRelu;
}

// Whether a value is remembered for nobody but these nodes.
bool own_state(const Graph& g, const std::vector<std::vector<int>>& readers, const std::set<size_t>& inside, ValueId id) {
  return std::any_of(g.state.begin(), g.state.end(), [&](const auto& s) {
    const auto& by = readers[static_cast<size_t>(s.first)];
    return s.second == id && std::all_of(by.begin(), by.end(), [&](int r) { return inside.count(static_cast<size_t>(r)) != 0; });
  });
}

}  // namespace

std::vector<Block> residual_blocks(const Graph& g) {
  const std::vector<int> made_by = ir::producers(g);
  const std::vector<bool> aside = side_values(g);
  const auto readers = ir::consumers(g);
  std::vector<Block> found;
  for (size_t k = 0; k < g.nodes.size(); ++k) {
    const Node& n = g.nodes[k];
    if (n.op != Op::kAdd || g.value(n.inputs[0]).is_constant() || g.value(n.inputs[1]).is_constant() || g.value(n.inputs[0]).shape != g.value(n.inputs[1]).shape) continue;
    for (int side : {0, 1}) {
      const ValueId around = n.inputs[static_cast<size_t>(side)], through = n.inputs[static_cast<size_t>(1 - side)];
      if (around == through || !keeps(g, made_by, n, around)) continue;
      const auto inside = between(g, made_by, aside, around, through);
      if (!inside || inside->empty()) continue;
      const bool own = std::all_of(inside->begin(), inside->end(), [&](size_t i) {
        return std::all_of(g.nodes[i].outputs.begin(), g.nodes[i].outputs.end(), [&](ValueId id) {
          if (id == ir::kNoValue) return true;
          if (std::find(g.outputs.begin(), g.outputs.end(), id) != g.outputs.end() && !own_state(g, readers, *inside, id)) return false;
          const auto& by = readers[static_cast<size_t>(id)];
          return std::all_of(by.begin(), by.end(), [&](int r) { return static_cast<size_t>(r) == k || inside->count(static_cast<size_t>(r)) != 0; });
        });
      });
      if (!own) continue;
      found.push_back({k, around, {inside->begin(), inside->end()}});
      break;
    }
  }
  return found;
}

Result<Graph> without_block(const Graph& source, const Block& block) {
  Graph g = source;
  const ValueId result = g.nodes[block.join].outputs[0];
  for (Node& n : g.nodes) std::replace(n.inputs.begin(), n.inputs.end(), result, block.around);
  std::replace(g.outputs.begin(), g.outputs.end(), result, block.around);
  for (size_t i : block.nodes) {
    for (ValueId id : g.nodes[i].outputs) {
      const auto state = std::find_if(g.state.begin(), g.state.end(), [&](const auto& s) { return s.second == id; });
      if (state == g.state.end()) continue;
      std::erase(g.inputs, state->first);
      std::erase(g.outputs, id);
      g.state.erase(state);
    }
  }
  ir::remove_dead(g);
  PITH_CHECK_OK(ir::verify(g));
  return g;
}

Result<void> leave_out_blocks(Graph& g, const std::vector<std::string>& joins) {
  for (const std::string& name : joins) {
    const std::vector<Block> blocks = residual_blocks(g);
    const auto found = std::find_if(blocks.begin(), blocks.end(), [&](const Block& b) { return g.nodes[b.join].name == name; });
    if (found == blocks.end()) return internal_error(fmt::format("'{}' ends no block that could be left out of '{}'", name, g.name));
    PITH_TRY(g, without_block(g, *found));
  }
  return {};
}

Result<DropReport> drop_blocks(Graph& g, const std::vector<std::vector<Tensor>>& samples, const DropOptions& options) {
  if (samples.empty()) return usage_error("no samples to measure blocks on; give a folder, archive or array with --samples");
  DropReport report;
  report.macs_before = report.macs_after = total_macs(g);
  PITH_TRY(const Answers expected, answers_of(g, samples));
  const double target = options.macs_share * static_cast<double>(report.macs_before);
  double now = 0;
  while (static_cast<double>(report.macs_after) > target) {
    const std::vector<Block> blocks = residual_blocks(g);
    if (blocks.empty())
      return error(ErrorCode::kDoesNotFit, fmt::format("'{}' keeps {} multiply-accumulates without any of its residual blocks, where {:.0f} may stay; ask for fewer", g.name, report.macs_after, target));
    std::vector<Unit> units;
    std::vector<Graph> shorter;
    for (const Block& b : blocks) {
      PITH_TRY(Graph without, without_block(g, b));
      PITH_TRY(const double loss, answer_loss(without, samples, expected, options.distribution));
      const auto freed = static_cast<double>(report.macs_after - total_macs(without));
      units.push_back({g.nodes[b.join].name, {{{0, 0, freed}, now}, {{0, 0, 0}, std::max(loss, now)}}});
      shorter.push_back(std::move(without));
    }
    double all = 0;
    for (const Unit& u : units) all += u.options[0].spent.macs;
    PITH_TRY(const Allocation a, allocate(units, {-1, -1, all - 1}));  // the one that frees most for its loss
    const auto taken = static_cast<size_t>(std::find(a.option.begin(), a.option.end(), 1u) - a.option.begin());
    now = units[taken].options[1].loss;
    report.dropped.push_back(units[taken].name);
    report.losses.push_back(now);
    g = std::move(shorter[taken]);
    report.macs_after = total_macs(g);
  }
  return report;
}

}  // namespace pith
