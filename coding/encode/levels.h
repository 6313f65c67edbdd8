// Encoding weights that stand on levels (coding/decode/levels.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "coding/decode/levels.h"

namespace pith::coding {

// The levels that make rows cheapest as multiples of a grid, as far as their magnitudes alone say; nothing where even steps
// are as good. With `trellis` those under which all rows are paths, if there are any: even where the integers are paths too,
// as 33, 62, 91 and 120 may be, for what tells paths apart are parities.
std::optional<Levels> find_levels(std::span<const int32_t> integers, int64_t row_length, bool trellis);

// The multiples that weights stand for, every one of which is a level.
std::vector<int32_t> level_multiples(std::span<const int32_t> integers, const Levels& levels);

// A stream of the multiples, with its head.
std::vector<uint8_t> encode_levels(const Levels& levels, int codec, const std::vector<uint8_t>& stream);

}  // namespace pith::coding
