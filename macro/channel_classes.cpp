// See channel_classes.h.
#include "macro/channel_classes.h"

#include <algorithm>
#include <numeric>

#include "ir/geometry.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::Shape;
using ir::ValueId;

bool constant(const Graph& g, ValueId id) { return id != ir::kNoValue && g.value(id).is_constant(); }

bool maps_zero_to_zero(const ir::Activation& f) { return numerics::apply_unary(f.function, 0.0, f.a, f.b) == 0; }

bool along_channels(const Graph& g, const Node& n) {
  const Shape& y = g.value(n.outputs[0]).shape;
  return ir::wrap_axis(n.integer("axis", 0), y.size()) == static_cast<int64_t>(channel_axis_of(y));
}

bool enlarges_in_space(const Node& n, size_t rank) {
  const std::vector<double> scales = n.reals("scales");
  return scales.size() == rank && scales[0] == 1 && scales[1] == 1 && !n.has("axes") && !n.has("sizes");
}

bool pools_over_space(const Node& n, const Shape& x) {
  const std::vector<bool> reduced = ir::reduced_axes(n, x.size());
  const bool keeps = n.integer("keepdims", 1) != 0 || x.size() == 4;
  return x.size() >= 3 && keeps && !reduced[0] && !reduced[1] && std::count(reduced.begin(), reduced.end(), true) == static_cast<int64_t>(x.size()) - 2;
}

struct Union {
  std::vector<int> parent;
  int find(int v) {
    while (parent[static_cast<size_t>(v)] != v) v = parent[static_cast<size_t>(v)] = parent[static_cast<size_t>(parent[static_cast<size_t>(v)])];
    return v;
  }
  void unite(int a, int b) { parent[static_cast<size_t>(find(a))] = find(b); }
};

// (value, channel) pairs as numbers.
struct Pairs {
  std::vector<int> first;      // by value
  std::vector<int64_t> sizes;  // by value
  int at(ValueId v, int64_t channel) const { return first[static_cast<size_t>(v)] + static_cast<int>(channel); }
  int64_t size(ValueId v) const { return sizes[static_cast<size_t>(v)]; }
};

// Channels [begin, begin + count) of `a` are those of `b` from 0 on, each of b's for `block` of a's.
void unite(Union& u, const Pairs& p, ValueId a, int64_t begin, ValueId b, int64_t block) {
  for (int64_t c = 0; c < p.size(b) * block; ++c) u.unite(p.at(a, begin + c), p.at(b, c / block));
}

void pass_on(const Graph& g, const Node& n, const Pairs& p, Union& u) {
  switch (channel_role(g, n)) {
    case ChannelRole::kJoin:
      unite(u, p, n.outputs[0], 0, n.inputs[1], 1);
      [[fallthrough]];
    case ChannelRole::kDepthwise: case ChannelRole::kPass:
      return unite(u, p, n.outputs[0], 0, n.inputs[0], 1);
    case ChannelRole::kFlatten:
      return unite(u, p, n.outputs[0], 0, n.inputs[0], p.size(n.outputs[0]) / p.size(n.inputs[0]));
    case ChannelRole::kConcat: {
      int64_t begin = 0;
      for (ValueId id : n.inputs) unite(u, p, n.outputs[0], begin, id, 1), begin += p.size(id);
      return;
    }
    case ChannelRole::kSplit: {
      int64_t begin = 0;
      for (ValueId id : n.outputs) unite(u, p, n.inputs[0], begin, id, 1), begin += p.size(id);
      return;
    }
    default:
      return;
  }
}

}  // namespace

int weight_axis(const Node& n, bool outputs) {
  if (n.op == Op::kConv) return outputs ? 0 : 1;
  return (n.integer("transB", 0) != 0) == outputs ? 0 : 1;
}

bool reads_matrix(const Graph& g, const Node& n) {
  return (n.op == Op::kMatMul || n.op == Op::kGemm) && constant(g, n.inputs[1]) && g.value(n.inputs[1]).shape.size() == 2;
}

ChannelRole channel_role(const Graph& g, const Node& n) {
  if (n.inputs.empty() || n.inputs[0] == ir::kNoValue) return ChannelRole::kRigid;
  const Shape& x = g.value(n.inputs[0]).shape;
  if (x.size() < 2 || constant(g, n.inputs[0]) || !maps_zero_to_zero(n.activation)) return ChannelRole::kRigid;
  switch (n.op) {
    case Op::kConv: {
      if (!constant(g, n.inputs[1]) || ir::is_channels_last(n)) return ChannelRole::kRigid;
      const int64_t group = n.integer("group", 1);
      if (group == 1) return ChannelRole::kProduct;
      return group == x[1] && g.value(n.inputs[1]).shape[0] == x[1] ? ChannelRole::kDepthwise : ChannelRole::kRigid;
    }
    case Op::kGemm:
      return constant(g, n.inputs[1]) && n.integer("transA", 0) == 0 && x.size() == 2 ? ChannelRole::kProduct : ChannelRole::kRigid;
    case Op::kMaxPool: case Op::kAveragePool: case Op::kGlobalAveragePool: case Op::kGlobalMaxPool:
      return n.outputs.size() == 1 ? ChannelRole::kPass : ChannelRole::kRigid;
    case Op::kReduceMean:
      return pools_over_space(n, x) ? ChannelRole::kPass : ChannelRole::kRigid;
    case Op::kResize:
      return x.size() == 4 && enlarges_in_space(n, x.size()) ? ChannelRole::kPass : ChannelRole::kRigid;
    case Op::kAdd:
      return !constant(g, n.inputs[1]) && x == g.value(n.inputs[1]).shape ? ChannelRole::kJoin : ChannelRole::kRigid;
    case Op::kConcat:
      return along_channels(g, n) && std::none_of(n.inputs.begin(), n.inputs.end(), [&](ValueId id) { return constant(g, id); }) ? ChannelRole::kConcat : ChannelRole::kRigid;
    case Op::kSplit:
      return along_channels(g, n) && std::count(n.outputs.begin(), n.outputs.end(), ir::kNoValue) == 0 ? ChannelRole::kSplit : ChannelRole::kRigid;
    case Op::kReshape: case Op::kFlatten: case Op::kSqueeze: {
      const Shape& y = g.value(n.outputs[0]).shape;
      return x[0] == 1 && y.size() == 2 && y[0] == 1 && y[1] == ir::element_count(x) ? ChannelRole::kFlatten : ChannelRole::kRigid;
    }
    default: {
      const auto f = ir::unary_function(n);
      return f && maps_zero_to_zero(*f) ? ChannelRole::kPass : ChannelRole::kRigid;
    }
  }
}

ChannelClasses channel_classes(const Graph& g) {
  Pairs p;
  int total = 0;
  for (const ir::Value& v : g.values) {
    p.first.push_back(total);
    p.sizes.push_back(v.is_constant() || v.shape.size() < 2 ? 0 : v.shape[channel_axis_of(v.shape)]);
    total += static_cast<int>(p.sizes.back());
  }
  Union u;
  u.parent.resize(static_cast<size_t>(total));
  std::iota(u.parent.begin(), u.parent.end(), 0);
  for (const Node& n : g.nodes) pass_on(g, n, p, u);

  ChannelClasses found;
  std::vector<int> number(static_cast<size_t>(total), -1);
  found.of.resize(g.values.size());
  for (size_t v = 0; v < g.values.size(); ++v) {
    for (int64_t c = 0; c < p.sizes[v]; ++c) {
      int& k = number[static_cast<size_t>(u.find(p.first[v] + static_cast<int>(c)))];
      if (k < 0) k = found.count++;
      found.of[v].push_back(k);
    }
  }
  found.fixed.assign(static_cast<size_t>(found.count), false);
  const auto fix = [&](ValueId id) {
    if (id == ir::kNoValue) return;
    for (int k : found.of[static_cast<size_t>(id)]) found.fixed[static_cast<size_t>(k)] = true;
  };
  for (ValueId id : g.inputs) fix(id);
  for (ValueId id : g.outputs) fix(id);
  for (const Node& n : g.nodes) {
    if (channel_role(g, n) != ChannelRole::kRigid) continue;
    for (ValueId id : n.inputs) fix(id);
    for (ValueId id : n.outputs) fix(id);
  }
  return found;
}

}  // namespace pith
