// The loaded vocabulary and what the tokenisers' files share; not part of the interface.
#ifndef PITH_POST_TOKENIZER_INTERNAL_H_
#define PITH_POST_TOKENIZER_INTERNAL_H_

#include "post/tokenizer.h"
#include "post/unicode_internal.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PITH_BYTE_PAIRS = 0, PITH_WORD_PIECES = 1, PITH_UNIGRAMS = 2, PITH_SCORED_PAIRS = 3 };

enum {  // docs/format.md, section 9; base/tokenizer.h has the toolchain's names
  PITH_TEXT_CLEAN = 1 << 0,
  PITH_TEXT_IDEOGRAPHS = 1 << 1,
  PITH_TEXT_STRIP_MARKS = 1 << 2,
  PITH_TEXT_LOWER = 1 << 3,
  PITH_TEXT_BERT_WORDS = 1 << 4,
  PITH_TEXT_BYTE_LEVEL = 1 << 5,
  PITH_TEXT_GPT2_WORDS = 1 << 6,
  PITH_TEXT_PREFIX_SPACE = 1 << 7,
  PITH_TEXT_TRIM = 1 << 8,
  PITH_TEXT_METASPACE = 1 << 9,
  PITH_TEXT_SPLIT_METASPACE = 1 << 10,
  PITH_TEXT_SPLIT_SPACES = 1 << 11,
  PITH_TEXT_PREPEND = 1 << 12,
  PITH_TEXT_PREPEND_FIRST = 1 << 13,
  PITH_TEXT_PREPEND_MISSING = 1 << 14,
  PITH_TEXT_BYTE_FALLBACK = 1 << 15,
  PITH_TEXT_FUSE_UNKNOWN = 1 << 16,
  PITH_TEXT_STRIP_FIRST_SPACE = 1 << 17,
  PITH_TEXT_WHOLE_WORDS = 1 << 18,
  PITH_TEXT_FLOAT_SUMS = 1 << 19,
};
enum { PITH_ADDED_LEFT = 1, PITH_ADDED_RIGHT = 2, PITH_ADDED_SPECIAL = 4, PITH_ADDED_HIDDEN = 8 };

typedef struct pith_pair {
  uint32_t left, right, result;
} pith_pair;
typedef struct pith_added {
  uint32_t id, flags;
} pith_added;

struct pith_tokenizer {
  uint32_t model, flags, count, pairs_count, added_count, max_word, longest;
  int32_t roles[5];
  uint32_t before_count, after_count;
  uint32_t before[8], after[8];
  uint8_t* pool;
  uint32_t *starts, *lengths;               // of each token, in the pool
  uint32_t *table, table_size;              // token by its bytes: id + 1, 0 empty
  pith_pair* pairs;                         // in order of their rank
  uint32_t *pair_table, pair_table_size;    // rank + 1
  double* scores;                           // unigrams
  double unknown_score;
  uint32_t* ranks;                          // scored pairs: 0 is joined first
  pith_added* added;
  uint8_t first_bytes[32];                  // bit set: an added token begins with this byte
  int32_t bytes[256];                       // the token of a byte, -1 if there is none
};

#define PITH_NO_TOKEN 0xffffffffu
uint32_t pith_hash_begin(void);
uint32_t pith_hash_byte(uint32_t hash, uint8_t byte);
// The token with these bytes, whose hash is known; PITH_NO_TOKEN if there is none.
uint32_t pith_find_hashed(const pith_tokenizer* t, uint32_t hash, const uint8_t* text, uint32_t bytes);
uint32_t pith_find_token(const pith_tokenizer* t, const uint8_t* text, uint32_t bytes);
// The rank of a pair, PITH_NO_TOKEN if it isn't joined.
uint32_t pith_find_pair(const pith_tokenizer* t, uint32_t left, uint32_t right);
int pith_same_bytes(const uint8_t* a, const uint8_t* b, uint32_t bytes);

// Normalised text: bytes, and for each the bytes of the source that it comes from.
typedef struct pith_normal {
  uint8_t* text;
  uint32_t *begin, *end;
  uint32_t count;
} pith_normal;

typedef struct pith_token_sink {
  pith_text_token* tokens;
  int32_t capacity;
  int32_t count;
} pith_token_sink;

// A token over bytes first .. last - 1 of the normalised text.
void pith_sink_token(pith_token_sink* sink, const pith_normal* text, uint32_t id, uint32_t first, uint32_t last);

// Text between added tokens, normalised; `first` is whether nothing comes before it.
void pith_normalize(const pith_tokenizer* t, const uint8_t* text, uint32_t begin, uint32_t end, int first, pith_normal* to);
// The end of the word that begins at `at`; words that are no text (white space) are skipped first: *at moves.
uint32_t pith_next_word(const pith_tokenizer* t, const pith_normal* text, uint32_t* at);

// Tokens of one word, bytes first .. last - 1. `scratch` holds 32 bytes for each byte of the word, and 256 more.
void pith_tokenize_pairs(const pith_tokenizer* t, const pith_normal* text, uint32_t first, uint32_t last, uint8_t* scratch,
                         pith_token_sink* sink);
void pith_tokenize_pieces(const pith_tokenizer* t, const pith_normal* text, uint32_t first, uint32_t last,
                          pith_token_sink* sink);
void pith_tokenize_unigrams(const pith_tokenizer* t, const pith_normal* text, uint32_t first, uint32_t last, uint8_t* scratch,
                            pith_token_sink* sink);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_TOKENIZER_INTERNAL_H_
