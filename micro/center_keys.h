// Keys that a decoder remembers, brought to where 4 bits hold them.
//
// A few channels of keys are large, and large always with the same sign (Z. Liu et al., "KIVI", 2024), so that what a scale
// shared by a head's values leaves the others is coarse: stories260K lost 0.84 nats per token with keys of 4 bits. But softmax doesn't see what is added
// to all scores of a query, so a constant vector may be taken off all keys of a head; and a channel of keys may be multiplied
// where that of the queries is divided. So the keys' means go, and channels are multiplied by powers of two so that they spread about equally. The
// float network stays as it was; what it costs is an addition and two multiplications of one token's keys and queries in each layer.
#pragma once

#include "base/result.h"
#include "ir/graph.h"

namespace pith {

// Does so for all keys that one attention reads out of a state that is renewed row by row (compile/code_cache.h). What is known of keys comes
// from the states of `samples`, rows that aren't zero; those rows are changed with the graph. Returns how many states that were.
Result<int64_t> center_keys(ir::Graph& graph, std::vector<std::vector<ir::Tensor>>& samples);

}  // namespace pith
