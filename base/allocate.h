// The allocator: which of many proposals to take, under limits on bytes, memory and operations.
//
// Why: every stage proposes moves for its parts of a network (a coarser step for one tensor's weights, fewer channels of
// another), and all are paid in one currency. Method: each unit has options, of which exactly one holds; the unit's
// options on the lower convex hull of loss against what is spent are the only ones that a sum can want (Shoham and Gersho,
// "Efficient bit allocation for an arbitrary set of quantizers", 1988). From the option of least loss everywhere, the
// hull's steps are taken in the order of the loss that they add for what they free, until all limits are met. The last step
// frees more than it had to, much more where units are few: what is left is spent on single options that fit, off the hull too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace pith {

struct Spent {  // what an option costs of what is limited; sums over units are the whole
  double bytes = 0, ram = 0, macs = 0;
};

struct Option {
  Spent spent;
  double loss = 0;  // distortion that it adds, in units common to all
};

struct Unit {
  std::string name;
  std::vector<Option> options;  // at least one
};

struct Limits {  // negative: none
  double bytes = -1, ram = -1, macs = -1;
};

struct Allocation {
  std::vector<size_t> option;  // by unit
  Spent spent;
  double loss = 0, price = 0;  // price: the loss per byte (or what is limited; several limits: per share of them) of the last step taken
};

// Error kDoesNotFit: the limits can't be met even by the options that spend least; names what is missing.
Result<Allocation> allocate(const std::vector<Unit>& units, const Limits& limits);

// Indices of the options on the lower convex hull of loss against bytes, from the least loss to the fewest bytes.
std::vector<size_t> lower_hull(const std::vector<Option>& options);

// Every allocation on the hull of the whole, from the least loss to the fewest bytes.
std::vector<Allocation> rate_distortion_curve(const std::vector<Unit>& units);

}  // namespace pith
