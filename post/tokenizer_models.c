// One word into tokens, by each of the four kinds of vocabulary.
//
// Pairs: the two neighbours whose pair ranks first are joined, again and again (Sennrich et al., "Neural machine
// translation of rare words with subword units", 2016). The next pair comes from a tree of minima over the positions, so
// that a word of n symbols takes n log n steps even where a whole text is one word. Word pieces: the longest beginning that
// the vocabulary knows (Schuster and Nakajima, 2012). Unigrams: the most probable segmentation by Viterbi's algorithm
// (Kudo, "Subword regularization", 2018).
#include "post/tokenizer_internal.h"

// ---- pairs ----------------------------------------------------------------------------------------------------------

typedef struct symbol {
  uint32_t id, next, previous, first;  // neighbours by index; `first` byte
} symbol;

typedef struct pair_word {
  const pith_tokenizer* t;
  const pith_normal* text;
  symbol* symbols;
  uint32_t count, last_byte;
  uint32_t *tree, leaves;  // tree[leaves + i]: the rank of symbols i and its next
} pair_word;

static uint32_t end_of(const pair_word* w, uint32_t i) {
  const uint32_t next = w->symbols[i].next;
  return next == w->count ? w->last_byte : w->symbols[next].first;
}

// The token of scored pairs that symbols i and next spell together.
static uint32_t joined_token(const pair_word* w, uint32_t i, uint32_t next) {
  const uint32_t first = w->symbols[i].first, middle = w->symbols[next].first, last = end_of(w, next);
  const pith_tokenizer* t = w->t;
  if (t->lengths[w->symbols[i].id] != middle - first || t->lengths[w->symbols[next].id] != last - middle) return PITH_NO_TOKEN;
  if (last - first > t->longest) return PITH_NO_TOKEN;
  return pith_find_token(t, w->text->text + first, last - first);
}

static uint32_t rank_at(const pair_word* w, uint32_t i) {
  const uint32_t next = w->symbols[i].next;
  if (next == w->count) return PITH_NO_TOKEN;
  if (w->t->model == PITH_BYTE_PAIRS) return pith_find_pair(w->t, w->symbols[i].id, w->symbols[next].id);
  const uint32_t id = joined_token(w, i, next);
  return id == PITH_NO_TOKEN ? id : w->t->ranks[id];
}

static void set_rank(pair_word* w, uint32_t i, uint32_t rank) {
  uint32_t at = w->leaves + i;
  w->tree[at] = rank;
  for (at /= 2; at >= 1; at /= 2) {
    const uint32_t a = w->tree[2 * at], b = w->tree[2 * at + 1];
    w->tree[at] = a < b ? a : b;
  }
}

// The leftmost of the pairs that rank first; false if none is left.
static int best_pair(const pair_word* w, uint32_t* i) {
  const uint32_t best = w->tree[1];
  if (best == PITH_NO_TOKEN) return 0;
  uint32_t at = 1;
  while (at < w->leaves) at = w->tree[2 * at] == best ? 2 * at : 2 * at + 1;
  *i = at - w->leaves;
  return 1;
}

static void join(pair_word* w, uint32_t i) {
  symbol* s = &w->symbols[i];
  const uint32_t gone = s->next;
  s->id = w->t->model == PITH_BYTE_PAIRS ? w->t->pairs[pith_find_pair(w->t, s->id, w->symbols[gone].id)].result
                                         : joined_token(w, i, gone);
  s->next = w->symbols[gone].next;
  if (s->next != w->count) w->symbols[s->next].previous = i;
  set_rank(w, gone, PITH_NO_TOKEN);
  set_rank(w, i, rank_at(w, i));
  if (s->previous != w->count) set_rank(w, s->previous, rank_at(w, s->previous));
}

static void add_symbol(pair_word* w, uint32_t id, uint32_t first) {
  const symbol s = {id, 0, 0, first};
  w->symbols[w->count++] = s;
}

// Characters, or bytes where the vocabulary is one of bytes; unknown ones as bytes, else as the unknown token.
static void first_symbols(pair_word* w, uint32_t first, uint32_t last) {
  const pith_tokenizer* t = w->t;
  const uint8_t* text = w->text->text;
  int after_unknown = 0;
  for (uint32_t at = first, length; at < last; at += length) {
    length = 1;
    uint32_t id;
    if (t->flags & PITH_TEXT_BYTE_LEVEL) {
      id = (uint32_t)t->bytes[text[at]];
    } else {
      pith_utf8_read(text + at, last - at, &length);
      id = pith_find_token(t, text + at, length);
    }
    if (id != PITH_NO_TOKEN) {
      add_symbol(w, id, at);
      after_unknown = 0;
      continue;
    }
    int bytes = (t->flags & PITH_TEXT_BYTE_FALLBACK) != 0;
    for (uint32_t i = 0; i < length; ++i) bytes = bytes && t->bytes[text[at + i]] >= 0;
    for (uint32_t i = 0; i < length && bytes; ++i) add_symbol(w, (uint32_t)t->bytes[text[at + i]], at + i);
    if (!bytes && t->roles[PITH_TOKEN_UNKNOWN] >= 0 && !(after_unknown && t->flags & PITH_TEXT_FUSE_UNKNOWN)) {
      add_symbol(w, (uint32_t)t->roles[PITH_TOKEN_UNKNOWN], at);
    }
    after_unknown = !bytes;
  }
}

void pith_tokenize_pairs(const pith_tokenizer* t, const pith_normal* text, uint32_t first, uint32_t last, uint8_t* scratch,
                         pith_token_sink* sink) {
  if (t->flags & PITH_TEXT_WHOLE_WORDS) {
    const uint32_t whole = pith_find_token(t, text->text + first, last - first);
    if (whole != PITH_NO_TOKEN) {
      pith_sink_token(sink, text, whole, first, last);
      return;
    }
  }
  pair_word w = {t, text, (symbol*)scratch, 0, last, 0, 1};
  first_symbols(&w, first, last);
  if (w.count == 0) return;
  while (w.leaves < w.count) w.leaves *= 2;
  w.tree = (uint32_t*)(w.symbols + w.count);
  for (uint32_t i = 0; i < w.count; ++i) {
    w.symbols[i].next = i + 1;
    w.symbols[i].previous = i == 0 ? w.count : i - 1;
  }
  for (uint32_t i = 0; i < w.leaves; ++i) w.tree[w.leaves + i] = i < w.count ? rank_at(&w, i) : PITH_NO_TOKEN;
  for (uint32_t i = w.leaves - 1; i >= 1; --i) w.tree[i] = w.tree[2 * i] < w.tree[2 * i + 1] ? w.tree[2 * i] : w.tree[2 * i + 1];
  for (uint32_t i; w.leaves > 1 && best_pair(&w, &i);) join(&w, i);
  for (uint32_t i = 0; i != w.count; i = w.symbols[i].next) pith_sink_token(sink, text, w.symbols[i].id, w.symbols[i].first, end_of(&w, i));
}

// ---- word pieces ----------------------------------------------------------------------------------------------------

// The longest token that `text` (of `bytes`) begins with, under a hash that may have read a prefix ("##") already.
static uint32_t longest_piece(const pith_tokenizer* t, const uint8_t* text, uint32_t bytes, int inside, uint32_t* length) {
  uint8_t spelled[2 + 512];
  uint32_t hash = pith_hash_begin(), best = PITH_NO_TOKEN, prefix = 0;
  if (inside) {
    spelled[0] = spelled[1] = '#';
    hash = pith_hash_byte(pith_hash_byte(hash, '#'), '#');
    prefix = 2;
  }
  for (uint32_t i = 0; i < bytes && i < 512 && prefix + i < t->longest; ++i) {
    spelled[prefix + i] = text[i];
    hash = pith_hash_byte(hash, text[i]);
    const int whole = i + 1 == bytes || (text[i + 1] & 0xc0) != 0x80;
    const uint32_t id = whole ? pith_find_hashed(t, hash, spelled, prefix + i + 1) : PITH_NO_TOKEN;
    if (id == PITH_NO_TOKEN) continue;
    best = id;
    *length = i + 1;
  }
  return best;
}

void pith_tokenize_pieces(const pith_tokenizer* t, const pith_normal* text, uint32_t first, uint32_t last,
                          pith_token_sink* sink) {
  uint32_t characters = 0;
  for (uint32_t i = first; i < last; ++i) characters += (text->text[i] & 0xc0) != 0x80;
  const int32_t before = sink->count;
  uint32_t at = characters > t->max_word ? PITH_NO_TOKEN : first, length = 0;
  while (at < last) {
    const uint32_t id = longest_piece(t, text->text + at, last - at, at != first, &length);
    if (id == PITH_NO_TOKEN) break;
    pith_sink_token(sink, text, id, at, at + length);
    at += length;
  }
  if (at == last) return;
  sink->count = before;  // a word that isn't covered is one unknown token
  if (t->roles[PITH_TOKEN_UNKNOWN] >= 0) pith_sink_token(sink, text, (uint32_t)t->roles[PITH_TOKEN_UNKNOWN], first, last);
}

// ---- unigrams -------------------------------------------------------------------------------------------------------

typedef struct path {
  double score;
  uint32_t start, id;  // of the last token of the best way here; start PITH_NO_TOKEN: none yet
} path;

static void offer(path* target, double score, uint32_t start, uint32_t id) {
  if (target->start != PITH_NO_TOKEN && !(score > target->score)) return;
  const path better = {score, start, id};
  *target = better;
}

static void sink_unigram(const pith_tokenizer* t, const pith_normal* text, uint32_t id, uint32_t first, uint32_t last, pith_token_sink* sink) {
  int bytes = id == PITH_NO_TOKEN && (t->flags & PITH_TEXT_BYTE_FALLBACK) != 0;
  for (uint32_t i = first; i < last && bytes; ++i) bytes = t->bytes[text->text[i]] >= 0;
  if (id != PITH_NO_TOKEN) {
    pith_sink_token(sink, text, id, first, last);
  } else if (bytes) {
    for (uint32_t i = first; i < last; ++i) {
      pith_sink_token(sink, text, (uint32_t)t->bytes[text->text[i]], first, last);
    }
  } else if (t->roles[PITH_TOKEN_UNKNOWN] >= 0) {
    pith_sink_token(sink, text, (uint32_t)t->roles[PITH_TOKEN_UNKNOWN], first, last);
  }
}

// The score of a longer path. Where sums are of 32 bits, the order of equal tokens may decide by a rounding.
static double longer_path(const pith_tokenizer* t, double score, double token) {
  return t->flags & PITH_TEXT_FLOAT_SUMS ? (float)((float)score + (float)token) : score + token;
}

void pith_tokenize_unigrams(const pith_tokenizer* t, const pith_normal* text, uint32_t first, uint32_t last, uint8_t* scratch,
                            pith_token_sink* sink) {
  path* paths = (path*)scratch;
  const uint32_t n = last - first;
  const uint8_t* word = text->text + first;
  const path none = {0, PITH_NO_TOKEN, PITH_NO_TOKEN};
  for (uint32_t i = 0; i <= n; ++i) paths[i] = none;
  for (uint32_t at = 0, length; at < n; at += length) {
    pith_utf8_read(word + at, n - at, &length);
    int single = 0;
    uint32_t hash = pith_hash_begin();
    for (uint32_t bytes = 1; bytes <= n - at && bytes <= t->longest; ++bytes) {
      hash = pith_hash_byte(hash, word[at + bytes - 1]);
      if (at + bytes < n && (word[at + bytes] & 0xc0) == 0x80) continue;
      const uint32_t id = pith_find_hashed(t, hash, word + at, bytes);
      if (id == PITH_NO_TOKEN) continue;
      offer(&paths[at + bytes], longer_path(t, paths[at].score, t->scores[id]), at, id);
      single = single || bytes == length;
    }
    if (!single) offer(&paths[at + length], longer_path(t, paths[at].score, t->unknown_score), at, PITH_NO_TOKEN);
  }
  // backwards along the best way, turning the links round; then forwards
  uint32_t at = n, next = PITH_NO_TOKEN, id = PITH_NO_TOKEN;
  while (at != PITH_NO_TOKEN) {
    const uint32_t start = paths[at].start, own = paths[at].id;
    paths[at].start = next;  // from here on: where the token that begins here ends
    paths[at].id = id;
    next = at;
    id = own;
    at = at == 0 ? PITH_NO_TOKEN : start;
  }
  for (at = 0; at != n;) {
    uint32_t end = paths[at].start;
    const uint32_t own = paths[at].id;
    while (own == PITH_NO_TOKEN && t->flags & PITH_TEXT_FUSE_UNKNOWN && end != n && paths[end].id == PITH_NO_TOKEN) end = paths[end].start;
    sink_unigram(t, text, own, first + at, first + end, sink);
    at = end;
  }
}
