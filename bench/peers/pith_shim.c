/* pith as a shared library with a thread pool, so that Python measures it the way it measures its peers: in the process,
 * with the same arrays, load and run timed by the same clock.
 *
 * The pool: the other threads wait for work by spinning for a fraction of a millisecond and then sleep on a condition, as the
 * peers' own pools do. Indices are handed out by an atomic counter, whose upper half says of which call they are; nobody waits
 * for a thread that took none. One call at a time.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pith/pith.h"

enum { kThreadLimit = 16, kSpins = 4000 };

typedef struct {
  pthread_t threads[kThreadLimit];
  int32_t helpers;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  atomic_uint generation, sleepers, count, finished;
  atomic_ullong ticket;
  atomic_bool stop;
  void (*_Atomic task)(void*, int32_t);
  void* _Atomic task_context;
} Pool;

typedef struct {
  unsigned char* file;
  void *model_memory, *instance_memory;
  pith_model* model;
  pith_instance* instance;
  Pool pool;
} Session;

static void work(Pool* pool) {
  unsigned long long ticket = atomic_load(&pool->ticket);
  for (;;) {
    const uint32_t count = atomic_load(&pool->count), index = (uint32_t)ticket;
    void (*const task)(void*, int32_t) = atomic_load(&pool->task);
    void* const context = atomic_load(&pool->task_context);
    if (index >= count) {
      const unsigned long long now = atomic_load(&pool->ticket);
      if (now == ticket) return;
      ticket = now;
      continue;
    }
    if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket + 1)) continue;
    task(context, (int32_t)index);
    atomic_fetch_add(&pool->finished, 1);
    ticket = atomic_load(&pool->ticket);
  }
}

static void* helper(void* argument) {
  Pool* pool = argument;
  for (unsigned seen = 0;;) {
    for (int spin = 0; spin < kSpins && atomic_load(&pool->generation) == seen; ++spin) {
      __builtin_ia32_pause();
    }
    if (atomic_load(&pool->generation) == seen) {
      pthread_mutex_lock(&pool->lock);
      atomic_fetch_add(&pool->sleepers, 1);
      while (atomic_load(&pool->generation) == seen) pthread_cond_wait(&pool->wake, &pool->lock);
      atomic_fetch_sub(&pool->sleepers, 1);
      pthread_mutex_unlock(&pool->lock);
    }
    seen = atomic_load(&pool->generation);
    if (atomic_load(&pool->stop)) return NULL;
    work(pool);
  }
}

static void announce(Pool* pool) {
  atomic_fetch_add(&pool->generation, 1);
  if (atomic_load(&pool->sleepers) == 0) return;
  pthread_mutex_lock(&pool->lock);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
}

static void parallel_for(void* context, int32_t count, void (*task)(void*, int32_t), void* task_context) {
  Pool* pool = context;
  if (count <= 0) return;
  atomic_store(&pool->count, 0);  /* nobody takes an index while the fields change */
  atomic_store(&pool->finished, 0);
  atomic_store(&pool->task, task);
  atomic_store(&pool->task_context, task_context);
  atomic_store(&pool->ticket, ((atomic_load(&pool->ticket) >> 32) + 1) << 32);
  atomic_store(&pool->count, (unsigned)count);
  announce(pool);
  work(pool);
  for (int spin = 0; atomic_load(&pool->finished) < (unsigned)count; ++spin) {
    if (spin < kSpins) {
      __builtin_ia32_pause();
    } else {
      sched_yield();  /* more threads than processors are free */
    }
  }
}

static unsigned char* read_file(const char* path, size_t* bytes) {
  FILE* file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  const long length = ftell(file);
  rewind(file);
  unsigned char* data = length > 0 ? malloc((size_t)length) : NULL;
  if (data && fread(data, 1, (size_t)length, file) != (size_t)length) {
    free(data);
    data = NULL;
  }
  fclose(file);
  *bytes = (size_t)length;
  return data;
}

static void* aligned(size_t bytes) {
  return aligned_alloc(PITH_ALIGNMENT, (bytes + PITH_ALIGNMENT - 1) / PITH_ALIGNMENT * PITH_ALIGNMENT + PITH_ALIGNMENT);
}

void shim_close(Session* session) {
  if (!session) return;
  atomic_store(&session->pool.stop, true);
  announce(&session->pool);
  for (int32_t i = 0; i < session->pool.helpers; ++i) pthread_join(session->pool.threads[i], NULL);
  free(session->instance_memory);
  free(session->model_memory);
  free(session->file);
  free(session);
}

/* Loads a file for up to `threads` threads; null on failure, with the reason on stderr. */
Session* shim_open(const char* path, int32_t smallest, int32_t threads) {
  Session* session = calloc(1, sizeof *session);
  if (!session || threads < 1 || threads > kThreadLimit) {
    free(session);
    return NULL;
  }
  pthread_mutex_init(&session->pool.lock, NULL);
  pthread_cond_init(&session->pool.wake, NULL);
  const pith_mode mode = smallest ? PITH_MODE_SMALLEST : PITH_MODE_FASTEST;
  size_t bytes = 0;
  pith_sizes sizes;
  session->file = read_file(path, &bytes);
  pith_status status = session->file ? pith_probe(session->file, bytes, mode, threads, &sizes) : PITH_ERROR_NOT_FOUND;
  if (status == PITH_OK) {
    session->model_memory = aligned(sizes.model_bytes);
    session->instance_memory = aligned(sizes.instance_bytes);
    status = session->model_memory && session->instance_memory ? PITH_OK : PITH_ERROR_MEMORY;
  }
  if (status == PITH_OK) {
    status = pith_load(session->file, bytes, mode, threads, session->model_memory, sizes.model_bytes, &session->model);
  }
  if (status == PITH_OK) {
    status = pith_instance_create(session->model, session->instance_memory, sizes.instance_bytes, &session->instance);
  }
  for (int32_t i = 1; status == PITH_OK && i < threads; ++i) {
    if (pthread_create(&session->pool.threads[session->pool.helpers], NULL, helper, &session->pool)) break;
    ++session->pool.helpers;
  }
  if (status == PITH_OK && session->pool.helpers) {
    status = pith_set_parallel(session->instance, parallel_for, &session->pool);
  }
  if (status == PITH_OK && !smallest) {
    free(session->file);
    session->file = NULL;
  }
  if (status != PITH_OK) {
    const char* reason = session->file ? pith_last_error().reason : "the file can't be read";
    fprintf(stderr, "%s: %s: %s\n", path, pith_status_text(status), reason);
    shim_close(session);
    return NULL;
  }
  return session;
}

/* The place of the named input (or output), its element count in *count; -1 where there is none. */
int32_t shim_find(const Session* session, int32_t output, const char* name, int64_t* count) {
  const int32_t total = output ? pith_output_count(session->model) : pith_input_count(session->model);
  for (int32_t i = 0; i < total; ++i) {
    pith_tensor tensor;
    if ((output ? pith_model_output : pith_model_input)(session->model, i, &tensor) != PITH_OK) continue;
    if (strcmp(tensor.name, name) == 0) {
      *count = (int64_t)tensor.count;
      return i;
    }
  }
  return -1;
}

int32_t shim_set(Session* session, int32_t index, const float* values, int64_t count) {
  return pith_set_input_f32(session->instance, index, values, (size_t)count);
}

int32_t shim_run(Session* session) { return pith_run(session->instance); }

int32_t shim_get(const Session* session, int32_t index, float* values, int64_t count) {
  return pith_get_output_f32(session->instance, index, values, (size_t)count);
}
