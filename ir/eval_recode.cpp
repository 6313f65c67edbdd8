// Recode: what a picture becomes that waits in coded form. This is the interpreter's own reading of the codec: it walks
// rows as numerics/row_model.h says and counts bits, but never makes any (coding/decode/activation_rows.h does).
#include "ir/eval.h"
#include "numerics/row_model.h"

namespace pith::ir {
namespace {

using numerics::RowChannel;
using numerics::RowModel;

// One row of a picture with channels first: where it begins, and how far apart channels are.
struct PictureRow {
  int64_t begin, channel_stride;
  int width, channels;
};

// The row's values after coding with a step, and the bits that takes.
int64_t recode_row(const uint8_t* x, uint8_t* y, const PictureRow& row, int step, uint8_t zero) {
  std::vector<RowChannel> state(static_cast<size_t>(row.channels));
  RowModel model(state.data(), step, zero);
  int64_t bits = 0;
  for (int w = 0; w < row.width; ++w) {
    for (int c = 0; c < row.channels; ++c) {
      const int64_t at = row.begin + c * row.channel_stride + w;
      const int left = w == 0 ? zero : y[at - 1];
      const auto e = model.expect(c, w == 0, left);
      const int number = model.number(e, x[at], numerics::row_rounds_down(w, c, w == 0 ? zero : x[at - 1], left));
      y[at] = static_cast<uint8_t>(model.value(e, number));
      model.learn(c, w == 0, left, y[at], number);
      bits += numerics::row_number_bits(number, e.parameter);
    }
  }
  return bits;
}

}  // namespace

Result<void> eval_recode(Evaluation& e) {
  if (e.in(0).dtype() != DType::kU8) {  // only codes are coded
    e.outputs[0] = e.in(0);
    return {};
  }
  const Shape& s = e.shape(0);
  const uint8_t* x = e.in(0).as<uint8_t>().data();
  uint8_t* y = e.outputs[0].mut<uint8_t>().data();
  const uint8_t zero = static_cast<uint8_t>(e.node.integer("zero", 0));
  const int64_t room = 8 * (e.node.integer("row_bytes", 0) - 1);
  for (int64_t h = 0; h < s[2]; ++h) {
    const PictureRow row{h * s[3], s[2] * s[3], static_cast<int>(s[3]), static_cast<int>(s[1])};
    int low = 0, high = numerics::kRowFlat;
    while (low < high) {
      const int middle = (low + high) / 2;
      const bool fits = recode_row(x, y, row, middle, zero) <= room;
      (fits ? high : low) = fits ? middle : middle + 1;
    }
    if (low < numerics::kRowFlat) {
      recode_row(x, y, row, low, zero);
      continue;
    }
    for (int64_t c = 0; c < s[1]; ++c)
      for (int64_t w = 0; w < s[3]; ++w) y[row.begin + c * row.channel_stride + w] = zero;
  }
  return {};
}

}  // namespace pith::ir
