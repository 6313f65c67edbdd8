// Encoding symbols for the two states of coding/decode/rans.h.
#pragma once

#include <cstdint>
#include <vector>

#include "coding/decode/rans.h"

namespace pith::coding {

// Of the 2^bits slots a symbol's own: where they begin, how many.
struct RansSlots {
  uint32_t start, size;
};

// The states and what they refill from. `slots(i)`: of symbol i, 0 <= i < count, which has some.
template <typename Slots>
std::vector<uint8_t> encode_states(int64_t count, int bits, const Slots& slots) {
  uint32_t state[2] = {kRansLow, kRansLow};
  std::vector<uint8_t> reversed, body;  // rANS is last in, first out
  for (int64_t i = count; i-- > 0;) {
    const RansSlots of = slots(i);
    uint32_t& s = state[i & 1];
    if (s >= ((kRansLow >> bits) << 16) * static_cast<uint64_t>(of.size)) {
      reversed.push_back(static_cast<uint8_t>(s >> 8));
      reversed.push_back(static_cast<uint8_t>(s));
      s >>= 16;
    }
    s = ((s / of.size) << bits) + s % of.size + of.start;
  }
  for (uint32_t s : state) {
    for (int i = 0; i < 4; ++i) body.push_back(static_cast<uint8_t>(s >> (8 * i)));
  }
  body.insert(body.end(), reversed.rbegin(), reversed.rend());
  return body;
}

}  // namespace pith::coding
