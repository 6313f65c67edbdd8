// From text to the numbers that a language model takes, and back.
//
// A vocabulary is coded into a block of bytes by the toolchain and travels in the .pith file, as the metadata "tokenizer"
// (docs/format.md, section 9). Four kinds are read: byte-level pairs (GPT-2, RoBERTa), word pieces (BERT), unigrams and
// scored pairs (sentencepiece, Llama).
//
//   size_t memory, scratch;
//   pith_tokenizer_memory_bytes(block, bytes, &memory);            // then memory of so many bytes, aligned to 8
//   pith_tokenizer* t;
//   pith_tokenizer_load(block, bytes, m, memory, &t);              // the block isn't needed any more
//   scratch = pith_tokenizer_scratch_bytes(t, strlen(text));
//   pith_tokenize(t, text, strlen(text), 1, s, scratch, tokens, capacity, &count);
//   pith_detokenize(t, ids, count, 1, out, sizeof out, &length);
//
// Text is UTF-8, but any bytes will do: a malformed sequence counts as one U+FFFD. Equal inputs give the tokens that the
// library `tokenizers` (Hugging Face) gives with the same vocabulary; tools/check_tokenizers.py is the proof.
#ifndef PITH_POST_TOKENIZER_H_
#define PITH_POST_TOKENIZER_H_

#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pith_tokenizer pith_tokenizer;  // lies at the start of its memory; immutable, may be shared by threads

typedef struct pith_text_token {
  int32_t id;
  uint32_t begin, end;  // the bytes of the text that it stands for, whole characters; both 0 for added specials
} pith_text_token;

typedef enum pith_token_role {
  PITH_TOKEN_UNKNOWN = 0,
  PITH_TOKEN_PADDING = 1,
  PITH_TOKEN_MASK = 2,
  PITH_TOKEN_BEGIN = 3,
  PITH_TOKEN_END = 4
} pith_token_role;

// How much memory pith_tokenizer_load takes. Errors: PITH_POST_NULL; PITH_POST_TEXT (not a vocabulary).
pith_post_status pith_tokenizer_memory_bytes(const void* block, size_t bytes, size_t* memory_bytes);

// Errors: PITH_POST_NULL; PITH_POST_TEXT (damaged); PITH_POST_SCRATCH (memory too small or not aligned to 8).
pith_post_status pith_tokenizer_load(const void* block, size_t bytes, void* memory, size_t memory_bytes,
                                     pith_tokenizer** tokenizer);

// Working memory for a text of so many bytes, aligned to 8; about 120 times its length. 0 if that is no size.
size_t pith_tokenizer_scratch_bytes(const pith_tokenizer* tokenizer, size_t text_bytes);

// Tokens of one text.
//   specials  1: with the tokens that the model wants around a text ([CLS] ... [SEP])
//   count     how many there are, also when they don't fit. capacity 0: only counted, tokens may be NULL
// Time: linear for word pieces and unigrams, n log n for pairs, n the length of the longest word.
// Errors: PITH_POST_NULL; PITH_POST_RANGE (capacity < 0); PITH_POST_TOO_BIG (2^28 bytes and more); PITH_POST_SCRATCH;
// PITH_POST_CAPACITY (the first `capacity` tokens are written).
pith_post_status pith_tokenize(const pith_tokenizer* tokenizer, const char* text, size_t text_bytes, int32_t specials,
                               void* scratch, size_t scratch_bytes, pith_text_token* tokens, int32_t capacity,
                               int32_t* count);

// The text of tokens, zero-terminated.
//   skip_specials  1: without those tokens that are no text
//   length         bytes without the zero, also when they don't fit. capacity 0: only measured, text may be NULL
// Errors: PITH_POST_NULL; PITH_POST_RANGE (count < 0, an id that isn't one); PITH_POST_CAPACITY (an empty string is
// written).
pith_post_status pith_detokenize(const pith_tokenizer* tokenizer, const int32_t* ids, int32_t count,
                                 int32_t skip_specials, char* text, size_t capacity, size_t* length);

int32_t pith_tokenizer_size(const pith_tokenizer* tokenizer);  // ids are 0 .. size - 1
// The token that plays a role, -1 if none does.
int32_t pith_tokenizer_role(const pith_tokenizer* tokenizer, pith_token_role role);
// A token as the vocabulary spells it; not zero-terminated. Length 0 for an id that isn't one.
const char* pith_tokenizer_token(const pith_tokenizer* tokenizer, int32_t id, size_t* length);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_TOKENIZER_H_
