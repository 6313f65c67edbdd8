// Which constants are written as vectors out of books (coding/decode/vectors.h), and whose book each uses: what makes the file
// smallest. Internal to program/.
//
// Why: a book of some hundred bytes is a large part of a small tensor, and tensors that were rounded to one book, or on a coarse
// grid, are made of the same vectors. Method: for each length of vectors, constants that have at least half of their vectors in
// common form groups with one book, which the first of them holds; those that save most are taken first.
#pragma once

#include <cstdint>
#include <vector>

#include "coding/encode/weights.h"

namespace pith {

struct WrittenVectors {
  std::vector<uint8_t> bytes;  // of the stream; none: another code is smaller
  int64_t owner = -1;          // the constant, an earlier one, whose book it uses; -1: its own
};

// Constants in the order of their records; `others`: the bytes that each takes under the best other code.
std::vector<WrittenVectors> choose_books(const std::vector<coding::CodedRows>& constants, const std::vector<size_t>& others);

}  // namespace pith
