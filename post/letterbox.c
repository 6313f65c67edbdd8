// Letterbox geometry: see letterbox.h.
//
// The conventions are those of the detectors' public preprocessing (Ultralytics' letterbox pads the middle, YOLOX pads
// right and below). The way back uses the scale that the resize really had on each axis, scaled / picture, rather than
// the one nominal ratio: with a rounded side the two differ by up to half a pixel in the input.
#include "post/letterbox.h"

#include "post/internal.h"

static int side_ok(int32_t side) { return side >= 1 && side <= PITH_MAX_SIDE; }

// round(side * numerator / denominator), halves up, at least 1
static int32_t scaled_side(int32_t side, int32_t numerator, int32_t denominator) {
  const int64_t rounded = (2 * (int64_t)side * numerator + denominator) / (2 * (int64_t)denominator);
  return rounded < 1 ? 1 : (int32_t)rounded;
}

pith_post_status pith_letterbox_fit(int32_t picture_width, int32_t picture_height, int32_t input_width,
                                    int32_t input_height, pith_fit fit, pith_letterbox* letterbox) {
  if (letterbox == NULL) return PITH_POST_NULL;
  if (!side_ok(picture_width) || !side_ok(picture_height)) return PITH_POST_RANGE;
  if (!side_ok(input_width) || !side_ok(input_height)) return PITH_POST_RANGE;
  if (fit != PITH_FIT_CENTRE && fit != PITH_FIT_CORNER && fit != PITH_FIT_STRETCH) return PITH_POST_RANGE;

  pith_letterbox fitted = {picture_width, picture_height, input_width, input_height, input_width, input_height, 0, 0};
  if (fit != PITH_FIT_STRETCH) {
    const int width_is_tight = (int64_t)input_width * picture_height <= (int64_t)input_height * picture_width;
    if (width_is_tight) {
      fitted.scaled_height = scaled_side(picture_height, input_width, picture_width);
    } else {
      fitted.scaled_width = scaled_side(picture_width, input_height, picture_height);
    }
  }
  if (fit == PITH_FIT_CENTRE) {
    fitted.left = (input_width - fitted.scaled_width) / 2;
    fitted.top = (input_height - fitted.scaled_height) / 2;
  }
  *letterbox = fitted;
  return PITH_POST_OK;
}

static pith_post_status check_geometry(const pith_letterbox* letterbox, const pith_box* boxes, int32_t count) {
  if (letterbox == NULL || (boxes == NULL && count != 0)) return PITH_POST_NULL;
  const int sides = side_ok(letterbox->picture_width) && side_ok(letterbox->picture_height) &&
                    side_ok(letterbox->scaled_width) && side_ok(letterbox->scaled_height);
  const int corner = letterbox->left >= 0 && letterbox->left <= PITH_MAX_SIDE && letterbox->top >= 0 &&
                     letterbox->top <= PITH_MAX_SIDE;
  return sides && corner && count >= 0 ? PITH_POST_OK : PITH_POST_RANGE;
}

static float back(float x, int32_t offset, int32_t picture, int32_t scaled) {
  const float y = (x - (float)offset) * ((float)picture / (float)scaled);
  if (!(y > 0.0f)) return 0.0f;
  return y < (float)picture ? y : pith_is_finite(x) ? (float)picture : 0.0f;
}

pith_post_status pith_letterbox_undo(const pith_letterbox* letterbox, pith_box* boxes, int32_t count) {
  const pith_post_status status = check_geometry(letterbox, boxes, count);
  if (status != PITH_POST_OK) return status;
  const pith_letterbox* l = letterbox;
  for (int32_t i = 0; i < count; ++i) {
    boxes[i].x1 = back(boxes[i].x1, l->left, l->picture_width, l->scaled_width);
    boxes[i].x2 = back(boxes[i].x2, l->left, l->picture_width, l->scaled_width);
    boxes[i].y1 = back(boxes[i].y1, l->top, l->picture_height, l->scaled_height);
    boxes[i].y2 = back(boxes[i].y2, l->top, l->picture_height, l->scaled_height);
  }
  return PITH_POST_OK;
}

pith_post_status pith_letterbox_apply(const pith_letterbox* letterbox, pith_box* boxes, int32_t count) {
  const pith_post_status status = check_geometry(letterbox, boxes, count);
  if (status != PITH_POST_OK) return status;
  const float scale_x = (float)letterbox->scaled_width / (float)letterbox->picture_width;
  const float scale_y = (float)letterbox->scaled_height / (float)letterbox->picture_height;
  for (int32_t i = 0; i < count; ++i) {
    boxes[i].x1 = boxes[i].x1 * scale_x + (float)letterbox->left;
    boxes[i].x2 = boxes[i].x2 * scale_x + (float)letterbox->left;
    boxes[i].y1 = boxes[i].y1 * scale_y + (float)letterbox->top;
    boxes[i].y2 = boxes[i].y2 * scale_y + (float)letterbox->top;
  }
  return PITH_POST_OK;
}
