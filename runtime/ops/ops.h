// The operators: for each opcode, `prepare_<Name>` and `run_<Name>`.
//
// Prepare is called once for an operator when a model is loaded, in file order (and before that once more without
// memory, to learn how much it takes). It returns null, or why this operator can't be executed. It checks everything
// that run relies on: after it, run can't fail. What it derives goes to op.plan.
//
// Run executes the operator on an arena.
#pragma once

#include "runtime/model.h"
#include "runtime/parallel.h"

namespace pith::runtime {

// What prepare works with. All memory comes from `memory`; while it counts, nothing may be written.
struct Builder {
  Memory& memory;
  const Model& model;

  // One plan object of type T for the operator; null while counting.
  template <typename T>
  T* plan(Op& op) {
    T* p = memory.take<T>(1);
    if (p != nullptr) *p = T{};
    op.plan = p;
    return p;
  }

  // What several operators derive alike (the bands of a layer above all: its table, its packed weights) is made once:
  // one T for a key of three numbers. Null while counting; `fresh` says whether it is to be filled and counted.
  template <typename T>
  T* share(uint64_t a, uint64_t b, uint64_t c, bool* fresh) {
    for (const Shared& s : shared) {
      if (s.used && s.a == a && s.b == b && s.c == c) {
        *fresh = false;
        return static_cast<T*>(s.memory);
      }
    }
    *fresh = true;
    T* memory_of_it = memory.take<T>(1);
    shared[next++ % kShared] = {a, b, c, memory_of_it, true};
    return memory_of_it;
  }

  static constexpr int kShared = 96;  // the last so many
  struct Shared {
    uint64_t a, b, c;
    void* memory;
    bool used;
  };
  Shared shared[kShared] = {};
  uint32_t next = 0;
};

// For keys: a meaning in 24 bits.
static inline uint64_t key_of(numerics::Affine a) {
  return static_cast<uint64_t>(static_cast<uint16_t>(a.scale_code)) << 8 | a.zero_point;
}

// What run works with.
struct Run {
  const Model& model;
  const Kernels& kernels;
  const Threads& threads;
  uint8_t* arena;
  uint8_t* extra_scratch;  // of the tasks after the first, model.scratch_bytes each
  const RowEnd *sources, *sinks;  // of each input and output
  StoredRows& stored;

  template <typename T>
  const T* read(const Tensor* t) const {
    return static_cast<const T*>(t->is_constant() ? t->values : arena + t->offset);
  }
  template <typename T>
  T* write(const Tensor* t) const {
    return reinterpret_cast<T*>(arena + t->offset);
  }
  uint8_t* scratch(const Op& op, int32_t task) const {
    return task == 0 ? arena + op.scratch_offset : extra_scratch + (task - 1) * model.scratch_bytes;
  }
};

struct Operator {
  const char* name;
  const char* (*prepare)(Builder& builder, Op& op);
  void (*run)(const Op& op, const Run& run);
};
extern const Operator kOperators[PITH_OPCODE_COUNT];

#define PITH_OPCODE(name, ...)                          \
  const char* prepare_##name(Builder& builder, Op& op); \
  void run_##name(const Op& op, const Run& run);
#include "program/opcodes.inc"
#undef PITH_OPCODE

// Are this operator's weights (its input 1) packed when the model is loaded?
bool packs_at_load(const Builder& builder, const Op& op);

// ---- shared by several operators --------------------------------------------------------------------------------

// A constant operand is decoded into memory at load, in the type given (PITH_I8 weights as PITH_F32 become floats).
// Returns null or why it can't be.
const char* decode_constant(Builder& builder, Tensor& constant, int dtype);
// Float weights whose code can't be read a row at a time (PITH_CODEC_PREDICTED) are decoded whole; all others stay as they are.
const char* decode_predicted(Builder& builder, Tensor& weights);
// The same as decode_constant for all constant operands: I8 as f32, the others as they are.
const char* decode_constants(Builder& builder, Op& op);

// How an 8-bit result is finished. `raw`: the meaning that requantisation produces, before the epilogue's table.
struct U8Finish {
  numerics::Affine raw;
  Epilogue epilogue;
};
// For operators that compute a new value (convolution, sums ...).
U8Finish computed_finish(Builder& builder, const Op& op, const Tensor& y);
// For operators that move codes of meaning `x`: only a table, null where codes stay as they are.
const uint8_t* moved_table(Builder& builder, const Op& op, numerics::Affine x, const Tensor& y);

// Bounds of Relu, Clip and no activation for float results; false for any other function.
bool float_bounds(const Op& op, float* low, float* high);
// Applies the activation that float_bounds doesn't cover, in place.
void activate_f32(const Op& op, const Run& run, float* y, int64_t count);

}  // namespace pith::runtime
