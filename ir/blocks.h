// Blocks of a product's weights: what can be zero as a whole, and then costs neither bytes nor time.
//
// Why: single zeros save bits, but a kernel can skip only what is zero together. A block is 16 output channels of a group by 16
// consecutive input channels at one position of the kernel; the last ones of a group, or of its channels, are smaller. A block
// is zero when all its weights are: zeros in the constant are the structure, nothing else says so. Along a row in the file's
// order (side_by_side.h) a block's weights are neighbours.
#pragma once

#include "ir/side_by_side.h"

namespace pith::ir {

constexpr int64_t kBlockSide = 16;

struct Blocks {
  struct Part {
    int64_t first, count;
  };
  ProductRows rows;

  int64_t per_group() const { return (rows.outputs / rows.groups + kBlockSide - 1) / kBlockSide; }
  int64_t per_tap() const { return (rows.depth + kBlockSide - 1) / kBlockSide; }
  int64_t down() const { return rows.groups * per_group(); }       // blocks that outputs fall into
  int64_t across() const { return rows.taps() * per_tap(); }       // blocks that a row's elements fall into
  Part outputs(int64_t block) const {
    const int64_t size = rows.outputs / rows.groups, from = block % per_group() * kBlockSide;
    return {block / per_group() * size + from, std::min(kBlockSide, size - from)};
  }
  Part elements(int64_t block) const {
    const int64_t from = block % per_tap() * kBlockSide;
    return {block / per_tap() * rows.depth + from, std::min(kBlockSide, rows.depth - from)};
  }
};

// Weights that lie in zero blocks.
int64_t zero_block_weights(const Tensor& weights, const ProductRows& rows);
// 1 for each weight that lies in a zero block, rows in the file's order; empty where no block is zero.
std::vector<uint8_t> zero_block_mask(const Tensor& weights, const ProductRows& rows);

}  // namespace pith::ir
