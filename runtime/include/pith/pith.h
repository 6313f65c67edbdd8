/* pith: executes a .pith file inside memory that you give. C11; find_package(pith) gives pith::runtime, or link
 * libpith_runtime.a, which needs no other library.
 *
 *     pith_sizes sizes;
 *     if (pith_probe(file, bytes, PITH_MODE_FASTEST, 1, &sizes) != PITH_OK) ...;   // how much memory it takes
 *     void* m = aligned_alloc(64, sizes.model_bytes);
 *     void* i = aligned_alloc(64, sizes.instance_bytes);
 *     pith_model* model;
 *     pith_instance* instance;
 *     pith_load(file, bytes, PITH_MODE_FASTEST, 1, m, sizes.model_bytes, &model);
 *     pith_instance_create(model, i, sizes.instance_bytes, &instance);
 *     pith_set_input_f32(instance, 0, pixels, 3 * 224 * 224);                      // logical order, for instance
 * N,C,H,W pith_run(instance); pith_get_output_f32(instance, 0, scores, 1000); free(i), free(m); // there is nothing
 * else to release
 *
 * Promises. The library allocates nothing, opens no file, starts no thread, throws nothing and keeps no global state
 * but the choice of pith_set_isa. It is safe on any bytes: a damaged file gives a status, never a crash. A model is
 * immutable once loaded, so that any number of instances on any threads may share it; one instance serves one thread at
 * a time. Integer models give the same bits on every processor and with every number of threads.
 *
 * Memory. All of it is yours, aligned to 64 bytes, and named before anything runs: sizes.model_bytes for the network's
 * structure, its tables and (PITH_MODE_FASTEST) its decoded weights; sizes.instance_bytes for each instance: the arena
 * that the compiler planned, and scratch for threads after the first. The stack needs up to 1 MB for large networks (about 3,000 operators) in pith_probe and
 * pith_load, 96 KB in pith_run (53 of them are the decoder of weights, in PITH_MODE_SMALLEST and PITH_MODE_BALANCED).
 *
 * Errors. Functions return a pith_status; pith_status_text says what it means. Where more is known (which operator,
 * what is wrong with it) pith_last_error has it, for this thread.
 */
#ifndef PITH_PITH_H
#define PITH_PITH_H

#include <stddef.h>
#include <stdint.h>

#define PITH_VERSION_MAJOR 0
#define PITH_VERSION_MINOR 1
#define PITH_VERSION_PATCH 0
#define PITH_ALIGNMENT 64 /* of every memory block that you give */
#define PITH_RANK_LIMIT 6

#ifdef __cplusplus
extern "C" {
#endif

/* ---- statuses ------------------------------------------------------------------------------------------------- */

typedef enum pith_status {
  PITH_OK = 0,
  PITH_ERROR_ARGUMENT,    /* a null pointer, an index out of range, a wrong element count */
  PITH_ERROR_NOT_PITH,    /* the bytes are no .pith file */
  PITH_ERROR_VERSION,     /* a .pith file of another format version */
  PITH_ERROR_DAMAGED,     /* truncated, or changed since it was written */
  PITH_ERROR_UNSUPPORTED, /* valid, but with something that this runtime can't execute */
  PITH_ERROR_MEMORY,      /* the memory given is too small */
  PITH_ERROR_ALIGNMENT,   /* the memory given isn't aligned to PITH_ALIGNMENT bytes */
  PITH_ERROR_TYPE,        /* the input or output has another data type */
  PITH_ERROR_NOT_FOUND    /* no such metadata key */
} pith_status;

/* One English sentence, never null. */
const char* pith_status_text(pith_status status);

/* What is known about the last failure on this thread. */
typedef struct pith_error {
  pith_status status;
  int32_t op_index;   /* the operator it is about, or -1 */
  const char* op;     /* its name, or null */
  const char* reason; /* what is wrong and how to mend it; never null */
  size_t needed;      /* PITH_ERROR_MEMORY: the bytes it takes */
} pith_error;
pith_error pith_last_error(void);

/* ---- sizes and loading ---------------------------------------------------------------------------------------- */

typedef enum pith_mode {
  PITH_MODE_SMALLEST = 0, /* weights stay coded in the file's bytes, and are decoded a tile at a time while it runs */
  PITH_MODE_FASTEST = 1,  /* weights are decoded and packed once, at load */
  PITH_MODE_BALANCED = 2  /* at load only those that several operators use (the bands of a layer, above all); the others
                             as in PITH_MODE_SMALLEST, and `file` must stay where it is */
} pith_mode;

typedef struct pith_sizes {
  size_t model_bytes;    /* for pith_load */
  size_t instance_bytes; /* for each pith_instance_create */
  size_t weight_bytes;   /* of model_bytes: decoded weights and constants */
  size_t arena_bytes;    /* of instance_bytes: the arena that the compiler planned */
  size_t scratch_bytes;  /* of instance_bytes: for each thread after the first */
} pith_sizes;

typedef struct pith_model pith_model;       /* lies at the start of its memory */
typedef struct pith_instance pith_instance; /* likewise */

/* How much memory the file takes in this mode with up to `threads` threads (at least 1). Checks the file's frame and
 * checksum. Costs microseconds; decodes no weights. */
pith_status pith_probe(const void* file, size_t bytes, pith_mode mode, int32_t threads, pith_sizes* sizes);

/* Loads a file into `memory`. In PITH_MODE_SMALLEST `file` must stay where it is, unchanged, for as long as the model
 * is used; in PITH_MODE_FASTEST it isn't needed any more afterwards. Loading again into the same memory is allowed once
 * the old model is no longer used. */
pith_status pith_load(const void* file, size_t bytes, pith_mode mode, int32_t threads, void* memory,
                      size_t memory_bytes, pith_model** model);

/* Makes an instance with cleared inputs and state. */
pith_status pith_instance_create(const pith_model* model, void* memory, size_t memory_bytes, pith_instance** instance);

/* ---- one arena for several networks --------------------------------------------------------------------------- */

/* Networks that run one after the other (a detector, then a classifier on each of its boxes) may share one arena, as
 * large as the largest asks: each instance then has memory for itself without an arena (pith_shared_bytes), and an arena
 * of at least pith_sizes.arena_bytes + PITH_ARENA_BEYOND bytes, aligned to PITH_ALIGNMENT, that others use as well. Set
 * the inputs of a network after the run before it, and read its outputs before another one runs. State survives where
 * the files were placed together (`pith share`); networks without state need not be. */
#define PITH_ARENA_BEYOND 64 /* bytes after an arena that kernels may read, never write */
size_t pith_shared_bytes(const pith_model* model);
pith_status pith_instance_create_shared(const pith_model* model, void* memory, size_t memory_bytes, void* arena,
                                        size_t arena_bytes, pith_instance** instance);

/* ---- threads -------------------------------------------------------------------------------------------------- */

/* Calls task(task_context, i) for each 0 <= i < count, in any order, on any threads, and returns when all are done.
 * count is never above the `threads` given at load. */
typedef void (*pith_parallel_for)(void* context, int32_t count, void (*task)(void* task_context, int32_t index),
                                  void* task_context);
/* Without this, or with a null function, everything runs on the calling thread. */
pith_status pith_set_parallel(pith_instance* instance, pith_parallel_for function, void* context);

/* ---- inputs and outputs --------------------------------------------------------------------------------------- */

typedef enum pith_type { PITH_TYPE_U8 = 0, PITH_TYPE_F32 = 1, PITH_TYPE_I32 = 2 } pith_type;

/* A tensor as the user's model had it (logical order, for instance N,C,H,W), and where it really lies: in the arena,
 * row-major in physical order (N,H,W,C), physical axis p being logical axis permutation[p]. */
typedef struct pith_tensor {
  const char* name;
  pith_type type;
  int32_t rank;
  int32_t dims[PITH_RANK_LIMIT];        /* logical */
  int32_t permutation[PITH_RANK_LIMIT]; /* identity where both orders agree */
  size_t count;                         /* elements */
  double scale;                         /* u8: value = (code - zero_point) * scale */
  int32_t zero_point;
  int32_t rows; /* 0, or: it goes by rows (pith_set_row_source, pith_set_row_sink), so many in all */
  void* data;   /* physical order; valid before pith_run for inputs and after it for outputs. Null for a model's ports */
} pith_tensor;

int32_t pith_input_count(const pith_model* model);
int32_t pith_output_count(const pith_model* model);
pith_status pith_model_input(const pith_model* model, int32_t index, pith_tensor* tensor);
pith_status pith_model_output(const pith_model* model, int32_t index, pith_tensor* tensor);
pith_status pith_input(pith_instance* instance, int32_t index, pith_tensor* tensor);
pith_status pith_output(pith_instance* instance, int32_t index, pith_tensor* tensor);

/* Copy a whole input or output in logical order. The f32 forms convert: an 8-bit input is quantised, an 8-bit output
 * dequantised, integers are rounded towards zero. The u8 forms move codes and need an 8-bit tensor; i32 an i32 one.
 * `count` must be the tensor's. Inputs share the arena with everything else: set all of them before each run. */
pith_status pith_set_input_f32(pith_instance* instance, int32_t index, const float* values, size_t count);
pith_status pith_set_input_u8(pith_instance* instance, int32_t index, const uint8_t* codes, size_t count);
pith_status pith_set_input_i32(pith_instance* instance, int32_t index, const int32_t* values, size_t count);
pith_status pith_get_output_f32(const pith_instance* instance, int32_t index, float* values, size_t count);
pith_status pith_get_output_u8(const pith_instance* instance, int32_t index, uint8_t* codes, size_t count);
pith_status pith_get_output_i32(const pith_instance* instance, int32_t index, int32_t* values, size_t count);

/* ---- ports by rows ---------------------------------------------------------------------------------------------- */

/* A network that was compiled with --rows never holds all of a picture: it asks for the input's rows as it needs them,
 * and hands an output's over as they are made, on the thread of pith_run, each row once, in ascending order. `data` are
 * `rows` rows from `row` on in physical order (H,W,C of pith_tensor's `type`), to be filled or to be read before the
 * function returns. pith_tensor.rows says which ports go so; their `data` is null. pith_set_input_* on such an input
 * copies nothing: the values must stay where they are until pith_run has returned. pith_get_output_* doesn't know such an
 * output. PITH_ERROR_TYPE: this port is there whole. */
typedef void (*pith_rows)(void* context, int32_t index, int32_t row, int32_t rows, void* data);
pith_status pith_set_row_source(pith_instance* instance, int32_t index, pith_rows function, void* context);
pith_status pith_set_row_sink(pith_instance* instance, int32_t index, pith_rows function, void* context);

/* ---- running -------------------------------------------------------------------------------------------------- */

/* One inference. State (a recurrent network's, say) is carried to the next one. PITH_ERROR_ARGUMENT: a port that goes by
 * rows has no source or sink. */
pith_status pith_run(pith_instance* instance);

/* State as it was when the instance was made: zero. */
pith_status pith_reset(pith_instance* instance);

/* Rows of activations that the instance has stored in coded form since it was made (docs/memory.md), and how many of
 * them coarser than they are. A file that was compiled with --activation-bits lossless is exact as long as there are
 * none; they come from inputs with more in them than its samples had. Memory and time stay as they were planned. Each
 * may be null. */
pith_status pith_stored_rows(const pith_instance* instance, uint64_t* rows, uint64_t* coarse);

/* One operator after the other, for profilers: called after each with its index and name. */
typedef void (*pith_observer)(void* context, int32_t op_index, const char* op);
pith_status pith_run_observed(pith_instance* instance, pith_observer observer, void* context);
int32_t pith_op_count(const pith_model* model);

/* ---- metadata ------------------------------------------------------------------------------------------------- */

/* The text under `key` ("preprocess", "labels", "head" ...), zero-terminated. *length receives its length without the
 * zero; with text null, or too small (PITH_ERROR_MEMORY), that is all. Reads the file, not a model; needs 48 KB of
 * stack. */
pith_status pith_metadata(const void* file, size_t bytes, const char* key, char* text, size_t text_bytes,
                          size_t* length);

/* ---- after the network ------------------------------------------------------------------------------------------ */

/* Memory in the arena for whoever looks at the outputs (a list of boxes, the best classes), planned beside them by the
 * compiler for the head that the file declares: *bytes of them at *memory, aligned to 16. It is the network's own again
 * with the next input. Reads the file, as pith_metadata does. PITH_ERROR_NOT_FOUND: nothing was planned. */
pith_status pith_post_memory(const void* file, size_t bytes, const pith_instance* instance, void** memory,
                             size_t* memory_bytes);

/* ---- processor ------------------------------------------------------------------------------------------------ */

typedef enum pith_isa {
  PITH_ISA_BEST = -1, /* what this processor can do best: the default */
  PITH_ISA_REFERENCE = 0,
  PITH_ISA_AVX2,
  PITH_ISA_AVX512, /* F, BW, DQ, VL, VNNI, VBMI */
  PITH_ISA_NEON,
  PITH_ISA_NEON_DOT, /* with the dot product instructions */
  PITH_ISA_COUNT
} pith_isa;

/* Chooses the instruction set for models that are loaded from now on. PITH_ERROR_UNSUPPORTED where this processor or
 * build doesn't have it. */
pith_status pith_set_isa(pith_isa isa);
pith_isa pith_model_isa(const pith_model* model);
const char* pith_isa_name(pith_isa isa); /* "avx512" ... */

/* ---- version -------------------------------------------------------------------------------------------------- */

const char* pith_version(void);    /* of the library: "0.1.0" */
int32_t pith_format_version(void); /* of the files that it reads */

#ifdef __cplusplus
}
#endif
#endif
