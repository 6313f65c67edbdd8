// CTC greedy decoding: see ctc.h. The method is best path decoding, Graves et al. 2006 ("Connectionist temporal
// classification", ICML). A symbol's score is the highest of its steps, not their mean: the mean falls with slow
// speech or wide letters, the peak doesn't.
#include "post/ctc.h"

#include <string.h>

#include "post/internal.h"

pith_ctc_params pith_ctc_defaults(void) {
  const pith_ctc_params params = {0, 0};
  return params;
}

// The probability of the best label of a step of logits: 1 / sum of exp(x - best).
static float peak_probability(const pith_tensor_view* view, int64_t offset, float best) {
  float sum = 0.0f;
  for (int32_t c = 0; c < view->dims[1]; ++c) {
    const float x = pith_read(view, offset + c * view->strides[1]);
    if (x == best) {
      sum += 1.0f;
    } else if (x < best) {
      sum += expf(x - best);
    }
  }
  return 1.0f / sum;
}

pith_post_status pith_ctc_greedy(const pith_tensor_view* scores, const pith_ctc_params* params,
                                 pith_ctc_symbol* symbols, int32_t capacity, int32_t* count) {
  const pith_post_status status = pith_view_check(scores);
  if (status != PITH_POST_OK) return status;
  if (params == NULL || count == NULL || (symbols == NULL && capacity != 0)) return PITH_POST_NULL;
  const pith_tensor_view view = pith_post_squeeze(*scores, 2);
  if (view.rank != 2) return PITH_POST_RANK;
  if (params->blank < 0 || params->blank >= view.dims[1] || capacity < 0) return PITH_POST_RANGE;

  int32_t found = 0, before = params->blank;
  for (int32_t step = 0; step < view.dims[0]; ++step) {
    const int64_t offset = step * view.strides[0];
    const pith_best best = pith_post_best(&view, offset, view.strides[1], (int32_t)view.dims[1]);
    const int32_t label = best.index < 0 ? params->blank : best.index;
    const int goes_on = label == before;
    before = label;
    if (label == params->blank) continue;
    if (!goes_on) ++found;
    if (found > capacity) continue;
    const float score = params->logits ? peak_probability(&view, offset, best.value) : best.value;
    pith_ctc_symbol* symbol = &symbols[found - 1];
    if (!goes_on) *symbol = (pith_ctc_symbol){label, score, step, step};
    symbol->last_step = step;
    if (score > symbol->score) symbol->score = score;
  }
  *count = found;
  return found <= capacity ? PITH_POST_OK : PITH_POST_CAPACITY;
}

// The bytes of the UTF-8 character at `at`, 0 at the end of the string, -1 if it is malformed (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF).
static int32_t character_bytes(const unsigned char* at) {
  if (at[0] == 0) return 0;
  if (at[0] < 0x80) return 1;
  const int32_t bytes = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
  unsigned char low = 0x80, high = 0xbf;  // the range of the second byte
  if (at[0] < 0xc2 || at[0] > 0xf4) return -1;
  if (at[0] == 0xe0) low = 0xa0;
  if (at[0] == 0xed) high = 0x9f;
  if (at[0] == 0xf0) low = 0x90;
  if (at[0] == 0xf4) high = 0x8f;
  if (at[1] < low || at[1] > high) return -1;
  for (int32_t i = 2; i < bytes; ++i) {
    if (at[i] < 0x80 || at[i] > 0xbf) return -1;
  }
  return bytes;
}

// The n-th character of the table; NULL where the table ends or breaks before it.
static const char* find_character(const char* table, int32_t n, int32_t* bytes) {
  for (;; table += *bytes, --n) {
    *bytes = character_bytes((const unsigned char*)table);
    if (*bytes <= 0) return NULL;
    if (n == 0) return table;
  }
}

pith_post_status pith_ctc_text(const pith_ctc_symbol* symbols, int32_t count, int32_t blank, const char* table,
                               char* text, size_t capacity, size_t* length) {
  if (table == NULL || length == NULL) return PITH_POST_NULL;
  if ((symbols == NULL && count != 0) || (text == NULL && capacity != 0)) return PITH_POST_NULL;
  if (count < 0 || blank < 0) return PITH_POST_RANGE;
  if (capacity > 0) text[0] = 0;
  size_t total = 0;
  for (int pass = 0; pass < 2; ++pass) {  // first measure, so that a text that doesn't fit isn't begun
    size_t at = 0;
    for (int32_t i = 0; i < count; ++i) {
      const int32_t label = symbols[i].label;
      if (label < 0 || label == blank) return PITH_POST_RANGE;
      int32_t bytes;
      const char* character = find_character(table, label - (label > blank ? 1 : 0), &bytes);
      if (character == NULL) return PITH_POST_TEXT;
      if (pass == 1) memcpy(text + at, character, (size_t)bytes);
      at += (size_t)bytes;
    }
    total = at;
    *length = total;
    if (total + 1 > capacity) return capacity == 0 ? PITH_POST_OK : PITH_POST_CAPACITY;
  }
  text[total] = 0;
  return PITH_POST_OK;
}
