/* Runs a .pith file from C with nothing but the runtime: run_pith MODEL.pith [INPUT.raw]
 *
 * INPUT.raw: the first input's values as 32-bit floats in the model's own order (for a picture N,C,H,W). Without it the
 * input is a ramp. Prints the memory that it takes, what goes in and out, and the largest outputs.
 * Build: find_package(pith) as in CMakeLists.txt, or
 *   cc -std=c11 run_pith.c $(pkg-config --cflags --libs pith-runtime) -o run_pith
 */
#include <pith/pith.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* what) {
  const pith_error error = pith_last_error();
  fprintf(stderr, "%s: %s", what, pith_status_text(error.status));
  if (error.op != NULL) fprintf(stderr, " (operator %d, %s)", (int)error.op_index, error.op);
  fprintf(stderr, ": %s\n", error.reason);
  return 1;
}

static unsigned char* read_all(const char* path, size_t* bytes) {
  FILE* f = fopen(path, "rb");
  unsigned char* data = NULL;
  *bytes = 0;
  if (f == NULL) return NULL;
  if (fseek(f, 0, SEEK_END) == 0) {
    const long size = ftell(f);
    rewind(f);
    data = size > 0 ? malloc((size_t)size) : NULL;
    if (data != NULL) *bytes = fread(data, 1, (size_t)size, f);
  }
  fclose(f);
  return data;
}

static void* aligned(size_t bytes) {
  return aligned_alloc(PITH_ALIGNMENT, (bytes + PITH_ALIGNMENT - 1) / PITH_ALIGNMENT * PITH_ALIGNMENT);
}

static void print_tensor(const char* kind, const pith_tensor* t) {
  static const char* const kTypes[] = {"u8", "f32", "i32"};
  printf("%s %s: %s", kind, t->name, kTypes[t->type]);
  for (int i = 0; i < t->rank; ++i) printf("%s%d", i == 0 ? " " : "x", (int)t->dims[i]);
  printf("\n");
}

static int set_inputs(pith_instance* instance, int count, const char* raw_path) {
  for (int i = 0; i < count; ++i) {
    pith_tensor t;
    if (pith_input(instance, i, &t) != PITH_OK) return fail("input");
    print_tensor("input", &t);
    size_t bytes = 0;
    float* values = raw_path != NULL && i == 0 ? (float*)read_all(raw_path, &bytes) : malloc(t.count * sizeof(float));
    if (values == NULL || (raw_path != NULL && i == 0 && bytes != t.count * sizeof(float))) {
      fprintf(stderr, "%s must hold %zu floats\n", raw_path != NULL ? raw_path : "memory", t.count);
      free(values);
      return 1;
    }
    for (size_t k = 0; (raw_path == NULL || i > 0) && k < t.count; ++k) values[k] = (float)(k % 256) / 255.0f;
    const pith_status status = pith_set_input_f32(instance, i, values, t.count);
    free(values);
    if (status != PITH_OK) return fail("input");
  }
  return 0;
}

static int print_outputs(const pith_model* model, const pith_instance* instance) {
  for (int i = 0; i < pith_output_count(model); ++i) {
    pith_tensor t;
    if (pith_model_output(model, i, &t) != PITH_OK) return fail("output");
    print_tensor("output", &t);
    float* values = malloc(t.count * sizeof(float));
    if (values == NULL || pith_get_output_f32(instance, i, values, t.count) != PITH_OK) {
      free(values);
      return fail("output");
    }
    for (int best = 0; best < 5 && best < (int)t.count; ++best) {
      size_t at = 0;
      for (size_t k = 1; k < t.count; ++k) {
        if (values[k] > values[at]) at = k;
      }
      printf("  %zu: %g\n", at, (double)values[at]);
      values[at] = -3e38f;
    }
    free(values);
  }
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: run_pith MODEL.pith [INPUT.raw]\n");
    return 2;
  }
  size_t bytes = 0;
  unsigned char* file = read_all(argv[1], &bytes);
  if (file == NULL) {
    fprintf(stderr, "%s can't be read\n", argv[1]);
    return 2;
  }
  pith_sizes sizes;
  if (pith_probe(file, bytes, PITH_MODE_FASTEST, 1, &sizes) != PITH_OK) return fail(argv[1]);
  printf("pith %s: file %zu bytes, model %zu, instance %zu of which arena %zu\n", pith_version(), bytes,
         sizes.model_bytes, sizes.instance_bytes, sizes.arena_bytes);
  void* model_memory = aligned(sizes.model_bytes);
  void* instance_memory = aligned(sizes.instance_bytes);
  pith_model* model = NULL;
  pith_instance* instance = NULL;
  int result = 1;
  if (pith_load(file, bytes, PITH_MODE_FASTEST, 1, model_memory, sizes.model_bytes, &model) != PITH_OK ||
      pith_instance_create(model, instance_memory, sizes.instance_bytes, &instance) != PITH_OK) {
    fail(argv[1]);
  } else if (set_inputs(instance, pith_input_count(model), argc > 2 ? argv[2] : NULL) == 0) {
    result = pith_run(instance) == PITH_OK ? print_outputs(model, instance) : fail("run");
  }
  free(instance_memory);
  free(model_memory);
  free(file);
  return result;
}
