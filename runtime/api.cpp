// The C interface (pith/pith.h): argument checks, conversions between the user's order and the arena's, last error.
#include <string.h>

#include "program/format.h"
#include "program/schema.h"
#include "runtime/load.h"
#include "runtime/ports.h"

struct pith_model {
  pith::runtime::Model model;
};
struct pith_instance {
  pith::runtime::Instance instance;
};

namespace pith::runtime {
namespace {

constexpr size_t kMostStructure = size_t{1} << 20;  // of pith_probe's stack

thread_local pith_error last_error = {PITH_OK, -1, nullptr, "", 0};
int32_t chosen_isa = PITH_ISA_BEST;

pith_status fail(pith_status status, const char* reason, size_t needed = 0, int32_t op_index = -1,
                 const char* op = nullptr) {
  last_error = {status, op_index, op, reason, needed};
  return status;
}
pith_status fail(const Failure& f) { return fail(f.status, f.reason, 0, f.op_index, f.op); }

Isa wanted_isa() {
  const int32_t isa = __atomic_load_n(&chosen_isa, __ATOMIC_RELAXED);
  return isa == PITH_ISA_BEST ? best_isa() : static_cast<Isa>(isa);
}

bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % PITH_ALIGNMENT == 0; }

pith_status check_load(const void* file, pith_mode mode, int32_t threads) {
  if (file == nullptr) return fail(PITH_ERROR_ARGUMENT, "the file is null");
  if (mode != PITH_MODE_SMALLEST && mode != PITH_MODE_FASTEST && mode != PITH_MODE_BALANCED) return fail(PITH_ERROR_ARGUMENT, "the mode is unknown");
  if (threads < 1 || threads > 1024) return fail(PITH_ERROR_ARGUMENT, "threads must be 1 to 1024");
  return PITH_OK;
}

size_t round_up(size_t bytes) { return (bytes + PITH_ALIGNMENT - 1) / PITH_ALIGNMENT * PITH_ALIGNMENT; }

// A model's block: the model, its structure, what is prepared; each part begins aligned.
constexpr size_t kStructureAt = (sizeof(pith_model) + PITH_ALIGNMENT - 1) / PITH_ALIGNMENT * PITH_ALIGNMENT;
size_t prepared_at(const Memory& structure) { return kStructureAt + round_up(structure.peak()); }

pith_status prepare_in(Memory& memory, Model& model) {
  int32_t op_index = -1;
  const char* reason = prepare(memory, model, &op_index);
  if (reason == nullptr) return PITH_OK;
  return fail(PITH_ERROR_UNSUPPORTED, reason, 0, op_index, format::kOpcodeNames[model.ops[op_index].opcode]);
}

// Reads a model's structure and counts what it takes to prepare it.
pith_status count(const void* file, size_t bytes, pith_mode mode, int32_t threads, Memory& structure, Model& model,
                  pith_sizes* sizes) {
  model.isa = wanted_isa();
  model.kernels = &kernels_of(model.isa);
  model.mode = mode;
  model.threads = threads;
  const Failure failure = read_structure(file, bytes, structure, model);
  if (failure.status != PITH_OK) return fail(failure);
  Memory prepared;
  if (const pith_status status = prepare_in(prepared, model); status != PITH_OK) return status;
  *sizes = {};
  sizes->weight_bytes = prepared.peak();
  sizes->model_bytes = prepared_at(structure) + round_up(prepared.peak());
  sizes->instance_bytes = static_cast<size_t>(instance_bytes(model));
  sizes->arena_bytes = static_cast<size_t>(model.arena_bytes);
  sizes->scratch_bytes = static_cast<size_t>(model.scratch_bytes);
  return PITH_OK;
}

// Constants as they were before a count.
void forget_count(Model& model) {
  for (int32_t i = 0; i < model.constant_count; ++i) {
    Tensor& k = model.constants[i];
    if (k.counted > 0) k.dtype = static_cast<uint8_t>(k.counted - 1);
    k.counted = 0;
  }
}

__attribute__((noinline)) pith_status probe_with(const void* file, size_t bytes, pith_mode mode, int32_t threads,
                                                 void* workspace, size_t workspace_bytes, pith_sizes* sizes) {
  Model model;
  Memory structure(workspace, workspace_bytes);
  return count(file, bytes, mode, threads, structure, model, sizes);
}

pith_status too_small(const void* file, size_t bytes, pith_mode mode, int32_t threads) {
  pith_sizes sizes;
  if (const pith_status status = pith_probe(file, bytes, mode, threads, &sizes); status != PITH_OK) return status;
  return fail(PITH_ERROR_MEMORY, "the model needs more memory; see pith_probe", sizes.model_bytes);
}

void describe(const Port& port, uint8_t* arena, pith_tensor* out) {
  const Tensor& t = *port.tensor;
  *out = {};
  out->name = port.name;
  out->type = static_cast<pith_type>(t.dtype);
  out->rank = t.rank;
  for (int i = 0; i < t.rank; ++i) {
    out->permutation[i] = port.permutation[i];
    out->dims[port.permutation[i]] = i == 1 && port.rows > 0 ? port.rows : t.dims[i];
  }
  out->count = static_cast<size_t>(port_elements(port));
  out->rows = port.rows;
  out->scale = t.dtype == PITH_U8 ? numerics::scale_value(t.affine.scale_code) : 1;
  out->zero_point = t.dtype == PITH_U8 ? t.affine.zero_point : 0;
  out->data = arena != nullptr && port.rows == 0 ? arena + t.offset : nullptr;
}

const Port* find_port(const Port* ports, int32_t port_count, int32_t index, const void* values, size_t count,
                      int dtype) {
  if (index < 0 || index >= port_count) {
    fail(PITH_ERROR_ARGUMENT, "there is no input or output of this index");
    return nullptr;
  }
  const Tensor& t = *ports[index].tensor;
  if (values == nullptr) {
    fail(PITH_ERROR_ARGUMENT, "the values are null");
  } else if (count != static_cast<size_t>(port_elements(ports[index]))) {
    fail(PITH_ERROR_ARGUMENT, "the count isn't the tensor's; see pith_tensor.count");
  } else if (dtype != PITH_F32 && t.dtype != dtype) {
    fail(PITH_ERROR_TYPE, "the tensor has another data type; see pith_tensor.type");
  } else {
    return &ports[index];
  }
  return nullptr;
}

// An input that goes by rows only remembers where its values are.
pith_status set_input(pith_instance* instance, int32_t index, const void* values, size_t count, int dtype) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  const Instance& i = instance->instance;
  const Port* port = find_port(i.model->inputs, i.model->input_count, index, values, count, dtype);
  if (port == nullptr) return last_error.status;
  if (port->rows > 0) {
    i.sources[index] = {nullptr, nullptr, values, dtype};
  } else {
    write_rows(*i.model->kernels, *port, *port->tensor, 0, i.arena + port->tensor->offset, values, dtype);
  }
  return PITH_OK;
}

pith_status get_output(const pith_instance* instance, int32_t index, void* values, size_t count, int dtype) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  const Instance& i = instance->instance;
  const Port* port = find_port(i.model->outputs, i.model->output_count, index, values, count, dtype);
  if (port == nullptr) return last_error.status;
  if (port->rows > 0) return fail(PITH_ERROR_TYPE, "the output goes by rows; see pith_set_row_sink");
  read_rows(*i.model->kernels, *port, *port->tensor, 0, i.arena + port->tensor->offset, values, dtype);
  return PITH_OK;
}

pith_status set_rows(const Port* ports, int32_t count, RowEnd* ends, int32_t index, pith_rows function, void* context) {
  if (index < 0 || index >= count) return fail(PITH_ERROR_ARGUMENT, "there is no input or output of this index");
  if (function == nullptr) return fail(PITH_ERROR_ARGUMENT, "the function is null");
  if (ports[index].rows == 0) return fail(PITH_ERROR_TYPE, "it doesn't go by rows: the network was compiled without --rows");
  ends[index] = {function, context, nullptr, PITH_F32};
  return PITH_OK;
}

pith_status describe_port(const Port* ports, int32_t count, int32_t index, uint8_t* arena, pith_tensor* tensor) {
  if (tensor == nullptr) return fail(PITH_ERROR_ARGUMENT, "the tensor is null");
  if (index < 0 || index >= count) return fail(PITH_ERROR_ARGUMENT, "there is no input or output of this index");
  describe(ports[index], arena, tensor);
  return PITH_OK;
}

}  // namespace
}  // namespace pith::runtime

using namespace pith::runtime;

extern "C" {

const char* pith_status_text(pith_status status) {
  switch (status) {
    case PITH_OK:
      return "all is well";
    case PITH_ERROR_ARGUMENT:
      return "an argument is null, out of range or of the wrong size";
    case PITH_ERROR_NOT_PITH:
      return "the bytes are not a .pith file";
    case PITH_ERROR_VERSION:
      return "the .pith file has another format version";
    case PITH_ERROR_DAMAGED:
      return "the .pith file is damaged";
    case PITH_ERROR_UNSUPPORTED:
      return "this runtime can't execute what is asked";
    case PITH_ERROR_MEMORY:
      return "the memory given is too small";
    case PITH_ERROR_ALIGNMENT:
      return "the memory given is not aligned to 64 bytes";
    case PITH_ERROR_TYPE:
      return "the input or output has another data type";
    case PITH_ERROR_NOT_FOUND:
      return "the file has no such metadata";
  }
  return "unknown status";
}

pith_error pith_last_error(void) { return last_error; }

pith_status pith_probe(const void* file, size_t bytes, pith_mode mode, int32_t threads, pith_sizes* sizes) {
  if (sizes == nullptr) return fail(PITH_ERROR_ARGUMENT, "the sizes are null");
  if (const pith_status status = check_load(file, mode, threads); status != PITH_OK) return status;
  size_t bound = 0;
  const Failure failure = structure_bound(file, bytes, &bound);
  if (failure.status != PITH_OK) return fail(failure);
  if (bound > kMostStructure)
    return fail(PITH_ERROR_UNSUPPORTED, "it has more operators than this runtime's stack allows (about 3000)");
  return probe_with(file, bytes, mode, threads, __builtin_alloca_with_align(bound, PITH_ALIGNMENT * 8), bound, sizes);
}

pith_status pith_load(const void* file, size_t bytes, pith_mode mode, int32_t threads, void* memory,
                      size_t memory_bytes, pith_model** model) {
  if (model == nullptr) return fail(PITH_ERROR_ARGUMENT, "the place for the model is null");
  *model = nullptr;
  if (const pith_status status = check_load(file, mode, threads); status != PITH_OK) return status;
  if (memory == nullptr || memory_bytes < kStructureAt) return too_small(file, bytes, mode, threads);
  if (!aligned(memory)) return fail(PITH_ERROR_ALIGNMENT, "the model's memory must be aligned to 64 bytes");
  pith_model* m = static_cast<pith_model*>(memory);
  m->model = Model{};
  uint8_t* base = static_cast<uint8_t*>(memory);
  Memory structure(base + kStructureAt, memory_bytes - kStructureAt);
  pith_sizes sizes;
  const pith_status status = count(file, bytes, mode, threads, structure, m->model, &sizes);
  if (status == PITH_ERROR_MEMORY) return too_small(file, bytes, mode, threads);
  if (status != PITH_OK) return status;
  if (memory_bytes < sizes.model_bytes)
    return fail(PITH_ERROR_MEMORY, "the model needs more memory; see pith_probe", sizes.model_bytes);
  forget_count(m->model);
  Memory prepared(base + prepared_at(structure), sizes.model_bytes - prepared_at(structure));
  if (const pith_status s = prepare_in(prepared, m->model); s != PITH_OK) return s;
  if (prepared.full())
    return fail(PITH_ERROR_MEMORY, "the model needs more memory than was counted: please report this file",
                sizes.model_bytes);
  *model = m;
  return PITH_OK;
}

pith_status pith_instance_create(const pith_model* model, void* memory, size_t memory_bytes, pith_instance** instance) {
  if (model == nullptr || instance == nullptr)
    return fail(PITH_ERROR_ARGUMENT, "the model or the place for the instance is null");
  *instance = nullptr;
  const size_t needed = static_cast<size_t>(instance_bytes(model->model));
  if (memory == nullptr || memory_bytes < needed)
    return fail(PITH_ERROR_MEMORY, "the instance needs more memory; see pith_probe", needed);
  if (!aligned(memory)) return fail(PITH_ERROR_ALIGNMENT, "the instance's memory must be aligned to 64 bytes");
  make_instance(model->model, memory);
  *instance = static_cast<pith_instance*>(memory);
  return PITH_OK;
}

size_t pith_shared_bytes(const pith_model* model) {
  return model != nullptr ? static_cast<size_t>(shared_instance_bytes(model->model)) : 0;
}

pith_status pith_instance_create_shared(const pith_model* model, void* memory, size_t memory_bytes, void* arena,
                                        size_t arena_bytes, pith_instance** instance) {
  static_assert(PITH_ARENA_BEYOND == PITH_OVERREAD);
  if (model == nullptr || instance == nullptr)
    return fail(PITH_ERROR_ARGUMENT, "the model or the place for the instance is null");
  *instance = nullptr;
  const size_t needed = static_cast<size_t>(shared_instance_bytes(model->model));
  if (memory == nullptr || memory_bytes < needed)
    return fail(PITH_ERROR_MEMORY, "the instance needs more memory; see pith_shared_bytes", needed);
  const size_t arena_needed = static_cast<size_t>(model->model.arena_bytes) + PITH_OVERREAD;
  if (arena == nullptr || arena_bytes < arena_needed)
    return fail(PITH_ERROR_MEMORY, "the arena is too small for this network; see pith_probe and PITH_ARENA_BEYOND", arena_needed);
  if (!aligned(memory) || !aligned(arena))
    return fail(PITH_ERROR_ALIGNMENT, "the instance's memory and the arena must be aligned to 64 bytes");
  make_instance(model->model, memory, arena);
  *instance = static_cast<pith_instance*>(memory);
  return PITH_OK;
}

pith_status pith_set_parallel(pith_instance* instance, pith_parallel_for function, void* context) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  instance->instance.threads = {function, context, function != nullptr ? instance->instance.model->threads : 1};
  return PITH_OK;
}

int32_t pith_input_count(const pith_model* model) { return model != nullptr ? model->model.input_count : 0; }
int32_t pith_output_count(const pith_model* model) { return model != nullptr ? model->model.output_count : 0; }
int32_t pith_op_count(const pith_model* model) { return model != nullptr ? model->model.op_count : 0; }
pith_status pith_model_input(const pith_model* model, int32_t index, pith_tensor* tensor) {
  if (model == nullptr) return fail(PITH_ERROR_ARGUMENT, "the model is null");
  return describe_port(model->model.inputs, model->model.input_count, index, nullptr, tensor);
}
pith_status pith_model_output(const pith_model* model, int32_t index, pith_tensor* tensor) {
  if (model == nullptr) return fail(PITH_ERROR_ARGUMENT, "the model is null");
  return describe_port(model->model.outputs, model->model.output_count, index, nullptr, tensor);
}
pith_status pith_input(pith_instance* instance, int32_t index, pith_tensor* tensor) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  const Instance& i = instance->instance;
  return describe_port(i.model->inputs, i.model->input_count, index, i.arena, tensor);
}
pith_status pith_output(pith_instance* instance, int32_t index, pith_tensor* tensor) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  const Instance& i = instance->instance;
  return describe_port(i.model->outputs, i.model->output_count, index, i.arena, tensor);
}

pith_status pith_set_input_f32(pith_instance* instance, int32_t index, const float* values, size_t count) {
  return set_input(instance, index, values, count, PITH_F32);
}
pith_status pith_set_input_u8(pith_instance* instance, int32_t index, const uint8_t* codes, size_t count) {
  return set_input(instance, index, codes, count, PITH_U8);
}
pith_status pith_set_input_i32(pith_instance* instance, int32_t index, const int32_t* values, size_t count) {
  return set_input(instance, index, values, count, PITH_I32);
}
pith_status pith_get_output_f32(const pith_instance* instance, int32_t index, float* values, size_t count) {
  return get_output(instance, index, values, count, PITH_F32);
}
pith_status pith_get_output_u8(const pith_instance* instance, int32_t index, uint8_t* codes, size_t count) {
  return get_output(instance, index, codes, count, PITH_U8);
}
pith_status pith_get_output_i32(const pith_instance* instance, int32_t index, int32_t* values, size_t count) {
  return get_output(instance, index, values, count, PITH_I32);
}

pith_status pith_set_row_source(pith_instance* instance, int32_t index, pith_rows function, void* context) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  const Instance& i = instance->instance;
  return set_rows(i.model->inputs, i.model->input_count, i.sources, index, function, context);
}
pith_status pith_set_row_sink(pith_instance* instance, int32_t index, pith_rows function, void* context) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  const Instance& i = instance->instance;
  return set_rows(i.model->outputs, i.model->output_count, i.sinks, index, function, context);
}

pith_status pith_run(pith_instance* instance) { return pith_run_observed(instance, nullptr, nullptr); }
pith_status pith_run_observed(pith_instance* instance, pith_observer observer, void* context) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  if (const char* reason = missing_rows(instance->instance)) return fail(PITH_ERROR_ARGUMENT, reason);
  execute(instance->instance, observer, context);
  return PITH_OK;
}
pith_status pith_reset(pith_instance* instance) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  clear_state(instance->instance);
  return PITH_OK;
}

pith_status pith_stored_rows(const pith_instance* instance, uint64_t* rows, uint64_t* coarse) {
  if (instance == nullptr) return fail(PITH_ERROR_ARGUMENT, "the instance is null");
  if (rows != nullptr) *rows = instance->instance.stored.all;
  if (coarse != nullptr) *coarse = instance->instance.stored.coarse;
  return PITH_OK;
}

pith_status pith_metadata(const void* file, size_t bytes, const char* key, char* text, size_t text_bytes,
                          size_t* length) {
  if (file == nullptr || key == nullptr || length == nullptr)
    return fail(PITH_ERROR_ARGUMENT, "the file, the key or the place for the length is null");
  *length = 0;
  Failure failure;
  const size_t capacity = text != nullptr && text_bytes > 0 ? text_bytes - 1 : 0;
  if (!read_metadata(file, bytes, key, text, capacity, length, &failure)) {
    if (failure.status != PITH_OK) return fail(failure);
    return fail(PITH_ERROR_NOT_FOUND, "the file has no metadata under this key");
  }
  if (text != nullptr && text_bytes > 0) text[*length < capacity ? *length : capacity] = 0;
  if (*length >= text_bytes) return fail(PITH_ERROR_MEMORY, "the text is longer than the place for it", *length + 1);
  return PITH_OK;
}

pith_status pith_post_memory(const void* file, size_t bytes, const pith_instance* instance, void** memory,
                             size_t* memory_bytes) {
  if (instance == nullptr || memory == nullptr || memory_bytes == nullptr)
    return fail(PITH_ERROR_ARGUMENT, "the instance or a place for the answer is null");
  char text[48];
  size_t length = 0;
  if (const pith_status s = pith_metadata(file, bytes, "post", text, sizeof text, &length); s != PITH_OK) return s;
  int64_t numbers[2] = {0, 0};
  int count = 0;
  for (size_t i = 0; i < length; ++i) {  // "offset bytes"
    if (text[i] == ' ' && count == 0 && i > 0) {
      count = 1;
    } else if (text[i] >= '0' && text[i] <= '9' && numbers[count] < (int64_t{1} << 48)) {
      numbers[count] = 10 * numbers[count] + (text[i] - '0');
    } else {
      return fail(PITH_ERROR_DAMAGED, "its memory for post-processing is malformed");
    }
  }
  const Instance& i = instance->instance;
  if (count != 1 || numbers[1] == 0 || numbers[0] % PITH_ARENA_ALIGNMENT != 0 || numbers[0] + numbers[1] > i.model->arena_bytes)
    return fail(PITH_ERROR_DAMAGED, "its memory for post-processing isn't in its arena");
  *memory = i.arena + numbers[0];
  *memory_bytes = static_cast<size_t>(numbers[1]);
  return PITH_OK;
}

pith_status pith_set_isa(pith_isa isa) {
  if (isa < PITH_ISA_BEST || isa >= PITH_ISA_COUNT) return fail(PITH_ERROR_ARGUMENT, "the instruction set is unknown");
  if (isa != PITH_ISA_BEST && !isa_available(static_cast<Isa>(isa)))
    return fail(PITH_ERROR_UNSUPPORTED, "this processor or build doesn't have the instruction set");
  __atomic_store_n(&chosen_isa, static_cast<int32_t>(isa), __ATOMIC_RELAXED);
  return PITH_OK;
}
pith_isa pith_model_isa(const pith_model* model) {
  return model != nullptr ? static_cast<pith_isa>(model->model.isa) : PITH_ISA_REFERENCE;
}
const char* pith_isa_name(pith_isa isa) {
  return isa < 0 || isa >= PITH_ISA_COUNT ? "unknown" : isa_name(static_cast<Isa>(isa));
}

#define PITH_TEXT_OF(x) #x
#define PITH_TEXT(x) PITH_TEXT_OF(x)
const char* pith_version(void) {
  return PITH_TEXT(PITH_VERSION_MAJOR) "." PITH_TEXT(PITH_VERSION_MINOR) "." PITH_TEXT(PITH_VERSION_PATCH);
}
int32_t pith_format_version(void) { return PITH_FORMAT_VERSION; }

}  // extern "C"
