// Keys and values that attention remembers from token to token, in coded form (numerics/cache_rows.h).
//
// Why: a decoder's window is most of its memory, and all of it is read for every token. Method: where a state is
// renewed by Where, row by row (a token's slot takes the new row, the others stay), and only attention reads it, as
// keys or values, both become operators on coded rows: RememberRows codes the row when its token comes, CachedAttention
// decodes rows as it reads them. The window may roll: slots are the graph's business.
#pragma once

#include "program/program.h"

namespace pith {

// Of a value, on average over keys and values; 0: they are floats, or there are none.
int cache_bits(const Program& program);

// `bits`: 8, 4, or 6: keys in 8 and values in 4, since errors of keys are multiplied by large queries and then stand in
// an exponent. Error kUsage where the program remembers no keys and values. A program whose cache is coded already
// keeps it where the bits are the same, else kUsage.
Result<void> code_cache(Program& program, int bits);

}  // namespace pith
