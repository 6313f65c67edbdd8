// Code points and their classes, by binary search in tables that tools/make_unicode_tables.py writes: 36 KB, and no
// more than a dozen steps for what isn't ASCII.
#include "post/unicode_internal.h"

#include "post/unicode_tables.inc"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

uint32_t pith_utf8_read(const uint8_t* text, size_t bytes, uint32_t* length) {
  const uint8_t first = text[0];
  *length = 1;
  if (first < 0x80) return first;
  if (first < 0xc2 || first > 0xf4) return 0xfffd;
  const uint32_t wanted = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  uint8_t low = 0x80, high = 0xbf;  // of the second byte: no overlong form, no surrogate, nothing above U+10FFFF
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  uint32_t c = first & (0xffu >> (wanted + 1));
  for (uint32_t i = 1; i < wanted; ++i) {
    if (i >= bytes || text[i] < low || text[i] > high) return 0xfffd;
    c = c << 6 | (text[i] & 0x3fu);
    *length = i + 1;
    low = 0x80;
    high = 0xbf;
  }
  return c;
}

uint32_t pith_utf8_write(uint32_t c, uint8_t* to) {
  if (c < 0x80) {
    to[0] = (uint8_t)c;
    return 1;
  }
  const uint32_t bytes = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (uint32_t i = bytes - 1; i > 0; --i, c >>= 6) to[i] = (uint8_t)(0x80 | (c & 0x3f));
  to[0] = (uint8_t)(0xf00u >> bytes | c);
  return bytes;
}

uint32_t pith_unicode_class(uint32_t c) {
  size_t low = 0, high = COUNT(kClassRuns);  // the last run that begins at or before c
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    if (kClassRuns[middle] >> 8 <= c) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return kClassRuns[low] & 0xff;
}

// The last row of `width` numbers whose first is at most c; NULL if there is none.
static const uint32_t* row_of(const uint32_t* table, size_t numbers, size_t width, uint32_t c) {
  size_t low = 0, high = numbers / width;
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    if (table[middle * width] <= c) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return table[low * width] <= c ? table + low * width : NULL;
}

uint32_t pith_unicode_lower(uint32_t c, uint32_t* to) {
  to[0] = c;
  if (c < 128) {
    if (c >= 'A' && c <= 'Z') to[0] = c + 32;
    return 1;
  }
  if (c == 0x130) {  // I with dot above
    to[0] = 'i';
    to[1] = 0x307;
    return 2;
  }
  const uint32_t* run = row_of(kLowerRuns, COUNT(kLowerRuns), 4, c);
  if (run != NULL && c <= run[1] && (c - run[0]) % run[3] == 0) to[0] = c + run[2];
  return 1;
}

uint32_t pith_unicode_base(uint32_t c, uint32_t* to) {
  to[0] = c;
  if (c < 128) return 1;
  if (c >= 0xac00 && c <= 0xd7a3) {  // a Hangul syllable: leading consonant, vowel, perhaps a trailing one
    const uint32_t s = c - 0xac00, trailing = s % 28;
    to[0] = 0x1100 + s / 588;
    to[1] = 0x1161 + s % 588 / 28;
    to[2] = 0x11a7 + trailing;
    return trailing != 0 ? 3 : 2;
  }
  if (pith_unicode_class(c) & PITH_MARK) return 0;
  const uint32_t* row = row_of(kBase, COUNT(kBase), 2, c);
  if (row != NULL && row[0] == c) {
    to[0] = row[1];
    return 1;
  }
  row = row_of(kBases, COUNT(kBases), 4, c);
  if (row == NULL || row[0] != c) return 1;
  uint32_t count = 0;
  for (; count < 3 && row[1 + count] != 0; ++count) to[count] = row[1 + count];
  return count;
}
