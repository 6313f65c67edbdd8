// From the bytes of a .pith file to a Model.
#pragma once

#include "runtime/execute.h"

namespace pith::runtime {

struct Failure {
  pith_status status = PITH_OK;
  int32_t op_index = -1;
  const char* op = nullptr;
  const char* reason = nullptr;
};

// An upper bound of the bytes that read_structure takes, from the file's frame and header alone. Checks the checksum.
Failure structure_bound(const void* file, size_t bytes, size_t* bound);

// Reads the structure into `memory`: everything but what `prepare` makes. Constants point into the file. Fails on any
// file that isn't well formed; afterwards every operand lies in the arena, and none that an operator writes overlaps
// one that it reads, but where that is allowed.
Failure read_structure(const void* file, size_t bytes, Memory& memory, Model& model);

// The text of one metadata entry, at most `capacity` bytes of it to `text`; *length is all of it. False: no such key.
bool read_metadata(const void* file, size_t bytes, const char* key, char* text, size_t capacity, size_t* length,
                   Failure* failure);

}  // namespace pith::runtime
