// Label maps: see segment.h. Quantised scores are compared as they lie, without converting them.
#include "post/segment.h"

#include <string.h>

#include "post/internal.h"

pith_post_status pith_label_map(const pith_tensor_view* scores, uint8_t* labels, size_t capacity) {
  const pith_post_status status = pith_view_check(scores);
  if (status != PITH_POST_OK) return status;
  if (labels == NULL) return PITH_POST_NULL;
  const pith_tensor_view view = pith_post_squeeze(*scores, 3);
  if (view.rank != 3) return PITH_POST_RANK;
  if (view.dims[0] > 256) return PITH_POST_SHAPE;
  if ((uint64_t)(view.dims[1] * view.dims[2]) > capacity) return PITH_POST_CAPACITY;
  for (int64_t y = 0; y < view.dims[1]; ++y) {
    for (int64_t x = 0; x < view.dims[2]; ++x) {
      const int64_t offset = y * view.strides[1] + x * view.strides[2];
      const pith_best best = pith_post_best(&view, offset, view.strides[0], (int32_t)view.dims[0]);
      *labels++ = best.index < 0 ? 0 : (uint8_t)best.index;
    }
  }
  return PITH_POST_OK;
}

pith_post_status pith_binary_map(const pith_tensor_view* scores, float threshold, uint8_t* labels, size_t capacity) {
  const pith_post_status status = pith_view_check(scores);
  if (status != PITH_POST_OK) return status;
  if (labels == NULL) return PITH_POST_NULL;
  if (threshold != threshold) return PITH_POST_RANGE;
  const pith_tensor_view view = pith_post_squeeze(*scores, 2);
  if (view.rank != 2) return PITH_POST_RANK;
  if ((uint64_t)(view.dims[0] * view.dims[1]) > capacity) return PITH_POST_CAPACITY;
  for (int64_t y = 0; y < view.dims[0]; ++y) {
    for (int64_t x = 0; x < view.dims[1]; ++x) {
      *labels++ = pith_read(&view, y * view.strides[0] + x * view.strides[1]) > threshold ? 1 : 0;
    }
  }
  return PITH_POST_OK;
}

pith_post_status pith_label_histogram(const uint8_t* labels, size_t count, uint32_t counts[256]) {
  if (counts == NULL || (labels == NULL && count != 0)) return PITH_POST_NULL;
  memset(counts, 0, 256 * sizeof counts[0]);
  for (size_t i = 0; i < count; ++i) ++counts[labels[i]];
  return PITH_POST_OK;
}
