// A loaded model as plain structures, all of them in memory that the caller gave.
//
// A Model is immutable after load and shared by its instances; an instance is an arena and the scratch of the threads.
// The loader fills the structures from a file; tests fill them by hand. Then each operator is `prepare`d once, which
// checks all that its kernels rely on, derives tables and packs weights; after that nothing can fail.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "numerics/scale.h"
#include "numerics/unary.h"
#include "program/format.h"
#include "runtime/include/pith/pith.h"
#include "runtime/kernels/kernels.h"

namespace pith::runtime {

// An operand: a place in the arena, or a constant.
struct Tensor {
  uint8_t dtype = PITH_U8;  // PITH_I8 only for constants
  uint8_t rank = 0;
  numerics::Affine affine;  // u8
  int32_t dims[PITH_MAX_RANK] = {};
  int64_t offset = -1;  // bytes into the arena; -1: a constant
  // Constants. `values`: decoded, row-major, in the dtype's own type (PITH_I8: int8_t with scale codes); null while the
  // constant stays in its coded form.
  const void* values = nullptr;
  const int16_t* scale_codes = nullptr;  // one, or one per index of the first dimension
  const uint8_t* coded = nullptr;
  uint32_t coded_bytes = 0;
  const Tensor* book = nullptr;  // PITH_CODEC_VECTORS: whose book it uses; null: its own
  uint8_t codec = 0, bits = 8, row_scales = 0, shift = 0;
  uint8_t counted = 0;  // its decoded form is in the count of memory already: 1 + the dtype of the coded one

  bool is_constant() const { return offset < 0; }
  int64_t count() const { return count_of(0, rank); }
  // The product of dimensions first..last-1.
  int64_t count_of(int first, int last) const {
    int64_t n = 1;
    for (int i = first; i < last; ++i) n *= dims[i];
    return n;
  }
  int64_t bytes() const { return count() * element_bytes(); }
  int64_t element_bytes() const { return dtype == PITH_U8 || dtype == PITH_I8 ? 1 : 4; }
};

// What products without blocks of zeros keep of weights (ops/conv_sparse.h): known once memory has been counted.
struct Kept {
  bool known = false, pays = false;
  int64_t spans = 0, blocks = 0, values = 0;
};

// One operator. Operands and parameters are listed as opcodes.inc does; absent operands are null.
struct Op {
  uint8_t opcode = 0;
  numerics::Unary activation = numerics::Unary::kIdentity;
  numerics::Affine pre;  // the result's meaning before an activation that is a table
  float a = 0, b = 0;    // the activation's parameters
  Tensor* const* inputs = nullptr;
  Tensor* const* outputs = nullptr;
  const int32_t* ints = nullptr;
  const float* reals = nullptr;
  int64_t scratch_offset = 0;
  int64_t scratch_bytes = 0;
  Kept kept;
  const void* plan = nullptr;  // the operator's own, made by its prepare function
};

// An input or output as the user sees it: dims[i] = tensor dims[position of i in permutation].
struct Port {
  const char* name = nullptr;
  Tensor* tensor = nullptr;  // any part of it, where it goes by rows
  int32_t rows = 0;          // in all, where RowsIn or RowsOut move it; 0: it lies in the arena whole
  uint8_t permutation[PITH_MAX_RANK] = {};  // physical axis p is logical axis permutation[p]
};

// Where an instance's rows come from or go to: the caller's function, or for an input all of its values (dtype PITH_F32:
// to be converted; else the tensor's own).
struct RowEnd {
  pith_rows function = nullptr;
  void* context = nullptr;
  const void* values = nullptr;
  int32_t dtype = PITH_F32;
};

// Rows of activations that an instance has stored in coded form, and how many of them with a step above 1.
struct StoredRows {
  uint64_t all = 0, coarse = 0;
};

struct StatePair {
  const Tensor *in = nullptr, *out = nullptr;
};

struct Model {
  const Kernels* kernels = nullptr;
  Isa isa = Isa::kReference;
  pith_mode mode = PITH_MODE_FASTEST;
  Tensor* tensors = nullptr;
  Tensor* constants = nullptr;
  Op* ops = nullptr;
  Port *inputs = nullptr, *outputs = nullptr;
  StatePair* states = nullptr;
  int32_t tensor_count = 0, constant_count = 0, op_count = 0, input_count = 0, output_count = 0, state_count = 0;
  int64_t arena_bytes = 0;
  int64_t scratch_bytes = 0;  // of the operator that needs most
  int32_t threads = 1;
};

// Bytes handed out one after the other: first counted without memory, then out of the caller's.
class Memory {
 public:
  Memory() = default;
  Memory(void* base, size_t bytes) : base_(static_cast<uint8_t*>(base)), size_(bytes) {}

  // Null while counting, and when the memory is full.
  template <typename T>
  T* take(int64_t count, size_t alignment = alignof(T)) {
    const size_t start = (used_ + alignment - 1) / alignment * alignment;
    used_ = start + static_cast<size_t>(count) * sizeof(T);
    if (used_ > peak_) peak_ = used_;
    if (base_ == nullptr || used_ > size_) return nullptr;
    return reinterpret_cast<T*>(base_ + start);
  }
  size_t mark() const { return used_; }
  void release(size_t mark) { used_ = mark; }  // what was taken since is free again

  bool counting() const { return base_ == nullptr; }
  bool full() const { return base_ != nullptr && peak_ > size_; }
  size_t peak() const { return peak_; }

 private:
  uint8_t* base_ = nullptr;
  size_t size_ = 0, used_ = 0, peak_ = 0;
};

}  // namespace pith::runtime
