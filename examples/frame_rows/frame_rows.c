/* A camera's frame of any size through a network, line by line: neither the frame nor the network's input is ever in
 * memory. The "camera" is a file; a line is read from it when the network's rows need it.
 *
 *   frame_rows MODEL.pith FRAME raw8|raw10|nv12|rgb WIDTH HEIGHT
 *
 * MODEL takes one 8-bit picture with values 0..1 (compile it with --rows, else its input lies in memory whole). Prints
 * the bytes that hold input, the arena, and a sum over the outputs that tells one result from another. */
#include <pith/pith.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "post/frame.h"

typedef struct camera {
  FILE* file;
  const pith_frame_options* options;
} camera;

static int read_line(void* context, int32_t plane, int32_t line, uint8_t* bytes) {
  const camera* c = (const camera*)context;
  const size_t width = pith_frame_line_bytes(c->options, plane);
  const long start = plane == 0 ? 0 : (long)pith_frame_line_bytes(c->options, 0) * c->options->height;
  if (fseek(c->file, start + (long)width * line, SEEK_SET) != 0) return 1;
  return fread(bytes, 1, width, c->file) == width ? 0 : 1;
}

static int fail(const char* what, const char* why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  return 1;
}

static void* aligned(size_t bytes) { return aligned_alloc(PITH_ALIGNMENT, (bytes + PITH_ALIGNMENT - 1) / PITH_ALIGNMENT * PITH_ALIGNMENT); }

static void* read_all(const char* path, size_t* bytes) {
  FILE* f = fopen(path, "rb");
  if (f == NULL || fseek(f, 0, SEEK_END) != 0) return NULL;
  *bytes = (size_t)ftell(f);
  rewind(f);
  void* data = malloc(*bytes);
  if (data != NULL && fread(data, 1, *bytes, f) != *bytes) data = NULL;
  fclose(f);
  return data;
}

typedef struct sum {
  pith_tensor port;
  uint64_t value;
} sum;

static void add_bytes(sum* s, const uint8_t* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) s->value = (s->value ^ bytes[i]) * 1099511628211u;
}
static size_t port_bytes(const pith_tensor* t) { return t->count * (t->type == PITH_TYPE_U8 ? 1 : 4); }
static void take_rows(void* context, int32_t index, int32_t row, int32_t rows, void* data) {
  sum* s = (sum*)context;
  (void)index;
  (void)row;
  add_bytes(s, (const uint8_t*)data, port_bytes(&s->port) / (size_t)s->port.rows * (size_t)rows);
}

int main(int argc, char** argv) {
  if (argc != 6) return fail("arguments", "MODEL.pith FRAME raw8|raw10|nv12|rgb WIDTH HEIGHT") + 1;
  size_t file_bytes = 0;
  void* file = read_all(argv[1], &file_bytes);
  if (file == NULL) return fail(argv[1], "can't be read");
  pith_sizes sizes;
  pith_model* model = NULL;
  pith_instance* instance = NULL;
  if (pith_probe(file, file_bytes, PITH_MODE_SMALLEST, 1, &sizes) != PITH_OK ||
      pith_load(file, file_bytes, PITH_MODE_SMALLEST, 1, aligned(sizes.model_bytes), sizes.model_bytes, &model) != PITH_OK ||
      pith_instance_create(model, aligned(sizes.instance_bytes), sizes.instance_bytes, &instance) != PITH_OK)
    return fail(argv[1], pith_last_error().reason);
  pith_tensor input;
  pith_input(instance, 0, &input);
  if (input.type != PITH_TYPE_U8 || input.rank != 4 || input.dims[1] != 3) return fail(argv[1], "its input isn't an 8-bit picture");

  const char* names[] = {"raw8", "raw10", "nv12", "rgb"};
  pith_frame_options options;
  memset(&options, 0, sizeof options);
  int format = 0;
  while (format < 4 && strcmp(argv[3], names[format]) != 0) ++format;
  options.format = (pith_frame_format)format;
  options.width = (int32_t)atoi(argv[4]);
  options.height = (int32_t)atoi(argv[5]);
  options.padding = 114;
  uint8_t codes[768], tone[1024];
  for (int v = 0; v < 768; ++v) {
    const double code = v % 256 / 255.0 / input.scale + input.zero_point + 0.5;
    codes[v] = (uint8_t)(code < 0 ? 0 : code > 255 ? 255 : code);
  }
  pith_frame_tone_srgb(tone);
  options.codes = codes;
  options.tone = tone;
  pith_letterbox_fit(options.width, options.height, input.dims[3], input.dims[2], PITH_FIT_CENTRE, &options.fit);
  const size_t bytes = pith_frame_bytes(&options);
  camera lens = {fopen(argv[2], "rb"), &options};
  if (lens.file == NULL) return fail(argv[2], "can't be read");
  pith_frame* frame = NULL;
  if (bytes == 0 || pith_frame_open(&options, aligned(bytes), bytes, &read_line, &lens, &frame) != PITH_POST_OK)
    return fail("the frame's format", "widths and heights must be even, a multiple of 4 wide for raw10, at most 16384");

  sum total = {input, 1469598103934665603u};
  if (input.rows > 0) pith_set_row_source(instance, 0, &pith_frame_rows, frame);
  if (input.rows == 0) pith_frame_rows(frame, 0, 0, input.dims[2], input.data);
  if (pith_output_count(model) > 64) return fail(argv[1], "more outputs than this example looks at");
  sum sums[64];
  for (int32_t i = 0; i < pith_output_count(model); ++i) {
    pith_output(instance, i, &sums[i].port);
    sums[i].value = total.value;
    if (sums[i].port.rows > 0) pith_set_row_sink(instance, i, &take_rows, &sums[i]);
  }
  if (pith_run(instance) != PITH_OK) return fail(argv[1], pith_last_error().reason);
  if (pith_frame_failure(frame) != 0) return fail(argv[2], "is shorter than its width and height say");
  for (int32_t i = 0; i < pith_output_count(model); ++i) {
    if (sums[i].port.rows == 0) add_bytes(&sums[i], (const uint8_t*)sums[i].port.data, port_bytes(&sums[i].port));
    add_bytes(&total, (const uint8_t*)&sums[i].value, sizeof sums[i].value);
  }
  printf("frame %zu bytes, of which %zu are held; the network's input, %zu bytes, %s; arena %zu; result %016llx\n",
         pith_frame_line_bytes(&options, 0) * (size_t)options.height * (size_t)(format == 2 ? 3 : 2) / 2, bytes, port_bytes(&input),
         input.rows > 0 ? "goes by rows" : "lies in the arena", sizes.arena_bytes, (unsigned long long)total.value);
  return 0;
}
