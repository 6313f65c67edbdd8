// Decoding a constant's integers, row by row, from one of three codecs.
//
// A weight tensor is coded as rows (output channels): for each row its scale code (when every row has its own) and its
// integers. Decoding is sequential and needs no memory but this object and one row, so a layer can be decoded a tile of
// rows at a time while it executes.
//
//   RAW       fixed-width fields
//   RANS      two interleaved rANS states (Duda 2013; the 16-bit renormalisation of Giesen's rans_word) under up to four
//             parametric distributions per tensor, chosen per row: nothing is stored but a family and four widths
//   ADAPTIVE  adaptive binary arithmetic code; zero flag and bit length of the magnitude under a context of the
//             neighbouring magnitudes (left, the one before, the row above, a running mean): the smallest
//
// docs/format.md is the specification. Freestanding.
#pragma once

#include "coding/decode/binary.h"
#include "numerics/functions.h"
#include "numerics/scale.h"

namespace pith::coding {

inline constexpr int kRansBits = 14;
inline constexpr int kRansTables = 4;
inline constexpr uint32_t kRansLow = uint32_t{1} << 16;

// Width of class w: 2^(w/4 - 2) for the distribution's scale parameter; 0 <= w < 40.
inline constexpr int kWidthClasses = 40;

// Cumulative frequencies over q = -limit..limit of a discretised symmetric distribution: family 0 Laplace, 1 logistic,
// 2 normal. cumulative[0] = 0, cumulative[2*limit+1] = 2^14; every symbol has at least frequency 1.
inline void build_rans_table(int family, int width, int limit, uint16_t cumulative[257]) {
  const double b = numerics::scale_value(width * 4 - 32);
  const auto below = [&](double x) {  // distribution function
    if (family == 0) return x < 0 ? 0.5 * numerics::exp(x / b) : 1 - 0.5 * numerics::exp(-x / b);
    if (family == 1) return numerics::sigmoid(x / b);
    return 0.5 * (1 + numerics::erf(x / b * 0.7071067811865476));
  };
  const int symbols = 2 * limit + 1;
  const int spare = (1 << kRansBits) - symbols;
  const double total = below(limit + 0.5) - below(-limit - 0.5);
  // one side; the distribution is symmetric, and zero takes what rounding leaves
  uint16_t frequency[128];
  int used = 0;
  for (int q = 1; q <= limit; ++q) {
    const double p = (below(q + 0.5) - below(q - 0.5)) / total;
    frequency[q] = static_cast<uint16_t>(1 + static_cast<int>(p * spare));
    used += 2 * frequency[q];
  }
  frequency[0] = static_cast<uint16_t>((1 << kRansBits) - used);
  uint32_t sum = 0;
  for (int i = 0; i < symbols; ++i) {
    cumulative[i] = static_cast<uint16_t>(sum);
    sum += frequency[i < limit ? limit - i : i - limit];
  }
  cumulative[symbols] = static_cast<uint16_t>(sum);
}

// Context of the adaptive codec: a class of expected magnitude out of the neighbours.
inline constexpr int kMagnitudeClasses = 16;
inline int magnitude_class(uint32_t left, uint32_t left2, uint32_t above, uint32_t mean16) {
  // in 1/32: 6 left + 3 left2 + 4 above (scaled), and 20 of the running mean (which is in 1/16)
  const uint32_t t = 6 * left + 3 * left2 + 5 * above + mean16 + mean16 / 8;
  // half-octave classes of t
  if (t < 6) return static_cast<int>(t) / 2;  // 0, 1, 2
  int octave = 31 - __builtin_clz(t);
  const int half = static_cast<int>((t >> (octave - 1)) & 1);
  const int c = 2 * octave + half - 2;  // t = 6 -> 2*2+1-2 = 3
  return c < kMagnitudeClasses ? c : kMagnitudeClasses - 1;
}

struct AdaptiveWeightModels {
  IntegerModel scale;
  BitModel nonzero[kMagnitudeClasses];
  BitModel longer[kMagnitudeClasses][8];  // is the bit length of |q| greater than i+1
  BitModel mantissa[8][8];                // by bit length and the up to three bits already known
};

class WeightDecoder {
 public:
  // `bits` 2..8; `row_scales`: each row carries its own scale code, otherwise one is read at the start.
  // Returns false when the parameters or the head are malformed.
  bool begin(const uint8_t* data, uint64_t bytes, int codec, int bits, bool row_scales);

  // Decodes the next row in place: on entry `row` holds the previous row (zeros before the first), on return the new
  // one. Values lie in [-limit, limit], limit = 2^(bits-1) - 1. Returns the row's scale code.
  int next_row(int8_t* row, int64_t length);

  // True once more was read than was there: the stream is damaged.
  bool overrun() const { return codec_ == 2 ? binary_.overrun() : side_.overrun() || overrun_; }

 private:
  void adaptive_row(int8_t* row, int64_t length);
  void rans_row(int8_t* row, int64_t length);
  void raw_row(int8_t* row, int64_t length);
  BinaryDecoder binary_;  // ADAPTIVE: everything
  BinaryDecoder side_;    // RANS, RAW: scale codes and table choices
  AdaptiveWeightModels models_;
  BitModel choice_[kRansTables];
  uint32_t mean16_ = 0;
  uint16_t cumulative_[kRansTables][257];
  uint32_t state_[2] = {0, 0};
  const uint8_t* next_ = nullptr;
  const uint8_t* end_ = nullptr;
  uint32_t accumulator_ = 0;
  int available_ = 0, tables_ = 0;
  int codec_ = 0, bits_ = 8, limit_ = 127, scale_code_ = 0, turn_ = 0;
  bool row_scales_ = false, overrun_ = false;
};

// ---- implementation ----

inline bool WeightDecoder::begin(const uint8_t* data, uint64_t bytes, int codec, int bits, bool row_scales) {
  if (codec < 0 || codec > 2 || bits < 2 || bits > 8) return false;
  *this = WeightDecoder();
  codec_ = codec;
  bits_ = bits;
  limit_ = (1 << (bits - 1)) - 1;
  row_scales_ = row_scales;
  if (codec == 2) {
    binary_ = BinaryDecoder(data, bytes);
    if (!row_scales) scale_code_ = decode_signed(binary_, models_.scale);
    return true;
  }
  uint64_t side_bytes = 0;  // a varint: seven bits a byte, least significant first
  uint64_t used = 0;
  for (int shift = 0;; shift += 7) {
    if (used >= bytes || shift > 28) return false;
    const uint8_t b = data[used++];
    side_bytes |= static_cast<uint64_t>(b & 127) << shift;
    if (b < 128) break;
  }
  if (side_bytes > bytes - used) return false;
  side_ = BinaryDecoder(data + used, side_bytes);
  next_ = data + used + side_bytes;
  end_ = data + bytes;
  if (!row_scales) scale_code_ = decode_signed(side_, models_.scale);
  if (codec == 1) {
    const int family = static_cast<int>(side_.raw_bits(2));
    limit_ = static_cast<int>(side_.raw_bits(bits - 1));
    tables_ = 1 + static_cast<int>(side_.raw_bits(2));
    if (family > 2) return false;
    for (int i = 0; i < tables_; ++i) {
      const int width = static_cast<int>(side_.raw_bits(6));
      if (width >= kWidthClasses) return false;
      build_rans_table(family, width, limit_, cumulative_[i]);
    }
    for (uint32_t& s : state_) {
      for (int i = 0; i < 4; ++i) s |= static_cast<uint32_t>(next_ < end_ ? *next_++ : 0) << (8 * i);
      if (s < kRansLow) return false;
    }
  }
  return true;
}

inline int WeightDecoder::next_row(int8_t* row, int64_t length) {
  BinaryDecoder& head = codec_ == 2 ? binary_ : side_;
  if (row_scales_) {
    const int64_t code = int64_t{scale_code_} + decode_signed(head, models_.scale);
    scale_code_ = numerics::clamp(numerics::saturate_i32(code), numerics::kScaleCodeMin, numerics::kScaleCodeMax);
  }
  if (codec_ == 2) {
    adaptive_row(row, length);
  } else if (codec_ == 1) {
    rans_row(row, length);
  } else {
    raw_row(row, length);
  }
  return numerics::clamp(scale_code_, numerics::kScaleCodeMin, numerics::kScaleCodeMax);
}

inline void WeightDecoder::adaptive_row(int8_t* row, int64_t length) {
  uint32_t left = 0, left2 = 0, mean16 = mean16_;
  for (int64_t k = 0; k < length; ++k) {
    const uint32_t above = static_cast<uint32_t>(row[k] < 0 ? -row[k] : row[k]);
    const int c = magnitude_class(left, left2, above, mean16);
    uint32_t magnitude = 0;
    int32_t q = 0;
    if (binary_.bit(models_.nonzero[c])) {
      const uint32_t negative = binary_.raw_bits(1);
      int len = 1;
      while (len < bits_ - 1 && binary_.bit(models_.longer[c][len - 1])) ++len;
      magnitude = 1;
      int known = 0;
      uint32_t prefix = 1;
      for (int i = len - 2; i >= 0; --i, ++known) {
        const uint32_t b = known < 3 ? binary_.bit(models_.mantissa[len - 1][prefix]) : binary_.raw_bits(1);
        if (known < 2) prefix = prefix << 1 | b;
        magnitude = magnitude << 1 | b;
      }
      q = negative ? -static_cast<int32_t>(magnitude) : static_cast<int32_t>(magnitude);
    }
    row[k] = static_cast<int8_t>(q);
    left2 = left;
    left = magnitude;
    mean16 = static_cast<uint32_t>(static_cast<int32_t>(mean16) +
                                   ((static_cast<int32_t>(magnitude << 8) - static_cast<int32_t>(mean16) * 16 + 256) >> 9));
  }
  mean16_ = mean16;
}

inline void WeightDecoder::rans_row(int8_t* row, int64_t length) {
  int table = 0;
  while (table < tables_ - 1 && side_.bit(choice_[table])) ++table;
  const uint16_t* cumulative = cumulative_[table];
  const int symbols = 2 * limit_ + 1;
  for (int64_t k = 0; k < length; ++k) {
    uint32_t& s = state_[turn_];
    turn_ ^= 1;
    const uint32_t slot = s & ((1u << kRansBits) - 1);
    int low = 0, high = symbols;  // cumulative[low] <= slot < cumulative[high]
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (cumulative[middle] <= slot) {
        low = middle;
      } else {
        high = middle;
      }
    }
    s = (cumulative[low + 1] - cumulative[low]) * (s >> kRansBits) + slot - cumulative[low];
    if (s < kRansLow) {
      uint32_t word = 0;
      if (end_ - next_ >= 2) {
        word = static_cast<uint32_t>(next_[0] | next_[1] << 8);
        next_ += 2;
      } else {
        overrun_ = true;
      }
      s = s << 16 | word;
    }
    row[k] = static_cast<int8_t>(low - limit_);
  }
}

inline void WeightDecoder::raw_row(int8_t* row, int64_t length) {
  for (int64_t k = 0; k < length; ++k) {
    while (available_ < bits_) {
      if (next_ >= end_) overrun_ = true;
      accumulator_ |= static_cast<uint32_t>(next_ < end_ ? *next_++ : 0) << available_;
      available_ += 8;
    }
    const int32_t field = static_cast<int32_t>(accumulator_ & ((1u << bits_) - 1));
    accumulator_ >>= bits_;
    available_ -= bits_;
    const int32_t q = field - (1 << (bits_ - 1));
    row[k] = static_cast<int8_t>(q < -limit_ ? -limit_ : q);
  }
}

}  // namespace pith::coding
