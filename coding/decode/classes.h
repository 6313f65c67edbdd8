// Rows of weights under mixed distributions of classes: as small as mixed.h and several times as fast.
//
// A weight's class is its magnitude's bit length, at most eight of them, coded as ONE symbol instead of as many bits: each
// context keeps a distribution over all classes, eight 16-bit numbers that are averaged, searched and updated together (the
// multi-symbol adaptive models of F. Giesen's and C. Bloom's coders, 2015). Seven contexts speak: the expected magnitude out
// of everything near, channel and row, the neighbours, the row itself, the tap (or in dense layers the columns' density),
// the column, and the two taps that signs follow. Their weights are those of prediction with expert advice: each is
// multiplied by how well it foretold the symbol, and gives a little to all others (M. Herbster and M. Warmuth, "Tracking the
// best expert", 1998). Signs are bits under mixing.h, and know the class, which keeps all that correlates with it. Below the
// leading one come three bits under the class's own distribution, the others raw.
//
// One template describes the order; the Coder reads or writes or counts, as in mixed.h. Freestanding and exact: vectors
// compute the same integers as the plain loops beside them. About 46 kB of state.
#pragma once

#include "coding/decode/distribution.h"
#include "coding/decode/mixed.h"
#include "coding/decode/sign_mixing.h"

namespace pith::coding {

namespace detail {

// octave_class (mixed.h) without a branch.
struct Octaves {
  uint8_t of[256] = {};
  constexpr Octaves() {
    for (uint32_t t = 0; t < 256; ++t) of[t] = static_cast<uint8_t>(octave_class(t));
  }
};
inline constexpr Octaves kOctaves;

}  // namespace detail

inline int magnitude_octave(uint32_t t) { return detail::kOctaves.of[t < 255 ? t : 255]; }

class ClassRows {
 public:
  // Magnitudes are at most `largest`, 1..127. `raw_signs`: signs are incompressible and not modelled. `trellis`: as in mixed.h.
  void begin(uint32_t largest, bool raw_signs, RowShape shape, bool trellis = false);

  // A row: on entry `row` holds the row before, on return the new one. `intended` is what to code, where Coder writes.
  template <typename Coder>
  void code_row(Coder& coder, int8_t* row, int64_t length, const int8_t* intended);

 private:
  static constexpr int kInputs = Pool::kInputs, kColumns = 1024, kTaps = 64;

  struct Place {
    int32_t left, above, side, upper;
    int64_t k;
    int tap, channel, grid;
  };
  static int size(int32_t v) { return v < 0 ? -v : v; }
  static int sign_of(int32_t v) { return (v > 0) - (v < 0) + 1; }
  static int signed_class(int32_t v);
  static int balance(int32_t sum) { return (sum / 2 < -4 ? -4 : sum / 2 > 4 ? 4 : sum / 2) + 4; }
  static int quarter_class(uint32_t t);  // 0..63
  void choose(Place& at, const int8_t* row, int64_t length, Distribution** of);
  template <typename Coder>
  uint32_t magnitude(Coder& coder, int length, uint32_t intended, uint32_t* raw_sign);
  template <typename Coder>
  uint32_t sign(Coder& coder, const Place& at, int length, uint32_t intended);

  uint32_t largest_ = 1;
  int classes_ = 2;
  bool raw_signs_ = false, trellis_ = false;
  RowShape shape_;
  Distribution expected_[2][64], spread_[256], around_[2][256], tap_[2][kTaps], dense_[256], column_[kColumns], sides_[256];
  Distribution row_[2], whole_[2], below_[8];
  Pool pool_[2];
  Estimate sign_taps_[8 * 27], sign_sizes_[8 * 49], sign_balance_[81], sign_tap_[kTaps * 3], sign_row_[49];
  SignMixer sign_mixer_;
  uint16_t channel_mean_[kColumns] = {};  // of magnitudes, in 1/256
  int8_t column_balance_[kColumns] = {};
  uint32_t mean_ = 0;        // of magnitudes, in 1/16
  int32_t row_balance_ = 0, passed_ = 0;
  Trellis path_;
};

// ---- implementation ----

inline void ClassRows::begin(uint32_t largest, bool raw_signs, RowShape shape, bool trellis) {
  ::new (static_cast<void*>(this)) ClassRows();  // in place: a copy on the stack would double what a decoder takes
  largest_ = largest < 1 ? 1 : largest > 127 ? 127 : largest;
  classes_ = 33 - __builtin_clz(largest_);
  raw_signs_ = raw_signs;
  trellis_ = trellis;
  shape_.inner = shape.inner < 1 ? 1 : shape.inner;
  shape_.width = shape.width < 1 ? 1 : shape.width;
  for (Distribution& d : whole_) d.even(classes_);
  for (int length = 2; length < 8; ++length) below_[length].even(length < 4 ? 1 << (length - 1) : 8);
}

inline int ClassRows::signed_class(int32_t v) {
  const int c = v == 0 ? 0 : magnitude_octave(static_cast<uint32_t>(size(v))) / 4 + 1;
  return v < 0 ? 3 - (c < 3 ? c : 3) : 3 + (c < 3 ? c : 3);
}

inline int ClassRows::quarter_class(uint32_t t) {
  const int octave = 31 - __builtin_clz(t + 4);
  const int c = 4 * (octave - 2) + static_cast<int>((t + 4) >> (octave - 2) & 3);
  return c < 63 ? c : 63;
}

// The distributions that speak about element k.
inline void ClassRows::choose(Place& at, const int8_t* row, int64_t length, Distribution** of) {
  const int64_t k = at.k, inner = shape_.inner, line = inner * shape_.width;
  const bool one_tap = inner >= length;
  at.above = row[k];
  at.side = one_tap ? at.above : k >= inner ? row[k - inner] : 0;
  at.upper = one_tap ? at.left : k >= line ? row[k - line] : 0;
  const uint32_t left = static_cast<uint32_t>(size(at.left)), left2 = k > 1 ? static_cast<uint32_t>(size(row[k - 2])) : 0;
  const uint32_t above = static_cast<uint32_t>(size(at.above)), tap_side = k >= inner ? static_cast<uint32_t>(size(row[k - inner])) : 0;
  const uint32_t next = k + 1 < length ? static_cast<uint32_t>(size(row[k + 1])) : 0, passed = static_cast<uint32_t>(size(passed_));
  const uint32_t before = 2 * left + left2 + 2 * tap_side, over = 2 * above + next + passed;
  const uint32_t channel = channel_mean_[at.channel] >> 4;
  const int grid = at.grid;
  of[0] = &expected_[grid][quarter_class(4 * (before + over) + 2 * channel + 3 * mean_)];
  of[1] = &spread_[magnitude_octave(channel) * 16 + magnitude_octave(mean_)];
  of[2] = &around_[grid][magnitude_octave(before) * 16 + magnitude_octave(over)];
  of[3] = &row_[grid];
  if (one_tap) {
    const int density = (column_[(k - 1) & (kColumns - 1)].above[0] + column_[(k + 1) & (kColumns - 1)].above[0]) >> 12;
    of[4] = &dense_[density * 16 + magnitude_octave(2 * above + left)];
  } else {
    of[4] = &tap_[grid][at.tap];
  }
  of[5] = &column_[k & (kColumns - 1)];
  of[6] = &sides_[magnitude_octave(static_cast<uint32_t>(size(at.side))) * 16 + magnitude_octave(static_cast<uint32_t>(size(at.upper)))];
}

template <typename Coder>
uint32_t ClassRows::sign(Coder& coder, const Place& at, int length, uint32_t intended) {
  Estimate* of[SignMixer::kInputs];
  of[0] = &sign_taps_[length * 27 + sign_of(at.side) * 9 + sign_of(at.upper) * 3 + sign_of(at.above)];
  of[1] = &sign_sizes_[length * 49 + signed_class(at.side) * 7 + signed_class(at.upper)];
  of[2] = &sign_balance_[balance(row_balance_) * 9 + balance(column_balance_[at.k & (kColumns - 1)])];
  of[3] = &sign_tap_[at.tap * 3 + sign_of(at.side)];
  of[4] = &sign_row_[signed_class(at.above) * 7 + signed_class(at.left)];
  return sign_mixer_.code(coder, of, intended);
}

// The magnitude of so many bits, 2..7 of them.
template <typename Coder>
uint32_t ClassRows::magnitude(Coder& coder, int length, uint32_t intended, uint32_t* raw_sign) {
  const int modelled = length < 4 ? length - 1 : 3, raw = length - 1 - modelled;
  uint32_t value = 1;
  if (modelled > 0) {
    Distribution& d = below_[length];
    const int symbols = 1 << modelled;
    const uint32_t top = coder.symbol(spaced(d, symbols), symbols, intended >> raw & (static_cast<uint32_t>(symbols) - 1));
    d.update(static_cast<int>(top), Distribution::kSlow);
    value = value << modelled | top;
  }
  const int bits = raw + (raw_signs_ ? 1 : 0);
  if (bits > 0) {
    const uint32_t low = coder.bits(bits, (intended & ((1u << raw) - 1)) << (raw_signs_ ? 1 : 0) | (raw_signs_ ? *raw_sign : 0));
    value = value << raw | low >> (raw_signs_ ? 1 : 0);
    if (raw_signs_) *raw_sign = low & 1;
  }
  return value < largest_ ? value : largest_;
}

template <typename Coder>
void ClassRows::code_row(Coder& coder, int8_t* row, int64_t length, const int8_t* intended) {
  for (int grid = 0; grid < 2; ++grid) {
    row_[grid] = whole_[grid];
    if (row_[grid].seen() > 4) row_[grid].set_seen(4);
  }
  row_balance_ = passed_ = 0;
  path_ = Trellis();
  Place at;
  at.left = 0;
  at.tap = at.channel = 0;
  int64_t channel = 0;
  Distribution* of[kInputs];
  for (int64_t k = 0; k < length; ++k) {
    at.k = k;
    at.grid = trellis_ ? path_.grid() : 0;
    choose(at, row, length, of);
    Distribution& whole = whole_[at.grid];
    for (Distribution* d : of) {
      if (d->seen() == 0) d->begin_as(whole);
    }
    const uint32_t wanted = intended == nullptr ? 0 : static_cast<uint32_t>(size(intended[k]));
    const Distribution mixed = pool_[at.grid].mix(of);
    const Distribution shares = spaced(mixed, classes_);
    const uint32_t c = coder.symbol(shares, classes_, wanted == 0 ? 0 : 32 - static_cast<uint32_t>(__builtin_clz(wanted)));
    pool_[at.grid].learn(of, shares.share(static_cast<int>(c)), static_cast<int>(c));
    for (int i = 0; i < kInputs; ++i) of[i]->update(static_cast<int>(c), i == 3 ? Distribution::kQuick : Distribution::kSlow);
    whole.update(static_cast<int>(c), Distribution::kSlow);
    int32_t value = 0;
    if (c != 0) {
      uint32_t negative = intended != nullptr && intended[k] < 0;
      if (!raw_signs_) negative = sign(coder, at, static_cast<int>(c), negative);
      value = static_cast<int32_t>(magnitude(coder, static_cast<int>(c), wanted, &negative));
      const int32_t s = 1 - 2 * static_cast<int32_t>(negative);
      row_balance_ += s;
      int8_t& balance = column_balance_[k & (kColumns - 1)];
      if (balance + s >= -100 && balance + s <= 100) balance = static_cast<int8_t>(balance + s);
      value *= s;
    }
    const int32_t m = size(value);
    mean_ = static_cast<uint32_t>(static_cast<int32_t>(mean_) + ((m * 256 - static_cast<int32_t>(mean_) * 16 + 256) >> 9));
    uint16_t& mean = channel_mean_[at.channel];
    mean = static_cast<uint16_t>(mean + ((m * 256 - mean) * 3 >> 4));
    passed_ = at.above;
    at.left = value;
    path_.follow(value);
    row[k] = static_cast<int8_t>(value);
    if (++channel == shape_.inner) {
      channel = 0;
      if (at.tap < kTaps - 1) ++at.tap;
    }
    at.channel = static_cast<int>(channel & (kColumns - 1));
  }
}

}  // namespace pith::coding
