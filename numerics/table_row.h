// Which row of a table an index means: negative ones count from the end, and what lies beyond either end is that end.
#pragma once

#include <cstdint>

namespace pith::numerics {

inline int64_t table_row(int64_t index, int64_t rows) {
  if (index < 0) index += rows;
  return index < 0 ? 0 : index >= rows ? rows - 1 : index;
}

}  // namespace pith::numerics
