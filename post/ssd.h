// From the outputs of SSD-type detectors (UltraFace, TensorFlow's SSD before its own NMS) to boxes.
//
// These networks give two tensors: for each prior box its class scores, with the background as a class of its own, and
// its corners, already decoded and relative to the picture.
//
//   pith_ssd_params params = pith_ssd_defaults();
//   params.scale_x = 320, params.scale_y = 240;               // corners 0..1 to pixels of the input (or the picture)
//   pith_decode_ssd(&scores, &boxes, &params, &list);         // then pith_nms, as in boxes.h
#ifndef PITH_POST_SSD_H_
#define PITH_POST_SSD_H_

#include "post/boxes.h"
#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pith_corner_order {
  PITH_CORNERS_XYXY = 0,  // left, top, right, bottom (UltraFace)
  PITH_CORNERS_YXYX = 1,  // top, left, bottom, right (TensorFlow)
} pith_corner_order;

typedef struct pith_ssd_params {
  float score_threshold;  // 0..1. Default 0.5
  int32_t background;     // which class is the background and never a detection, -1 for none. Default 0
  int32_t multi_label;    // 0: one candidate per prior, its best class (default). 1: one per class above the threshold
  pith_corner_order order;  // Default XYXY
  float scale_x, scale_y;   // what corners are multiplied by; positive. Default 1
} pith_ssd_params;

pith_ssd_params pith_ssd_defaults(void);

// Adds a candidate for each prior whose score is strictly above the threshold. class_id is the position among the
// scores, less one if it lies behind the background: faces of UltraFace are class 0. `index` is the prior's row.
//   scores  [n, classes] probabilities (softmax or sigmoid applied), or with leading dimensions of 1
//   boxes   [n, 4] likewise
// Errors: those of pith_view_check; PITH_POST_RANK; PITH_POST_SHAPE (the rows differ, not 4 corners, no class but the
// background); PITH_POST_RANGE (a parameter, NaN too); what pith_box_list_add refuses.
pith_post_status pith_decode_ssd(const pith_tensor_view* scores, const pith_tensor_view* boxes,
                                 const pith_ssd_params* params, pith_box_list* list);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_SSD_H_
