// See channels.h.
#include "macro/channels.h"

#include <algorithm>
#include <numeric>

#include "ir/geometry.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Shape;
using ir::Tensor;
using ir::ValueId;

// How a node treats its operands' channels.
enum class Role { kProduct, kDepthwise, kPass, kJoin, kFlatten, kRigid };

bool constant(const Graph& g, ValueId id) { return id != ir::kNoValue && g.value(id).is_constant(); }

bool maps_zero_to_zero(const ir::Activation& f) { return numerics::apply_unary(f.function, 0.0, f.a, f.b) == 0; }

size_t channel_axis(const Shape& s) { return s.size() >= 3 ? 1 : s.size() - 1; }

Role role_of(const Graph& g, const Node& n) {
  const Shape& x = g.value(n.inputs[0]).shape;
  if (x.size() < 2 || constant(g, n.inputs[0]) || !maps_zero_to_zero(n.activation)) return Role::kRigid;
  switch (n.op) {
    case Op::kConv: {
      if (!constant(g, n.inputs[1]) || ir::is_channels_last(n)) return Role::kRigid;
      const int64_t group = n.integer("group", 1);
      if (group == 1) return Role::kProduct;
      return group == x[1] && g.value(n.inputs[1]).shape[0] == x[1] ? Role::kDepthwise : Role::kRigid;
    }
    case Op::kGemm:
      return constant(g, n.inputs[1]) && n.integer("transA", 0) == 0 && x.size() == 2 ? Role::kProduct : Role::kRigid;
    case Op::kMaxPool: case Op::kAveragePool: case Op::kGlobalAveragePool: case Op::kGlobalMaxPool:
      return n.outputs.size() == 1 ? Role::kPass : Role::kRigid;
    case Op::kReduceMean: {
      const std::vector<bool> reduced = ir::reduced_axes(n, x.size());
      const bool keeps = n.integer("keepdims", 1) != 0 || x.size() == 4;
      return x.size() >= 3 && keeps && !reduced[0] && !reduced[1] && std::count(reduced.begin(), reduced.end(), true) == static_cast<int64_t>(x.size()) - 2 ? Role::kPass : Role::kRigid;
    }
    case Op::kAdd:
      return !constant(g, n.inputs[1]) && x == g.value(n.inputs[1]).shape ? Role::kJoin : Role::kRigid;
    case Op::kReshape: case Op::kFlatten: case Op::kSqueeze: {
      const Shape& y = g.value(n.outputs[0]).shape;
      return x.size() >= 2 && y.size() == 2 && x[0] == 1 && y[0] == 1 && y[1] == ir::element_count(x) ? Role::kFlatten : Role::kRigid;
    }
    default: {
      const auto f = ir::unary_function(n);
      return f && maps_zero_to_zero(*f) ? Role::kPass : Role::kRigid;
    }
  }
}

// Axis of a product's weights along which its inputs or outputs lie.
int weight_axis(const Node& n, bool outputs) {
  if (n.op == Op::kConv) return outputs ? 0 : 1;
  return (n.integer("transB", 0) != 0) == outputs ? 0 : 1;
}

// For every index of `axis`, in blocks of `block`: does anything differ from zero there?
std::vector<bool> live_along(const Tensor& t, int axis, int64_t channels) {
  const ir::AxisSplit s = ir::split_at(t.shape(), axis);
  const int64_t block = s.size / channels;
  std::vector<bool> live(static_cast<size_t>(channels), false);
  const auto x = t.as<float>();
  for (size_t i = 0; i < x.size(); ++i) {
    const auto index = (static_cast<int64_t>(i) / s.inner) % s.size;
    if (x[i] != 0) live[static_cast<size_t>(index / block)] = true;
  }
  return live;
}

struct Spaces {
  std::vector<int> parent;
  int find(int v) {
    while (parent[static_cast<size_t>(v)] != v) v = parent[static_cast<size_t>(v)] = parent[static_cast<size_t>(parent[static_cast<size_t>(v)])];
    return v;
  }
  void unite(int a, int b) { parent[static_cast<size_t>(find(a))] = find(b); }
};

struct Space {
  int64_t channels = 0;
  bool fixed = false;
  std::vector<bool> made, read;  // some maker is not zero; some reader doesn't ignore it
};

void merge(std::vector<bool>& into, const std::vector<bool>& more) {
  for (size_t i = 0; i < into.size() && i < more.size(); ++i) into[i] = into[i] || more[i];
}

std::map<int, Space> find_spaces(const Graph& g, Spaces& spaces) {
  spaces.parent.resize(g.values.size());
  std::iota(spaces.parent.begin(), spaces.parent.end(), 0);
  for (const Node& n : g.nodes) {
    const Role role = role_of(g, n);
    if (role == Role::kDepthwise || role == Role::kPass || role == Role::kJoin || role == Role::kFlatten) spaces.unite(n.outputs[0], n.inputs[0]);
    if (role == Role::kJoin) spaces.unite(n.inputs[1], n.inputs[0]);
  }
  std::map<int, Space> found;
  const auto space = [&](ValueId v) -> Space& { return found[spaces.find(v)]; };
  for (size_t v = 0; v < g.values.size(); ++v) {
    if (g.values[v].is_constant() || g.values[v].shape.size() < 2) continue;
    Space& s = space(static_cast<ValueId>(v));
    const int64_t c = g.values[v].shape[channel_axis(g.values[v].shape)];
    s.channels = s.channels == 0 ? c : std::min(s.channels, c);  // flattened members have a multiple
  }
  for (auto& [root, s] : found) s.made.assign(static_cast<size_t>(s.channels), false), s.read.assign(static_cast<size_t>(s.channels), false);
  for (ValueId id : g.inputs) space(id).fixed = true;
  for (ValueId id : g.outputs) space(id).fixed = true;
  for (const Node& n : g.nodes) {
    const Role role = role_of(g, n);
    if (role == Role::kRigid) {
      for (const auto& ids : {n.inputs, n.outputs}) {
        for (ValueId id : ids) {
          if (id != ir::kNoValue && !constant(g, id)) space(id).fixed = true;
        }
      }
      continue;
    }
    if (role != Role::kProduct && role != Role::kDepthwise) continue;
    Space& out = space(n.outputs[0]);
    const Tensor& w = *g.value(n.inputs[1]).constant;
    if (n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue) {
      const Tensor& bias = *g.value(n.inputs[2]).constant;
      if (bias.count() == out.channels) merge(out.made, live_along(bias.reshaped({bias.count()}), 0, out.channels)); else out.fixed = true;
    }
    if (role == Role::kDepthwise) continue;
    merge(out.made, live_along(w, weight_axis(n, true), out.channels));
    Space& in = space(n.inputs[0]);
    merge(in.read, live_along(w, weight_axis(n, false), in.channels));
  }
  return found;
}

void cut(Graph& g, ValueId id, int axis, const std::vector<int64_t>& kept, ChannelReport& report) {
  ir::Value& v = g.value(id);
  ChannelCut c{axis, kept};
  v.constant = cut_tensor(*v.constant, c);
  v.shape = v.constant->shape();
  report.cuts[v.name].push_back(std::move(c));
}

// `kept` channels as indices of an axis that holds `size` elements for all of them.
std::vector<int64_t> spread(const std::vector<int64_t>& kept, int64_t channels, int64_t size) {
  const int64_t block = size / channels;
  std::vector<int64_t> at;
  for (int64_t c : kept) {
    for (int64_t i = 0; i < block; ++i) at.push_back(c * block + i);
  }
  return at;
}

void cut_node(Graph& g, Node& n, Spaces& spaces, const std::map<int, Space>& found, const std::map<int, std::vector<int64_t>>& kept, ChannelReport& report) {
  const Role role = role_of(g, n);
  const auto part = [&](ValueId id, int64_t size) -> std::optional<std::vector<int64_t>> {
    const int root = spaces.find(id);
    const auto k = kept.find(root);
    if (k == kept.end()) return std::nullopt;
    return spread(k->second, found.at(root).channels, size);
  };
  if (role == Role::kFlatten) {
    const auto k = part(n.inputs[0], ir::element_count(g.value(n.inputs[0]).shape));
    if (k) n.op = Op::kReshape, n.attributes = {{"shape", std::vector<int64_t>{1, static_cast<int64_t>(k->size())}}};
    return;
  }
  if (role != Role::kProduct && role != Role::kDepthwise) return;
  const int out_axis = role == Role::kDepthwise ? 0 : weight_axis(n, true);
  if (const auto k = part(n.outputs[0], g.value(n.inputs[1]).shape[static_cast<size_t>(out_axis)])) {
    cut(g, n.inputs[1], out_axis, *k, report);
    if (n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue) cut(g, n.inputs[2], static_cast<int>(g.value(n.inputs[2]).shape.size()) - 1, *k, report);
    if (role == Role::kDepthwise) n.attributes["group"] = static_cast<int64_t>(k->size());
  }
  if (role == Role::kDepthwise) return;
  const int in_axis = weight_axis(n, false);
  if (const auto k = part(n.inputs[0], g.value(n.inputs[1]).shape[static_cast<size_t>(in_axis)])) cut(g, n.inputs[1], in_axis, *k, report);
}

// One round; returns the number of channels removed.
Result<int64_t> remove_once(Graph& g, ChannelReport& report) {
  Spaces spaces;
  const std::map<int, Space> found = find_spaces(g, spaces);
  std::map<int, std::vector<int64_t>> kept;
  int64_t removed = 0;
  for (const auto& [root, s] : found) {
    if (s.fixed || s.channels < 2) continue;
    std::vector<int64_t> k;
    for (int64_t c = 0; c < s.channels; ++c) {
      if (s.made[static_cast<size_t>(c)] && s.read[static_cast<size_t>(c)]) k.push_back(c);
    }
    if (k.empty()) k.push_back(0);  // a tensor without channels is no tensor
    if (static_cast<int64_t>(k.size()) == s.channels) continue;
    removed += s.channels - static_cast<int64_t>(k.size());
    kept[root] = std::move(k);
  }
  if (removed == 0) return 0;
  // a constant that several nodes read is cut for each of them on its own
  std::vector<int> readers(g.values.size(), 0);
  const size_t nodes = g.nodes.size();
  for (size_t i = 0; i < nodes; ++i) {
    for (size_t k = 1; k < g.nodes[i].inputs.size(); ++k) {
      const ValueId id = g.nodes[i].inputs[k];
      if (!constant(g, id) || readers[static_cast<size_t>(id)]++ == 0) continue;
      ir::Value copy = g.value(id);
      copy.name += "." + g.nodes[i].name;
      g.nodes[i].inputs[k] = g.add_value(std::move(copy));
      readers.push_back(1);
      spaces.parent.push_back(static_cast<int>(spaces.parent.size()));
    }
  }
  for (Node& n : g.nodes) cut_node(g, n, spaces, found, kept, report);
  PITH_CHECK_OK(ir::infer_shapes(g));
  return removed;
}

int64_t total_macs(const Graph& g) {
  int64_t sum = 0;
  for (const Node& n : g.nodes) sum += ir::mac_count(g, n);
  return sum;
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
