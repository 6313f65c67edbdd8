// Where a picture lies inside a network's input, and the way back from input pixels to picture pixels.
//
// A network takes one size; pictures come in any. Three ways of fitting are in use: stretch (both sides scaled on
// their own: SSD, UltraFace), letterbox with the picture in the middle of the padding (YOLOv5, YOLOv8), and letterbox
// with the picture in the top left corner (YOLOX). This part computes the geometry for whoever scales the pixels, and
// takes boxes back.
//
// Coordinates: pixels, x right, y down, edges as numbers: a picture of width w reaches from 0 to w.
#ifndef PITH_POST_LETTERBOX_H_
#define PITH_POST_LETTERBOX_H_

#include "post/boxes.h"
#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pith_fit {
  PITH_FIT_CENTRE = 0,   // keep the aspect, pad both sides; an odd padding puts the smaller half left or above
  PITH_FIT_CORNER = 1,   // keep the aspect, pad right and below
  PITH_FIT_STRETCH = 2,  // fill the input
} pith_fit;

enum { PITH_MAX_SIDE = 1 << 20 };  // the largest width or height of a picture or an input

typedef struct pith_letterbox {
  int32_t picture_width, picture_height;  // the picture, before
  int32_t input_width, input_height;      // the network's input
  int32_t scaled_width, scaled_height;    // the picture, once scaled: at least 1, at most the input
  int32_t left, top;                      // where its corner lies in the input
} pith_letterbox;

// The geometry of one fit. Integer arithmetic only: the tight side fills the input, the other is rounded to the
// nearest pixel (halves up). A picture smaller than the input is scaled up.
// Errors: PITH_POST_NULL; PITH_POST_RANGE (a side below 1 or above PITH_MAX_SIDE, an unknown fit).
pith_post_status pith_letterbox_fit(int32_t picture_width, int32_t picture_height, int32_t input_width,
                                    int32_t input_height, pith_fit fit, pith_letterbox* letterbox);

// Boxes from input pixels to picture pixels, in place, cut off at the picture's border. A box that lies wholly in the
// padding ends up with no area; scores, classes and indices stay. Non-finite coordinates become 0.
// The letterbox must come from pith_letterbox_fit. Errors: PITH_POST_NULL; PITH_POST_RANGE (count < 0, a geometry
// that pith_letterbox_fit doesn't produce).
pith_post_status pith_letterbox_undo(const pith_letterbox* letterbox, pith_box* boxes, int32_t count);

// The other way, picture to input, not cut off: for drawing ground truth into what the network sees, and for tests.
// Same errors.
pith_post_status pith_letterbox_apply(const pith_letterbox* letterbox, pith_box* boxes, int32_t count);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_LETTERBOX_H_
