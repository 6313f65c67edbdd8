// Weights whose grid is known already, because retraining moved them onto it.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "ir/geometry.h"
#include "micro/quantize.h"

namespace pith {

void place_on_grid(ir::Value& v, int axis, const std::vector<int16_t>& scale_codes) {
  const ir::AxisSplit s = ir::split_at(v.shape, axis);
  ir::Tensor integers(ir::DType::kI8, v.shape);
  int largest = 1;
  for (int64_t i = 0; i < v.constant->count(); ++i) {
    const int64_t channel = (i / s.inner) % s.size;
    const double step = numerics::scale_value(scale_codes[scale_codes.size() == 1 ? 0 : static_cast<size_t>(channel)]);
    const int q = numerics::clamp(numerics::round_half_up(v.constant->at(i) / step), -127, 127);
    integers.set(i, q);
    largest = std::max(largest, std::abs(q));
  }
  ir::Quant quant;
  quant.bits = 2;
  while ((1 << (quant.bits - 1)) - 1 < largest) ++quant.bits;
  quant.axis = axis;
  quant.scale_codes = scale_codes;
  v.constant = std::move(integers);
  v.quant = std::move(quant);
}

}  // namespace pith
