// Random numbers for the tests of this folder, which stands alone: the seed is printed once and may be given as
// PITH_SEED. The generator is std::mt19937_64, whose stream the standard fixes; its distributions aren't used, since
// those differ between libraries.
#ifndef PITH_POST_TEST_RANDOM_H_
#define PITH_POST_TEST_RANDOM_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

namespace pith::post_test {

inline uint64_t seed() {
  static const uint64_t value = [] {
    const char* given = std::getenv("PITH_SEED");
    const uint64_t s = given != nullptr ? std::strtoull(given, nullptr, 0) : 20240817u;
    std::printf("PITH_SEED=%llu\n", static_cast<unsigned long long>(s));
    return s;
  }();
  return value;
}

class Random {
 public:
  explicit Random(uint64_t salt) : engine_(seed() ^ (salt * 0x9e3779b97f4a7c15u)) {}
  int32_t integer(int32_t low, int32_t high) {  // both included
    const uint64_t range = static_cast<uint64_t>(static_cast<int64_t>(high) - low) + 1;
    return static_cast<int32_t>(low + static_cast<int64_t>(engine_() % range));
  }
  float uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(static_cast<double>(engine_() >> 11) * 0x1p-53);
  }
  std::vector<float> floats(size_t count, float low, float high) {
    std::vector<float> values(count);
    for (float& v : values) v = uniform(low, high);
    return values;
  }
  std::vector<uint8_t> bytes(size_t count) {
    std::vector<uint8_t> values(count);
    for (uint8_t& v : values) v = static_cast<uint8_t>(engine_() >> 56);
    return values;
  }
  // Any bit pattern: NaN, infinities and denormals included.
  float any_float() {
    const uint32_t bits = static_cast<uint32_t>(engine_() >> 32);
    float value;
    static_assert(sizeof value == sizeof bits);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace pith::post_test

#endif  // PITH_POST_TEST_RANDOM_H_
