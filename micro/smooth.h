// Outlier channels of a transformer: divided by powers of two where that costs nothing, so that 8 bits hold the others too.
//
// In the sums that a normalisation reads a few channels are 30 to 100 times larger than all others (all-MiniLM-L6-v2: 195
// where the median channel's largest is 1). One 8-bit meaning for such a tensor leaves the others nothing. Like
// SmoothQuant (Xiao et al. 2023) factors move into what stands around: values that are added share them; rows of the
// products, gains of the normalisations and columns of the tables that make them are divided; columns of the products that read
// them are multiplied; and a normalisation that reads them multiplies by 2^spread before anything else (numerics/norm.h:
// exact on codes). All are powers of two, so the float network stays what it was, bit for bit but for the order of no sum.
//
// A channel's factor brings its largest magnitude to at most kUsual times the median channel's. Fewer would cost: columns that are
// multiplied make the rows of 8-bit weights that they stand in coarser.
#pragma once

#include "ir/graph.h"
#include "base/result.h"

namespace pith {

constexpr double kUsual = 6;
constexpr size_t kSmoothingSamples = 64;  // that are looked at, at most

// `samples` as calibrate() takes them. Returns how many channels were divided. Errors: the graph's on the samples.
Result<int64_t> smooth(ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples);

}  // namespace pith
