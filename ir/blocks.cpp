// See blocks.h.
#include "ir/blocks.h"

namespace pith::ir {
namespace {

bool is_zero(const Tensor& w, const Blocks& b, int64_t down, int64_t across) {
  const Blocks::Part outputs = b.outputs(down), elements = b.elements(across);
  for (int64_t o = outputs.first; o < outputs.first + outputs.count; ++o) {
    for (int64_t k = elements.first; k < elements.first + elements.count; ++k) {
      if (w.at(b.rows.at(o, k)) != 0) return false;
    }
  }
  return true;
}

template <typename Visit>
void each_zero_block(const Tensor& w, const ProductRows& rows, const Visit& visit) {
  const Blocks b{rows};
  for (int64_t down = 0; down < b.down(); ++down) {
    for (int64_t across = 0; across < b.across(); ++across) {
      if (is_zero(w, b, down, across)) visit(b.outputs(down), b.elements(across));
    }
  }
}

}  // namespace

int64_t zero_block_weights(const Tensor& w, const ProductRows& rows) {
  int64_t count = 0;
  each_zero_block(w, rows, [&](Blocks::Part outputs, Blocks::Part elements) { count += outputs.count * elements.count; });
  return count;
}

std::vector<uint8_t> zero_block_mask(const Tensor& w, const ProductRows& rows) {
  std::vector<uint8_t> mask;
  each_zero_block(w, rows, [&](Blocks::Part outputs, Blocks::Part elements) {
    mask.resize(static_cast<size_t>(rows.outputs * rows.width), 0);
    for (int64_t o = outputs.first; o < outputs.first + outputs.count; ++o) std::fill_n(mask.begin() + o * rows.width + elements.first, elements.count, uint8_t{1});
  });
  return mask;
}

}  // namespace pith::ir
