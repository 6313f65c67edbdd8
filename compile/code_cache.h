// Keys and values that attention remembers from token to token, in coded form (numerics/cache_rows.h).
//
// Why: a decoder's window is most of its memory, and all of it is read for every token. Method: where a state is
// renewed by Where, row by row (a token's slot takes the new row, the others stay), and only attention reads it, as
// keys or values, both become operators on coded rows: RememberRows codes the row when its token comes, CachedAttention
// decodes rows as it reads them. The window may roll: slots are the graph's business.
//
// Keys in 4 bits are another matter. A few of their channels are large, and large always with the same sign (Z. Liu et
// al., "KIVI", 2024), so that what a scale shared by a row's values leaves the others is coarse: stories260K loses 0.84
// nats per token. That sign is there before the rotary turn and not after it. So keys are remembered before the turn, as
// distances to a level of each channel, in units of a power of two of each channel, and turned when they are read; the
// position of each slot's token is remembered with them, once for all layers. What levels and units are follows from
// keys that were seen (key_levels).
#pragma once

#include "compile/compile.h"

namespace pith {

// Of a value, on average over keys and values; 0: they are floats, or there are none.
int cache_bits(const Program& program);

// Tensors 1,H,1,D of a program that remembers floats: what --cache-bits 4 would code as keys, in one order.
std::vector<int32_t> remembered_keys(const Program& program);

// Channels' means and spreads from keys that were seen, one after the other in `keys` (n x heads x depth): levels as 8-bit
// integers of one scale hold them, factors powers of two from 1/64 to 1, the widest channel of a head 1.
KeyLevels key_levels(const std::vector<float>& keys, int64_t heads, int64_t depth);

// options.cache_bits: 8, 4, or 6: keys in 8 and values in 4, since errors of keys are multiplied by large queries and then
// stand in an exponent. options.key_levels: of remembered_keys, for 4 bits; where there are none, levels are 0 and factors 1.
// Error kUsage where the program remembers no keys and values. A program whose cache is coded already keeps it where the
// bits are the same, else kUsage.
Result<void> code_cache(Program& program, const CompileOptions& options);

}  // namespace pith
