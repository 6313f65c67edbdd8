// Rows of a constant's weights one after the other, wherever they lie: coded in the file, or decoded.
#pragma once

#include <string.h>

#include "coding/decode/weights.h"
#include "program/schema.h"
#include "runtime/model.h"

namespace pith::runtime {

inline coding::RowShape row_shape(const Tensor& k) {
  return {k.rank >= 2 ? k.dims[k.rank - 1] : 1, k.rank >= 3 ? k.dims[k.rank - 2] : 1};
}

// Before the first row of a coded PITH_I8 constant; false where its code is malformed.
inline bool begin_rows(coding::WeightDecoder& decoder, const Tensor& k) {
  const coding::BookOwner book = k.book != nullptr ? coding::BookOwner{k.book->coded, k.book->coded_bytes} : coding::BookOwner{};
  return decoder.begin(k.coded, k.coded_bytes, k.codec, k.bits, k.row_scales != 0, row_shape(k), book);
}

class WeightRows {
 public:
  explicit WeightRows(const Tensor& constant) : k_(constant) {
    if (k_.values == nullptr) begin_rows(decoder_, k_);
  }

  // The next row of a PITH_I8 constant. `row` holds the row before on entry (zeros before the first) and the new one on
  // return. Returns its scale code.
  int next(int8_t* row, int64_t length) {
    if (k_.values == nullptr) {
      last_scale_ = decoder_.next_row(row, length);
    } else {
      memcpy(row, static_cast<const int8_t*>(k_.values) + index_ * length, static_cast<size_t>(length));
      last_scale_ = k_.scale_codes[k_.row_scales ? index_ : 0];
    }
    ++index_;
    return last_scale_;
  }
  int last_scale() const { return last_scale_; }

 private:
  const Tensor& k_;
  coding::WeightDecoder decoder_;
  int64_t index_ = 0;
  int last_scale_ = 0;
};

// Rows of a PITH_I8 constant in any order: decoded ones, or those of a constant coded in groups.
class TableRows {
 public:
  // `values` and `scale_codes` are null where rows are coded.
  TableRows(const Tensor& constant, const int8_t* values, const int16_t* scale_codes) : k_(constant), values_(values), scale_codes_(scale_codes) {
    if (values_ == nullptr) begin_rows(decoder_, k_);
  }
  // Goes to a row that exists, which a coded one is decoded into `memory` for; returns its scale code.
  int go(int64_t index, int8_t* memory) {
    if (values_ != nullptr) {
      row_ = values_ + index * k_.dims[1];
      return scale_codes_[k_.row_scales ? index : 0];
    }
    int scale = 0;
    for (int64_t next = decoder_.seek(index); next <= index; ++next) scale = decoder_.next_row(memory, k_.dims[1]);
    row_ = memory;
    return scale;
  }
  const int8_t* row() const { return row_; }

 private:
  const Tensor& k_;
  const int8_t* values_;
  const int16_t* scale_codes_;
  const int8_t* row_ = nullptr;
  coding::WeightDecoder decoder_;
};

// Element i of a PITH_F32 constant, decoded or not (PITH_CODEC_FLOAT): the file doesn't align its floats.
static inline float float_at(const Tensor& k, int64_t i) {
  float x;
  memcpy(&x, (k.values != nullptr ? static_cast<const uint8_t*>(k.values) : k.coded) + 4 * i, 4);
  return x;
}

}  // namespace pith::runtime
