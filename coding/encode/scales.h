// Encoding the scale codes of rows for coding/decode/scales.h.
#pragma once

#include <cstdint>
#include <span>

#include "coding/decode/scales.h"
#include "coding/encode/binary.h"

namespace pith::coding {

class ScaleWriter {
 public:
  // One code, or one per row (more than one, or where `per_row` says so); written to `out` here and by row().
  ScaleWriter(std::span<const int16_t> codes, BinaryEncoder& out, bool per_row) : codes_(codes), out_(out), per_row_(per_row || codes.size() > 1) {
    if (per_row_) {
      uint32_t apart = 8;
      for (int16_t code : codes) apart |= static_cast<uint32_t>(code - codes[0]);
      shift_ = __builtin_ctz(apart);
      out_.raw_bits(static_cast<uint32_t>(shift_), 2);
    }
    encode_signed(out_, model_, codes.empty() ? 0 : codes[0]);
  }
  void row(int64_t r, bool empty) {
    if (!per_row_) return;
    const int steps = (codes_[static_cast<size_t>(r)] - codes_[0]) >> shift_;
    encode_signed(out_, empty ? empty_model_ : model_, steps - predictor_.expected(empty));
    predictor_.saw(empty, steps);
  }

 private:
  std::span<const int16_t> codes_;
  BinaryEncoder& out_;
  bool per_row_;
  IntegerModel model_, empty_model_;
  ScalePredictor predictor_;
  int shift_ = 0;
};

}  // namespace pith::coding
