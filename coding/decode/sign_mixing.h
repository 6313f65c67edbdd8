// Signs under a mixture: mixing.h for up to eight estimates of one bit, in 16-bit vectors.
//
// The method is mixing.h's (logits added under weights that follow the gradient of the code length); weights are in 1/4096,
// so that products fit sixteen bits and all inputs move together. Freestanding and exact: SSE2 computes what the plain loops
// beside it compute.
#pragma once

#include "coding/decode/mixing.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace pith::coding {

class SignMixer {
 public:
  static constexpr int kInputs = 5;

  // Codes a bit under the estimates, which learn it.
  template <typename Coder>
  uint32_t code(Coder& coder, Estimate* const* of, uint32_t intended) {
#if defined(__SSE2__)
    const auto logit = [&](int i) { return static_cast<int16_t>(stretch(of[i]->p)); };
    const __m128i x = _mm_setr_epi16(logit(0), logit(1), logit(2), logit(3), logit(4), 0, 0, 0);
    const __m128i w = _mm_load_si128(reinterpret_cast<const __m128i*>(weight_));
    __m128i s = _mm_madd_epi16(x, w);
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    const int32_t sum = _mm_cvtsi128_si32(s) >> 12;
#else
    int32_t sum = 0, logit[kInputs];
    for (int i = 0; i < kInputs; ++i) {
      logit[i] = stretch(of[i]->p);
      sum += logit[i] * weight_[i];
    }
    sum >>= 12;
#endif
    const int32_t p = squash(sum < -kLogitMost ? -kLogitMost : sum > kLogitMost ? kLogitMost : sum);
    const uint32_t bit = coder.chance(static_cast<uint32_t>(p), intended);
    const int32_t target = -static_cast<int32_t>(bit) & 65535;
    const int16_t error = static_cast<int16_t>((target - p) * 14 >> 7);  // over 14/128 of it, x 2 error / 65536 / 2 is the step
#if defined(__SSE2__)
    const __m128i twice = _mm_mulhi_epi16(x, _mm_set1_epi16(error));
    const __m128i step = _mm_srai_epi16(_mm_add_epi16(twice, _mm_set1_epi16(1)), 1);
    _mm_store_si128(reinterpret_cast<__m128i*>(weight_), _mm_adds_epi16(w, step));
#else
    for (int i = 0; i < kInputs; ++i) {
      const int32_t moved = weight_[i] + (((logit[i] * error >> 16) + 1) >> 1);
      weight_[i] = static_cast<int16_t>(moved < -32768 ? -32768 : moved > 32767 ? 32767 : moved);
    }
#endif
    for (int i = 0; i < kInputs; ++i) {
      Estimate& e = *of[i];
      e.p = static_cast<uint16_t>(e.p + ((target - e.p) * detail::kRate.rate[e.seen] >> 15));
      e.seen = static_cast<uint16_t>(e.seen < 255 ? e.seen + 1 : 255);
    }
    return bit;
  }

 private:
  static constexpr int16_t kFirst = 4500 / kInputs;  // 1.1 together
  alignas(16) int16_t weight_[8] = {kFirst, kFirst, kFirst, kFirst, kFirst, 0, 0, 0};
};

}  // namespace pith::coding
