// Layers that make up for what was changed before them and in them.
//
// Method: in the order of execution, each product gets the weights of least squared error towards the original's results on what
// it reads by now (ir/compensate.h), and its bias puts the means of its results back.
#pragma once

#include "ir/compensate.h"

namespace pith {

// Of the second moments' mean: how strongly least squares hold on to the weights there were.
inline constexpr double kMakeUpDamping = 0.002;

// For a visitor of ir::walk_side_by_side: node k of the student, from the original's weights. Nodes that are no product with weights
// of their own stay. Blocks of zeros stay zeros, or what `zeros` says instead (1, rows in the file's order).
Result<void> make_up(const ir::Graph& original, ir::Graph& student, size_t k, const ir::SideBySide& inputs, int64_t positions, const std::vector<uint8_t>* zeros = nullptr);

// Whether a product's weights are read by it alone, and its bias is missing or a constant for each row.
bool stands_alone(const ir::Graph& graph, const ir::Node& node, const ir::ProductRows& rows);

// Sets a product's weights to rows in the file's order, and adds to its bias, which is made where there is none.
void set_rows(ir::Graph& graph, const ir::Node& node, const ir::ProductRows& rows, std::span<const double> weights);
void add_to_bias(ir::Graph& graph, ir::Node& node, std::span<const double> shift);

}  // namespace pith
