// The price of a bit at which a network's weights come to a wanted length, and the steps that are right for a price. Internal to micro/.
//
// Why: rounding a whole network to see how long it gets takes minutes. A plain entropy of the nearest integers is too long, by a little at four bits
// a weight and by half at one, since rounding for rate takes what is cheap. Method: a part of every constant stands for it. Its length at a price is that of the
// entropy-constrained quantiser without memory, whose lengths and choices follow each other until they agree (P. Chou, T. Lookabaugh and R. Gray,
// "Entropy-constrained vector quantization", 1989). What the code's contexts save beside that is seen once the part is rounded, each weight for
// itself, at the price that was found so, and so is whether it goes by a grid or a trellis, and on which levels; then the price is found once more.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "micro/round.h"

namespace pith {

struct RoundedSite {  // a constant that is rounded, and what is known of it before
  int64_t rows = 0, width = 0;  // as they are coded
  std::vector<double> largest;  // weight, of all or by row of an embedding that no product shares: what 127 steps must reach
  double sensitivity = 0, prior = 0;  // of the products' results; of the embedding's
  std::vector<double> costs;          // by input: what a squared error costs of the product's
  std::vector<double> row_weights;    // embeddings that no product shares
  std::vector<double> hessian;        // shared ones: the product's
  std::vector<double> part;           // some of its rows
  std::vector<int64_t> part_rows;     // which
  bool on_trellis = false;            // the better bargain for the part; then
  double gain = 1;                    // what contexts make of a length without them
  bool done = false;
};

// Takes some of the rows.
void take_part(RoundedSite& site, const std::vector<double>& rows);

// Scales: one step for a product's weights, by the word for an embedding's rows.
std::vector<int16_t> steps_at(double price, const RoundedSite& site, bool trellis);

Result<double> find_price(std::map<ir::ValueId, RoundedSite>& sites, double bits_per_weight, const WeightCodes& may_be);

}  // namespace pith
