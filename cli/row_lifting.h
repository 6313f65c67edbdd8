// What channels of a waiting activation look at (numerics/row_lifting.h), chosen on rows of samples.
//
// Method: greedy, channel by channel. Earlier channels whose steps, or whose numbers, go along with this one's are tried
// with the multipliers that least squares give them, and what takes the channel the fewest bits is taken, if it saves more
// than it costs to say: three bytes in the file and in memory, for each picture that waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pith::cli {

// Rows of one tensor on some samples, behind each other.
struct SampledRows {
  int32_t width = 0, channels = 0, height = 0;  // height: rows of one picture
  uint8_t zero_point = 0;
  std::vector<uint8_t> values;

  size_t row_values() const { return static_cast<size_t>(width) * static_cast<size_t>(channels); }
  size_t count() const { return values.size() / row_values(); }
  const uint8_t* row(size_t i) const { return values.data() + i * row_values(); }
};

// The lifting that takes the fewest bits where rows are stored in `row_bytes`, chosen on the first `count` rows; 0: with step 1, on
// the fullest of them. Empty where none helps.
std::vector<uint8_t> fit_lifting(const SampledRows& rows, size_t count, int64_t row_bytes);

// Bits of all rows, and of the fullest one, with step 1. `lifting` may be empty.
int64_t total_bits(const SampledRows& rows, const std::vector<uint8_t>& lifting);
int64_t most_bits(const SampledRows& rows, const std::vector<uint8_t>& lifting);
// Sum of squared differences that storing the rows from `first` on in `row_bytes` makes.
double squared_error(const SampledRows& rows, size_t first, int64_t row_bytes, const std::vector<uint8_t>& lifting);

}  // namespace pith::cli
