// See recode.h.
#include "ir/eval.h"
#include "ir/recode.h"
#include "numerics/row_lifting.h"

namespace pith::ir {
namespace {

using numerics::LiftedChannel;
using numerics::LiftedRowModel;
using numerics::RowChannel;
using numerics::RowModel;

// One row's values after coding as a model expects them; whether that takes `room` bits at most (else only the first ones are made).
template <typename Model>
bool recode_row(Model model, const uint8_t* x, uint8_t* y, const PictureView& v, uint8_t zero, int64_t room) {
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

void recode_picture(const uint8_t* x, uint8_t* y, const PictureView& v, int64_t row_bytes, uint8_t zero, const uint8_t* lifting) {
  const int64_t room = 8 * (row_bytes - 1);
  std::vector<RowChannel> state(static_cast<size_t>(v.channels));
  std::vector<LiftedChannel> lifted(state.size());
  const auto recode = [&](int step) {
    if (lifting == nullptr) return recode_row(RowModel(state.data(), step, zero), x, y, v, zero, room);
    return recode_row(LiftedRowModel({lifting, static_cast<int32_t>(v.channels)}, state.data(), lifted.data(), step, zero), x, y, v, zero, room);
  };
  for (int64_t h = 0; h < v.rows; ++h, x += v.row_stride, y += v.row_stride) {
    int made = -1;  // the step that `y` is of
    const auto fits = [&](int step) {
      made = recode(step) ? step : -1;
      return made == step;
    };
    const int step = lifting == nullptr ? numerics::bisected_row_step(fits) : numerics::first_row_step(fits);
    if (step == made) continue;
    if (step < numerics::kRowFlat) {
      recode(step);
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
  const std::vector<int64_t> given = e.node.integers("lifting");
  const std::vector<uint8_t> lifting(given.begin(), given.end());
  recode_picture(e.in(0).as<uint8_t>().data(), e.outputs[0].mut<uint8_t>().data(), view, e.node.integer("row_bytes", 0), static_cast<uint8_t>(e.node.integer("zero", 0)), lifting.empty() ? nullptr : lifting.data());
  return {};
}

}  // namespace pith::ir
