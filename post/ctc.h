// Reading text (or any sequence) from a network trained with connectionist temporal classification.
//
// At each time step such a network scores every label and a "blank". Greedy decoding takes the best of each step,
// joins equal neighbours into one symbol and drops the blanks: a a - a b b  becomes  a a b.
//
//   pith_ctc_params params = pith_ctc_defaults();
//   pith_ctc_symbol symbols[64];
//   int32_t count;
//   size_t length;
//   char text[256];
//   pith_ctc_greedy(&output, &params, symbols, 64, &count);
//   pith_ctc_text(symbols, count, params.blank, " abcdefgh", text, sizeof text, &length);
#ifndef PITH_POST_CTC_H_
#define PITH_POST_CTC_H_

#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pith_ctc_params {
  int32_t blank;   // the blank's label, 0 .. labels - 1; most trainers use 0 or the last. Default 0
  int32_t logits;  // 0: the scores are probabilities already (default). 1: apply a softmax at each step
} pith_ctc_params;

typedef struct pith_ctc_symbol {
  int32_t label;       // never the blank
  float score;         // the highest probability among its steps
  int32_t first_step;  // the steps that were joined, both ends included: where in the line it stands
  int32_t last_step;
} pith_ctc_symbol;

pith_ctc_params pith_ctc_defaults(void);

// Greedy decoding of one sequence.
//   scores    [steps, labels] or with leading dimensions of 1. For [steps, 1, labels], as PyTorch orders them, pass
//             pith_view_at(view, 1, 0)
//   symbols   room for `capacity` symbols; there are at most as many as steps. May be NULL if capacity is 0
//   count     how many the sequence has, also when they don't fit
// A step with nothing but NaN counts as a blank; equal scores go to the lower label.
// Errors: those of pith_view_check; PITH_POST_RANK; PITH_POST_RANGE (a blank that isn't a label, capacity < 0);
// PITH_POST_CAPACITY (the first `capacity` symbols are written).
pith_post_status pith_ctc_greedy(const pith_tensor_view* scores, const pith_ctc_params* params,
                                 pith_ctc_symbol* symbols, int32_t capacity, int32_t* count);

// Symbols to text, by a table that holds one UTF-8 character per label, in the labels' order, without the blank: its
// n-th character (from 0) is label n, or label n + 1 from the blank on.
//   text      room for `capacity` bytes, the ending NUL included
//   length    bytes of the whole text without the NUL, also when they don't fit. To ask for it beforehand pass
//             capacity 0; then text may be NULL and the status is PITH_POST_OK
// Time: count times the length of the table.
// Errors: PITH_POST_NULL; PITH_POST_RANGE (count < 0, blank < 0, a negative label or the blank among the symbols);
// PITH_POST_TEXT (the table is no UTF-8, or has no character for a label); PITH_POST_CAPACITY (nothing but, where
// there is room for it, an empty string is written).
pith_post_status pith_ctc_text(const pith_ctc_symbol* symbols, int32_t count, int32_t blank, const char* table,
                               char* text, size_t capacity, size_t* length);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_CTC_H_
