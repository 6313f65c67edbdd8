// The verifier's parts (see verify.cpp); the public function is verify() in graph.h.
#pragma once

#include <fmt/format.h>

#include "ir/graph.h"

namespace pith::ir {

std::string node_label(const Node& node);     // Conv 'name'
std::string value_label(const Value& value);  // value 'name'

// Quantisation of one value, and of a node's operands and activation, including the bound of its accumulators.
Result<void> verify_quant(const Value& v);
Result<void> verify_quant(const Graph& graph, const Node& node);

}  // namespace pith::ir
