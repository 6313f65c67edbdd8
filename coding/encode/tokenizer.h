// A tokeniser as a block of bytes (docs/format.md, section 9), which post/tokenizer.h loads.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/tokenizer.h"

namespace pith::coding {

// Errors (kUsage): more than 2^22 tokens, one above 65,535 bytes, ids out of range, pairs that don't spell their result.
Result<std::vector<uint8_t>> encode_tokenizer(const Tokenizer& tokenizer);

}  // namespace pith::coding
