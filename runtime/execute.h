// Instances of a model, and running them.
#pragma once

#include "runtime/model.h"
#include "runtime/parallel.h"

namespace pith::runtime {

struct Instance {
  const Model* model = nullptr;
  uint8_t* arena = nullptr;
  uint8_t* extra_scratch = nullptr;  // of the tasks after the first
  Threads threads;
  RowEnd *sources = nullptr, *sinks = nullptr;  // of each input and output
  StoredRows stored;
};

// Bytes of an instance's memory, which must be aligned to PITH_ALIGNMENT: the Instance, the arena with PITH_OVERREAD
// readable bytes after it, and the scratch of further threads.
int64_t instance_bytes(const Model& model);
// Why an inference can't begin: a port by rows without a source or sink. Null where it can.
const char* missing_rows(const Instance& instance);
// The same without the arena, which is the caller's.
int64_t shared_instance_bytes(const Model& model);
// Lays an instance out in `memory` of instance_bytes(model), with the arena cleared; or in shared_instance_bytes(model),
// on an `arena` of which only the state is cleared.
Instance* make_instance(const Model& model, void* memory, void* arena = nullptr);

void execute(Instance& instance, pith_observer observer, void* context);
void clear_state(const Instance& instance);

// Prepares every operator: checks it, and takes the memory that it needs from `memory` (only counts when that counts).
// On failure returns the reason and sets *op_index.
const char* prepare(Memory& memory, Model& model, int32_t* op_index);

}  // namespace pith::runtime
