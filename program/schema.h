// How many operands and parameters each opcode has, counted from opcodes.inc at compile time. Freestanding.
#pragma once

#include "program/format.h"

namespace pith::format {

struct Schema {
  uint8_t inputs, outputs, ints, reals;
  uint8_t optional_inputs;   // bit i: input i may be absent
  uint8_t optional_outputs;  // likewise; one output must be there
};

// Words of a list; "name[6]" counts six.
constexpr uint8_t count_words(const char* list) {
  int count = 0;
  bool inside = false;
  for (; *list; ++list) {
    if (*list == ' ') {
      inside = false;
    } else if (*list == '[') {
      count += list[1] - '0' - 1;
    } else if (!inside) {
      inside = true;
      ++count;
    }
  }
  return static_cast<uint8_t>(count);
}

// Bit i is set where the i-th word ends in '?'.
constexpr uint8_t optional_words(const char* list) {
  int word = 0;
  unsigned mask = 0;
  for (; *list; ++list) {
    if (*list == ' ') ++word;
    if (*list == '?') mask |= 1u << word;
  }
  return static_cast<uint8_t>(mask);
}

inline constexpr Schema kSchemas[PITH_OPCODE_COUNT] = {
#define PITH_OPCODE(name, inputs, outputs, ints, reals) \
  {count_words(inputs), count_words(outputs), count_words(ints), count_words(reals), optional_words(inputs),\
   optional_words(outputs)},
#include "program/opcodes.inc"
#undef PITH_OPCODE
};
inline constexpr const char* kOpcodeNames[PITH_OPCODE_COUNT] = {
#define PITH_OPCODE(name, inputs, outputs, ints, reals) #name,
#include "program/opcodes.inc"
#undef PITH_OPCODE
};

// Offsets of Copy's parameters.
enum { kCopyRank = 0, kCopyExtents = 1, kCopySourceOffset = 7, kCopySourceStrides = 8, kCopyTargetOffset = 14, kCopyTargetStrides = 15 };

inline constexpr int kMaxInputs = 8, kMaxOutputs = 4, kMaxInts = 24, kMaxReals = 8;

}  // namespace pith::format
