// Encoding a constant's integers for coding/decode/weights.h.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "coding/decode/mixed.h"

namespace pith::coding {

struct CodedRows {
  int bits = 8;             // 2..8
  int64_t rows = 0, row_length = 0;
  std::span<const int32_t> integers;     // rows * row_length values in [-(2^(bits-1)-1), 2^(bits-1)-1]
  std::span<const int16_t> scale_codes;  // one, or one per row
  RowShape shape;
  bool trellis = false;     // `integers` are indices of paths (coding/decode/trellis.h), at most 2^(bits-2)-1
  bool own_scales = false;  // a single row with a scale of its own, as part of a constant with one per row
};

// How rows of a constant of these dimensions lie (the first dimension counts rows).
RowShape row_shape(std::span<const int32_t> dims);

std::vector<uint8_t> encode_raw(const CodedRows& rows);
std::vector<uint8_t> encode_rans(const CodedRows& rows);
std::vector<uint8_t> encode_adaptive(const CodedRows& rows);
// These two code indices where `trellis` says so: codecs of their own.
std::vector<uint8_t> encode_mixed(const CodedRows& rows);
// Signs are modelled only where that saves more than 1/256.
std::vector<uint8_t> encode_classes(const CodedRows& rows);
// Rows that can be decoded in any order: in groups of `group_rows`, all under the fast code or all under classes, whichever
// is smaller by more than 1/128; indices under classes.
std::vector<uint8_t> encode_groups(const CodedRows& rows, int64_t group_rows);

// The indices of rows of multiples; nothing where some row follows no path.
std::vector<int32_t> trellis_rows(std::span<const int32_t> integers, int64_t row_length);
// And back, in place.
void trellis_multiples(std::span<int32_t> indices, int64_t row_length);

// The length of encode_mixed's stream in bits, exact to the fraction and without writing it: the rate that retraining and
// rounding pay. Scale codes are left out where there are none in `rows`.
double estimate_bits(const CodedRows& rows);

// A Coder (coding/decode/mixed.h) that adds up code lengths.
class BitMeter {
 public:
  uint32_t chance(uint32_t p, uint32_t one) {
    bits_ += lengths_[one ? p : 65536 - p];
    return one;
  }
  double bits() const { return bits_; }

 private:
  static const double* const lengths_;  // -log2(p / 65536)
  double bits_ = 0;
};

// How many bits elements of one sign cost at a place, magnitudes up to `most`, while the model doesn't move.
class CodeLengths {
 public:
  CodeLengths(const MixedRows& model, const MixedRows::Place& at, bool negative, int most) : model_(&model) { model.probe(at, negative, length(most), of_length_); }
  double of(int magnitude) const {
    BitMeter meter = of_length_[length(magnitude)];
    if (magnitude > 1) model_->probe_below(meter, length(magnitude), static_cast<uint32_t>(magnitude));
    return meter.bits();
  }

 private:
  static int length(int magnitude) { return std::bit_width(static_cast<uint32_t>(magnitude)); }
  const MixedRows* model_;
  BitMeter of_length_[8];
};

}  // namespace pith::coding
