// How well a compressed model of text agrees with its original, on the same lines.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/random.h"
#include "cli/language.h"

namespace pith::cli {

constexpr int64_t kScoreTokens = 256;  // of a held-back line that a decoder continues

// By the head: embeddings by their cosine and the order of all pairs' similarities, masks by the loss on the token that was
// there (one a line, chosen by chance), continued text by nats per token of the original.
// `kept`: the original's ids of the tokens that the small model has; empty: it has them all. Then texts are what is compared, each
// read with a model's own tokens; a mask whose token was left out isn't asked for, but counted.
Result<nlohmann::json> compare_language(const Language& original, const Language& small, const std::vector<uint32_t>& kept, const std::vector<std::string>& lines, Random& random);

}  // namespace pith::cli
