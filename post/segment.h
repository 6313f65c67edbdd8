// From a segmentation network's scores to a map of labels.
#ifndef PITH_POST_SEGMENT_H_
#define PITH_POST_SEGMENT_H_

#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

// For each pixel the class with the highest score, as one byte.
//   scores    [classes, height, width] or with leading dimensions of 1; for [height, width, classes] pass
//             pith_view_swap(pith_view_swap(view, 1, 2), 0, 1). 1..256 classes, logits or probabilities
//   labels    room for height * width bytes, row by row
//   capacity  how many fit
// Equal scores go to the lower class; a pixel with nothing but NaN becomes 0. Needs no working memory.
// Errors: those of pith_view_check; PITH_POST_RANK; PITH_POST_SHAPE (above 256 classes); PITH_POST_CAPACITY.
pith_post_status pith_label_map(const pith_tensor_view* scores, uint8_t* labels, size_t capacity);

// The two-class case with one channel: 1 where the score is strictly above the threshold, else 0 (also for NaN).
//   scores     [height, width] or with leading dimensions of 1
//   threshold  not NaN: 0.5 for probabilities, 0 for logits
// Errors: those of pith_view_check; PITH_POST_RANK; PITH_POST_RANGE; PITH_POST_CAPACITY.
pith_post_status pith_binary_map(const pith_tensor_view* scores, float threshold, uint8_t* labels, size_t capacity);

// How many pixels have each label: counts[256] is filled, those of absent labels with 0.
// Errors: PITH_POST_NULL.
pith_post_status pith_label_histogram(const uint8_t* labels, size_t count, uint32_t counts[256]);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_SEGMENT_H_
