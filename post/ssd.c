// SSD-type outputs: see ssd.h.
//
// The best class is looked for among the classes that may be detections, on both sides of the background: a prior whose
// background scores highest is still a candidate if one of its classes is above the threshold, which is how these
// detectors' own post-processing treats it.
#include "post/ssd.h"

#include "post/internal.h"

pith_ssd_params pith_ssd_defaults(void) {
  const pith_ssd_params params = {0.5f, 0, 0, PITH_CORNERS_XYXY, 1.0f, 1.0f};
  return params;
}

static pith_post_status check_params(const pith_ssd_params* params, int32_t classes) {
  const int threshold = params->score_threshold >= 0.0f && params->score_threshold <= 1.0f;
  const int order = params->order == PITH_CORNERS_XYXY || params->order == PITH_CORNERS_YXYX;
  const int scale = params->scale_x > 0.0f && params->scale_x <= PITH_BOX_LIMIT && params->scale_y > 0.0f &&
                    params->scale_y <= PITH_BOX_LIMIT;
  if (!threshold || !order || !scale || params->background < -1) return PITH_POST_RANGE;
  if (params->background >= classes) return PITH_POST_RANGE;
  return classes > (params->background >= 0 ? 1 : 0) ? PITH_POST_OK : PITH_POST_SHAPE;
}

static pith_post_status open_rows(const pith_tensor_view* view, pith_tensor_view* rows) {
  const pith_post_status status = pith_view_check(view);
  if (status != PITH_POST_OK) return status;
  *rows = pith_post_squeeze(*view, 2);
  return rows->rank == 2 ? PITH_POST_OK : PITH_POST_RANK;
}

static void read_corners(const pith_tensor_view* rows, int32_t row, const pith_ssd_params* params, pith_box* box) {
  const int64_t first = row * rows->strides[0], step = rows->strides[1];
  const int32_t x = params->order == PITH_CORNERS_YXYX ? 1 : 0, y = 1 - x;
  box->x1 = pith_read(rows, first + x * step) * params->scale_x;
  box->y1 = pith_read(rows, first + y * step) * params->scale_y;
  box->x2 = pith_read(rows, first + (x + 2) * step) * params->scale_x;
  box->y2 = pith_read(rows, first + (y + 2) * step) * params->scale_y;
  box->index = row;
}

static pith_post_status read_prior(const pith_tensor_view* scores, const pith_tensor_view* corners, int32_t row,
                                   const pith_ssd_params* params, pith_box_list* list) {
  pith_box best = {.class_id = -1};
  for (int32_t c = 0; c < scores->dims[1]; ++c) {
    if (c == params->background) continue;
    pith_box box = {.score = pith_read(scores, row * scores->strides[0] + c * scores->strides[1])};
    if (!(box.score > params->score_threshold)) continue;
    box.class_id = c - (params->background >= 0 && c > params->background ? 1 : 0);
    if (best.class_id < 0 || box.score > best.score) best = box;
    if (!params->multi_label) continue;
    read_corners(corners, row, params, &box);
    const pith_post_status status = pith_box_list_add(list, box);
    if (status != PITH_POST_OK) return status;
  }
  if (params->multi_label || best.class_id < 0) return PITH_POST_OK;
  read_corners(corners, row, params, &best);
  return pith_box_list_add(list, best);
}

pith_post_status pith_decode_ssd(const pith_tensor_view* scores, const pith_tensor_view* boxes,
                                 const pith_ssd_params* params, pith_box_list* list) {
  pith_tensor_view score_rows, corner_rows;
  pith_post_status status = open_rows(scores, &score_rows);
  if (status == PITH_POST_OK) status = open_rows(boxes, &corner_rows);
  if (status == PITH_POST_OK && params == NULL) status = PITH_POST_NULL;
  if (status == PITH_POST_OK) status = pith_box_list_check(list);
  if (status == PITH_POST_OK) status = check_params(params, (int32_t)score_rows.dims[1]);
  if (status != PITH_POST_OK) return status;
  if (corner_rows.dims[1] != 4 || corner_rows.dims[0] != score_rows.dims[0]) return PITH_POST_SHAPE;
  for (int32_t row = 0; row < score_rows.dims[0] && status == PITH_POST_OK; ++row) {
    status = read_prior(&score_rows, &corner_rows, row, params, list);
  }
  return status;
}
