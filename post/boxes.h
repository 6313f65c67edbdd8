// Boxes, bounded lists of boxes, and non-maximum suppression.
//
// A detector proposes thousands of overlapping boxes. A decoder (yolo.h, ssd.h) puts those above the score threshold
// into a list, NMS reduces the list to one box per object, pith_letterbox_undo takes them back to the picture:
//
//   pith_box memory[1000];                                     // 28 bytes a box: the only memory that is needed
//   pith_box_list list;
//   pith_box_list_init(&list, memory, sizeof memory);
//   pith_yolo_params yolo = pith_yolo_defaults();
//   pith_nms_params nms = pith_nms_defaults();
//   pith_decode_yolov5(&output, &yolo, &list);
//   pith_nms(&nms, &list);
//   pith_letterbox_undo(&letterbox, list.boxes, list.count);   // list.boxes[0 .. list.count - 1], best first
//
// The list is bounded, so memory is known beforehand and a hostile output can't exceed it: when it is full, a better
// box replaces the worst one, and `lost` counts what fell out. With room for 1000 nothing is lost in ordinary pictures
// at a threshold of 0.25; measuring mAP at a threshold of 0.001 wants 30000.
#ifndef PITH_POST_BOXES_H_
#define PITH_POST_BOXES_H_

#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pith_box {
  float x1, y1, x2, y2;  // left, top, right, bottom; pixels unless said otherwise
  float score;
  int32_t class_id;
  int32_t index;  // which of the network's predictions this was: the key to its further outputs (masks, key points)
} pith_box;

// Boxes with a coordinate beyond this aren't taken: they can't be pixels, and below it areas can't overflow.
#define PITH_BOX_LIMIT 1e9f

typedef struct pith_box_list {
  pith_box* boxes;
  int32_t capacity;
  int32_t count;
  int64_t lost;  // boxes that were above the threshold but found no room, or lost their place to better ones
} pith_box_list;

// Bytes for a list of `capacity` boxes; 0 if capacity is below 1 or the bytes can't be counted.
size_t pith_box_list_scratch_bytes(int32_t capacity);

// An empty list in the caller's memory, as many boxes as fit.
// Errors: PITH_POST_NULL; PITH_POST_SCRATCH (room for no box, or not aligned to 4 bytes).
pith_post_status pith_box_list_init(pith_box_list* list, void* memory, size_t bytes);

// Empties the list for the next picture.
void pith_box_list_clear(pith_box_list* list);

// Adds a box, or drops it: silently, if its score isn't finite, a coordinate is NaN or beyond PITH_BOX_LIMIT, or x2 <
// x1 or y2 < y1; one that finds no room is counted in `lost`. Boxes are ordered by score, then lower index, then lower
// class_id: a full list holds the first `capacity` of all boxes added, whatever the order in which they came. Time log
// count. Until pith_nms the boxes lie in no useful order. After pith_nms, clear the list before adding again. Errors:
// PITH_POST_NULL; PITH_POST_RANGE (count and capacity contradict each other).
pith_post_status pith_box_list_add(pith_box_list* list, pith_box box);

// Intersection over union, 0..1; 0 for boxes without area, and whenever a coordinate isn't finite.
float pith_box_iou(const pith_box* a, const pith_box* b);

typedef struct pith_nms_params {
  float iou_threshold;     // 0..1; a box is dropped if its IoU with a better one is strictly above. Default 0.45
  float score_threshold;   // boxes not strictly above it are dropped; 0 drops only scores <= 0. Default 0
  int32_t max_detections;  // at least 1. Default 300
  int32_t class_agnostic;  // 0: only boxes of the same class suppress each other (default). 1: all do
} pith_nms_params;

pith_nms_params pith_nms_defaults(void);

// Greedy non-maximum suppression, in place and without further memory: afterwards the list holds the survivors, best
// first, ties in the order given at pith_box_list_add. Works on any boxes: they may also be written into list->boxes
// by hand, with list->count set; those that pith_box_list_add would drop are dropped. Then let `index` differ, or ties
// come in an order that is fixed but not foreseeable.
// Time: count log count, and at most count * max_detections comparisons.
// Errors: PITH_POST_NULL; PITH_POST_RANGE (a parameter, NaN too; count and capacity contradict each other).
pith_post_status pith_nms(const pith_nms_params* params, pith_box_list* list);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_BOXES_H_
