// Weights with blocks of zeros: 16 output channels of a group by 16 neighbouring input channels of a tap.
//
// The file says nothing of them; they are found in the weights as decoded, and where they are enough, products skip them
// (sparse_conv_u8, sparse_conv_f32): a block of outputs has a list of what isn't zero, and its packed weights hold that
// alone. At load the memory shrinks likewise, and since memory is counted before there is any, weights are decoded once
// more to count; a layer whose first blocks have next to no zeros isn't read further. Where tiles of weights are decoded
// while a network runs, each is looked through as it is packed.
//
// Transposed convolutions, merged taps and weights in floats stay dense. Integers are those of dense sums bit for bit,
// floats to the tolerance of every kernel; zero times infinity isn't added.
#pragma once

#include "runtime/ops/conv_plan.h"

namespace pith::runtime {

// Packs weights at load without their zeros, to plan.sparse; false: they stay dense, and nothing was done.
bool pack_sparse(Builder& builder, Kept& kept, ConvPlan& plan);

// The same for Dense of one vector of floats: rows of integers and plan.row_scales.
bool pack_sparse_rows(Builder& builder, Kept& kept, ConvPlan& plan);

// A tile's blocks without their zeros, and room for their spans.
inline constexpr int kMostTileSpans = 256;
inline constexpr int kMostTileBlocks = PITH_WEIGHT_TILE / kLanes;
struct SparseTile {
  SparseBlock blocks[kMostTileBlocks];
  Span spans[kMostTileSpans];
};
// Moves what isn't zero of a packed tile together; false: it stays as it is, to be used densely.
bool close_gaps(const ConvPlan& plan, const ConvTile& tile, SparseTile& sparse);

}  // namespace pith::runtime
