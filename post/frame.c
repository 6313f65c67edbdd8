// Frames line by line: see frame.h.
//
// Area scaling in integers: of w pixels to s, pixel i covers [i s, (i + 1) s) and input pixel x covers [x w, (x + 1) w) on
// one axis of w s units; a weight is the length of an overlap, and the weights of an input pixel add up to w. The same
// goes for lines, so a total over w h weights divides to the mean. 1023 w h needs more than 32 bits.
#include "post/frame.h"

#include <string.h>

enum { kMaxSide = 1 << 14 };

// Values of one plane on the way from lines to a row of the input.
typedef struct plane {
  int32_t width, height, channels;  // of the picture in this plane, mosaics counted in squares of four
  int32_t line;                     // whose sums these are; -1: none
  uint32_t* sums;                   // scaled_width x channels of that line, weighted across
  uint64_t* totals;                 // of a row
} plane;

struct pith_frame {
  pith_frame_options options;
  pith_frame_read read;
  void* context;
  int failure;
  int32_t planes;
  plane plane[2];
  uint8_t* bytes;    // one line, two of a mosaic
  uint16_t* pixels;  // one line of a plane, unpacked
};

static int is_mosaic(const pith_frame_options* o) { return o->format == PITH_FRAME_RAW8 || o->format == PITH_FRAME_RAW10; }
static size_t round8(size_t n) { return (n + 7) / 8 * 8; }

static int sound(const pith_frame_options* o) {
  const pith_letterbox* f = &o->fit;
  const int32_t grain = o->format == PITH_FRAME_RGB ? 1 : 2;
  if ((int)o->format < 0 || o->format > PITH_FRAME_RGB || (int)o->pattern < 0 || o->pattern > PITH_FRAME_BGGR) return 0;
  if ((int)o->colour < 0 || o->colour > PITH_FRAME_BT709_FULL) return 0;
  if (o->width < 1 || o->height < 1 || o->width > kMaxSide || o->height > kMaxSide) return 0;
  if (o->width % (o->format == PITH_FRAME_RAW10 ? 4 : grain) != 0 || o->height % grain != 0) return 0;
  if (o->crop_left < 0 || o->crop_top < 0 || f->picture_width < 1 || f->picture_height < 1) return 0;
  if (o->crop_left > o->width - f->picture_width || o->crop_top > o->height - f->picture_height) return 0;
  if (o->crop_left % grain != 0 || o->crop_top % grain != 0) return 0;
  if (f->picture_width % grain != 0 || f->picture_height % grain != 0) return 0;
  if (f->input_width < 1 || f->input_height < 1 || f->input_width > kMaxSide || f->input_height > kMaxSide) return 0;
  if (f->scaled_width < 1 || f->scaled_height < 1 || f->left < 0 || f->top < 0) return 0;
  return f->left <= f->input_width - f->scaled_width && f->top <= f->input_height - f->scaled_height;
}

size_t pith_frame_line_bytes(const pith_frame_options* o, int32_t plane) {
  if (o == NULL || plane < 0 || plane > (o->format == PITH_FRAME_NV12)) return 0;
  const size_t width = (size_t)o->width;
  return o->format == PITH_FRAME_RGB ? width * 3 : o->format == PITH_FRAME_RAW10 ? width / 4 * 5 : width;
}

// Lays the parts out behind each other; with `frame` null only counts.
static size_t lay_out(const pith_frame_options* o, pith_frame* frame) {
  uint8_t* base = (uint8_t*)frame;
  size_t at = round8(sizeof(pith_frame));
  const int32_t planes = o->format == PITH_FRAME_NV12 ? 2 : 1;
  for (int32_t p = 0; p < planes; ++p) {
    plane now = {o->fit.picture_width, o->fit.picture_height, 3, -1, NULL, NULL};
    if (is_mosaic(o) || p == 1) now.width /= 2, now.height /= 2;
    if (o->format == PITH_FRAME_NV12) now.channels = p == 0 ? 1 : 2;
    const size_t values = (size_t)o->fit.scaled_width * (size_t)now.channels;
    if (frame != NULL) now.totals = (uint64_t*)(void*)(base + at);
    at += values * sizeof(uint64_t);
    if (frame != NULL) now.sums = (uint32_t*)(void*)(base + at);
    at += round8(values * sizeof(uint32_t));
    if (frame != NULL) frame->plane[p] = now;
  }
  if (frame != NULL) frame->planes = planes, frame->pixels = (uint16_t*)(void*)(base + at);
  at += round8((size_t)o->fit.picture_width * 3 * sizeof(uint16_t));
  if (frame != NULL) frame->bytes = base + at;
  return at + round8(pith_frame_line_bytes(o, 0) * (is_mosaic(o) ? 2 : 1));
}

size_t pith_frame_bytes(const pith_frame_options* options) {
  return options == NULL || !sound(options) ? 0 : lay_out(options, NULL);
}

pith_post_status pith_frame_open(const pith_frame_options* options, void* memory, size_t bytes, pith_frame_read read,
                                 void* context, pith_frame** frame) {
  if (frame == NULL) return PITH_POST_NULL;
  *frame = NULL;
  if (options == NULL || memory == NULL || read == NULL) return PITH_POST_NULL;
  if (!sound(options) || (uintptr_t)memory % 8 != 0) return PITH_POST_RANGE;
  if (bytes < lay_out(options, NULL)) return PITH_POST_SCRATCH;
  pith_frame* opened = (pith_frame*)memory;
  memset(opened, 0, sizeof(*opened));
  opened->options = *options;
  opened->read = read;
  opened->context = context;
  lay_out(options, opened);
  *frame = opened;
  return PITH_POST_OK;
}

void pith_frame_restart(pith_frame* frame) {
  frame->failure = 0;
  for (int32_t p = 0; p < frame->planes; ++p) frame->plane[p].line = -1;
}

int pith_frame_failure(const pith_frame* frame) { return frame->failure; }

static uint32_t mosaic_pixel(const pith_frame_options* o, const uint8_t* line, int32_t x) {
  if (o->format == PITH_FRAME_RAW8) return (uint32_t)line[x] << 2;
  const uint8_t* group = line + x / 4 * 5;
  return (uint32_t)group[x % 4] << 2 | (group[4] >> x % 4 * 2 & 3u);
}

// Squares of four as one pixel of R, G and B, the two greens averaged.
static void unpack_mosaic(const pith_frame* frame, const uint8_t* upper, const uint8_t* lower) {
  const pith_frame_options* o = &frame->options;
  const int32_t swap = o->pattern == PITH_FRAME_GRBG || o->pattern == PITH_FRAME_BGGR;        // R in the right column
  const uint8_t* red_line = o->pattern == PITH_FRAME_RGGB || o->pattern == PITH_FRAME_GRBG ? upper : lower;
  const uint8_t* blue_line = red_line == upper ? lower : upper;
  for (int32_t i = 0; i < frame->plane[0].width; ++i) {
    const int32_t x = o->crop_left + 2 * i;
    uint16_t* rgb = frame->pixels + 3 * i;
    rgb[0] = (uint16_t)mosaic_pixel(o, red_line, x + swap);
    rgb[1] = (uint16_t)((mosaic_pixel(o, red_line, x + 1 - swap) + mosaic_pixel(o, blue_line, x + swap) + 1) / 2);
    rgb[2] = (uint16_t)mosaic_pixel(o, blue_line, x + 1 - swap);
  }
}

static void unpack_bytes(const pith_frame* frame, int32_t p) {
  const plane* now = &frame->plane[p];
  const int32_t left = p == 1 ? frame->options.crop_left / 2 : frame->options.crop_left;
  const uint8_t* from = frame->bytes + left * now->channels;
  for (int32_t i = 0; i < now->width * now->channels; ++i) frame->pixels[i] = from[i];
}

// Line `line` of the plane's picture into its sums.
static int take_line(pith_frame* frame, int32_t p, int32_t line) {
  plane* now = &frame->plane[p];
  const pith_frame_options* o = &frame->options;
  const int32_t scaled = o->fit.scaled_width;
  int32_t first = o->crop_top / (p == 1 ? 2 : 1) + line;
  if (is_mosaic(o)) first = o->crop_top + 2 * line;
  int status = frame->read(frame->context, p, first, frame->bytes);
  uint8_t* lower = frame->bytes + pith_frame_line_bytes(o, 0);
  if (status == 0 && is_mosaic(o)) status = frame->read(frame->context, p, first + 1, lower);
  if (status != 0) return status;
  if (is_mosaic(o)) {
    unpack_mosaic(frame, frame->bytes, lower);
  } else {
    unpack_bytes(frame, p);
  }
  memset(now->sums, 0, (size_t)scaled * (size_t)now->channels * sizeof(uint32_t));
  int64_t at = 0;  // where pixel i begins, in units of which a pixel has `scaled`
  for (int32_t i = 0; i < now->width; ++i, at += scaled) {
    for (int64_t from = at; from < at + scaled;) {
      const int64_t x = from / now->width, end = (x + 1) * now->width, to = end < at + scaled ? end : at + scaled;
      for (int32_t c = 0; c < now->channels; ++c)
        now->sums[x * now->channels + c] += (uint32_t)(to - from) * frame->pixels[i * now->channels + c];
      from = to;
    }
  }
  now->line = line;
  return 0;
}

// Totals of row `row` of the scaled picture.
static int take_row(pith_frame* frame, int32_t p, int32_t row) {
  plane* now = &frame->plane[p];
  const int32_t values = frame->options.fit.scaled_width * now->channels, scaled = frame->options.fit.scaled_height;
  const int64_t begin = (int64_t)row * now->height, end = begin + now->height;
  memset(now->totals, 0, (size_t)values * sizeof(uint64_t));
  for (int64_t line = begin / scaled; line * scaled < end; ++line) {
    const int64_t from = line * scaled > begin ? line * scaled : begin, to = (line + 1) * scaled < end ? (line + 1) * scaled : end;
    if (now->line != (int32_t)line) {
      const int status = take_line(frame, p, (int32_t)line);
      if (status != 0) return status;
    }
    for (int32_t i = 0; i < values; ++i) now->totals[i] += (uint64_t)(to - from) * now->sums[i];
  }
  return 0;
}

static uint32_t mean(const plane* now, int32_t i) {
  const uint64_t area = (uint64_t)now->width * (uint64_t)now->height;
  return (uint32_t)((now->totals[i] + area / 2) / area);
}

static uint8_t to_byte(int32_t x) { return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x); }

static void mosaic_rgb(const pith_frame* frame, int32_t x, uint8_t rgb[3]) {
  const pith_frame_options* o = &frame->options;
  for (int32_t c = 0; c < 3; ++c) {
    const uint32_t light = mean(&frame->plane[0], x * 3 + c), gain = o->gain[c] == 0 ? 256u : o->gain[c];
    uint32_t value = (light > o->black ? light - o->black : 0) * gain / 256;
    value = value > 1023 ? 1023 : value;
    rgb[c] = o->tone != NULL ? o->tone[value] : (uint8_t)((value * 255 + 511) / 1023);
  }
}

// Factors of 256: what a step of Y, and of U and V, adds to R, G and B.
static const int32_t kColours[4][5] = {
    {298, 409, 100, 208, 516}, {298, 459, 55, 136, 541}, {256, 359, 88, 183, 454}, {256, 403, 48, 120, 475}};

static void yuv_rgb(const pith_frame* frame, int32_t x, uint8_t rgb[3]) {
  const int32_t* f = kColours[frame->options.colour];
  const int32_t y = ((int32_t)mean(&frame->plane[0], x) - (frame->options.colour >= PITH_FRAME_JPEG ? 0 : 16)) * f[0];
  const int32_t u = (int32_t)mean(&frame->plane[1], 2 * x) - 128, v = (int32_t)mean(&frame->plane[1], 2 * x + 1) - 128;
  rgb[0] = to_byte((y + f[1] * v + 128) >> 8);
  rgb[1] = to_byte((y - f[2] * u - f[3] * v + 128) >> 8);
  rgb[2] = to_byte((y + f[4] * u + 128) >> 8);
}

static void write_pixel(const pith_frame_options* o, const uint8_t rgb[3], uint8_t* to) {
  for (int32_t c = 0; c < 3; ++c) to[c] = o->codes != NULL ? o->codes[256 * c + rgb[c]] : rgb[c];
}

static void write_row(pith_frame* frame, int32_t row, uint8_t* to) {
  const pith_frame_options* o = &frame->options;
  const pith_letterbox* f = &o->fit;
  const uint8_t padding[3] = {o->padding, o->padding, o->padding};
  int inside = row >= f->top && row < f->top + f->scaled_height;
  for (int32_t p = 0; p < frame->planes && inside && frame->failure == 0; ++p) frame->failure = take_row(frame, p, row - f->top);
  inside = inside && frame->failure == 0;
  for (int32_t x = 0; x < f->input_width; ++x) {
    uint8_t rgb[3];
    const int32_t from = x - f->left;
    if (!inside || from < 0 || from >= f->scaled_width) {
      memcpy(rgb, padding, 3);
    } else if (is_mosaic(o)) {
      mosaic_rgb(frame, from, rgb);
    } else if (o->format == PITH_FRAME_NV12) {
      yuv_rgb(frame, from, rgb);
    } else {
      for (int32_t c = 0; c < 3; ++c) rgb[c] = (uint8_t)mean(&frame->plane[0], from * 3 + c);
    }
    write_pixel(o, rgb, to + 3 * x);
  }
}

void pith_frame_rows(void* context, int32_t index, int32_t row, int32_t rows, void* data) {
  pith_frame* frame = (pith_frame*)context;
  (void)index;
  for (int32_t r = 0; r < rows; ++r) write_row(frame, row + r, (uint8_t*)data + (size_t)r * (size_t)frame->options.fit.input_width * 3);
}

// The curve is known from brightness to light: for each of the 255 boundaries between two values, the light there. A power
// of 2.4 is a square times the fifth root of a square; the root by Newton's method.
void pith_frame_tone_srgb(uint8_t tone[1024]) {
  int32_t light = 0;
  for (int32_t value = 0; value < 256; ++value) {
    const float v = ((float)value + 0.5f) / 255.0f;
    float linear = v / 12.92f;
    if (v > 0.04045f) {
      const float s = ((v + 0.055f) / 1.055f) * ((v + 0.055f) / 1.055f);
      float root = 1.0f;
      for (int32_t i = 0; i < 40; ++i) root -= (root - s / (root * root * root * root)) / 5.0f;
      linear = s * root;
    }
    for (; light < 1024 && ((float)light / 1023.0f <= linear || value == 255); ++light) tone[light] = (uint8_t)value;
  }
}
