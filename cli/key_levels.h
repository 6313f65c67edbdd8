// Keys of a decoder as it reads text: what compile/code_cache.h wants to know before it codes them in 4 bits.
#pragma once

#include "compile/compile.h"

namespace pith::cli {

// Fills options.key_levels where options ask for 4 bits and the program remembers keys as floats. The program runs over
// `texts` (tokens, each from position 0 on), or, where there are none, over text of its own, drawn from its distribution.
Result<void> learn_key_levels(const Program& program, const std::vector<std::vector<int32_t>>& texts, uint64_t seed, CompileOptions& options);

}  // namespace pith::cli
