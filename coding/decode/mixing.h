// Mixing predictions of a bit in the logistic domain, in integers.
//
// Why: where most weights are zero, the position of the others costs nearly everything, and no single context knows it:
// the row's density, the column's, the neighbours'. Method: each context keeps its own estimate; a bit is coded under the
// weighted sum of their logits, and the weights follow the gradient of the code length (M. Mahoney, "Adaptive weighing of
// context models for lossless data compression", 2005). Estimates are means of what was seen, so that a context that was
// never visited says nothing (logit 0) and a young one learns at once.
//
// Freestanding and exact: shifts of negative numbers are arithmetic, and no float decides anything.
#pragma once

#include <stdint.h>

namespace pith::coding {

inline constexpr int kLogitMost = 2047;  // logits are in 1/256: 8 on either side

namespace detail {

// 65536 / (1 + e^(-i/4)), rounded.
inline constexpr int32_t kSquashKnots[33] = {32768, 36843, 40793, 44511, 47911, 50941, 53581, 55834, 57724, 59287, 60565,
                                             61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974, 65097, 65194,
                                             65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514};

}  // namespace detail

// The probability of a logit, in 1/65536: between the knots along straight lines, mirrored below 0. 22..65514.
constexpr int32_t squash(int32_t logit) {
  int32_t a = logit < 0 ? -logit : logit;
  if (a > kLogitMost) a = kLogitMost;
  const int32_t low = detail::kSquashKnots[a >> 6], high = detail::kSquashKnots[(a >> 6) + 1];
  const int32_t p = low + (((high - low) * (a & 63) + 32) >> 6);
  return logit < 0 ? 65536 - p : p;
}

namespace detail {

// The least logit whose probability reaches the middle of each 1/4096.
struct StretchTable {
  int16_t logit[4096] = {};
  constexpr StretchTable() {
    int32_t s = -kLogitMost;
    for (int32_t i = 0; i < 4096; ++i) {
      while (s < kLogitMost && squash(s) < 16 * i + 8) ++s;
      logit[i] = static_cast<int16_t>(s);
    }
  }
};
inline constexpr StretchTable kStretch;

// 1 / (n + 1.6), in 1/32768.
struct RateTable {
  uint16_t rate[256] = {};
  constexpr RateTable() {
    for (int n = 0; n < 256; ++n) rate[n] = static_cast<uint16_t>(327680 / (10 * n + 16));
  }
};
inline constexpr RateTable kRate;

}  // namespace detail

constexpr int32_t stretch(uint32_t p) { return detail::kStretch.logit[p >> 4]; }

// A probability of a one, in 1/65536: the mean over about the last 256 bits, from 1/2.
struct Estimate {
  uint16_t p = 32768, seen = 0;

  void update(uint32_t bit) {
    p = static_cast<uint16_t>(p + (((bit ? 65535 : 0) - p) * detail::kRate.rate[seen] >> 15));
    if (seen < 255) ++seen;
  }
};

// The estimates that speak about one bit, and what becomes of them.
template <int kInputs>
struct Opinion {
  Estimate* of[kInputs];
  int32_t logit[kInputs];
  int32_t p;  // of a one, in 1/65536, 22..65514
};

template <int kInputs>
class Mixer {
 public:
  // Fills in the logits and the mixed probability.
  void predict(Opinion<kInputs>& o) const {
    int64_t sum = 0;
    for (int i = 0; i < kInputs; ++i) {
      o.logit[i] = stretch(o.of[i]->p);
      sum += int64_t{o.logit[i]} * weight_[i];
    }
    sum >>= 16;
    o.p = squash(static_cast<int32_t>(sum < -kLogitMost ? -kLogitMost : sum > kLogitMost ? kLogitMost : sum));
  }
  // Tells everyone the bit.
  void learn(Opinion<kInputs>& o, uint32_t bit) {
    const int32_t error = ((bit ? 65535 : 0) - o.p) >> 4;
    for (int i = 0; i < kInputs; ++i) {
      const int32_t w = weight_[i] + ((o.logit[i] * error * 14 + 32768) >> 16);
      weight_[i] = w < -kMost ? -kMost : w > kMost ? kMost : w;
      o.of[i]->update(bit);
    }
  }

 private:
  static constexpr int32_t kMost = 1 << 19;
  struct Weights {
    int32_t of[kInputs];
    constexpr Weights() : of() {
      for (int32_t& w : of) w = 72000 / kInputs;  // 1.1 together
    }
    constexpr int32_t& operator[](int i) { return of[i]; }
    constexpr int32_t operator[](int i) const { return of[i]; }
  };
  Weights weight_;  // in 1/65536
};

}  // namespace pith::coding
