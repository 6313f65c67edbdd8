// From a classifier's output to "what is it": top-k, softmax, sigmoid.
//
//   float logits[1001];                                    // the network's output
//   const int64_t dims[2] = {1, 1001};
//   pith_tensor_view view = pith_view_f32(logits, 2, dims);
//   pith_ranked best[5];
//   int32_t found;
//   pith_top_k(&view, 5, best, &found);                    // best[0].index is the class
#ifndef PITH_POST_CLASSIFY_H_
#define PITH_POST_CLASSIFY_H_

#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pith_ranked {
  int32_t index;
  float value;  // dequantised
} pith_ranked;

// The k largest elements, largest first, equal ones by lower index.
//   scores  [n] or with leading dimensions of 1
//   k       1 or more; k above n gives n
//   best    room for k
//   found   how many were written: min(k, n) less the NaNs that would have been among them; 0 if all are NaN
// Needs no working memory: `best` is the heap. Time n log k.
// Errors: those of pith_view_check; PITH_POST_RANK (more than one dimension above 1); PITH_POST_RANGE (k < 1).
pith_post_status pith_top_k(const pith_tensor_view* scores, int32_t k, pith_ranked* best, int32_t* found);

// exp(x - max) / sum, along the last axis of [n] or [rows, n] (or with leading dimensions of 1).
//   probabilities  room for rows * n floats, row-major. May be the input itself, if that is dense float.
//   capacity       how many floats fit
// NaN counts as -infinity and gets 0. If +infinity occurs, its places share the whole mass equally. A row with
// nothing above -infinity becomes zeros and the status, after all rows are done, PITH_POST_NO_NUMBER.
// Errors: those of pith_view_check; PITH_POST_RANK; PITH_POST_CAPACITY.
pith_post_status pith_softmax(const pith_tensor_view* logits, float* probabilities, size_t capacity);

// 1 / (1 + exp(-x)) for each element of a view of any rank, row-major; 0 for NaN.
//   probabilities, capacity  as for softmax
// Errors: those of pith_view_check; PITH_POST_CAPACITY.
pith_post_status pith_sigmoid(const pith_tensor_view* logits, float* probabilities, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_CLASSIFY_H_
