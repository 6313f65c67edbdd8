// Bounded box lists and greedy NMS: see boxes.h.
//
// The list is a heap whose root is the worst box kept, so that a full list can tell in one comparison whether a new
// box deserves a place. NMS sorts that heap in place (heapsort: no recursion, no memory) and then walks it once: each
// box is compared with the survivors so far, which stand in the same array in front of it, and joins them if none
// overlaps it too much. Comparing only with survivors gives the same result as the usual "take the best, strike out
// what it overlaps", and stops as soon as there are enough.
#include "post/boxes.h"

#include "post/internal.h"

size_t pith_box_list_scratch_bytes(int32_t capacity) {
  if (capacity < 1 || (size_t)capacity > SIZE_MAX / sizeof(pith_box)) return 0;
  return (size_t)capacity * sizeof(pith_box);
}

pith_post_status pith_box_list_init(pith_box_list* list, void* memory, size_t bytes) {
  if (list == NULL || memory == NULL) return PITH_POST_NULL;
  if (bytes < sizeof(pith_box) || (uintptr_t)memory % sizeof(float) != 0) return PITH_POST_SCRATCH;
  const size_t fit = bytes / sizeof(pith_box);
  list->boxes = (pith_box*)memory;
  list->capacity = fit < INT32_MAX ? (int32_t)fit : INT32_MAX;
  pith_box_list_clear(list);
  return PITH_POST_OK;
}

void pith_box_list_clear(pith_box_list* list) {
  if (list == NULL) return;
  list->count = 0;
  list->lost = 0;
}

pith_post_status pith_box_list_check(const pith_box_list* list) {
  if (list == NULL || list->boxes == NULL) return PITH_POST_NULL;
  return list->capacity >= 1 && list->count >= 0 && list->count <= list->capacity ? PITH_POST_OK : PITH_POST_RANGE;
}

static int coordinate_ok(float x) { return x >= -PITH_BOX_LIMIT && x <= PITH_BOX_LIMIT; }

static int box_ok(const pith_box* box) {
  return coordinate_ok(box->x1) && coordinate_ok(box->y1) && coordinate_ok(box->x2) && coordinate_ok(box->y2) &&
         box->x2 >= box->x1 && box->y2 >= box->y1 && pith_is_finite(box->score);
}

static int worse(const pith_box* a, const pith_box* b) {
  if (a->score != b->score) return a->score < b->score;
  if (a->index != b->index) return a->index > b->index;
  return a->class_id > b->class_id;
}

static void sift_down(pith_box* heap, int32_t count, int32_t at) {
  const pith_box moving = heap[at];
  for (int64_t child; (child = 2 * (int64_t)at + 1) < count; at = (int32_t)child) {
    if (child + 1 < count && worse(&heap[child + 1], &heap[child])) ++child;
    if (!worse(&heap[child], &moving)) break;
    heap[at] = heap[child];
  }
  heap[at] = moving;
}

pith_post_status pith_box_list_add(pith_box_list* list, pith_box box) {
  const pith_post_status status = pith_box_list_check(list);
  if (status != PITH_POST_OK) return status;
  if (!box_ok(&box)) return PITH_POST_OK;
  if (list->count == list->capacity) {
    ++list->lost;
    if (worse(&list->boxes[0], &box)) {
      list->boxes[0] = box;
      sift_down(list->boxes, list->count, 0);
    }
    return PITH_POST_OK;
  }
  int32_t at = list->count++;
  for (; at > 0 && worse(&box, &list->boxes[(at - 1) / 2]); at = (at - 1) / 2)
    list->boxes[at] = list->boxes[(at - 1) / 2];
  list->boxes[at] = box;
  return PITH_POST_OK;
}

static float overlap(float a1, float a2, float b1, float b2) {
  const float low = a1 > b1 ? a1 : b1, high = a2 < b2 ? a2 : b2;
  return high > low ? high - low : 0.0f;
}

// Intersection and union; the limit on coordinates keeps both finite.
static float intersection_of(const pith_box* a, const pith_box* b, float* united) {
  const float shared = overlap(a->x1, a->x2, b->x1, b->x2) * overlap(a->y1, a->y2, b->y1, b->y2);
  *united = (a->x2 - a->x1) * (a->y2 - a->y1) + (b->x2 - b->x1) * (b->y2 - b->y1) - shared;
  return shared;
}

float pith_box_iou(const pith_box* a, const pith_box* b) {
  if (a == NULL || b == NULL) return 0.0f;
  float united;
  const float shared = intersection_of(a, b, &united);
  const float iou = shared / united;
  if (!(united > 0.0f) || !pith_is_finite(united) || !(iou > 0.0f)) return 0.0f;
  return iou < 1.0f ? iou : 1.0f;
}

static int suppresses(const pith_nms_params* params, const pith_box* better, const pith_box* box) {
  if (!params->class_agnostic && better->class_id != box->class_id) return 0;
  float united;
  const float shared = intersection_of(better, box, &united);
  return shared > params->iou_threshold * united;
}

pith_nms_params pith_nms_defaults(void) {
  const pith_nms_params params = {0.45f, 0.0f, 300, 0};
  return params;
}

// Drops what may not take part, then sorts what is left, best first.
static void sort_candidates(float score_threshold, pith_box_list* list) {
  pith_box* boxes = list->boxes;
  int32_t count = 0;
  for (int32_t i = 0; i < list->count; ++i) {
    if (box_ok(&boxes[i]) && boxes[i].score > score_threshold) boxes[count++] = boxes[i];
  }
  for (int32_t at = count / 2 - 1; at >= 0; --at) sift_down(boxes, count, at);
  for (int32_t last = count - 1; last > 0; --last) {
    const pith_box worst = boxes[0];
    boxes[0] = boxes[last];
    boxes[last] = worst;
    sift_down(boxes, last, 0);
  }
  list->count = count;
}

pith_post_status pith_nms(const pith_nms_params* params, pith_box_list* list) {
  if (params == NULL) return PITH_POST_NULL;
  const pith_post_status status = pith_box_list_check(list);
  if (status != PITH_POST_OK) return status;
  const int thresholds = params->iou_threshold >= 0.0f && params->iou_threshold <= 1.0f &&
                         params->score_threshold >= 0.0f && params->score_threshold <= 1.0f;
  if (!thresholds || params->max_detections < 1) return PITH_POST_RANGE;

  sort_candidates(params->score_threshold, list);
  pith_box* boxes = list->boxes;
  int32_t kept = 0;
  for (int32_t i = 0; i < list->count && kept < params->max_detections; ++i) {
    int32_t by = 0;
    while (by < kept && !suppresses(params, &boxes[by], &boxes[i])) ++by;
    if (by == kept) boxes[kept++] = boxes[i];
  }
  list->count = kept;
  return PITH_POST_OK;
}
