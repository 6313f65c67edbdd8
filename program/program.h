// Program: a compiled network as a value, just before it becomes bytes.
//
// A Program is straight-line: operators in order of execution over tensors with static shapes at fixed arena offsets,
// and constants that hold plain integers or floats here and are coded when written. `write_program` turns it into the
// bytes of a .pith file (docs/format.md); `read_program` turns them back, checking everything; both are inverse.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "numerics/scale.h"
#include "numerics/unary.h"
#include "program/format.h"

namespace pith {

// An operand id: arena tensors count from 0; constants are kConstantBase + index; kNone = absent.
inline constexpr int32_t kNone = -1;
inline constexpr int32_t kConstantBase = 1 << 24;
inline bool is_constant(int32_t id) { return id >= kConstantBase; }

struct ProgramTensor {
  std::string name;  // not in the file; empty after reading
  int dtype = PITH_U8;
  std::vector<int32_t> dims;  // physical layout, rank 0..6
  numerics::Affine affine;    // u8
  int64_t offset = 0;         // bytes into the arena, a multiple of PITH_ARENA_ALIGNMENT
  // Other dimensions for the memory of an earlier tensor that is itself no alias, or for a part of it that begins
  // alias_offset bytes into it (a multiple of PITH_ARENA_ALIGNMENT): same dtype and affine, offset is the root's and that.
  int32_t alias_of = kNone;
  int64_t alias_offset = 0;
};

inline int64_t element_bytes(int dtype) { return dtype == PITH_U8 ? 1 : 4; }  // of tensors
inline int64_t tensor_bytes(const ProgramTensor& t) {
  int64_t n = element_bytes(t.dtype);
  for (int32_t d : t.dims) n *= d;
  return n;
}

struct ProgramConstant {
  std::string name;  // not in the file
  int dtype = PITH_I8;
  std::vector<int32_t> dims;
  // PITH_I8: signed integers of `bits` bits in `integers`, value = integer * 2^(code/16), one code, or one per index of
  //          the first dimension. PITH_U8: codes under `affine`. PITH_I32: biases and indices in `integers`.
  // PITH_F32: `reals`.
  int bits = 8;
  std::vector<int16_t> scale_codes;
  numerics::Affine affine;
  std::vector<int32_t> integers;
  std::vector<float> reals;
};

struct ProgramOp {
  int opcode = 0;
  std::vector<int32_t> inputs, outputs;  // as opcodes.inc lists them
  std::vector<int32_t> ints;             // arrays flattened: Copy has 1 + 6 + 1 + 6 + 1 + 6
  std::vector<float> reals;
  // Applied to the result. u8: Relu and Clip clamp; any other function is a table from `pre` to the output's affine.
  numerics::Unary activation = numerics::Unary::kIdentity;
  float a = 0, b = 0;
  numerics::Affine pre;
  int64_t scratch_offset = 0;  // into the arena; program/scratch.h says how many bytes the operator may use there
  friend bool operator==(const ProgramOp&, const ProgramOp&) = default;
};

struct ProgramPort {
  std::string name;
  int32_t tensor = kNone;
  // logical dimensions as the user's model had them (NCHW ...) and the permutation physical = logical[permutation]
  std::vector<int32_t> permutation;
  friend bool operator==(const ProgramPort&, const ProgramPort&) = default;
};

struct Program {
  std::vector<ProgramTensor> tensors;
  std::vector<ProgramConstant> constants;
  std::vector<ProgramOp> ops;
  std::vector<ProgramPort> inputs, outputs;
  std::vector<std::pair<int32_t, int32_t>> state;  // (input tensor, output tensor): copied after each run
  int64_t arena_bytes = 0;                         // everything planned: tensors and scratch
  std::map<std::string, std::string> metadata;     // preprocess, labels, head, original parameter count ...
};

// The smallest of all codes; the smallest of those that decode with little state and time; or rANS.
enum class CodecChoice { kSmallest, kBalanced, kFastest };

// The tensor whose memory this one names: itself where it is no alias.
inline int32_t root_of(const Program& p, int32_t id) {
  const int32_t alias = p.tensors[static_cast<size_t>(id)].alias_of;
  return alias == kNone ? id : alias;
}

struct WrittenSizes {  // bytes of the file by part, for `pith info`
  int64_t header = 0, structure = 0, metadata = 0;
  std::vector<int64_t> constants;
};
Result<std::vector<uint8_t>> write_program(const Program& program, CodecChoice codec, WrittenSizes* sizes = nullptr);
// The same of a program that may break its promises, to test readers; ids and counts of parameters must be in range.
Result<std::vector<uint8_t>> write_unchecked(const Program& program, CodecChoice codec, WrittenSizes* sizes = nullptr);
// Safe on any bytes. kUsage errors say what is wrong at which offset.
Result<Program> read_program(std::span<const uint8_t> bytes, WrittenSizes* sizes = nullptr);

// Everything a Program promises: ids, ranks, data types and dimensions fit the opcodes, every tensor and scratch region
// lies in the arena, no two live at once overlap (except where an operator allows it), 32-bit accumulators can't overflow.
Result<void> check_program(const Program& program);

std::string to_text(const Program& program);  // printable, diffable

// For each port the rows in all where it goes by rows (opcodes RowsIn and RowsOut: its tensor is then any part of it, and
// lies in the arena only as long as operators use it); 0: it is there whole, before and after a run.
struct RowPorts {
  std::vector<int32_t> inputs, outputs;
};
RowPorts row_ports(const Program& program);

// Dimensions of an operator's outputs as they follow from its inputs and parameters; empty where they must be stated.
std::vector<std::vector<int32_t>> derived_dims(const Program& program, const ProgramOp& op);
int64_t op_macs(const Program& program, const ProgramOp& op);
int64_t executed_macs(const Program& program, const ProgramOp& op);  // but for blocks of weights that are zero
// Bytes of scratch that the operator's kernels may use at op.scratch_offset (program/scratch.h).
int64_t scratch_bytes(const Program& program, const ProgramOp& op);

}  // namespace pith
