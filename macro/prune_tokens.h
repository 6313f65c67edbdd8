// Which tokens of a vocabulary stay, and the tokeniser without the others.
//
// Why: half of a small encoder is a table of words, and the text of one domain reads a part of them. Method: tokens rank by how
// often samples read them, then by their number (vocabularies are numbered by frequency, or by the order in which pairs were
// learnt). Some stay always, so that every text still has tokens: specials; what stands for one character or byte; what holds
// a character that has no token of its own; of unigrams also the least likely one, which says what an unknown character
// costs. What pairs make needs what its parts are.
//
// A text whose tokens (and, of pairs, their parts) all stay is read as before, token by token: longest pieces, pairs in
// order of rank and the best path of unigrams remain what they were when only others are taken away. Any other text is
// read as shorter tokens; no character becomes unknown that wasn't. (One case apart: a word of pieces that was unknown, because its
// longest beginning led nowhere, may be read once that is gone.)
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/tokenizer.h"

namespace pith {

struct TokenChoice {
  std::vector<uint32_t> kept;    // ids, ascending
  int64_t required = 0;          // that stay always
  int64_t read = 0;              // tokens with a count
  double covered = 1;            // share of the counts that fall on kept tokens
};
// `counts` by id, at most as many as tokens. Error kDoesNotFit where more than `most` must stay.
Result<TokenChoice> choose_tokens(const Tokenizer& tokenizer, const std::vector<double>& counts, int64_t most);

// The tokeniser of the kept tokens, whose new ids are their places in `kept`.
Tokenizer cut_tokenizer(const Tokenizer& tokenizer, const std::vector<uint32_t>& kept);

}  // namespace pith
