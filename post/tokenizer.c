// The tokenisers' interface: added tokens are cut out of the raw text first, what lies between them is normalised, cut
// into words and handed to the vocabulary's kind. See tokenizer.h.
#include "post/tokenizer.h"

#include <string.h>

#include "post/tokenizer_internal.h"

enum { kPerByte = 9 + 32, kMore = 1024 };

// Normalisation makes at most three bytes of one, and a few more at each added token's side.
static size_t most_normal(size_t text_bytes) { return 3 * text_bytes + 16; }

size_t pith_tokenizer_scratch_bytes(const pith_tokenizer* tokenizer, size_t text_bytes) {
  if (tokenizer == NULL || text_bytes >= (size_t)1 << 28) return 0;
  return most_normal(text_bytes) * kPerByte + kMore;
}

int32_t pith_tokenizer_size(const pith_tokenizer* tokenizer) { return tokenizer == NULL ? 0 : (int32_t)tokenizer->count; }

int32_t pith_tokenizer_role(const pith_tokenizer* tokenizer, pith_token_role role) {
  return tokenizer == NULL || (int)role < 0 || role > PITH_TOKEN_END ? -1 : tokenizer->roles[role];
}

const char* pith_tokenizer_token(const pith_tokenizer* tokenizer, int32_t id, size_t* length) {
  const int known = tokenizer != NULL && id >= 0 && (uint32_t)id < tokenizer->count;
  if (length != NULL) *length = known ? tokenizer->lengths[id] : 0;
  return known ? (const char*)tokenizer->pool + tokenizer->starts[id] : "";
}

void pith_sink_token(pith_token_sink* sink, const pith_normal* text, uint32_t id, uint32_t first, uint32_t last) {
  if (sink->count < sink->capacity) {
    const pith_text_token token = {(int32_t)id, text->begin[first], text->end[last - 1]};
    sink->tokens[sink->count] = token;
  }
  ++sink->count;
}

static void sink_plain(pith_token_sink* sink, uint32_t id, uint32_t begin, uint32_t end) {
  const pith_text_token token = {(int32_t)id, begin, end};
  if (sink->count < sink->capacity) sink->tokens[sink->count] = token;
  ++sink->count;
}

// The added token that `text` begins with, the longest of several; NULL if none.
static const pith_added* added_at(const pith_tokenizer* t, const uint8_t* text, uint32_t bytes) {
  const pith_added* best = NULL;
  if (!(t->first_bytes[text[0] >> 3] >> (text[0] & 7) & 1)) return NULL;
  for (uint32_t i = 0; i < t->added_count; ++i) {
    const uint32_t id = t->added[i].id, length = t->lengths[id];
    if (length > bytes || t->added[i].flags & PITH_ADDED_HIDDEN || !pith_same_bytes(t->pool + t->starts[id], text, length)) continue;
    if (best == NULL || length > t->lengths[best->id]) best = &t->added[i];
  }
  return best;
}

// White space to the left of `at`, down to `least`; to the right, up to `most`.
static uint32_t strip_left(const uint8_t* text, uint32_t least, uint32_t at) {
  while (at > least) {
    uint32_t start = at - 1, length;
    while (start > least && at - start < 4 && (text[start] & 0xc0) == 0x80) --start;
    const uint32_t c = pith_utf8_read(text + start, at - start, &length);
    if (start + length != at || !(pith_unicode_class(c) & PITH_SPACE)) break;
    at = start;
  }
  return at;
}

static uint32_t strip_right(const uint8_t* text, uint32_t at, uint32_t most) {
  uint32_t length;
  while (at < most && pith_unicode_class(pith_utf8_read(text + at, most - at, &length)) & PITH_SPACE) at += length;
  return at;
}

// Spaces at a byte-level token's ends are no part of the word that it stands for.
static void trim(const pith_tokenizer* t, pith_token_sink* sink, int32_t from) {
  for (int32_t i = from; i < sink->count && i < sink->capacity; ++i) {
    pith_text_token* token = &sink->tokens[i];
    const uint8_t* spelled = t->pool + t->starts[token->id];
    const uint32_t length = t->lengths[token->id];
    uint32_t leading = 0, trailing = 0;
    while (leading < length && spelled[leading] == ' ') ++leading;
    while (trailing < length && spelled[length - 1 - trailing] == ' ') ++trailing;
    if (leading > 0 && t->flags & PITH_TEXT_PREFIX_SPACE && token->begin == 0) --leading;
    const uint32_t width = token->end - token->begin;
    token->begin += leading < width ? leading : width;
    const uint32_t rest = token->end - token->begin;
    token->end -= trailing < rest ? trailing : rest;
  }
}

static void segment(const pith_tokenizer* t, const uint8_t* text, uint32_t begin, uint32_t end, pith_normal* normal,
                    uint8_t* scratch, pith_token_sink* sink) {
  if (begin == end) return;
  const int32_t from = sink->count;
  pith_normalize(t, text, begin, end, begin == 0, normal);
  for (uint32_t at = 0, next; at < normal->count; at = next) {
    next = pith_next_word(t, normal, &at);
    if (at >= next) break;
    switch (t->model) {
      case PITH_WORD_PIECES:
        pith_tokenize_pieces(t, normal, at, next, sink);
        break;
      case PITH_UNIGRAMS:
        pith_tokenize_unigrams(t, normal, at, next, scratch, sink);
        break;
      default:
        pith_tokenize_pairs(t, normal, at, next, scratch, sink);
    }
  }
  if (t->flags & PITH_TEXT_TRIM) trim(t, sink, from);
}

pith_post_status pith_tokenize(const pith_tokenizer* tokenizer, const char* text, size_t text_bytes, int32_t specials,
                               void* scratch, size_t scratch_bytes, pith_text_token* tokens, int32_t capacity,
                               int32_t* count) {
  if (tokenizer == NULL || count == NULL || scratch == NULL) return PITH_POST_NULL;
  if ((text == NULL && text_bytes > 0) || (tokens == NULL && capacity > 0)) return PITH_POST_NULL;
  if (capacity < 0) return PITH_POST_RANGE;
  if (text_bytes >= (size_t)1 << 28) return PITH_POST_TOO_BIG;
  if (scratch_bytes < pith_tokenizer_scratch_bytes(tokenizer, text_bytes) || (uintptr_t)scratch % 8 != 0) return PITH_POST_SCRATCH;
  const pith_tokenizer* t = tokenizer;
  const uint8_t* bytes = (const uint8_t*)text;
  const uint32_t n = (uint32_t)text_bytes;
  const size_t most = most_normal(text_bytes);
  uint8_t* work = scratch;  // the word's part first: it wants alignment
  pith_normal normal = {work + most * 40 + kMore - 64, (uint32_t*)(work + most * 32 + kMore - 64),
                        (uint32_t*)(work + most * 36 + kMore - 64), 0};
  pith_token_sink sink = {tokens, capacity, 0};
  for (uint32_t i = 0; specials && i < t->before_count; ++i) sink_plain(&sink, t->before[i], 0, 0);
  uint32_t start = 0;
  for (uint32_t at = 0; at < n;) {
    const pith_added* added = added_at(t, bytes + at, n - at);
    if (added == NULL) {
      ++at;
      continue;
    }
    uint32_t begin = at, end = at + t->lengths[added->id];
    if (added->flags & PITH_ADDED_LEFT) begin = strip_left(bytes, start, begin);
    if (added->flags & PITH_ADDED_RIGHT) end = strip_right(bytes, end, n);
    segment(t, bytes, start, begin, &normal, work, &sink);
    const uint32_t length = t->lengths[added->id];
    const int whole = !(t->flags & PITH_TEXT_TRIM);  // offsets with the white space that it took
    sink_plain(&sink, added->id, whole ? begin : at, whole ? end : at + length);
    start = at = end;
  }
  segment(t, bytes, start, n, &normal, work, &sink);
  for (uint32_t i = 0; specials && i < t->after_count; ++i) sink_plain(&sink, t->after[i], 0, 0);
  *count = sink.count;
  return sink.count > capacity && capacity > 0 ? PITH_POST_CAPACITY : PITH_POST_OK;
}

// ---- back to text ---------------------------------------------------------------------------------------------------

typedef struct text_sink {
  char* text;
  size_t capacity, length;
} text_sink;

static void put_text(text_sink* to, const uint8_t* text, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i, ++to->length) {
    if (to->length < to->capacity) to->text[to->length] = (char)text[i];
  }
}

static int is_special(const pith_tokenizer* t, int32_t id) {
  for (uint32_t i = 0; i < t->added_count; ++i) {
    if (t->added[i].id == (uint32_t)id && t->added[i].flags & PITH_ADDED_SPECIAL) return 1;
  }
  return 0;
}

// U+2581 is a space again.
static void put_metaspaced(text_sink* to, const uint8_t* text, uint32_t length, int strip) {
  const uint8_t space = ' ';
  for (uint32_t i = 0; i < length; ++i) {
    if (length - i >= 3 && text[i] == 0xe2 && text[i + 1] == 0x96 && text[i + 2] == 0x81) {
      if (!(strip && i == 0)) put_text(to, &space, 1);
      i += 2;
    } else {
      put_text(to, text + i, 1);
    }
  }
}

static void put_token(const pith_tokenizer* t, int32_t id, int first, text_sink* to) {
  const uint8_t* text = t->pool + t->starts[id];
  const uint32_t length = t->lengths[id];
  if (t->model == PITH_WORD_PIECES) {
    const int inside = length > 2 && text[0] == '#' && text[1] == '#';
    if (!inside && !first) put_text(to, (const uint8_t*)" ", 1);
    put_text(to, text + (inside ? 2 : 0), length - (inside ? 2 : 0));
    return;
  }
  if (t->flags & PITH_TEXT_BYTE_FALLBACK && length == 6 && text[0] == '<' && text[1] == '0' && text[2] == 'x') {
    for (int b = 0; b < 256; ++b) {
      const uint8_t byte = (uint8_t)b;
      if (t->bytes[b] == id) {
        put_text(to, &byte, 1);
        return;
      }
    }
  }
  if (t->flags & PITH_TEXT_METASPACE) {
    put_metaspaced(to, text, length, first && (t->flags & PITH_TEXT_STRIP_FIRST_SPACE) != 0);
  } else {
    put_text(to, text, length);
  }
}

pith_post_status pith_detokenize(const pith_tokenizer* tokenizer, const int32_t* ids, int32_t count, int32_t skip_specials,
                                 char* text, size_t capacity, size_t* length) {
  if (tokenizer == NULL || length == NULL || (ids == NULL && count > 0) || (text == NULL && capacity > 0)) return PITH_POST_NULL;
  if (count < 0) return PITH_POST_RANGE;
  text_sink to = {text, capacity, 0};
  int first = 1;
  for (int32_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || (uint32_t)ids[i] >= tokenizer->count) return PITH_POST_RANGE;
    if (skip_specials && is_special(tokenizer, ids[i])) continue;
    put_token(tokenizer, ids[i], first, &to);
    first = 0;
  }
  *length = to.length;
  if (capacity == 0) return PITH_POST_OK;
  if (to.length + 1 > capacity) {
    text[0] = 0;
    return PITH_POST_CAPACITY;
  }
  text[to.length] = 0;
  return PITH_POST_OK;
}
