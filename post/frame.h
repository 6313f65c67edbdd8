// A camera's frame, line by line, as the rows of a network's input: crop, scale, colour, quantise, all in line buffers.
//
// A frame of 16 million pixels is 20 MB; a network looks at 640 x 640 of it. Nobody needs the whole frame at once: the
// network (compiled with --rows) asks for its input rows from above to below, each of them is an average over some lines
// of the frame, and a line is read when it is first needed. What is held is one or two lines and one row of sums.
//
// Scaling is by area: an input pixel is the mean of the frame's pixels that it covers, each weighted by its share.
// All arithmetic is in integers and exact up to one rounding per pixel, so the result is the same on every machine.
//
//   pith_letterbox_fit(4672, 3506, 640, 640, PITH_FIT_CENTRE, &options.fit);
//   options.format = PITH_FRAME_RAW10; options.width = 4672; options.height = 3506; ...
//   pith_frame* frame;
//   pith_frame_open(&options, memory, pith_frame_bytes(&options), read_line, camera, &frame);
//   pith_set_row_source(instance, 0, pith_frame_rows, frame);
//   for (;;) { pith_frame_restart(frame); pith_run(instance); ... }
#ifndef PITH_POST_FRAME_H_
#define PITH_POST_FRAME_H_

#include <stddef.h>

#include "post/letterbox.h"
#include "post/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pith_frame_format {
  PITH_FRAME_RAW8 = 0,   // Bayer mosaic, a byte per pixel
  PITH_FRAME_RAW10 = 1,  // Bayer mosaic, MIPI packing: 4 pixels in 5 bytes, the low 2 bits of all in the fifth
  PITH_FRAME_NV12 = 2,   // plane 0: Y; plane 1: U and V alternating, half as wide and high
  PITH_FRAME_RGB = 3,    // 3 bytes per pixel
} pith_frame_format;

typedef enum pith_frame_pattern {  // colours of the mosaic's first two pixels
  PITH_FRAME_RGGB = 0,
  PITH_FRAME_GRBG = 1,
  PITH_FRAME_GBRG = 2,
  PITH_FRAME_BGGR = 3,
} pith_frame_pattern;

typedef enum pith_frame_colour {  // what Y, U and V mean
  PITH_FRAME_BT601 = 0,           // 16 to 235
  PITH_FRAME_BT709 = 1,           // 16 to 235
  PITH_FRAME_JPEG = 2,            // BT.601, 0 to 255
  PITH_FRAME_BT709_FULL = 3,      // 0 to 255
} pith_frame_colour;

typedef struct pith_frame_options {
  pith_frame_format format;
  int32_t width, height;        // of the frame; even for mosaics and NV12, a multiple of 4 wide for RAW10
  int32_t crop_left, crop_top;  // even for mosaics and NV12: here begins the picture that `fit` fits into the input
  pith_letterbox fit;           // from pith_letterbox_fit; for mosaics and NV12 its picture has even sides
  uint8_t padding;              // around the picture, 0..255
  // mosaics: a channel's mean less `black`, times gain / 256 (0: 256), then `tone` (1024 entries; null: linear) to 0..255
  pith_frame_pattern pattern;
  uint16_t black, gain[3];
  const uint8_t* tone;
  pith_frame_colour colour;  // NV12
  const uint8_t* codes;      // 3 x 256: what the network takes for 0..255 of R, G and B; null: the value itself
} pith_frame_options;

// Fills `bytes` (as many as a line of that plane has: pith_frame_line_bytes) with line `line`. Lines of a plane are asked
// for in ascending order, each once; those above and below the picture aren't. 0: all is well.
typedef int (*pith_frame_read)(void* context, int32_t plane, int32_t line, uint8_t* bytes);

typedef struct pith_frame pith_frame;

// Memory that pith_frame_open takes, all that is ever held of a frame; 0 for options that make no sense.
size_t pith_frame_bytes(const pith_frame_options* options);
size_t pith_frame_line_bytes(const pith_frame_options* options, int32_t plane);

// `memory`: aligned to 8 bytes, the caller's, in use as long as *frame is; so are the tables in the options.
// Errors: PITH_POST_NULL; PITH_POST_RANGE (sides, crop or fit that don't go together); PITH_POST_SCRATCH (too few bytes).
pith_post_status pith_frame_open(const pith_frame_options* options, void* memory, size_t bytes, pith_frame_read read,
                                 void* context, pith_frame** frame);

// Before each frame: rows begin at 0 again.
void pith_frame_restart(pith_frame* frame);

// A pith_rows for pith_set_row_source: `context` is the pith_frame. Rows must ascend. Writes rows x input_width x 3 codes.
void pith_frame_rows(void* context, int32_t index, int32_t row, int32_t rows, void* data);

// 0, or what the reader returned when it failed first since the restart: the rows from there on are padding.
int pith_frame_failure(const pith_frame* frame);

// Tone for mosaics, which count light: the sRGB curve (IEC 61966-2-1) for 10 bits.
void pith_frame_tone_srgb(uint8_t tone[1024]);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_FRAME_H_
