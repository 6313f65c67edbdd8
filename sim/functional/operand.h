// Operands of one operator as the functional simulator sees them, and what ends an 8-bit operator.
#pragma once

#include <array>
#include <cstring>
#include <optional>

#include "numerics/arithmetic.h"
#include "numerics/unary.h"
#include "program/program.h"

namespace pith::sim {

struct Operand {
  int dtype = -1;  // PITH_I8 weights show their floats in `bytes`, their integers in `weights`
  std::vector<int32_t> dims;
  numerics::Affine affine;
  uint8_t* bytes = nullptr;
  const ProgramConstant* weights = nullptr;

  explicit operator bool() const { return dtype >= 0; }
  int64_t count() const { return count(0, dims.size()); }
  int64_t count(size_t from, size_t to) const {
    int64_t n = 1;
    for (size_t i = from; i < to; ++i) n *= dims[i];
    return n;
  }
  const uint8_t* u8() const { return bytes; }
  uint8_t* u8() { return bytes; }
  const float* f32() const { return reinterpret_cast<const float*>(bytes); }
  float* f32() { return reinterpret_cast<float*>(bytes); }
  const int32_t* i32() const { return reinterpret_cast<const int32_t*>(bytes); }
  int32_t* i32() { return reinterpret_cast<int32_t*>(bytes); }
  size_t element() const { return dtype == PITH_U8 ? 1 : 4; }
  bool is_u8() const { return dtype == PITH_U8; }
};

struct Call {
  const ProgramOp& op;
  std::vector<Operand> in, out;
  int64_t i(size_t k) const { return op.ints[k]; }
};

using Table = std::array<uint8_t, 256>;

// How a computed 8-bit result ends: requantised to `raw` between low and high, then perhaps through a table.
struct Finish {
  numerics::Affine raw;
  int32_t low = 0, high = 255;
  std::optional<Table> table;
  uint8_t operator()(int32_t acc, numerics::Multiplier m) const { return through(numerics::requantize_u8(acc, m, raw.zero_point, low, high)); }
  uint8_t through(uint8_t code) const { return table ? (*table)[code] : code; }
};
Finish finish_of(const ProgramOp& op, numerics::Affine out);
// For operators that move codes: from one meaning to another, with the activation between.
Table moved_table(const ProgramOp& op, numerics::Affine from, numerics::Affine to);

// Applies the operator's activation to float results in place.
void activate(const ProgramOp& op, float* y, int64_t n);

// One function per opcode; each returns nothing, or what the chip can't do with these operands.
using Execute = std::optional<std::string> (*)(Call&);
Execute find_operator(int opcode);  // null where the simulator has none

// floor index -> coordinates over dims, and offsets with broadcasting
int64_t broadcast_offset(int64_t index, const std::vector<int32_t>& over, const std::vector<int32_t>& dims);

#define PITH_SIM_OPERATORS(X)                                                                                     \
  X(Conv2d)                                                                                                       \
  X(ConvTranspose2d) X(Dense) X(MatMul) X(Pool2d) X(Unary) X(Binary) X(Where) X(Copy) X(Fill) X(Gather) X(Reduce) \
      X(ArgReduce) X(Softmax) X(Norm) X(LocalNorm) X(Resize2d) X(Recurrent) X(Attention) X(Convert) X(CumSum)     \
          X(EncodeRows) X(DecodeRows) X(RememberRows) X(CachedAttention) X(CodedConv2d) X(RememberKeys) X(TurnedAttention) \
          X(EncodeLiftedRows) X(DecodeLiftedRows)
#define PITH_SIM_DECLARE(name) std::optional<std::string> execute_##name(Call& call);
PITH_SIM_OPERATORS(PITH_SIM_DECLARE)
#undef PITH_SIM_DECLARE

}  // namespace pith::sim
