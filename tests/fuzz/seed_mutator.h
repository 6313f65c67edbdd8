// libFuzzer's mutator for targets whose inputs have no structure to change: bytes, now and then of a seed. Included once by a target.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

namespace pith::fuzz {

// Inputs shorter than `least` say nothing and become a seed.
inline size_t mutate_bytes(const std::vector<std::vector<uint8_t>>& seeds, size_t least, uint8_t* data, size_t size, size_t most, unsigned int seed) {
  if (size < least || seed % 64 == 0) {
    const auto& from = seeds[seed / 64 % seeds.size()];
    if (from.size() <= most) std::copy(from.begin(), from.end(), data), size = from.size();
  }
  return LLVMFuzzerMutate(data, size, most);
}

}  // namespace pith::fuzz
