// Loading a coded vocabulary into the caller's memory.
//
// The block is one arithmetic-coded stream under adaptive bit models, as docs/format.md describes them in sections 2, 3
// and 9; this is a decoder of its own, since the library stands alone. The strings of byte pairs aren't in it: each token
// but the first few hundred is two earlier ones joined, so the pairs spell them. Everything is checked here once.
#include <string.h>

#include "post/tokenizer_internal.h"

enum { kLetterContexts = 128, kLengths = 16, kSlots = 8, kFields = 24, kMostTokens = 1 << 22, kMostPool = 1 << 28 };

typedef struct bit_model {
  uint16_t fast, slow;
  uint8_t seen;
} bit_model;
typedef struct number_model {
  bit_model length[kLengths], first[kSlots], second[kSlots][2];
} number_model;
typedef struct decoder {
  const uint8_t *next, *end;
  uint32_t range, code, missing;
  int failed;
} decoder;

// Fields of the stream, each with a model of its own.
enum { kFormat, kKind, kFlags, kCount, kPool, kPairs, kAdded, kMaxWord, kRole, kAround, kLength, kLeft, kRight, kResult, kId, kRank, kAddedId, kAddedFlags };

typedef struct models {
  number_model numbers[kFields];
  bit_model bits[4];  // explicit string, known result, wide scores
} models;
typedef bit_model letters[kLetterContexts][256];

static uint32_t next_byte(decoder* d) {
  if (d->next < d->end) return *d->next++;
  if (++d->missing > 4) d->failed = 1;
  return 0;
}

static void begin(decoder* d, const uint8_t* data, size_t bytes) {
  const decoder fresh = {data, data + bytes, 0xffffffffu, 0, 0, 0};
  *d = fresh;
  for (int i = 0; i < 4; ++i) d->code = d->code << 8 | next_byte(d);
}

static void normalize(decoder* d) {
  while (d->range < (uint32_t)1 << 24) {
    d->range <<= 8;
    d->code = d->code << 8 | next_byte(d);
  }
}

static uint32_t read_bit(decoder* d, bit_model* m) {
  static const uint8_t fast_rate[8] = {1, 2, 3, 3, 4, 4, 4, 4};
  static const uint8_t slow_rate[40] = {1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5,
                                        6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7};
  uint32_t p = ((uint32_t)m->fast + m->slow) >> 2;
  p = p < 32 ? 32 : p > 32736 ? 32736 : p;
  const uint32_t bound = (d->range >> 15) * p, one = d->code < bound;
  if (one) {
    d->range = bound;
  } else {
    d->code -= bound;
    d->range -= bound;
  }
  const int32_t target = one ? 65535 : 0;
  m->fast = (uint16_t)(m->fast + ((target - m->fast) >> fast_rate[m->seen < 7 ? m->seen : 7]));
  m->slow = (uint16_t)(m->slow + ((target - m->slow) >> slow_rate[m->seen]));
  if (m->seen < 39) ++m->seen;
  normalize(d);
  return one;
}

static uint32_t read_raw(decoder* d, int bits) {
  uint32_t value = 0;
  for (int i = 0; i < bits; ++i) {
    d->range >>= 1;
    const uint32_t one = d->code < d->range;
    if (!one) d->code -= d->range;
    value = value << 1 | one;
    normalize(d);
  }
  return value;
}

static uint32_t read_number(decoder* d, number_model* m) {
  int length = 0;
  while (length < 32 && read_bit(d, &m->length[length < kLengths ? length : kLengths - 1])) ++length;
  if (length <= 1) return (uint32_t)length;
  const int slot = length < kSlots ? length : kSlots - 1;
  const uint32_t first = read_bit(d, &m->first[slot]);
  uint32_t value = 2 | first;
  int left = length - 2;
  if (left > 0) {
    value = value << 1 | read_bit(d, &m->second[slot][first]);
    --left;
  }
  return left > 0 ? value << left | read_raw(d, left) : value;
}

static int32_t read_signed(decoder* d, number_model* m) {
  const uint32_t n = read_number(d, m);
  return (int32_t)(n >> 1) ^ -(int32_t)(n & 1);
}

static void clear_bits(bit_model* m, size_t count) {
  const bit_model fresh = {32768, 32768, 0};
  for (size_t i = 0; i < count; ++i) m[i] = fresh;
}

// What comes first, and decides how much memory the rest takes. False if it isn't one.
static int read_head(decoder* d, models* m, pith_tokenizer* t, uint32_t* pool) {
  number_model* n = m->numbers;
  if (read_number(d, &n[kFormat]) != 1) return 0;
  t->model = read_number(d, &n[kKind]);
  t->flags = read_number(d, &n[kFlags]);
  t->count = read_number(d, &n[kCount]);
  *pool = read_number(d, &n[kPool]);
  t->pairs_count = read_number(d, &n[kPairs]);
  t->added_count = read_number(d, &n[kAdded]);
  t->max_word = read_number(d, &n[kMaxWord]);
  for (int i = 0; i < 5; ++i) {
    const uint32_t role = read_number(d, &n[kRole]);
    if (role > t->count) return 0;
    t->roles[i] = (int32_t)role - 1;
  }
  for (int side = 0; side < 2; ++side) {
    const uint32_t count = read_number(d, &n[kAround]);
    if (count > 8) return 0;
    *(side == 0 ? &t->before_count : &t->after_count) = count;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t id = read_number(d, &n[kAround]);
      if (id >= t->count) return 0;
      (side == 0 ? t->before : t->after)[i] = id;
    }
  }
  return !d->failed && t->model <= PITH_SCORED_PAIRS && t->count >= 1 && t->count <= kMostTokens && *pool <= kMostPool &&
         t->pairs_count <= kMostTokens && t->added_count <= t->count;
}

// Hands out the parts of one block; with base NULL it only counts.
static void* take(uint8_t* base, size_t* used, size_t bytes) {
  void* part = base == NULL ? NULL : base + *used;
  *used += (bytes + 7) / 8 * 8;
  return part;
}

// The parts in their order; `symbols` and `contexts` are needed only while loading, and last.
static size_t lay_out(pith_tokenizer* t, uint8_t* base, uint32_t pool, uint32_t** symbols, letters** contexts, models** m) {
  size_t used = 0;
  const int pairs = t->model == PITH_BYTE_PAIRS;
  t->table_size = t->count + t->count / 2 + 8;
  t->pair_table_size = pairs ? t->pairs_count + t->pairs_count / 2 + 8 : 0;
  take(base, &used, sizeof *t);
  t->pool = take(base, &used, pool);
  t->starts = take(base, &used, 4 * (size_t)t->count);
  t->lengths = take(base, &used, 4 * (size_t)t->count);
  t->table = take(base, &used, 4 * (size_t)t->table_size);
  t->pairs = take(base, &used, sizeof(pith_pair) * (size_t)t->pairs_count);
  t->pair_table = take(base, &used, 4 * (size_t)t->pair_table_size);
  t->scores = take(base, &used, t->model == PITH_UNIGRAMS ? 8 * (size_t)t->count : 0);
  t->ranks = take(base, &used, t->model == PITH_SCORED_PAIRS ? 4 * (size_t)t->count : 0);
  t->added = take(base, &used, sizeof(pith_added) * (size_t)t->added_count);
  *symbols = take(base, &used, pairs ? 4 * (size_t)t->count : 0);
  *contexts = take(base, &used, sizeof(letters));
  *m = take(base, &used, sizeof(models));
  return used;
}

typedef struct loader {
  decoder in;
  models* m;
  letters* contexts;
  uint32_t *symbols, symbols_count;
  uint32_t pool_size, pool_used;
} loader;

// A token's bytes begin at the pool's end; false if they don't fit.
static int place(loader* l, pith_tokenizer* t, uint32_t id, uint32_t length) {
  if (length > l->pool_size - l->pool_used || length > 65535) return 0;
  t->starts[id] = l->pool_used;
  t->lengths[id] = length;
  l->pool_used += length;
  if (length > t->longest) t->longest = length;
  return 1;
}

static int read_string(loader* l, pith_tokenizer* t, uint32_t id) {
  if (!place(l, t, id, read_number(&l->in, &l->m->numbers[kLength]))) return 0;
  uint8_t* to = t->pool + t->starts[id];
  uint32_t previous = 0;
  for (uint32_t i = 0; i < t->lengths[id]; ++i) {
    bit_model* context = (*l->contexts)[previous & 127];
    uint32_t node = 1;
    for (int k = 0; k < 8; ++k) node = node << 1 | read_bit(&l->in, &context[node]);
    previous = node & 255;
    to[i] = (uint8_t)previous;
  }
  return !l->in.failed;
}

// Tokens of byte pairs: some spelled, the others joined from two known ones; then the ids of those.
static int read_pairs(loader* l, pith_tokenizer* t) {
  for (uint32_t id = 0; id < t->count; ++id) {
    t->lengths[id] = PITH_NO_TOKEN;
    if (!read_bit(&l->in, &l->m->bits[0])) continue;
    if (!read_string(l, t, id)) return 0;
    l->symbols[l->symbols_count++] = id;
  }
  const uint32_t spelled = l->symbols_count;
  uint32_t known = spelled;
  for (uint32_t i = 0; i < t->pairs_count; ++i) {
    pith_pair* p = &t->pairs[i];
    p->left = read_number(&l->in, &l->m->numbers[kLeft]);
    p->right = read_number(&l->in, &l->m->numbers[kRight]);
    p->result = known;
    if (p->left >= known || p->right >= known) return 0;
    if (read_bit(&l->in, &l->m->bits[1])) {
      p->result = read_number(&l->in, &l->m->numbers[kResult]);
      if (p->result >= known) return 0;
    } else if (++known > t->count) {
      return 0;
    }
  }
  int64_t last = -1;
  for (uint32_t s = spelled; s < known; ++s) {
    last += 1 + (int64_t)read_signed(&l->in, &l->m->numbers[kId]);
    if (last < 0 || last >= t->count || t->lengths[last] != PITH_NO_TOKEN) return 0;
    l->symbols[s] = (uint32_t)last;
    t->lengths[last] = 0;  // taken
  }
  uint32_t fresh = spelled;
  for (uint32_t i = 0; i < t->pairs_count; ++i) {
    pith_pair* p = &t->pairs[i];
    const int is_fresh = p->result == fresh;
    p->left = l->symbols[p->left];
    p->right = l->symbols[p->right];
    p->result = l->symbols[p->result];
    if (!is_fresh) continue;
    ++fresh;
    const uint32_t a = t->lengths[p->left], b = t->lengths[p->right];
    if (!place(l, t, p->result, a + b)) return 0;
    memcpy(t->pool + t->starts[p->result], t->pool + t->starts[p->left], a);
    memcpy(t->pool + t->starts[p->result] + a, t->pool + t->starts[p->right], b);
  }
  return known == t->count && !l->in.failed;
}

static int read_strings(loader* l, pith_tokenizer* t) {
  for (uint32_t id = 0; id < t->count; ++id) {
    if (!read_string(l, t, id)) return 0;
  }
  double least = 0;  // of the scores
  const uint32_t wide = t->model == PITH_UNIGRAMS ? read_bit(&l->in, &l->m->bits[2]) : 0;
  int64_t rank = -1;
  for (uint32_t id = 0; id < t->count && t->model != PITH_WORD_PIECES; ++id) {
    if (t->model == PITH_SCORED_PAIRS) {
      rank += 1 + (int64_t)read_signed(&l->in, &l->m->numbers[kRank]);
      if (rank < 0 || rank >= t->count) return 0;
      t->ranks[id] = (uint32_t)rank;
    } else if (wide) {
      const uint64_t high = read_raw(&l->in, 32), bits = high << 32 | read_raw(&l->in, 32);
      memcpy(&t->scores[id], &bits, 8);
    } else {
      const uint32_t bits = read_raw(&l->in, 32);
      float score;
      memcpy(&score, &bits, 4);
      t->scores[id] = (double)score;
    }
    if (t->model == PITH_UNIGRAMS) {
      if (t->scores[id] - t->scores[id] != 0) return 0;  // NaN or infinite
      if (id == 0 || t->scores[id] < least) least = t->scores[id];
    }
  }
  t->unknown_score = least - 10;
  return !l->in.failed;
}

static int read_added(loader* l, pith_tokenizer* t) {
  int64_t id = -1;
  memset(t->first_bytes, 0, sizeof t->first_bytes);
  for (uint32_t i = 0; i < t->added_count; ++i) {
    id += 1 + (int64_t)read_number(&l->in, &l->m->numbers[kAddedId]);
    if (id >= t->count || t->lengths[id] == 0) return 0;
    t->added[i].id = (uint32_t)id;
    t->added[i].flags = read_number(&l->in, &l->m->numbers[kAddedFlags]);
    if (t->added[i].flags & PITH_ADDED_HIDDEN) continue;
    const uint8_t first = t->pool[t->starts[id]];
    t->first_bytes[first >> 3] |= (uint8_t)(1 << (first & 7));
  }
  return !l->in.failed;
}

uint32_t pith_hash_begin(void) { return 2166136261u; }
uint32_t pith_hash_byte(uint32_t hash, uint8_t byte) { return (hash ^ byte) * 16777619u; }

static uint32_t slot_of(uint32_t hash, uint32_t size) {
  hash ^= hash >> 16;
  hash *= 0x7feb352du;
  hash ^= hash >> 15;
  return (uint32_t)(((uint64_t)hash * size) >> 32);
}

static uint32_t pair_hash(uint32_t left, uint32_t right) { return left * 0x9e3779b1u ^ right * 0x85ebca77u; }

int pith_same_bytes(const uint8_t* a, const uint8_t* b, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) {
    if (a[i] != b[i]) return 0;
  }
  return 1;
}

uint32_t pith_find_hashed(const pith_tokenizer* t, uint32_t hash, const uint8_t* text, uint32_t bytes) {
  for (uint32_t at = slot_of(hash, t->table_size); t->table[at] != 0; at = at + 1 == t->table_size ? 0 : at + 1) {
    const uint32_t id = t->table[at] - 1;
    if (t->lengths[id] == bytes && pith_same_bytes(t->pool + t->starts[id], text, bytes)) return id;
  }
  return PITH_NO_TOKEN;
}

uint32_t pith_find_token(const pith_tokenizer* t, const uint8_t* text, uint32_t bytes) {
  uint32_t hash = pith_hash_begin();
  for (uint32_t i = 0; i < bytes; ++i) hash = pith_hash_byte(hash, text[i]);
  return pith_find_hashed(t, hash, text, bytes);
}

uint32_t pith_find_pair(const pith_tokenizer* t, uint32_t left, uint32_t right) {
  for (uint32_t at = slot_of(pair_hash(left, right), t->pair_table_size); t->pair_table[at] != 0;
       at = at + 1 == t->pair_table_size ? 0 : at + 1) {
    const uint32_t rank = t->pair_table[at] - 1;
    if (t->pairs[rank].left == left && t->pairs[rank].right == right) return rank;
  }
  return PITH_NO_TOKEN;
}

static void index_tokens(pith_tokenizer* t) {
  memset(t->table, 0, 4 * (size_t)t->table_size);
  for (uint32_t id = 0, next = 0; id < t->count; ++id) {
    const uint8_t* text = t->pool + t->starts[id];
    const int is_added = next < t->added_count && t->added[next].id == id;
    if (is_added && t->added[next++].flags & PITH_ADDED_HIDDEN) continue;
    if (pith_find_token(t, text, t->lengths[id]) != PITH_NO_TOKEN) continue;
    uint32_t hash = pith_hash_begin();
    for (uint32_t i = 0; i < t->lengths[id]; ++i) hash = pith_hash_byte(hash, text[i]);
    uint32_t at = slot_of(hash, t->table_size);
    while (t->table[at] != 0) at = at + 1 == t->table_size ? 0 : at + 1;
    t->table[at] = id + 1;
  }
  if (t->pair_table_size > 0) memset(t->pair_table, 0, 4 * (size_t)t->pair_table_size);
  for (uint32_t i = 0; i < t->pairs_count && t->pair_table_size > 0; ++i) {
    if (pith_find_pair(t, t->pairs[i].left, t->pairs[i].right) != PITH_NO_TOKEN) continue;
    uint32_t at = slot_of(pair_hash(t->pairs[i].left, t->pairs[i].right), t->pair_table_size);
    while (t->pair_table[at] != 0) at = at + 1 == t->pair_table_size ? 0 : at + 1;
    t->pair_table[at] = i + 1;
  }
  for (int b = 0; b < 256; ++b) {  // byte-level: the byte itself; fallback: <0x0A>
    static const char digits[] = "0123456789ABCDEF";
    const uint8_t itself = (uint8_t)b, spelled[6] = {'<', '0', 'x', (uint8_t)digits[b >> 4], (uint8_t)digits[b & 15], '>'};
    uint32_t id = PITH_NO_TOKEN;
    if (t->flags & PITH_TEXT_BYTE_LEVEL) id = pith_find_token(t, &itself, 1);
    if (t->flags & PITH_TEXT_BYTE_FALLBACK) id = pith_find_token(t, spelled, 6);
    t->bytes[b] = id == PITH_NO_TOKEN ? -1 : (int32_t)id;
  }
}

pith_post_status pith_tokenizer_memory_bytes(const void* block, size_t bytes, size_t* memory_bytes) {
  if (block == NULL || memory_bytes == NULL) return PITH_POST_NULL;
  pith_tokenizer t;
  models head, *m;
  decoder in;
  uint32_t pool, *symbols;
  letters* contexts;
  clear_bits((bit_model*)&head, sizeof head / sizeof(bit_model));
  begin(&in, block, bytes);
  if (!read_head(&in, &head, &t, &pool)) return PITH_POST_TEXT;
  *memory_bytes = lay_out(&t, NULL, pool, &symbols, &contexts, &m);
  return PITH_POST_OK;
}

pith_post_status pith_tokenizer_load(const void* block, size_t bytes, void* memory, size_t memory_bytes,
                                     pith_tokenizer** tokenizer) {
  if (memory == NULL || tokenizer == NULL) return PITH_POST_NULL;
  size_t needed;
  const pith_post_status status = pith_tokenizer_memory_bytes(block, bytes, &needed);
  if (status != PITH_POST_OK) return status;
  if (memory_bytes < needed || (uintptr_t)memory % 8 != 0) return PITH_POST_SCRATCH;
  pith_tokenizer* t = memory;
  models head;
  loader l;
  memset(t, 0, sizeof *t);
  memset(&l, 0, sizeof l);
  clear_bits((bit_model*)&head, sizeof head / sizeof(bit_model));
  begin(&l.in, block, bytes);
  if (!read_head(&l.in, &head, t, &l.pool_size)) return PITH_POST_TEXT;
  lay_out(t, memory, l.pool_size, &l.symbols, &l.contexts, &l.m);
  *l.m = head;
  clear_bits((bit_model*)l.contexts, kLetterContexts * 256);
  if (!(t->model == PITH_BYTE_PAIRS ? read_pairs(&l, t) : read_strings(&l, t)) || !read_added(&l, t)) return PITH_POST_TEXT;
  index_tokens(t);
  *tokenizer = t;
  return PITH_POST_OK;
}
