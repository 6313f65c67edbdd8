// YOLO decoding: see yolo.h for the forms and formulas.
//
// All forms are one loop over cells, each a place in the view with a grid position: they differ in how a cell's four
// (or 4 * bins) numbers become a box, in whether there is an objectness, and in whether scores are still logits. A
// `reader` holds what is the same for a whole map. The cheap tests come first: most predictions fall at the objectness
// (or at the best class, where there is none) and never reach an exponential for their box. The sigmoid is monotonic,
// so the best class is found among the numbers as they lie, even as quantised bytes, and only it is converted.
//
// Formulas: the public model code and documentation of Ultralytics YOLOv5 and YOLOv8 and of Megvii YOLOX (arXiv
// 2107.08430).
#include "post/yolo.h"

#include "post/internal.h"

enum { MAX_BINS = 64, MAX_STRIDE = 1024 };

typedef struct cell {
  int64_t offset;  // of its first channel
  float x, y;      // its column and row in the map
  float anchor_width, anchor_height;
  int32_t index;
} cell;

typedef struct reader reader;
typedef void (*box_reader)(const reader* r, const cell* at, pith_box* box);

struct reader {
  const pith_tensor_view* view;
  const pith_yolo_params* params;
  pith_box_list* list;
  box_reader read_box;
  int64_t step;        // from one channel to the next
  int32_t objectness;  // its channel, or -1
  int32_t first_class, class_count;
  int32_t logits;  // scores still need their sigmoid
  int32_t bins;
  float stride;
};

static float channel(const reader* r, const cell* at, int32_t c) {
  return pith_read(r->view, at->offset + c * r->step);
}

static float probability(const reader* r, float value) { return r->logits ? pith_sigmoid_of(value) : value; }

static void set_centre(pith_box* box, float x, float y, float width, float height) {
  box->x1 = x - 0.5f * width;
  box->y1 = y - 0.5f * height;
  box->x2 = x + 0.5f * width;
  box->y2 = y + 0.5f * height;
}

static void read_centre_box(const reader* r, const cell* at, pith_box* box) {
  const float sx = r->params->scale_x, sy = r->params->scale_y;
  set_centre(box, channel(r, at, 0) * sx, channel(r, at, 1) * sy, channel(r, at, 2) * sx, channel(r, at, 3) * sy);
}

static void read_anchor_box(const reader* r, const cell* at, pith_box* box) {
  float s[4];
  for (int32_t c = 0; c < 4; ++c) s[c] = 2.0f * pith_sigmoid_of(channel(r, at, c));
  set_centre(box, (s[0] - 0.5f + at->x) * r->stride, (s[1] - 0.5f + at->y) * r->stride, s[2] * s[2] * at->anchor_width,
             s[3] * s[3] * at->anchor_height);
}

static void read_exponential_box(const reader* r, const cell* at, pith_box* box) {
  set_centre(box, (channel(r, at, 0) + at->x) * r->stride, (channel(r, at, 1) + at->y) * r->stride,
             expf(channel(r, at, 2)) * r->stride, expf(channel(r, at, 3)) * r->stride);
}

static float mean_distance(const reader* r, const cell* at, int32_t side) {
  if (r->bins == 1) return channel(r, at, side);
  const int64_t first = at->offset + side * r->bins * r->step;
  const pith_best best = pith_post_best(r->view, first, r->step, r->bins);
  float sum = 0.0f, weighted = 0.0f;
  for (int32_t bin = 0; bin < r->bins; ++bin) {
    const float weight = expf(pith_read(r->view, first + bin * r->step) - best.value);
    sum += weight;
    weighted += weight * (float)bin;
  }
  return weighted / sum;
}

static void read_distance_box(const reader* r, const cell* at, pith_box* box) {
  const float x = at->x + 0.5f, y = at->y + 0.5f;
  box->x1 = (x - mean_distance(r, at, 0)) * r->stride;
  box->y1 = (y - mean_distance(r, at, 1)) * r->stride;
  box->x2 = (x + mean_distance(r, at, 2)) * r->stride;
  box->y2 = (y + mean_distance(r, at, 3)) * r->stride;
}

static pith_post_status read_cell(const reader* r, const cell* at) {
  const float threshold = r->params->score_threshold;
  float objectness = 1.0f;
  if (r->objectness >= 0) objectness = probability(r, channel(r, at, r->objectness));
  if (!(objectness > threshold)) return PITH_POST_OK;

  const pith_best best = pith_post_best(r->view, at->offset + r->first_class * r->step, r->step, r->class_count);
  if (best.index < 0) return PITH_POST_OK;
  pith_box box;
  box.score = objectness * probability(r, best.value);
  if (!(box.score > threshold)) return PITH_POST_OK;
  box.class_id = best.index;
  box.index = at->index;
  r->read_box(r, at, &box);
  if (!r->params->multi_label) return pith_box_list_add(r->list, box);
  for (int32_t c = 0; c < r->class_count; ++c) {
    box.score = objectness * probability(r, channel(r, at, r->first_class + c));
    if (!(box.score > threshold)) continue;
    box.class_id = c;
    const pith_post_status status = pith_box_list_add(r->list, box);
    if (status != PITH_POST_OK) return status;
  }
  return PITH_POST_OK;
}

static int positive(float x, float most) { return x > 0.0f && x <= most; }

static pith_post_status check_arguments(const pith_yolo_params* params, const pith_box_list* list) {
  if (params == NULL) return PITH_POST_NULL;
  const pith_post_status status = pith_box_list_check(list);
  if (status != PITH_POST_OK) return status;
  if (!(params->score_threshold >= 0.0f && params->score_threshold <= 1.0f)) return PITH_POST_RANGE;
  if (!positive(params->scale_x, PITH_BOX_LIMIT) || !positive(params->scale_y, PITH_BOX_LIMIT)) return PITH_POST_RANGE;
  return params->class_count >= 0 ? PITH_POST_OK : PITH_POST_RANGE;
}

// Splits `channels` into the box, the objectness and the classes.
static pith_post_status split_channels(reader* r, int64_t channels, int32_t box_channels, int has_objectness) {
  r->objectness = has_objectness ? box_channels : -1;
  r->first_class = box_channels + (has_objectness ? 1 : 0);
  const int64_t classes = channels - r->first_class;
  if (classes < 1 || r->params->class_count > classes) return PITH_POST_SHAPE;
  r->class_count = r->params->class_count != 0 ? r->params->class_count : (int32_t)classes;
  return PITH_POST_OK;
}

pith_yolo_params pith_yolo_defaults(void) {
  const pith_yolo_params params = {0.25f, 0, 0, 1.0f, 1.0f};
  return params;
}

// The exported forms: a table with one prediction per step of `axis`, whose channels lie along the other axis.
static pith_post_status open_table(const pith_tensor_view* output, int32_t axis, int has_objectness,
                                   pith_tensor_view* table, reader* r) {
  const pith_post_status status = pith_view_check(output);
  if (status != PITH_POST_OK) return status;
  *table = pith_post_squeeze(*output, 2);
  if (table->rank != 2) return PITH_POST_RANK;
  r->view = table;
  r->step = table->strides[1 - axis];
  return split_channels(r, table->dims[1 - axis], 4, has_objectness);
}

static pith_post_status decode_table(const pith_tensor_view* output, int32_t axis, int has_objectness,
                                     const pith_yolo_params* params, pith_box_list* list) {
  pith_post_status status = check_arguments(params, list);
  if (status != PITH_POST_OK) return status;
  reader r = {.params = params, .list = list, .read_box = read_centre_box, .stride = 1.0f};
  pith_tensor_view table;
  status = open_table(output, axis, has_objectness, &table, &r);
  for (int32_t i = 0; status == PITH_POST_OK && i < table.dims[axis]; ++i) {
    const cell at = {.offset = i * table.strides[axis], .index = i};
    status = read_cell(&r, &at);
  }
  return status;
}

pith_post_status pith_decode_yolov5(const pith_tensor_view* output, const pith_yolo_params* params,
                                    pith_box_list* list) {
  return decode_table(output, 0, 1, params, list);
}

pith_post_status pith_decode_yolov8(const pith_tensor_view* output, const pith_yolo_params* params,
                                    pith_box_list* list) {
  return decode_table(output, 1, 0, params, list);
}

// The number of cells of all maps together, or -1 where a stride doesn't fit the input.
static int64_t count_cells(int32_t width, int32_t height, const int32_t* strides, int32_t stride_count) {
  int64_t cells = 0;
  for (int32_t i = 0; i < stride_count; ++i) {
    if (strides[i] < 1 || strides[i] > MAX_STRIDE || width % strides[i] != 0 || height % strides[i] != 0) return -1;
    cells += (int64_t)(width / strides[i]) * (height / strides[i]);
    if (cells > INT32_MAX) return -1;
  }
  return cells;
}

pith_post_status pith_decode_yolox(const pith_tensor_view* output, int32_t input_width, int32_t input_height,
                                   const int32_t* strides, int32_t stride_count, const pith_yolo_params* params,
                                   pith_box_list* list) {
  pith_post_status status = check_arguments(params, list);
  if (status != PITH_POST_OK) return status;
  if (strides == NULL) return PITH_POST_NULL;
  if (input_width < 1 || input_height < 1 || stride_count < 1) return PITH_POST_RANGE;
  const int64_t cells = count_cells(input_width, input_height, strides, stride_count);
  if (cells < 0) return PITH_POST_RANGE;
  reader r = {.params = params, .list = list, .read_box = read_exponential_box};
  pith_tensor_view table;
  status = open_table(output, 0, 1, &table, &r);
  if (status == PITH_POST_OK && table.dims[0] != cells) status = PITH_POST_SHAPE;

  int32_t index = 0;
  for (int32_t s = 0; s < stride_count && status == PITH_POST_OK; ++s) {
    r.stride = (float)strides[s];
    const int32_t columns = input_width / strides[s];
    const int32_t map = columns * (input_height / strides[s]);
    for (int32_t i = 0; i < map && status == PITH_POST_OK; ++i, ++index) {
      const cell at = {index * table.strides[0], (float)(i % columns), (float)(i / columns), 0.0f, 0.0f, index};
      status = read_cell(&r, &at);
    }
  }
  return status;
}

pith_yolo_head pith_yolo_head_of(pith_tensor_view view, pith_head_layout layout, float stride) {
  const pith_yolo_head head = {.view = view, .layout = layout, .stride = stride};
  return head;
}

pith_yolo_head pith_yolov5_coco_head(pith_tensor_view view, pith_head_layout layout, float stride) {
  static const float anchors[3][6] = {
      {10, 13, 16, 30, 33, 23}, {30, 61, 62, 45, 59, 119}, {116, 90, 156, 198, 373, 326}};
  pith_yolo_head head = pith_yolo_head_of(view, layout, stride);
  const int32_t level = stride == 8.0f ? 0 : stride == 16.0f ? 1 : stride == 32.0f ? 2 : -1;
  if (level < 0) return head;
  head.anchor_count = 3;
  for (int32_t i = 0; i < 6; ++i) head.anchors[i] = anchors[level][i];
  return head;
}

// A head's view as [anchor, row, column, channel], whatever its layout.
static pith_post_status open_map(const pith_yolo_head* head, int32_t anchors, pith_tensor_view* map) {
  const pith_post_status status = pith_view_check(&head->view);
  if (status != PITH_POST_OK) return status;
  const int chw = head->layout == PITH_HEAD_CHW, split = head->layout == PITH_HEAD_AHWC;
  if (!chw && !split && head->layout != PITH_HEAD_HWC) return PITH_POST_RANGE;
  const pith_tensor_view v = pith_post_squeeze(head->view, split ? 4 : 3);
  if (v.rank != (split ? 4 : 3)) return PITH_POST_RANK;
  *map = v;
  if (split) return v.dims[0] == anchors ? PITH_POST_OK : PITH_POST_SHAPE;

  const int32_t c = chw ? 0 : 2, y = chw ? 1 : 0, x = chw ? 2 : 1;
  if (v.dims[c] % anchors != 0) return PITH_POST_SHAPE;
  const int32_t from[4] = {c, y, x, c};
  map->rank = 4;
  for (int32_t axis = 1; axis < 4; ++axis) {
    map->dims[axis] = v.dims[from[axis]];
    map->strides[axis] = v.strides[from[axis]];
  }
  map->dims[0] = anchors;
  map->dims[3] = v.dims[c] / anchors;
  map->strides[0] = map->dims[3] * v.strides[c];
  return PITH_POST_OK;
}

static pith_post_status decode_map(reader* r, const pith_yolo_head* head, int32_t* index) {
  const pith_tensor_view* map = r->view;
  for (int32_t a = 0; a < map->dims[0]; ++a) {
    for (int32_t y = 0; y < map->dims[1]; ++y) {
      for (int32_t x = 0; x < map->dims[2]; ++x, ++*index) {
        const int64_t offset = a * map->strides[0] + y * map->strides[1] + x * map->strides[2];
        const cell at = {offset, (float)x, (float)y, head->anchors[2 * a], head->anchors[2 * a + 1], *index};
        const pith_post_status status = read_cell(r, &at);
        if (status != PITH_POST_OK) return status;
      }
    }
  }
  return PITH_POST_OK;
}

// What is the same for all heads of a kind stands in `r`; anchors: 0 for one prediction per cell.
static pith_post_status decode_heads(reader r, const pith_yolo_head* heads, int32_t head_count, int use_anchors,
                                     int32_t box_channels, int has_objectness) {
  pith_post_status status = check_arguments(r.params, r.list);
  if (status != PITH_POST_OK) return status;
  if (heads == NULL) return PITH_POST_NULL;
  if (head_count < 1) return PITH_POST_RANGE;
  int32_t index = 0;
  for (int32_t h = 0; h < head_count; ++h) {
    const int32_t anchors = use_anchors ? heads[h].anchor_count : 1;
    if (anchors < 1 || anchors > PITH_YOLO_MAX_ANCHORS || !positive(heads[h].stride, MAX_STRIDE))
      return PITH_POST_RANGE;
    pith_tensor_view map;
    status = open_map(&heads[h], anchors, &map);
    if (status != PITH_POST_OK) return status;
    r.view = &map;
    r.step = map.strides[3];
    r.stride = heads[h].stride;
    if (map.dims[0] * map.dims[1] * map.dims[2] > INT32_MAX - index) return PITH_POST_TOO_BIG;
    status = split_channels(&r, map.dims[3], box_channels, has_objectness);
    if (status == PITH_POST_OK) status = decode_map(&r, &heads[h], &index);
    if (status != PITH_POST_OK) return status;
  }
  return PITH_POST_OK;
}

pith_post_status pith_decode_yolov5_heads(const pith_yolo_head* heads, int32_t head_count,
                                          const pith_yolo_params* params, pith_box_list* list) {
  const reader r = {.params = params, .list = list, .read_box = read_anchor_box, .logits = 1};
  return decode_heads(r, heads, head_count, 1, 4, 1);
}

pith_post_status pith_decode_yolov8_heads(const pith_yolo_head* heads, int32_t head_count, int32_t bins,
                                          const pith_yolo_params* params, pith_box_list* list) {
  if (bins < 1 || bins > MAX_BINS) return PITH_POST_RANGE;
  const reader r = {.params = params, .list = list, .read_box = read_distance_box, .logits = 1, .bins = bins};
  return decode_heads(r, heads, head_count, 0, 4 * bins, 0);
}

pith_post_status pith_decode_yolox_heads(const pith_yolo_head* heads, int32_t head_count,
                                         const pith_yolo_params* params, pith_box_list* list) {
  const reader r = {.params = params, .list = list, .read_box = read_exponential_box, .logits = 1};
  return decode_heads(r, heads, head_count, 0, 4, 1);
}
