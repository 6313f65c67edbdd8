// Scale codes of a constant's rows.
//
// One code for all rows, or one each: then their common step (1, 2, 4 or 8) and the first come first, and each row's code,
// in steps above the first, is coded as its difference to the mean of the rows before. Scales of a tensor scatter about one
// value without order, and there a mean predicts half a bit better than the last row does. Rows without any weight are
// predicted by each other.
//
// Freestanding.
#pragma once

#include "coding/decode/binary.h"
#include "numerics/scale.h"

namespace pith::coding {

// The mean of numbers, rounded half up, and what follows from it.
class ScalePredictor {
 public:
  int32_t expected(bool empty) const {
    if (empty) return last_empty_;
    if (rows_ == 0) return 0;
    const int64_t n = 2 * sum_ + rows_, d = 2 * rows_;
    return static_cast<int32_t>(n >= 0 ? n / d : -((d - 1 - n) / d));
  }
  void saw(bool empty, int32_t steps) {
    if (empty) {
      last_empty_ = steps;
    } else {
      sum_ += steps;
      ++rows_;
    }
  }

 private:
  int64_t sum_ = 0, rows_ = 0;
  int32_t last_empty_ = 0;
};

class ScaleReader {
 public:
  void begin(BinaryDecoder& in, bool row_scales) {
    row_scales_ = row_scales;
    shift_ = row_scales ? static_cast<int>(in.raw_bits(2)) : 0;
    first_ = limited(decode_signed(in, model_));
  }
  // The code of the next row. `empty`: it is known to hold zeros only.
  int next(BinaryDecoder& in, bool empty) {
    if (!row_scales_) return first_;
    const int64_t steps = int64_t{predictor_.expected(empty)} + decode_signed(in, empty ? empty_model_ : model_);
    const int32_t bounded = static_cast<int32_t>(steps < -kMost ? -kMost : steps > kMost ? kMost : steps);
    predictor_.saw(empty, bounded);
    return limited(first_ + bounded * (1 << shift_));
  }

 private:
  static constexpr int64_t kMost = numerics::kScaleCodeMax - numerics::kScaleCodeMin;
  static int limited(int32_t code) { return numerics::clamp(code, numerics::kScaleCodeMin, numerics::kScaleCodeMax); }
  IntegerModel model_, empty_model_;
  ScalePredictor predictor_;
  int first_ = 0, shift_ = 0;
  bool row_scales_ = false;
};

}  // namespace pith::coding
