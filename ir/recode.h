// What a picture of 8-bit codes becomes that waits in coded form: the reference for whoever computes as if it had waited
// (the interpreter's Recode, retraining). It walks rows as numerics/row_model.h says and counts bits, but never makes any
// (coding/decode/activation_rows.h does).
#pragma once

#include <cstdint>
#include <vector>

namespace pith::ir {

// How a picture waits.
struct CodedRows {
  double bits = 8;                    // of a row's bytes, a value
  std::vector<uint8_t> lifting = {};  // what channels look at (numerics/row_lifting.h), or nothing
};

// rows x width x channels values, and how far apart neighbours of each dimension are.
struct PictureView {
  int64_t rows, width, channels;
  int64_t row_stride, column_stride, channel_stride;
};

// `y`, of the same view, gets what decoding gives after each row of `x` was stored in `row_bytes`; `zero` is the zero point,
// `lifting` what channels look at (numerics/row_lifting.h), or none.
void recode_picture(const uint8_t* x, uint8_t* y, const PictureView& view, int64_t row_bytes, uint8_t zero, const uint8_t* lifting = nullptr);

}  // namespace pith::ir
