// Rows of weights under mixed contexts: the smallest code, and the one for sparse and few-valued weights.
//
// A weight is a zero flag, a sign, and its magnitude's bit length in unary, each bit under a mixture (mixing.h), then the
// bits below the leading one. What speaks about a bit: the whole tensor, the row, the column, the magnitudes around it
// (left, and in the row before), a running mean, the kernel's tap. Signs are not free noise: in convolutions they follow
// the neighbouring taps of the same input channel, in dense layers the row before and the neighbour, and that is worth as
// much as everything else (measured in tests/quality/coding.csv). Rows of zeros are one bit.
//
// One template describes the order of the bits; a Coder that reads makes it the decoder, one that writes the encoder, one
// that only adds up code lengths the rate of rate-distortion rounding. Freestanding; about 20 kB of state.
#pragma once

#include <new>

#include "coding/decode/mixing.h"
#include "coding/decode/trellis.h"

namespace pith::coding {

// How a row's weights lie: the size of the last dimension (input channels) and of the one before (kernel columns).
struct RowShape {
  int64_t inner = 1, width = 1;
};

// Half-octave class of a sum of magnitudes: 0, 1, 2, 3, then 4 from 4, 5 from 6, 6 from 8 ... 15.
constexpr int octave_class(uint32_t t) {
  if (t < 3) return static_cast<int>(t);
  const int octave = 31 - __builtin_clz(t);
  const int c = 2 * octave + static_cast<int>(t >> (octave - 1) & 1);
  return c < 15 ? c : 15;
}

class MixedRows {
 public:
  // Magnitudes are at most `largest`, 1..127. `trellis`: what is coded are indices of a path (trellis.h), which speak in two voices.
  void begin(uint32_t largest, RowShape shape, bool trellis = false);

  // A row: on entry `row` holds the row before, on return the new one. `intended` is what to code, where Coder writes.
  template <typename Coder>
  void code_row(Coder& coder, int8_t* row, int64_t length, const int8_t* intended);

  // ---- the same element by element, for who decides while coding ----

  // What is known about element k before it is coded.
  struct Place {
    int32_t left, above, side, upper;  // signed: side and upper are the taps to the left and above, where there are any
    int around, level, tap, columns, spread, grid;
    int64_t k, channel;
  };
  // How far a row has come: what follows from its elements so far alone.
  struct Way {
    int64_t channel = 0, tap = 0;
    int32_t passed = 0;  // what the row before had at the element just coded
    uint32_t mean = 0;   // of magnitudes, in 1/16
    Trellis path;
  };
  void begin_row();
  Place place(const int8_t* row, int64_t k, int64_t length) const { return place(way_, row, k, length); }
  Place place(const Way& way, const int8_t* row, int64_t k, int64_t length) const;
  const Way& way() const { return way_; }
  void advance(Way& way, int32_t above, int32_t value) const;
  // Codes an element at its place and learns from it; returns it. Then call advance.
  template <typename Coder>
  int32_t code(Coder& coder, const Place& at, int32_t intended);
  // What elements of one sign would cost, without learning: of_length[i], i = 0 ... longest, gets the bits of one whose magnitude has i of
  // them, but for those below the leading one, which probe_below adds. A Coder that begins is one to which nothing was said.
  template <typename Coder>
  void probe(const Place& at, bool negative, int longest, Coder* of_length) const;
  template <typename Coder>
  void probe_below(Coder& coder, int length, uint32_t magnitude) const { below_leading<false>(*this, coder, length, magnitude); }
  void advance(int8_t* row, const Place& at, int32_t value);
  void end_row() { mean_ = way_.mean; }

 private:
  static constexpr int kInputs = 6, kSignInputs = 5, kLengths = 7, kFine = 4, kColumns = 1024;
  static int fine(int length) { return length < kFine ? length - 1 : kFine - 1; }

  Opinion<kInputs> of_longer(const Place& at, int length, int agree);  // than `length` bits
  template <bool kLearns, typename Self, typename Coder>
  static uint32_t sign(Self& self, Coder& coder, const Place& at, uint32_t intended);
  template <bool kLearns, typename Self, typename Coder>
  static uint32_t below_leading(Self& self, Coder& coder, int length, uint32_t intended);
  template <bool kLearns, int kCount, typename MixerType, typename Coder>
  static uint32_t mixed_bit(MixerType& mixer, Coder& coder, Opinion<kCount>& opinion, uint32_t intended) {
    mixer.predict(opinion);
    const uint32_t bit = coder.chance(static_cast<uint32_t>(opinion.p), intended);
    if constexpr (kLearns) mixer.learn(opinion, bit);
    return bit;
  }
  static int sign_of(int32_t v) { return (v > 0) - (v < 0) + 1; }
  static int signed_class(int32_t v);          // 0..6
  static int agreement(int32_t v, int32_t s);  // 0..15: how large v is, and whether its sign is s
  static int agreement(const Place& at, bool negative) { return agreement(at.side, negative ? -1 : 1) * 16 + agreement(at.upper, negative ? -1 : 1); }
  static int balance(int32_t sum) { return (sum / 2 < -4 ? -4 : sum / 2 > 4 ? 4 : sum / 2) + 4; }

  uint32_t largest_ = 1;
  int lengths_ = 1;
  bool trellis_ = false;
  RowShape shape_;
  Estimate whole_[2][kLengths], row_[kLengths], around_[2][256], level_[2][kLengths][16], tap_[kLengths][64], dense_[512];
  Estimate agree_[kFine][256], spread_[kFine][256], below_[kLengths][8];
  Estimate sign_taps_[27], sign_sizes_[49], sign_balance_[81], sign_tap_[64 * 3], sign_row_[49];
  Mixer<kInputs> mixer_[2][kLengths];
  Mixer<kSignInputs> sign_mixer_;
  Estimate column_[kColumns];
  uint16_t column_mean_[kColumns] = {};  // in 1/256
  int8_t column_balance_[kColumns] = {};
  uint32_t mean_ = 0;  // of magnitudes, in 1/16
  int32_t row_balance_ = 0;
  Way way_;
};

// ---- implementation ----

inline void MixedRows::begin(uint32_t largest, RowShape shape, bool trellis) {
  ::new (static_cast<void*>(this)) MixedRows();  // in place: a copy on the stack would double what a decoder takes
  trellis_ = trellis;
  largest_ = largest < 1 ? 1 : largest > 127 ? 127 : largest;
  lengths_ = 32 - __builtin_clz(largest_);
  shape_ = shape;
  if (shape_.inner < 1) shape_.inner = 1;
  if (shape_.width < 1) shape_.width = 1;
}

inline void MixedRows::begin_row() {
  for (int i = 0; i < lengths_; ++i) {
    row_[i] = whole_[0][i];
    if (row_[i].seen > 4) row_[i].seen = 4;
  }
  row_balance_ = 0;
  way_ = Way();
  way_.mean = mean_;
}

inline MixedRows::Place MixedRows::place(const Way& way, const int8_t* row, int64_t k, int64_t length) const {
  const auto size = [](int32_t v) { return static_cast<uint32_t>(v < 0 ? -v : v); };
  const int64_t inner = shape_.inner, line = inner * shape_.width;
  const bool one_tap = inner >= length;
  Place at;
  at.k = k;
  at.channel = way.channel;
  at.grid = trellis_ ? way.path.grid() : 0;
  at.left = k > 0 ? row[k - 1] : 0;
  at.above = row[k];
  at.side = one_tap ? at.above : k >= inner ? row[k - inner] : 0;
  at.upper = one_tap ? at.left : k >= line ? row[k - line] : 0;
  const uint32_t left = size(at.left), left2 = k > 1 ? size(row[k - 2]) : 0, above = size(at.above);
  const uint32_t tap_side = k >= inner ? size(row[k - inner]) : 0;
  const uint32_t next = k + 1 < length ? size(row[k + 1]) : 0;
  at.around = octave_class(2 * left + left2 + 2 * tap_side) * 16 + octave_class(2 * above + next + size(way.passed));
  at.level = octave_class(4 * left + 2 * left2 + 2 * tap_side + 2 * above + way.mean / 4);
  at.tap = way.tap < 63 ? static_cast<int>(way.tap) : 63;
  at.columns = -1;
  if (one_tap) {
    const int32_t logits = stretch(column_[(k - 1) & (kColumns - 1)].p) + stretch(column_[(k + 1) & (kColumns - 1)].p) +
                           2 * stretch(column_[k & (kColumns - 1)].p);
    const int c = octave_class(2 * above + left);
    at.columns = ((logits + 8192) >> 9) * 16 + c;
  }
  at.spread = octave_class(column_mean_[at.channel & (kColumns - 1)] >> 4) * 16 + octave_class(way.mean);
  return at;
}

inline void MixedRows::advance(Way& way, int32_t above, int32_t value) const {
  const int32_t m = value < 0 ? -value : value;
  way.passed = above;
  way.mean = static_cast<uint32_t>(static_cast<int32_t>(way.mean) + ((m * 256 - static_cast<int32_t>(way.mean) * 16 + 256) >> 9));
  way.path.follow(value);
  if (++way.channel == shape_.inner) {
    way.channel = 0;
    ++way.tap;
  }
}

inline void MixedRows::advance(int8_t* row, const Place& at, int32_t value) {
  const int32_t m = value < 0 ? -value : value;
  row[at.k] = static_cast<int8_t>(value);
  uint16_t& mean = column_mean_[at.channel & (kColumns - 1)];
  mean = static_cast<uint16_t>(mean + ((m * 256 - mean) * 3 >> 4));
  advance(way_, at.above, value);
  if (value == 0) return;
  const int32_t s = value < 0 ? -1 : 1;
  row_balance_ += s;
  int8_t& balance = column_balance_[at.k & (kColumns - 1)];
  if (balance + s >= -100 && balance + s <= 100) balance = static_cast<int8_t>(balance + s);
}

inline int MixedRows::signed_class(int32_t v) {
  const int c = v == 0 ? 0 : octave_class(static_cast<uint32_t>(v < 0 ? -v : v)) / 4 + 1;
  return v < 0 ? 3 - (c < 3 ? c : 3) : 3 + (c < 3 ? c : 3);
}

inline int MixedRows::agreement(int32_t v, int32_t s) {
  const int32_t a = v * s;
  return a > 0 ? octave_class(static_cast<uint32_t>(a)) / 2 + 8 : 7 - octave_class(static_cast<uint32_t>(-a)) / 2;
}

template <bool kLearns, typename Self, typename Coder>
uint32_t MixedRows::sign(Self& self, Coder& coder, const Place& at, uint32_t intended) {
  MixedRows& m = const_cast<MixedRows&>(self);  // written to by learn() only
  Opinion<kSignInputs> o;
  o.of[0] = &m.sign_taps_[sign_of(at.side) * 9 + sign_of(at.upper) * 3 + sign_of(at.above)];
  o.of[1] = &m.sign_sizes_[signed_class(at.side) * 7 + signed_class(at.upper)];
  o.of[2] = &m.sign_balance_[balance(self.row_balance_) * 9 + balance(self.column_balance_[at.k & (kColumns - 1)])];
  o.of[3] = &m.sign_tap_[at.tap * 3 + sign_of(at.side)];
  o.of[4] = &m.sign_row_[signed_class(at.above) * 7 + signed_class(at.left)];
  return mixed_bit<kLearns>(m.sign_mixer_, coder, o, intended);
}

template <bool kLearns, typename Self, typename Coder>
uint32_t MixedRows::below_leading(Self& self, Coder& coder, int length, uint32_t intended) {
  MixedRows& m = const_cast<MixedRows&>(self);
  uint32_t value = 1, prefix = 1;
  for (int i = length - 2, known = 0; i >= 0; --i, ++known) {
    uint32_t bit = 0;
    if (((value << 1 | 1) << i) <= self.largest_) {  // otherwise it must be 0
      Estimate& e = m.below_[length - 1][prefix];
      const uint32_t p = known >= 3 ? 32768 : e.p < 64 ? 64 : e.p > 65472 ? 65472 : e.p;
      bit = coder.chance(p, intended >> i & 1);
      if (kLearns && known < 3) e.update(bit);
    }
    value = value << 1 | bit;
    if (known < 2) prefix = prefix << 1 | bit;
  }
  return value;
}

inline Opinion<MixedRows::kInputs> MixedRows::of_longer(const Place& at, int length, int agree) {
  Opinion<kInputs> o;
  o.of[0] = &whole_[at.grid][length];
  o.of[1] = &row_[length];
  o.of[2] = length == 0 ? &column_[at.k & (kColumns - 1)] : &spread_[fine(length)][at.spread];
  o.of[3] = length == 0 ? &around_[at.grid][at.around] : &agree_[fine(length)][agree];
  o.of[4] = &level_[at.grid][length][at.level];
  o.of[5] = length == 0 && at.columns >= 0 ? &dense_[at.columns] : &tap_[length][at.tap];
  return o;
}

template <typename Coder>
int32_t MixedRows::code(Coder& coder, const Place& at, int32_t intended) {
  const uint32_t wanted = static_cast<uint32_t>(intended < 0 ? -intended : intended);
  const int wanted_length = wanted == 0 ? 0 : 32 - __builtin_clz(wanted);
  Estimate& column = column_[at.k & (kColumns - 1)];
  if (column.seen == 0) column = {whole_[at.grid][0].p, 1};
  int length = 0, agree = 0;
  uint32_t negative = 0;
  for (; length < lengths_; ++length) {
    Opinion<kInputs> o = of_longer(at, length, agree);
    if (mixed_bit<true>(mixer_[at.grid][length], coder, o, length < wanted_length) == 0) break;
    if (length > 0) continue;
    negative = sign<true>(*this, coder, at, intended < 0);
    agree = agreement(at, negative);
  }
  if (length == 0) return 0;
  const int32_t magnitude = static_cast<int32_t>(below_leading<true>(*this, coder, length, wanted));
  return negative ? -magnitude : magnitude;
}

template <typename Coder>
void MixedRows::probe(const Place& at, bool negative, int longest, Coder* of_length) const {
  MixedRows& m = const_cast<MixedRows&>(*this);  // written to by learn() only
  const int agree = longest == 0 ? 0 : agreement(at, negative);
  Coder longer;
  for (int length = 0; length <= longest; ++length) {
    of_length[length] = longer;
    if (length == lengths_) return;
    Opinion<kInputs> o = m.of_longer(at, length, agree);
    mixer_[at.grid][length].predict(o);
    of_length[length].chance(static_cast<uint32_t>(o.p), 0);
    if (length == longest) return;
    longer.chance(static_cast<uint32_t>(o.p), 1);
    if (length == 0) sign<false>(*this, longer, at, negative);
  }
}

template <typename Coder>
void MixedRows::code_row(Coder& coder, int8_t* row, int64_t length, const int8_t* intended) {
  begin_row();
  for (int64_t k = 0; k < length; ++k) {
    const Place at = place(row, k, length);
    advance(row, at, code(coder, at, intended == nullptr ? 0 : intended[k]));
  }
  end_row();
}

}  // namespace pith::coding
