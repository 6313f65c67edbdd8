// See channels.h.
#include "macro/channels.h"

#include <algorithm>

#include "ir/geometry.h"
#include "macro/channel_classes.h"
#include "macro/measure.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;

// For every index of `axis`: does anything differ from zero there?
std::vector<bool> live_along(const Tensor& t, int axis) {
  const ir::AxisSplit s = ir::split_at(t.shape(), axis);
  std::vector<bool> live(static_cast<size_t>(s.size), false);
  const auto x = t.as<float>();
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] != 0) live[(i / static_cast<size_t>(s.inner)) % static_cast<size_t>(s.size)] = true;
  }
  return live;
}

// By class: some maker is not zero; some reader doesn't ignore it.
struct Use {
  std::vector<bool> made, read;
};

void mark(const std::vector<int>& classes, const std::vector<bool>& live, std::vector<bool>& into) {
  for (size_t i = 0; i < classes.size() && i < live.size(); ++i) {
    if (live[i]) into[static_cast<size_t>(classes[i])] = true;
  }
}

Use use_of(const Graph& g, ChannelClasses& classes) {
  const auto count = static_cast<size_t>(classes.count);
  Use use{std::vector<bool>(count, false), std::vector<bool>(count, false)};
  for (const Node& n : g.nodes) {
    const ChannelRole role = channel_role(g, n);
    if (role != ChannelRole::kProduct && role != ChannelRole::kDepthwise) continue;
    const std::vector<int>& out = classes.of[static_cast<size_t>(n.outputs[0])];
    const Tensor& w = *g.value(n.inputs[1]).constant;
    if (n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue) {
      const ir::Value& bias = g.value(n.inputs[2]);
      if (bias.is_constant() && bias.constant->count() == static_cast<int64_t>(out.size())) {
        mark(out, live_along(bias.constant->reshaped({bias.constant->count()}), 0), use.made);
      } else {
        for (int k : out) classes.fixed[static_cast<size_t>(k)] = true;
      }
    }
    if (role == ChannelRole::kDepthwise) continue;
    mark(out, live_along(w, weight_axis(n, true)), use.made);
    mark(classes.of[static_cast<size_t>(n.inputs[0])], live_along(w, weight_axis(n, false)), use.read);
  }
  return use;
}

void cut(Graph& g, ValueId id, int axis, const std::vector<int64_t>& kept, ChannelReport& report) {
  const ir::Value& v = g.value(id);
  if (static_cast<int64_t>(kept.size()) == v.shape[static_cast<size_t>(axis)]) return;
  ChannelCut c{axis, kept};
  cut_constant(g, id, c);
  report.cuts[v.name].push_back(std::move(c));
}

// What is left of each value's channels.
using Kept = std::vector<std::vector<int64_t>>;

void cut_node(Graph& g, Node& n, ChannelRole role, const Kept& kept, ChannelReport& report) {
  const auto of = [&](ValueId id) -> const std::vector<int64_t>& { return kept[static_cast<size_t>(id)]; };
  if (role == ChannelRole::kFlatten) {
    if (static_cast<int64_t>(of(n.outputs[0]).size()) == g.value(n.outputs[0]).shape[1]) return;
    n.op = ir::Op::kReshape, n.attributes = {{"shape", std::vector<int64_t>{1, static_cast<int64_t>(of(n.outputs[0]).size())}}};
  } else if (role == ChannelRole::kSplit) {
    std::vector<int64_t> sizes;
    for (ValueId id : n.outputs) sizes.push_back(static_cast<int64_t>(of(id).size()));
    n.attributes.erase("num_outputs");
    n.attributes["split"] = sizes;
  } else if (role == ChannelRole::kProduct || role == ChannelRole::kDepthwise) {
    const bool depthwise = role == ChannelRole::kDepthwise;
    cut(g, n.inputs[1], depthwise ? 0 : weight_axis(n, true), of(n.outputs[0]), report);
    if (n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue) cut(g, n.inputs[2], static_cast<int>(g.value(n.inputs[2]).shape.size()) - 1, of(n.outputs[0]), report);
    if (depthwise) n.attributes["group"] = static_cast<int64_t>(of(n.outputs[0]).size());
    if (!depthwise) cut(g, n.inputs[1], weight_axis(n, false), of(n.inputs[0]), report);
  }
}

// A constant that several nodes read is cut for each of them on its own.
void separate_constants(Graph& g) {
  std::vector<int> readers(g.values.size(), 0);
  for (Node& n : g.nodes) {
    for (size_t k = 1; k < n.inputs.size(); ++k) {
      const ValueId id = n.inputs[k];
      if (id == ir::kNoValue || !g.value(id).is_constant() || readers[static_cast<size_t>(id)]++ == 0) continue;
      ir::Value copy = g.value(id);
      copy.name += "." + n.name;
      n.inputs[k] = g.add_value(std::move(copy));
      readers.push_back(1);
    }
  }
}

// One round; returns the number of classes removed.
Result<int64_t> remove_once(Graph& g, ChannelReport& report) {
  ChannelClasses classes = channel_classes(g);
  const Use use = use_of(g, classes);
  std::vector<bool> alive(static_cast<size_t>(classes.count), true);
  for (size_t k = 0; k < alive.size(); ++k) alive[k] = classes.fixed[k] || (use.made[k] && use.read[k]);
  for (const std::vector<int>& of : classes.of) {  // a tensor without channels is no tensor
    if (!of.empty() && std::none_of(of.begin(), of.end(), [&](int k) { return alive[static_cast<size_t>(k)]; })) alive[static_cast<size_t>(of[0])] = true;
  }
  const auto removed = std::count(alive.begin(), alive.end(), false);
  if (removed == 0) return 0;
  Kept kept(classes.of.size());
  for (size_t v = 0; v < kept.size(); ++v) {
    for (size_t c = 0; c < classes.of[v].size(); ++c) {
      if (alive[static_cast<size_t>(classes.of[v][c])]) kept[v].push_back(static_cast<int64_t>(c));
    }
  }
  std::vector<ChannelRole> roles;
  for (const Node& n : g.nodes) roles.push_back(channel_role(g, n));
  separate_constants(g);
  for (size_t i = 0; i < g.nodes.size(); ++i) cut_node(g, g.nodes[i], roles[i], kept, report);
  PITH_CHECK_OK(ir::infer_shapes(g));
  return removed;
}

}  // namespace

Tensor cut_tensor(const Tensor& t, const ChannelCut& cut) {
  const ir::AxisSplit s = ir::split_at(t.shape(), cut.axis);
  Shape shape = t.shape();
  shape[static_cast<size_t>(cut.axis)] = static_cast<int64_t>(cut.kept.size());
  Tensor out(t.dtype(), shape);
  const size_t run = static_cast<size_t>(s.inner) * ir::dtype_bytes(t.dtype());
  uint8_t* to = out.mutable_bytes();
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t k : cut.kept) {
      std::memcpy(to, t.bytes() + static_cast<size_t>(o * s.size + k) * run, run);
      to += run;
    }
  }
  return out;
}

void cut_constant(Graph& g, ValueId id, const ChannelCut& c) {
  ir::Value& v = g.value(id);
  v.constant = cut_tensor(*v.constant, c);
  v.shape = v.constant->shape();
}

Result<ChannelReport> remove_channels(Graph& g) {
  ChannelReport report;
  const int64_t macs = total_macs(g), parameters = ir::parameter_count(g);
  for (;;) {
    PITH_TRY(const int64_t removed, remove_once(g, report));
    if (removed == 0) break;
    report.removed += removed;
  }
  PITH_CHECK_OK(ir::verify(g));
  report.macs = macs - total_macs(g);
  report.bytes = 4 * (parameters - ir::parameter_count(g));
  return report;
}

}  // namespace pith
