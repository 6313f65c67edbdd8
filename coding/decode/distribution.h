// Adaptive distributions over up to eight symbols, and pools of them.
//
// A distribution keeps P(symbol > j) for j = 0..6 in 1/32768 and how often it was seen, sixteen bytes together, so that one
// vector operation moves all of it towards what came: above[j] += (target - above[j]) * rate, where the rate falls as
// 1/(n + 1.6) to a least one. A pool averages distributions under weights that follow their success.
//
// Freestanding and exact: no float decides anything; the vectors of SSE2 compute what the plain loops compute.
#pragma once

#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace pith::coding {

namespace detail {

// 1 / (n + 1.6) in 1/65536, at most 1/2.
struct ShareRates {
  int16_t rate[256] = {};
  constexpr ShareRates() {
    for (int n = 0; n < 256; ++n) {
      const int32_t r = 655360 / (10 * n + 16);
      rate[n] = static_cast<int16_t>(r > 32767 ? 32767 : r);
    }
  }
};
inline constexpr ShareRates kShareRates;

// 32767 where a symbol is above j.
struct Targets {
  int16_t of[8][8] = {};
  constexpr Targets() {
    for (int s = 0; s < 8; ++s) {
      for (int j = 0; j < 7; ++j) of[s][j] = s > j ? 32767 : 0;
    }
  }
};
alignas(16) inline constexpr Targets kTargets;

// Room for the symbols above j, 4/32768 each.
struct Rooms {
  int16_t of[9][8] = {};
  constexpr Rooms() {
    for (int symbols = 0; symbols < 9; ++symbols) {
      for (int j = 0; j + 1 < symbols; ++j) of[symbols][j] = static_cast<int16_t>(4 * (symbols - 1 - j));
    }
  }
};
alignas(16) inline constexpr Rooms kRoom;

}  // namespace detail

struct alignas(16) Distribution {
  static constexpr int kSlow = 255, kQuick = 62;  // after so many the rate falls no more

  int16_t above[8] = {};  // [7]: how often it was seen

  int seen() const { return above[7]; }
  void set_seen(int n) { above[7] = static_cast<int16_t>(n); }
  // All of so many symbols alike.
  void even(int symbols) {
    for (int j = 0; j < 7; ++j) above[j] = static_cast<int16_t>(j + 1 < symbols ? 32768 * (symbols - 1 - j) / symbols : 0);
  }
  // What another has seen counts as one sight.
  void begin_as(const Distribution& other) {
    *this = other;
    above[7] = 1;
  }
  // Which symbol owns the place v, 0..32767: those above 0 lie at the bottom, the largest lowest.
  int symbol_at(int32_t v) const {
#if defined(__SSE2__)
    const __m128i above_v = _mm_cmpgt_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(above)), _mm_set1_epi16(static_cast<int16_t>(v)));
    return __builtin_ctz(~(static_cast<unsigned>(_mm_movemask_epi8(above_v)) & 0x3fff)) >> 1;
#else
    int s = 0;
    while (s < 7 && v < above[s]) ++s;
    return s;
#endif
  }
  // P(symbol) in 1/32768, and of those above it.
  int32_t below(int symbol) const { return symbol == 7 ? 0 : above[symbol]; }
  int32_t share(int symbol) const {
    return (symbol == 0 ? 32768 : above[symbol - 1]) - below(symbol);
  }
  void update(int symbol, int most) {
    const int n = above[7];
    const int16_t rate = detail::kShareRates.rate[n];
    const int16_t next = static_cast<int16_t>(n < most ? n + 1 : most);
#if defined(__SSE2__)
    __m128i* at = reinterpret_cast<__m128i*>(above);
    const __m128i a = _mm_load_si128(at);
    const __m128i target = _mm_load_si128(reinterpret_cast<const __m128i*>(detail::kTargets.of[symbol]));
    const __m128i moved = _mm_add_epi16(a, _mm_mulhi_epi16(_mm_sub_epi16(target, a), _mm_set1_epi16(rate)));
    _mm_store_si128(at, _mm_insert_epi16(moved, next, 7));  // in one store, so that the next load needn't wait
#else
    for (int j = 0; j < 7; ++j) {
      above[j] = static_cast<int16_t>(above[j] + ((detail::kTargets.of[symbol][j] - above[j]) * rate >> 16));
    }
    above[7] = next;
#endif
  }
};

// The same with room for each of so many symbols: at least 4/32768.
inline Distribution spaced(const Distribution& d, int symbols) {
  Distribution s;
#if defined(__SSE2__)
  const __m128i a = _mm_load_si128(reinterpret_cast<const __m128i*>(d.above));
  const __m128i room = _mm_load_si128(reinterpret_cast<const __m128i*>(detail::kRoom.of[symbols]));
  _mm_store_si128(reinterpret_cast<__m128i*>(s.above), _mm_add_epi16(_mm_sub_epi16(a, _mm_srai_epi16(a, 10)), room));
#else
  for (int j = 0; j < 7; ++j) s.above[j] = static_cast<int16_t>(d.above[j] - (d.above[j] >> 10) + detail::kRoom.of[symbols][j]);
#endif
  return s;
}

// Seven distributions and what each is worth. Weights are in 1/32768 and make 32767 together.
class Pool {
 public:
  static constexpr int kInputs = 7;

  // The average.
  Distribution mix(Distribution* const* of) const {
    Distribution m;
#if defined(__SSE2__)
    const __m128i weights = _mm_load_si128(reinterpret_cast<const __m128i*>(weight_));
    __m128i low = _mm_setzero_si128(), high = low;
    const auto add = [&](const int16_t* first, const int16_t* second, __m128i pair) {
      const __m128i a = _mm_load_si128(reinterpret_cast<const __m128i*>(first));
      const __m128i b = _mm_load_si128(reinterpret_cast<const __m128i*>(second));
      low = _mm_add_epi32(low, _mm_madd_epi16(_mm_unpacklo_epi16(a, b), pair));
      high = _mm_add_epi32(high, _mm_madd_epi16(_mm_unpackhi_epi16(a, b), pair));
    };
    add(of[0]->above, of[1]->above, _mm_shuffle_epi32(weights, 0x00));
    add(of[2]->above, of[3]->above, _mm_shuffle_epi32(weights, 0x55));
    add(of[4]->above, of[5]->above, _mm_shuffle_epi32(weights, 0xaa));
    add(of[6]->above, of[6]->above, _mm_shuffle_epi32(weights, 0xff));  // weight_[7] is 0
    _mm_store_si128(reinterpret_cast<__m128i*>(m.above), _mm_packs_epi32(_mm_srai_epi32(low, 15), _mm_srai_epi32(high, 15)));
#else
    for (int j = 0; j < 7; ++j) {
      int32_t sum = 0;
      for (int i = 0; i < kInputs; ++i) sum += of[i]->above[j] * weight_[i];
      m.above[j] = static_cast<int16_t>(sum >> 15);
    }
#endif
    return m;
  }

  // `symbol` came, which had the share `mixed` (in 1/32768) under the average. Before the distributions learn.
  void learn(Distribution* const* of, int32_t mixed, int symbol) {
    const int32_t inverse = (1 << 21) / (mixed < 65 ? 65 : mixed);
    int32_t others = 0;
#if defined(__SSE2__)
    // pairs (above[symbol - 1], above[symbol]) of each, where 32767 and 0 stand for what is outside
    const __m128i keep = _mm_set1_epi32(static_cast<int32_t>((symbol == 0 ? 0u : 0xffffu) | (symbol == 7 ? 0u : 0xffff0000u)));
    const __m128i most = _mm_set1_epi32(symbol == 0 ? 32767 : 0);
    const int at = symbol == 0 ? 0 : symbol - 1;
    const auto pair = [&](int i) {
      int32_t two;
      __builtin_memcpy(&two, of[i]->above + at, 4);
      return _mm_cvtsi32_si128(two);
    };
    __m128i first = _mm_unpacklo_epi64(_mm_unpacklo_epi32(pair(0), pair(1)), _mm_unpacklo_epi32(pair(2), pair(3)));
    __m128i second = _mm_unpacklo_epi64(_mm_unpacklo_epi32(pair(4), pair(5)), pair(6));
    if (symbol == 0) {
      first = _mm_slli_epi32(first, 16);
      second = _mm_slli_epi32(second, 16);
    }
    const __m128i minus = _mm_set1_epi32(static_cast<int32_t>(0xffff0001u));
    first = _mm_madd_epi16(_mm_or_si128(_mm_and_si128(first, keep), most), minus);
    second = _mm_madd_epi16(_mm_or_si128(_mm_and_si128(second, keep), most), minus);
    const __m128i factor = _mm_set1_epi32(inverse);
    first = _mm_srai_epi32(_mm_madd_epi16(first, factor), 14);
    second = _mm_srai_epi32(_mm_madd_epi16(second, factor), 14);
    const __m128i ratio = _mm_min_epi16(_mm_packs_epi32(first, second), _mm_set1_epi16(1024));
    const __m128i gain = _mm_slli_epi16(_mm_sub_epi16(ratio, _mm_set1_epi16(128)), 4);
    __m128i w = _mm_load_si128(reinterpret_cast<const __m128i*>(weight_));
    const __m128i toward = _mm_srai_epi16(_mm_sub_epi16(_mm_set1_epi16(kEven), w), 9);
    w = _mm_add_epi16(w, _mm_add_epi16(_mm_mulhi_epi16(w, gain), toward));
    w = _mm_and_si128(_mm_max_epi16(w, _mm_setzero_si128()), _mm_setr_epi16(0, -1, -1, -1, -1, -1, -1, 0));
    __m128i sum = _mm_madd_epi16(w, _mm_set1_epi16(1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    others = _mm_cvtsi128_si32(sum);
    _mm_store_si128(reinterpret_cast<__m128i*>(weight_), _mm_insert_epi16(w, others <= 32767 ? 32767 - others : 0, 0));
#else
    for (int i = 1; i < kInputs; ++i) {
      const int32_t above = symbol == 0 ? 32767 : of[i]->above[symbol - 1], ratio = (above - of[i]->below(symbol)) * inverse >> 14;
      const int32_t gain = ((ratio < 1024 ? ratio : 1024) - 128) * 16;
      const int32_t w = weight_[i] + (weight_[i] * gain >> 16) + ((kEven - weight_[i]) >> 9);
      weight_[i] = static_cast<int16_t>(w < 0 ? 0 : w);
      others += weight_[i];
    }
    weight_[0] = static_cast<int16_t>(others <= 32767 ? 32767 - others : 0);
#endif
    if (others > 32767) *this = Pool();  // no valid stream comes here
  }

 private:
  static constexpr int16_t kEven = 32768 / kInputs;
  alignas(16) int16_t weight_[8] = {32767 - 6 * kEven, kEven, kEven, kEven, kEven, kEven, kEven, 0};
};

}  // namespace pith::coding
