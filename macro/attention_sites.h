// Where the heads of an attention lie in the products around it.
#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"

namespace pith {

struct AttentionSite {
  size_t node = 0;
  int64_t heads = 1, queries = 1;       // heads of keys, and how many heads of queries each serves
  int64_t key_depth = 1, value_depth = 1;
  size_t q = 0, k = 0, v = 0, out = 0;  // products: their places among the nodes
  std::vector<size_t> q_path, k_path, v_path, out_path;  // nodes between
  std::vector<ir::ValueId> states;      // remembered keys and values: inputs
};
// Attentions whose queries, keys and values come from products of their own and whose result one product reads; others are passed over.
std::vector<AttentionSite> attention_sites(const ir::Graph& graph);

// Keeps some heads of keys, ascending, with their queries: weights, biases, shapes and states shrink. Shapes are to be inferred anew.
void keep_heads(ir::Graph& graph, const AttentionSite& site, const std::vector<int64_t>& kept);
// The elements of the row that the product behind reads which belong to a head of keys.
std::vector<int64_t> elements_of_head(const AttentionSite& site, int64_t head);

}  // namespace pith
