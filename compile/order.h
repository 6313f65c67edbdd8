// The order of operators that needs least memory.
//
// Why: a network is a partial order, and what is alive at once depends on which branch runs first. Memory after some
// operators have run depends on which have, not on their order, so the best order is a shortest path over the sets that
// can have run (the downward closed sets, one for each antichain): dynamic programming, as in Serenity (Ahn et al. 2020,
// arXiv 2003.02369). Most networks have few such sets and the answer is exact; where one step has more than `width`, the
// best of them go on (a beam), and the answer is a good one.
#pragma once

#include <cstdint>

#include "program/program.h"

namespace pith {

struct OrderOptions {
  bool row_ports = false;  // inputs and outputs that may go by rows count nothing
  int width = 4000;        // sets kept at each step
};

struct Order {
  std::vector<size_t> ops;     // of the program, in their new order
  int64_t peak = 0, area = 0;  // most bytes alive during one operator; bytes alive, summed over operators
  bool exact = true;           // no order has a lower peak; none of this peak a smaller area
};

// The peak and area of the program as it is.
Order given_order(const Program& program, const OrderOptions& options = {});
// An order of the lowest peak, among those one of the smallest area; the given one where it is as good.
Order best_order(const Program& program, const OrderOptions& options = {});
// The program in that order.
void apply_order(Program& program, const Order& order);

}  // namespace pith
