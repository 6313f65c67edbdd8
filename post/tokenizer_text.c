// Before the vocabulary has its say: text is normalised and cut into words, as the model's training did it.
//
// Three families. BERT: controls away, ideographs apart, accents off, lower case; words end at white space and around
// punctuation. GPT-2: nothing is changed, and words follow the expression
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// which is read here by hand, one alternative after the other. Sentencepiece: spaces become U+2581, so that they are
// letters like others. Every byte of the result remembers which bytes of the source it stands for.
#include "post/tokenizer_internal.h"

enum { kMetaspace = 0x2581 };

static void put(pith_normal* to, uint32_t c, uint32_t begin, uint32_t end) {
  const uint32_t bytes = pith_utf8_write(c, to->text + to->count);
  for (uint32_t i = 0; i < bytes; ++i) {
    to->begin[to->count + i] = begin;
    to->end[to->count + i] = end;
  }
  to->count += bytes;
}

static void put_bert(const pith_tokenizer* t, uint32_t c, uint32_t begin, uint32_t end, pith_normal* to) {
  const uint32_t kind = pith_unicode_class(c);
  if (t->flags & PITH_TEXT_CLEAN) {
    if (c == 0 || (kind & PITH_CONTROL)) return;
    if (kind & PITH_SPACE) c = ' ';
  }
  const int apart = (t->flags & PITH_TEXT_IDEOGRAPHS) && (kind & PITH_IDEOGRAPH);
  uint32_t base[3] = {c, 0, 0}, parts = 1;
  if (t->flags & PITH_TEXT_STRIP_MARKS) parts = pith_unicode_base(c, base);
  if (apart) put(to, ' ', begin, end);
  for (uint32_t i = 0; i < parts; ++i) {
    uint32_t lower[2] = {base[i], 0}, letters = 1;
    if (t->flags & PITH_TEXT_LOWER) letters = pith_unicode_lower(base[i], lower);
    for (uint32_t k = 0; k < letters; ++k) put(to, lower[k], begin, end);
  }
  if (apart) put(to, ' ', begin, end);
}

// What goes before the first character of a segment: 0 for nothing.
static uint32_t prefix_of(const pith_tokenizer* t, uint32_t c, int first) {
  if (t->flags & PITH_TEXT_PREFIX_SPACE) return pith_unicode_class(c) & PITH_SPACE ? 0 : ' ';
  if (!(t->flags & PITH_TEXT_METASPACE) || !(t->flags & (PITH_TEXT_PREPEND | PITH_TEXT_PREPEND_FIRST))) return 0;
  if ((t->flags & PITH_TEXT_PREPEND_FIRST) && !first) return 0;
  if ((t->flags & PITH_TEXT_PREPEND_MISSING) && (c == ' ' || c == kMetaspace)) return 0;
  return kMetaspace;
}

void pith_normalize(const pith_tokenizer* t, const uint8_t* text, uint32_t begin, uint32_t end, int first, pith_normal* to) {
  const uint32_t bert = PITH_TEXT_CLEAN | PITH_TEXT_IDEOGRAPHS | PITH_TEXT_STRIP_MARKS | PITH_TEXT_LOWER;
  to->count = 0;
  int fresh = 1;  // at the segment's beginning, or after white space where that separates
  for (uint32_t at = begin, length; at < end; at += length) {
    const uint32_t c = pith_utf8_read(text + at, end - at, &length);
    if (t->flags & PITH_TEXT_SPLIT_SPACES && pith_unicode_class(c) & PITH_SPACE) {
      fresh = 1;
      continue;
    }
    const uint32_t prefix = fresh ? prefix_of(t, c, first) : 0;
    if (prefix != 0) put(to, prefix, at, at + length);
    fresh = 0;
    if (t->flags & bert) {
      put_bert(t, c, at, at + length, to);
    } else {
      put(to, c == ' ' && t->flags & PITH_TEXT_METASPACE ? kMetaspace : c, at, at + length);
    }
  }
}

static uint32_t class_at(const pith_normal* text, uint32_t at, uint32_t* length) {
  return pith_unicode_class(pith_utf8_read(text->text + at, text->count - at, length));
}

static uint32_t gpt2_contraction(const pith_normal* text, uint32_t at) {
  const uint8_t* s = text->text + at;
  const uint32_t left = text->count - at;
  if (left < 2 || s[0] != '\'') return 0;
  if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd') return 2;
  if (left < 3) return 0;
  return (s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') || (s[1] == 'l' && s[2] == 'l') ? 3 : 0;
}

static uint32_t gpt2_word(const pith_normal* text, uint32_t at) {
  const uint32_t groups = PITH_LETTER | PITH_DIGIT | PITH_SPACE;
  const uint32_t contraction = gpt2_contraction(text, at);
  if (contraction != 0) return at + contraction;
  uint32_t length, start = at;
  if (text->text[at] == ' ' && at + 1 < text->count) ++start;
  const uint32_t group = class_at(text, start, &length) & groups;
  if (!(group & PITH_SPACE)) {
    uint32_t end = start + length;
    while (end < text->count && (class_at(text, end, &length) & groups) == group) end += length;
    return end;
  }
  uint32_t end = at, last = at;  // white space; its last character stays with the word that follows
  while (end < text->count && class_at(text, end, &length) & PITH_SPACE) {
    last = end;
    end += length;
  }
  return end == text->count || last == at ? end : last;
}

static uint32_t bert_word(const pith_normal* text, uint32_t* at) {
  uint32_t length;
  while (*at < text->count && class_at(text, *at, &length) & PITH_SPACE) *at += length;
  uint32_t end = *at;
  while (end < text->count) {
    const uint32_t kind = class_at(text, end, &length);
    if (kind & (PITH_SPACE | PITH_PUNCTUATION)) return end == *at ? end + length : end;
    end += length;
  }
  return end;
}

uint32_t pith_next_word(const pith_tokenizer* t, const pith_normal* text, uint32_t* at) {
  if (t->flags & PITH_TEXT_BERT_WORDS) return bert_word(text, at);
  if (t->flags & PITH_TEXT_GPT2_WORDS) return gpt2_word(text, *at);
  if (!(t->flags & PITH_TEXT_SPLIT_METASPACE)) return text->count;
  uint32_t end = *at, length;
  do {
    pith_utf8_read(text->text + end, text->count - end, &length);
    end += length;
  } while (end < text->count && pith_utf8_read(text->text + end, text->count - end, &length) != kMetaspace);
  return end;
}
