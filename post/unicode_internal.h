// Code points: reading them from bytes that may be anything, and their classes. Shared by the tokenisers; not part of
// the interface.
#ifndef PITH_POST_UNICODE_INTERNAL_H_
#define PITH_POST_UNICODE_INTERNAL_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  PITH_LETTER = 1,
  PITH_DIGIT = 2,
  PITH_SPACE = 4,
  PITH_PUNCTUATION = 8,
  PITH_CONTROL = 16,
  PITH_MARK = 32,
  PITH_IDEOGRAPH = 64
};

// The code point that begins at `text`, of which `bytes` (at least 1) are left, and its length. A malformed sequence
// is U+FFFD, as long as the longest beginning of a well-formed one (Unicode, "maximal subparts"), at least one byte.
uint32_t pith_utf8_read(const uint8_t* text, size_t bytes, uint32_t* length);
// Writes 1 to 4 bytes and says how many.
uint32_t pith_utf8_write(uint32_t c, uint8_t* to);

uint32_t pith_unicode_class(uint32_t c);
// Each writes up to 3 code points and says how many: the lower case; what canonical decomposition leaves without marks.
uint32_t pith_unicode_lower(uint32_t c, uint32_t* to);
uint32_t pith_unicode_base(uint32_t c, uint32_t* to);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_UNICODE_INTERNAL_H_
