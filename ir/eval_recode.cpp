// See recode.h.
#include "ir/eval.h"
#include "ir/recode.h"
#include "numerics/row_model.h"

namespace pith::ir {
namespace {

using numerics::RowChannel;
using numerics::RowModel;

// One row's values after coding with a step; whether that takes `room` bits at most (else only the first ones are made).
bool recode_row(const uint8_t* x, uint8_t* y, const PictureView& v, int step, uint8_t zero, int64_t room, RowChannel* state) {
  RowModel model(state, step, zero);
  for (int64_t w = 0; w < v.width; ++w) {
    for (int64_t k = 0; k < v.channels; ++k) {
      const int64_t at = w * v.column_stride + k * v.channel_stride;
      const int c = static_cast<int>(k), left = w == 0 ? zero : y[at - v.column_stride];
      const auto e = model.expect(c, w == 0, left);
      const int number = model.number(e, x[at], numerics::row_rounds_down(static_cast<int>(w), c, w == 0 ? zero : x[at - v.column_stride], left));
      room -= numerics::row_number_bits(number, e.parameter);
      if (room < 0) return false;
      y[at] = static_cast<uint8_t>(model.value(e, number));
      model.learn(c, w == 0, left, y[at], number);
    }
  }
  return true;
}

}  // namespace

void recode_picture(const uint8_t* x, uint8_t* y, const PictureView& v, int64_t row_bytes, uint8_t zero) {
  const int64_t room = 8 * (row_bytes - 1);
  std::vector<RowChannel> state(static_cast<size_t>(v.channels));
  for (int64_t h = 0; h < v.rows; ++h, x += v.row_stride, y += v.row_stride) {
    int low = 0, high = numerics::kRowFlat, made = -1;  // the step that `y` is of
    while (low < high) {
      const int middle = (low + high) / 2;
      const bool fits = recode_row(x, y, v, middle, zero, room, state.data());
      made = fits ? middle : -1;
      (fits ? high : low) = fits ? middle : middle + 1;
    }
    if (low == made) continue;
    if (low < numerics::kRowFlat) {
      recode_row(x, y, v, low, zero, room, state.data());
      continue;
    }
    for (int64_t w = 0; w < v.width; ++w)
      for (int64_t c = 0; c < v.channels; ++c) y[w * v.column_stride + c * v.channel_stride] = zero;
  }
}

Result<void> eval_recode(Evaluation& e) {
  if (e.in(0).dtype() != DType::kU8) {  // only codes are coded
    e.outputs[0] = e.in(0);
    return {};
  }
  const Shape& s = e.shape(0);
  const PictureView view{s[2], s[3], s[1], s[3], 1, s[2] * s[3]};  // channels first
  recode_picture(e.in(0).as<uint8_t>().data(), e.outputs[0].mut<uint8_t>().data(), view, e.node.integer("row_bytes", 0), static_cast<uint8_t>(e.node.integer("zero", 0)));
  return {};
}

}  // namespace pith::ir
