// pith_post: from a network's output tensors to classes, boxes, text and label maps, and from sound to
// the features that networks take. C11, callable from C++.
//
// The library stands alone: it needs a C compiler and libm, nothing else of pith. It allocates nothing, opens no file,
// has no state and starts no thread; every byte it works in is the caller's. Link with libpith_post.a and -lm.
//
//   task                  header         functions
//   (all)                 tensor.h       views of float and 8-bit tensors where they lie, statuses, the common rules
//   classification        classify.h     pith_top_k, pith_softmax, pith_sigmoid
//   detection             yolo.h         pith_decode_yolov5, _yolov8, _yolox and their raw heads
//                         ssd.h          pith_decode_ssd
//                         boxes.h        pith_box_list_*, pith_nms, pith_box_iou
//                         letterbox.h    pith_letterbox_fit, _undo, _apply
//   text, sequences       ctc.h          pith_ctc_greedy, pith_ctc_text
//                         tokenizer.h    pith_tokenize, pith_detokenize: byte pairs, word pieces, unigrams
//   segmentation          segment.h      pith_label_map, pith_binary_map, pith_label_histogram
//   frames, before a net  frame.h        pith_frame_*: RAW, NV12 and RGB, cropped and scaled line by line
//   sound, before a net   mel.h          pith_mel_*: log-mel spectra and MFCCs
//
// A complete detector's end, with 28 KB of memory:
//
//   pith_letterbox letterbox;
//   pith_letterbox_fit(picture_width, picture_height, 640, 640, PITH_FIT_CENTRE, &letterbox);
//   ... scale the picture to letterbox.scaled_width x scaled_height, place it at left, top, run the network ...
//   const int64_t dims[3] = {1, 25200, 85};
//   pith_tensor_view view = pith_view_u8(output, 3, dims, scale, zero_point);
//   pith_box memory[1000];
//   pith_box_list list;
//   pith_box_list_init(&list, memory, sizeof memory);
//   pith_yolo_params yolo = pith_yolo_defaults();
//   pith_nms_params nms = pith_nms_defaults();
//   pith_post_status status = pith_decode_yolov5(&view, &yolo, &list);
//   if (status == PITH_POST_OK) status = pith_nms(&nms, &list);
//   if (status == PITH_POST_OK) status = pith_letterbox_undo(&letterbox, list.boxes, list.count);
//   if (status != PITH_POST_OK) fprintf(stderr, "%s\n", pith_post_message(status));
//   for (int32_t i = 0; i < list.count; ++i) ... list.boxes[i].x1, .y1, .x2, .y2, .score, .class_id ...
#ifndef PITH_POST_PITH_POST_H_
#define PITH_POST_PITH_POST_H_

#include "post/boxes.h"
#include "post/classify.h"
#include "post/ctc.h"
#include "post/frame.h"
#include "post/letterbox.h"
#include "post/mel.h"
#include "post/segment.h"
#include "post/ssd.h"
#include "post/tensor.h"
#include "post/tokenizer.h"
#include "post/yolo.h"

#endif  // PITH_POST_PITH_POST_H_
