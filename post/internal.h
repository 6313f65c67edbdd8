// Reading elements through a view, shared by the library's own files; not part of the interface.
//
// Offsets are in elements from view->data, and are only ever built from indices below the dimensions of a view that
// pith_view_check has passed: so nothing is checked here.
#ifndef PITH_POST_INTERNAL_H_
#define PITH_POST_INTERNAL_H_

#include <math.h>
#include <stdint.h>

#include "post/boxes.h"
#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

// The best element of a strided row: the first of the largest. index -1: nothing but NaN.
typedef struct pith_best {
  int32_t index;
  float value;
} pith_best;
pith_best pith_post_best(const pith_tensor_view* view, int64_t offset, int64_t stride, int32_t count);

size_t pith_post_element_bytes(pith_post_dtype dtype);

// Drops leading dimensions of 1 until `rank` axes are left, or as near to it as they go.
pith_tensor_view pith_post_squeeze(pith_tensor_view view, int32_t rank);

// PITH_POST_NULL or PITH_POST_RANGE for a list that can't be worked on.
pith_post_status pith_box_list_check(const pith_box_list* list);

// True for every float but NaN and the infinities; x - x is NaN for exactly those.
static inline int pith_is_finite(float x) { return x - x == 0.0f; }

static inline float pith_read(const pith_tensor_view* view, int64_t offset) {
  int32_t q;
  switch (view->dtype) {
    case PITH_POST_U8:
      q = ((const uint8_t*)view->data)[offset];
      break;
    case PITH_POST_I8:
      q = ((const int8_t*)view->data)[offset];
      break;
    case PITH_POST_I16:
      q = ((const int16_t*)view->data)[offset];
      break;
    default:
      return ((const float*)view->data)[offset];
  }
  return view->scale * (float)(q - view->zero_point);
}

// 1 / (1 + e^-x) with no overflow on either side; 0 for NaN, so that it never exceeds a threshold.
static inline float pith_sigmoid_of(float x) {
  if (x != x) return 0.0f;
  if (x >= 0.0f) return 1.0f / (1.0f + expf(-x));
  const float e = expf(x);
  return e / (1.0f + e);
}

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_INTERNAL_H_
