/* A masked language model on a machine with little memory: what it says for <mask>, and every byte that it takes.
 *
 *   fill_mask MODEL.pith "The capital of France is <mask>." [BYTES]
 *
 * MODEL has the inputs input_ids, attention_mask and mask_position and its vocabulary inside (pith compress makes such
 * files of BERT's and RoBERTa's kind). Weights stay coded and are decoded tile by tile; of the table of words only rows
 * that are read. With BYTES the process limits its own address space to what it had when it started (code, libraries,
 * stack) and so many bytes more: the file, the tokeniser, the model's tables, the arena, everything must fit.
 *
 * Links only the runtime and the post-processing library. */
#include <math.h>
#include <pith/pith.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "post/tokenizer.h"

enum { kTop = 5, kMostTokens = 4096 };

static int fail(const char* what, const char* why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  return 1;
}

static void* aligned(size_t bytes) { return aligned_alloc(PITH_ALIGNMENT, (bytes + PITH_ALIGNMENT - 1) / PITH_ALIGNMENT * PITH_ALIGNMENT); }

/* A number of kB of /proc/self/status; 0 where there is none. */
static long status_kb(const char* key) {
  FILE* f = fopen("/proc/self/status", "r");
  char line[256];
  long kb = 0;
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    if (strncmp(line, key, strlen(key)) == 0) kb = strtol(line + strlen(key), NULL, 10);
  }
  if (f != NULL) fclose(f);
  return kb;
}

static void* read_all(const char* path, size_t* bytes) {
  FILE* f = fopen(path, "rb");
  if (f == NULL || fseek(f, 0, SEEK_END) != 0) return NULL;
  *bytes = (size_t)ftell(f);
  rewind(f);
  void* data = aligned(*bytes);
  if (data != NULL && fread(data, 1, *bytes, f) != *bytes) data = NULL;
  fclose(f);
  return data;
}

/* The vocabulary of a file; its block is let go again. */
static pith_tokenizer* read_tokenizer(const void* file, size_t file_bytes, size_t* memory_bytes) {
  size_t length = 0;
  pith_metadata(file, file_bytes, "tokenizer", NULL, 0, &length);
  char* block = length > 0 ? malloc(length + 1) : NULL;
  pith_tokenizer* t = NULL;
  if (block == NULL || pith_metadata(file, file_bytes, "tokenizer", block, length + 1, &length) != PITH_OK) return NULL;
  if (pith_tokenizer_memory_bytes(block, length, memory_bytes) != PITH_POST_OK) return NULL;
  void* memory = aligned(*memory_bytes);
  if (memory == NULL || pith_tokenizer_load(block, length, memory, *memory_bytes, &t) != PITH_POST_OK) return NULL;
  free(block);
  return t;
}

/* The tokens of a text, at most `most`, the closing one kept; how many there are, or -1. */
static int32_t tokenize(const pith_tokenizer* t, const char* text, int32_t* ids, int32_t most) {
  const size_t scratch_bytes = pith_tokenizer_scratch_bytes(t, strlen(text));
  void* scratch = aligned(scratch_bytes);
  pith_text_token* tokens = malloc(sizeof *tokens * kMostTokens);
  int32_t count = 0;
  if (scratch == NULL || tokens == NULL || pith_tokenize(t, text, strlen(text), 1, scratch, scratch_bytes, tokens, kMostTokens, &count) != PITH_POST_OK) return -1;
  for (int32_t i = 0; i < count && i < most; ++i) ids[i] = tokens[i].id;
  if (count > most) ids[most - 1] = tokens[count - 1].id, count = most;
  free(tokens);
  free(scratch);
  return count;
}

static void print_top(const pith_tokenizer* t, const float* logits, size_t count) {
  size_t top[kTop];
  int known = 0;
  double total = 0, most = logits[0];
  for (size_t i = 1; i < count; ++i) most = logits[i] > most ? logits[i] : most;
  for (size_t i = 0; i < count; ++i) {
    total += exp(logits[i] - most);
    int at = known < kTop ? known++ : kTop;
    for (; at > 0 && logits[top[at - 1]] < logits[i]; --at)
      if (at < kTop) top[at] = top[at - 1];
    if (at < kTop) top[at] = i;
  }
  for (int i = 0; i < known; ++i) {
    const int32_t id = (int32_t)top[i];
    char word[256];
    size_t length = 0;
    if (pith_detokenize(t, &id, 1, 0, word, sizeof word, &length) != PITH_POST_OK) word[0] = 0;
    printf("%7.4f %%  %d  %s\n", 100 * exp(logits[top[i]] - most) / total, id, word);
  }
}

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) return fail("arguments", "MODEL.pith TEXT [BYTES]") + 1;
  const long start_kb = status_kb("VmSize:"), start_resident_kb = status_kb("VmRSS:");
  if (argc == 4) {
    const rlim_t bytes = (rlim_t)start_kb * 1024 + (rlim_t)strtoull(argv[3], NULL, 10);
    const struct rlimit limit = {bytes, bytes};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return fail("limit", "the system refuses it");
  }
  size_t file_bytes = 0, tokenizer_bytes = 0;
  void* file = read_all(argv[1], &file_bytes);
  if (file == NULL) return fail(argv[1], "can't be read, or is larger than the memory allowed");
  pith_tokenizer* t = read_tokenizer(file, file_bytes, &tokenizer_bytes);
  if (t == NULL) return fail(argv[1], "has no vocabulary, or the memory allowed is too small for it");
  pith_sizes sizes;
  if (pith_probe(file, file_bytes, PITH_MODE_SMALLEST, 1, &sizes) != PITH_OK) return fail(argv[1], pith_last_error().reason);
  void *model_memory = aligned(sizes.model_bytes), *memory = aligned(sizes.instance_bytes);
  if (model_memory == NULL || memory == NULL) return fail(argv[1], "its tables and arena are larger than the memory allowed");
  pith_model* model = NULL;
  pith_instance* instance = NULL;
  if (pith_load(file, file_bytes, PITH_MODE_SMALLEST, 1, model_memory, sizes.model_bytes, &model) != PITH_OK || pith_instance_create(model, memory, sizes.instance_bytes, &instance) != PITH_OK)
    return fail(argv[1], pith_last_error().reason);
  pith_tensor ids_port, logits_port;
  if (pith_input_count(model) != 3 || pith_model_input(model, 0, &ids_port) != PITH_OK || ids_port.count > kMostTokens) return fail(argv[1], "isn't a masked language model");

  static int32_t ids[kMostTokens], there[kMostTokens];
  int32_t place = -1;
  for (size_t i = 0; i < ids_port.count; ++i) ids[i] = pith_tokenizer_role(t, PITH_TOKEN_PADDING);
  const int32_t count = tokenize(t, argv[2], ids, (int32_t)ids_port.count);
  if (count < 0) return fail("text", "it can't be read in the memory allowed");
  for (int32_t i = 0; i < count; ++i) {
    there[i] = 1;
    if (ids[i] == pith_tokenizer_role(t, PITH_TOKEN_MASK) && place < 0) place = i;
  }
  if (place < 0) return fail("text", "it has no mask token to complete");
  pith_set_input_i32(instance, 0, ids, ids_port.count);
  pith_set_input_i32(instance, 1, there, ids_port.count);
  pith_set_input_i32(instance, 2, &place, 1);
  if (pith_run(instance) != PITH_OK) return fail(argv[1], pith_last_error().reason);
  pith_output(instance, 0, &logits_port);
  if (logits_port.type != PITH_TYPE_F32) return fail(argv[1], "its logits aren't float");
  print_top(t, (const float*)logits_port.data, logits_port.count);

  const size_t all = file_bytes + tokenizer_bytes + sizes.model_bytes + sizes.instance_bytes;
  printf("file %zu + tokeniser %zu + model %zu + instance %zu = %zu bytes (%.2f MiB)\n", file_bytes, tokenizer_bytes, sizes.model_bytes, sizes.instance_bytes, all, (double)all / 1048576);
  printf("VmPeak %ld kB above the start's %ld; VmHWM %ld kB above the start's %ld\n", status_kb("VmPeak:") - start_kb, start_kb, status_kb("VmHWM:") - start_resident_kb, start_resident_kb);
  return 0;
}
