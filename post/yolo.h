// From the outputs of YOLOv5, YOLOv8 and YOLOX to boxes, raw heads and exported forms.
//
// Which function?
//   the network's output                                              function
//   [25200, 85]  rows of x, y, w, h, objectness, classes              pith_decode_yolov5   (YOLOv5, v7; YOLOX with
//                                                                     decode_in_inference)
//   [84, 8400]   x, y, w, h, classes down the columns                 pith_decode_yolov8   (YOLOv8, v9, v11)
//   [8400, 85]   rows of raw x, y, w, h, then probabilities           pith_decode_yolox    (YOLOX's default export)
//   one feature map per stride, straight from the last convolutions   pith_decode_yolov5_heads, _yolov8_heads,
//                                                                     _yolox_heads
// Leading dimensions of 1 (the batch) are ignored; for one picture of a larger batch use pith_view_at. The other order
// of rows and columns is pith_view_swap(view, 0, 1).
//
// Scores: objectness * class probability where there is an objectness, else the class probability. A prediction is a
// candidate if its score (and its objectness, where there is one) is strictly above the threshold. The box is in pixels
// of the network's input (letterbox.h takes it back), class_id counts from 0, and `index` is the prediction's row in
// the exported form: heads in the order given, then anchors, then rows, then columns of the map.
//
// All functions add to a list that pith_box_list_init has made; NMS is a step of its own (boxes.h).
// Errors, all functions: those of pith_view_check; PITH_POST_RANK; PITH_POST_SHAPE (too few channels, or a number of
// predictions or channels that contradicts the other arguments); PITH_POST_RANGE (a parameter, NaN too); what
// pith_box_list_add refuses. On an error the list may hold candidates of the heads before the faulty one.
#ifndef PITH_POST_YOLO_H_
#define PITH_POST_YOLO_H_

#include "post/boxes.h"
#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pith_yolo_params {
  float score_threshold;   // 0..1. Default 0.25
  int32_t class_count;     // 0: every channel after the box and the objectness is a class (default). Else that many,
                           // and further channels (mask coefficients, key points) are skipped
  int32_t multi_label;     // 0: one candidate per prediction, its best class (default). 1: one for every class above
                           // the threshold, as mAP is measured
  float scale_x, scale_y;  // for the exported forms: what x and w, y and h are multiplied by to give pixels. Default 1;
                           // the input's width and height where an exporter has normalised boxes to 0..1
} pith_yolo_params;

pith_yolo_params pith_yolo_defaults(void);

// YOLOv5's exported form: [n, 5 + classes], centre x, y, width, height, objectness, classes; all sigmoids applied.
pith_post_status pith_decode_yolov5(const pith_tensor_view* output, const pith_yolo_params* params,
                                    pith_box_list* list);

// YOLOv8's exported form: [4 + classes, n], centre x, y, width, height, classes; sigmoids applied, no objectness.
pith_post_status pith_decode_yolov8(const pith_tensor_view* output, const pith_yolo_params* params,
                                    pith_box_list* list);

// YOLOX's exported form: [n, 5 + classes]; sigmoids applied to objectness and classes, but boxes still relative:
//   x, y = (value + cell) * stride,  w, h = exp(value) * stride
// Rows run over the strides in the order given (8, 16, 32), for each over the cells of its map, row by row. n must be
// the sum of (input_width / stride) * (input_height / stride); each stride, 1..1024, must divide both sides.
// params->scale_x and scale_y aren't used.
pith_post_status pith_decode_yolox(const pith_tensor_view* output, int32_t input_width, int32_t input_height,
                                   const int32_t* strides, int32_t stride_count, const pith_yolo_params* params,
                                   pith_box_list* list);

enum { PITH_YOLO_MAX_ANCHORS = 8 };

typedef enum pith_head_layout {
  PITH_HEAD_CHW = 0,   // [anchors * channels, height, width]: a convolution's output in NCHW
  PITH_HEAD_HWC = 1,   // [height, width, anchors * channels]: the same in NHWC
  PITH_HEAD_AHWC = 2,  // [anchors, height, width, channels]: after YOLOv5's view and permute
} pith_head_layout;

// One feature map. The views of one detector may differ in everything, scale and zero point too.
typedef struct pith_yolo_head {
  pith_tensor_view view;
  pith_head_layout layout;
  float stride;          // input pixels per cell: positive, at most 1024
  int32_t anchor_count;  // YOLOv5: 1..PITH_YOLO_MAX_ANCHORS. Others: ignored, they have one prediction per cell
  float anchors[2 * PITH_YOLO_MAX_ANCHORS];  // YOLOv5: width, height of each, in input pixels
} pith_yolo_head;

// A head without anchors (YOLOv8, YOLOX).
pith_yolo_head pith_yolo_head_of(pith_tensor_view view, pith_head_layout layout, float stride);

// A YOLOv5 head with the three anchors that YOLOv5n..x use at stride 8, 16 or 32 on COCO (for another stride
// anchor_count is 0, which the decoder refuses).
pith_yolo_head pith_yolov5_coco_head(pith_tensor_view view, pith_head_layout layout, float stride);

// Raw YOLOv5 heads, 5 + classes channels per anchor, all logits. With s = sigmoid(logit):
//   x, y = (2 s - 0.5 + cell) * stride,  w, h = (2 s)^2 * anchor
pith_post_status pith_decode_yolov5_heads(const pith_yolo_head* heads, int32_t head_count,
                                          const pith_yolo_params* params, pith_box_list* list);

// Raw YOLOv8 heads, 4 * bins + classes channels, all logits. Each side of the box is a distribution over 0 .. bins - 1
// cells, whose mean is its distance from the cell's centre (distribution focal loss, Li et al. 2020, arXiv
// 2006.04388); bins is 1..64, usually 16. With bins = 1 the channel is the distance itself.
pith_post_status pith_decode_yolov8_heads(const pith_yolo_head* heads, int32_t head_count, int32_t bins,
                                          const pith_yolo_params* params, pith_box_list* list);

// Raw YOLOX heads, 5 + classes channels: boxes as in pith_decode_yolox, objectness and classes logits.
pith_post_status pith_decode_yolox_heads(const pith_yolo_head* heads, int32_t head_count,
                                         const pith_yolo_params* params, pith_box_list* list);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_YOLO_H_
