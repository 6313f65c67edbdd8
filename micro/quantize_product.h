// Integers for one product: weights, their scales, and a bias that takes the mean error away.
#pragma once

#include "micro/quantize.h"

namespace pith {

// `node` is_weighted(); its activations already carry their meanings. Its weights and bias become new constants, 8-bit
// or of fewer bits with 32-bit bias where both activations are 8-bit, else with a float bias. Short rows are rounded
// by the covariance of what they read (moments.h), others to nearest or, where bits have a price, for rate (round.h).
Result<void> quantize_product(ir::Graph& graph, ir::Node& node, const QuantizeOptions& options, const Calibration& calibration);

}  // namespace pith
