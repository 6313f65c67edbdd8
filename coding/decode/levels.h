// Weights on levels that were learned, beyond which the steps go on evenly.
//
// Why: what a code tells apart best, zero, one, two and so on, needn't stand for even steps. A quantiser whose bits have a
// price gives each of its cells the mean of the weights that fell into it (S. Lloyd, "Least squares quantization in PCM",
// 1957; P. Chou, T. Lookabaugh and R. Gray, "Entropy-constrained vector quantization", 1989), and where most weights bear
// two or three values but a few are large, these want a finer step than those. Method: another code gives multiples m, of a
// grid or of a path (trellis.h); a weight is sign(m) level[|m|], where level[1..L] stand in the stream's head and
// level[L + i] = level[L] + i tail. Several levels are a learned codebook, one or two and a fine tail are low bits with
// outliers. Levels increase, so contexts that look at the row above find its multiples again. Freestanding.
#pragma once

#include <stdint.h>

namespace pith::coding {

struct Levels {
  static constexpr int kMost = 15;
  int count = 0;              // L; 0: weights are the multiples
  uint8_t of[kMost + 1] = {};  // of[0] = 0, increasing, at most 127
  uint8_t tail = 1;

  int32_t size(int32_t m) const { return m <= count ? of[m] : of[count] + (m - count) * tail; }
  // Of the largest level that isn't above.
  int32_t multiple(int32_t size) const {
    if (size >= of[count]) return count + (size - of[count]) / tail;
    int32_t m = 0;
    while (of[m + 1] <= size) ++m;
    return m;
  }

  int32_t weight(int32_t m) const { return m < 0 ? -size(-m) : size(m); }

  // Rows of multiples and rows of weights, in place; no weight is larger than `limit`.
  void values(int8_t* row, int64_t length, int32_t limit) const {
    for (int64_t k = 0; k < length; ++k) {
      const int32_t m = row[k], at = m == 0 ? 0 : size(m < 0 ? -m : m), most = at < limit ? at : limit;
      row[k] = static_cast<int8_t>(m < 0 ? -most : most);
    }
  }
  void multiples(int8_t* row, int64_t length) const {
    for (int64_t k = 0; k < length; ++k) {
      const int32_t w = row[k], m = w == 0 ? 0 : multiple(w < 0 ? -w : w);
      row[k] = static_cast<int8_t>(w < 0 ? -m : m);
    }
  }

  // The head: a byte, codec + 16 L; L steps from each level to the next; the tail. Goes past it; false where it is malformed.
  bool begin(const uint8_t*& at, const uint8_t* end, int& codec) {
    if (at == end) return false;
    codec = *at & 15;
    count = *at++ >> 4;
    if (count < 1 || end - at < count + 1) return false;
    int32_t level = 0;
    for (int i = 1; i <= count; ++i) {
      if (*at == 0 || level + *at > 127) return false;
      of[i] = static_cast<uint8_t>(level += *at++);
    }
    tail = *at++;
    return tail >= 1 && tail <= 127;
  }
};

}  // namespace pith::coding
