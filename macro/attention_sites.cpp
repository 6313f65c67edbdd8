// See attention_sites.h.
#include "macro/attention_sites.h"

#include <algorithm>

#include "macro/channel_classes.h"
#include "macro/channels.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Node;
using ir::Op;
using ir::ValueId;

bool is_product(const Graph& g, const Node& n) {
  return reads_matrix(g, n) && !g.value(n.inputs[0]).is_constant() && n.integer("transA", 0) == 0 && n.activation.function == numerics::Unary::kIdentity;
}

class Finder {
 public:
  explicit Finder(const Graph& g) : g_(g), made_by_(ir::producers(g)), readers_(ir::consumers(g)) {}

  std::optional<AttentionSite> site(size_t index) const {
    const Node& n = g_.nodes[index];
    if (n.inputs.size() < 3 || n.outputs.size() > 1 || (n.inputs.size() > 4 && std::any_of(n.inputs.begin() + 4, n.inputs.end(), [](ValueId id) { return id != ir::kNoValue; }))) return std::nullopt;
    AttentionSite s;
    s.node = index;
    const ir::Shape &q = g_.value(n.inputs[0]).shape, &k = g_.value(n.inputs[1]).shape, &v = g_.value(n.inputs[2]).shape;
    const bool flat = q.size() == 3;
    const int64_t q_heads = flat ? n.integer("q_num_heads", 0) : q[1];
    s.heads = flat ? n.integer("kv_num_heads", 0) : k[1];
    if (q_heads < 1 || s.heads < 1 || q_heads % s.heads != 0) return std::nullopt;
    s.queries = q_heads / s.heads;
    s.key_depth = flat ? q.back() / q_heads : q.back(), s.value_depth = flat ? v.back() / s.heads : v.back();
    if (n.inputs.size() > 3 && n.inputs[3] != ir::kNoValue) {
      const ir::Shape& mask = g_.value(n.inputs[3]).shape;
      if (mask.size() > 3 && mask[mask.size() - 3] != 1) return std::nullopt;
    }
    const auto product_before = [&](ValueId id, std::vector<size_t>& path) { return back(id, path, s.states); };
    const auto qp = product_before(n.inputs[0], s.q_path), kp = product_before(n.inputs[1], s.k_path), vp = product_before(n.inputs[2], s.v_path), op = onwards(n.outputs[0], s.out_path);
    if (!qp || !kp || !vp || !op) return std::nullopt;
    s.q = *qp, s.k = *kp, s.v = *vp, s.out = *op;
    const bool fits = outputs(s.q) == q_heads * s.key_depth && outputs(s.k) == s.heads * s.key_depth && outputs(s.v) == s.heads * s.value_depth && inputs(s.out) == q_heads * s.value_depth;
    return fits ? std::optional(s) : std::nullopt;
  }

 private:
  int64_t outputs(size_t node) const { return weights(node).shape[static_cast<size_t>(weight_axis(g_.nodes[node], true))]; }
  int64_t inputs(size_t node) const { return weights(node).shape[static_cast<size_t>(weight_axis(g_.nodes[node], false))]; }
  const ir::Value& weights(size_t node) const { return g_.value(g_.nodes[node].inputs[1]); }

  bool own_constants(const Node& n) const {
    return std::all_of(n.inputs.begin() + 1, n.inputs.end(), [&](ValueId id) { return id == ir::kNoValue || readers_[static_cast<size_t>(id)].size() == 1; });
  }
  bool is_output(ValueId id) const { return std::find(g_.outputs.begin(), g_.outputs.end(), id) != g_.outputs.end(); }

  // The product that a value comes from.
  std::optional<size_t> back(ValueId id, std::vector<size_t>& path, std::vector<ValueId>& states) const {
    for (;;) {
      const int maker = made_by_[static_cast<size_t>(id)];
      if (maker < 0 || readers_[static_cast<size_t>(id)].size() != 1) return std::nullopt;
      const Node& n = g_.nodes[static_cast<size_t>(maker)];
      const bool remembered = std::any_of(g_.state.begin(), g_.state.end(), [&](const auto& s) { return s.second == id; });
      if (is_output(id) && !remembered) return std::nullopt;
      if (is_product(g_, n)) return own_constants(n) ? std::optional(static_cast<size_t>(maker)) : std::nullopt;
      path.push_back(static_cast<size_t>(maker));
      if (n.op == Op::kReshape || n.op == Op::kTranspose || n.op == Op::kIdentity || n.op == Op::kRotaryEmbedding) {
        id = n.inputs[0];
      } else if (n.op == Op::kWhere && remembered) {
        const auto state = std::find_if(g_.state.begin(), g_.state.end(), [&](const auto& s) { return s.second == id; });
        if (n.inputs[2] != state->first || readers_[static_cast<size_t>(state->first)].size() != 1) return std::nullopt;
        states.push_back(state->first);
        id = n.inputs[1];
      } else if ((n.op == Op::kMul || n.op == Op::kDiv) && g_.value(n.inputs[1]).is_constant() && g_.value(n.inputs[1]).constant->count() == 1) {
        id = n.inputs[0];
      } else {
        return std::nullopt;
      }
    }
  }

  std::optional<size_t> onwards(ValueId id, std::vector<size_t>& path) const {
    for (;;) {
      if (is_output(id) || readers_[static_cast<size_t>(id)].size() != 1) return std::nullopt;
      const auto reader = static_cast<size_t>(readers_[static_cast<size_t>(id)][0]);
      const Node& n = g_.nodes[reader];
      if (is_product(g_, n) && n.inputs[0] == id) return own_constants(n) ? std::optional(reader) : std::nullopt;
      if (n.op != Op::kReshape && n.op != Op::kTranspose && n.op != Op::kIdentity) return std::nullopt;
      path.push_back(reader);
      id = n.outputs[0];
    }
  }

  const Graph& g_;
  std::vector<int> made_by_;
  std::vector<std::vector<int>> readers_;
};

void keep_outputs(Graph& g, const Node& n, const std::vector<int64_t>& kept) {
  cut_constant(g, n.inputs[1], {weight_axis(n, true), kept});
  if (n.inputs.size() > 2 && n.inputs[2] != ir::kNoValue) cut_constant(g, n.inputs[2], {static_cast<int>(g.value(n.inputs[2]).shape.size()) - 1, kept});
}

// Of heads x depth elements (or heads of keys x heads of queries) those of some heads.
std::vector<int64_t> elements(const std::vector<int64_t>& heads, int64_t depth) {
  std::vector<int64_t> all;
  for (int64_t h : heads) {
    for (int64_t i = 0; i < depth; ++i) all.push_back(h * depth + i);
  }
  return all;
}

// Shapes that are written down: the axis of heads, or that of heads and depth together.
void reshape_path(Graph& g, const std::vector<size_t>& path, int64_t heads, int64_t depth, int64_t kept) {
  for (size_t i : path) {
    Node& n = g.nodes[i];
    if (n.has("num_heads")) n.attributes["num_heads"] = kept;
    if (n.op != Op::kReshape) continue;
    std::vector<int64_t> shape = g.value(n.outputs[0]).shape;
    int64_t behind = 1;
    for (size_t k = shape.size(); k-- > 0;) {
      behind *= shape[k];
      if (behind != heads * depth) continue;
      shape[k] = k + 1 < shape.size() && shape[k] == heads ? kept : shape[k] / heads * kept;
      break;
    }
    n.attributes["shape"] = shape;
  }
}

}  // namespace

std::vector<AttentionSite> attention_sites(const Graph& g) {
  const Finder finder(g);
  std::vector<AttentionSite> found;
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    if (g.nodes[i].op != Op::kAttention) continue;
    if (const auto site = finder.site(i)) found.push_back(*site);
  }
  return found;
}

std::vector<int64_t> elements_of_head(const AttentionSite& s, int64_t head) { return elements(elements({head}, s.queries), s.value_depth); }

void keep_heads(Graph& g, const AttentionSite& s, const std::vector<int64_t>& kept) {
  const auto left = static_cast<int64_t>(kept.size());
  const std::vector<int64_t> queries = elements(kept, s.queries);
  keep_outputs(g, g.nodes[s.q], elements(queries, s.key_depth));
  keep_outputs(g, g.nodes[s.k], elements(kept, s.key_depth));
  keep_outputs(g, g.nodes[s.v], elements(kept, s.value_depth));
  const Node& out = g.nodes[s.out];
  cut_constant(g, out.inputs[1], {weight_axis(out, false), elements(queries, s.value_depth)});
  reshape_path(g, s.q_path, s.heads * s.queries, s.key_depth, left * s.queries);
  reshape_path(g, s.k_path, s.heads, s.key_depth, left);
  reshape_path(g, s.v_path, s.heads, s.value_depth, left);
  reshape_path(g, s.out_path, s.heads * s.queries, s.value_depth, left * s.queries);
  for (ValueId id : s.states) g.value(id).shape[1] = left;
  Node& attention = g.nodes[s.node];
  if (attention.has("q_num_heads")) attention.attributes["q_num_heads"] = left * s.queries;
  if (attention.has("kv_num_heads")) attention.attributes["kv_num_heads"] = left;
}

}  // namespace pith
