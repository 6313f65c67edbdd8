// A tokeniser as a value: what a trained vocabulary and its settings say, whichever file they came from.
//
// Importers make it, coding/encode/tokenizer.h turns it into the block of bytes that travels in a .pith file, and
// post/tokenizer.h executes that. Flags are those of docs/format.md, section 9.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pith {

enum class TokenModel : uint32_t { kBytePairs = 0, kWordPieces = 1, kUnigrams = 2, kScoredPairs = 3 };

enum TextFlags : uint32_t {
  kTextClean = 1 << 0,            // control characters away, all white space is ' '
  kTextIdeographs = 1 << 1,       // Chinese characters stand alone
  kTextStripMarks = 1 << 2,       // canonical decomposition, combining marks away
  kTextLower = 1 << 3,
  kTextBertWords = 1 << 4,        // words end at white space, punctuation stands alone
  kTextByteLevel = 1 << 5,        // symbols are bytes, not characters
  kTextGpt2Words = 1 << 6,        // words by GPT-2's expression
  kTextPrefixSpace = 1 << 7,      // a space before a text that begins without one
  kTextTrim = 1 << 8,             // offsets leave a token's outer spaces out
  kTextMetaspace = 1 << 9,        // ' ' becomes U+2581
  kTextSplitMetaspace = 1 << 10,  // words begin at U+2581
  kTextSplitSpaces = 1 << 11,     // words end at white space, which goes
  kTextPrepend = 1 << 12,         // U+2581 before every segment between added tokens ...
  kTextPrependFirst = 1 << 13,    // ... or before the first only
  kTextPrependMissing = 1 << 14,  // ... but not where it stands already
  kTextByteFallback = 1 << 15,    // unknown characters as <0x0A> tokens
  kTextFuseUnknown = 1 << 16,     // neighbouring unknown characters are one token
  kTextStripFirstSpace = 1 << 17, // back to text: without the first space
  kTextWholeWords = 1 << 18,      // a word that is a token isn't built from pairs
  kTextFloatSums = 1 << 19,        // scores of a path add up in binary32 (sentencepiece), which decides between equal ones
};

struct TokenPair {
  uint32_t left = 0, right = 0, result = 0;  // ids
};

struct AddedToken {
  uint32_t id = 0;
  bool strip_left = false, strip_right = false, special = false;
  bool hidden = false;  // never read from a text
};

struct Tokenizer {
  TokenModel model = TokenModel::kWordPieces;
  uint32_t flags = 0, max_word = 100;  // characters of a word, word pieces
  std::vector<std::string> tokens;     // by id: their bytes; byte-level tokens as the bytes that they stand for
  std::vector<TokenPair> pairs;        // byte pairs, in order of their rank
  std::vector<double> scores;          // unigrams: logarithms; scored pairs: the highest joins first
  std::vector<AddedToken> added;       // found in the raw text; by id
  std::vector<uint32_t> before, after; // around a text
  int32_t unknown = -1, padding = -1, mask = -1, begin = -1, end = -1;
};

}  // namespace pith
