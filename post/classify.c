// Top-k, softmax, sigmoid: see classify.h.
//
// Top-k keeps the k best seen so far in a heap whose root is the worst of them, in the caller's output array; each
// further element either loses against the root or replaces it. Heapsort then turns the heap into a descending list
// in place (Williams, Floyd 1964).
#include "post/classify.h"

#include "post/internal.h"

static int ranks_below(pith_ranked a, pith_ranked b) {
  return a.value < b.value || (a.value == b.value && a.index > b.index);
}

static void sift_down(pith_ranked* heap, int32_t count, int32_t at) {
  const pith_ranked moving = heap[at];
  for (int64_t child; (child = 2 * (int64_t)at + 1) < count; at = (int32_t)child) {
    if (child + 1 < count && ranks_below(heap[child + 1], heap[child])) ++child;
    if (!ranks_below(heap[child], moving)) break;
    heap[at] = heap[child];
  }
  heap[at] = moving;
}

static void sift_up(pith_ranked* heap, int32_t at) {
  const pith_ranked moving = heap[at];
  for (; at > 0 && ranks_below(moving, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = moving;
}

pith_post_status pith_top_k(const pith_tensor_view* scores, int32_t k, pith_ranked* best, int32_t* found) {
  const pith_post_status status = pith_view_check(scores);
  if (status != PITH_POST_OK) return status;
  if (best == NULL || found == NULL) return PITH_POST_NULL;
  if (k < 1) return PITH_POST_RANGE;
  const pith_tensor_view row = pith_post_squeeze(*scores, 1);
  if (row.rank != 1) return PITH_POST_RANK;

  int32_t count = 0;
  for (int32_t i = 0; i < row.dims[0]; ++i) {
    const pith_ranked item = {i, pith_read(&row, i * row.strides[0])};
    if (item.value != item.value) continue;
    if (count < k) {
      best[count] = item;
      sift_up(best, count++);
    } else if (ranks_below(best[0], item)) {
      best[0] = item;
      sift_down(best, count, 0);
    }
  }
  for (int32_t last = count - 1; last > 0; --last) {
    const pith_ranked worst = best[0];
    best[0] = best[last];
    best[last] = worst;
    sift_down(best, last, 0);
  }
  *found = count;
  return PITH_POST_OK;
}

static int softmax_row(const pith_tensor_view* view, int64_t offset, int64_t stride, int32_t count, float* out) {
  const pith_best best = pith_post_best(view, offset, stride, count);
  const int usable = best.index >= 0 && best.value > -INFINITY;
  float sum = 0.0f;
  for (int32_t i = 0; i < count; ++i) {
    const float x = pith_read(view, offset + i * stride);
    float weight = 0.0f;
    if (usable) {
      if (x == best.value) {
        weight = 1.0f;
      } else if (x < best.value) {
        weight = expf(x - best.value);
      }
    }
    out[i] = weight;
    sum += weight;
  }
  if (!usable) return 0;
  for (int32_t i = 0; i < count; ++i) out[i] /= sum;
  return 1;
}

pith_post_status pith_softmax(const pith_tensor_view* logits, float* probabilities, size_t capacity) {
  const pith_post_status status = pith_view_check(logits);
  if (status != PITH_POST_OK) return status;
  if (probabilities == NULL) return PITH_POST_NULL;
  const pith_tensor_view view = pith_post_squeeze(*logits, 2);
  if (view.rank > 2) return PITH_POST_RANK;
  const int32_t rows = view.rank == 2 ? (int32_t)view.dims[0] : 1;
  const int32_t count = (int32_t)view.dims[view.rank - 1];
  if ((uint64_t)rows * (uint64_t)count > capacity) return PITH_POST_CAPACITY;

  int complete = 1;
  for (int32_t r = 0; r < rows; ++r) {
    const int64_t offset = view.rank == 2 ? r * view.strides[0] : 0;
    complete &=
        softmax_row(&view, offset, view.strides[view.rank - 1], count, probabilities + (size_t)r * (size_t)count);
  }
  return complete ? PITH_POST_OK : PITH_POST_NO_NUMBER;
}

pith_post_status pith_sigmoid(const pith_tensor_view* logits, float* probabilities, size_t capacity) {
  const pith_post_status status = pith_view_check(logits);
  if (status != PITH_POST_OK) return status;
  if (probabilities == NULL) return PITH_POST_NULL;
  uint64_t elements = 1;
  for (int32_t axis = 0; axis < logits->rank; ++axis) elements *= (uint64_t)logits->dims[axis];
  if (elements > capacity) return PITH_POST_CAPACITY;

  int64_t index[PITH_POST_MAX_RANK] = {0};
  int64_t offset = 0;
  for (uint64_t i = 0; i < elements; ++i) {
    probabilities[i] = pith_sigmoid_of(pith_read(logits, offset));
    for (int32_t axis = logits->rank - 1; axis >= 0; --axis) {
      offset += logits->strides[axis];
      if (++index[axis] < logits->dims[axis]) break;
      offset -= logits->dims[axis] * logits->strides[axis];
      index[axis] = 0;
    }
  }
  return PITH_POST_OK;
}
