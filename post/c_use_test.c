// The library as a C program sees it: every header compiles as C11 with pedantic warnings, and the example of
// pith_post.h runs. Called from c_use_test.cpp, which owns the checks.
#include "post/c_use_test.h"

#include <string.h>

#include "post/pith_post.h"

int pith_c_use_detector(const unsigned char* output, int64_t rows, float scale, int32_t zero_point, pith_box* first) {
  pith_letterbox letterbox;
  if (pith_letterbox_fit(1280, 720, 640, 640, PITH_FIT_CENTRE, &letterbox) != PITH_POST_OK) return -1;
  const int64_t dims[3] = {1, rows, 6};
  const pith_tensor_view view = pith_view_u8(output, 3, dims, scale, zero_point);
  pith_box memory[10];
  pith_box_list list;
  pith_box_list_init(&list, memory, sizeof memory);
  const pith_yolo_params yolo = pith_yolo_defaults();
  const pith_nms_params nms = pith_nms_defaults();
  pith_post_status status = pith_decode_yolov5(&view, &yolo, &list);
  if (status == PITH_POST_OK) status = pith_nms(&nms, &list);
  if (status == PITH_POST_OK) status = pith_letterbox_undo(&letterbox, list.boxes, list.count);
  if (status != PITH_POST_OK) return -1;
  if (list.count > 0) memcpy(first, list.boxes, sizeof *first);
  return list.count;
}
