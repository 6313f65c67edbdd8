// Einstein summation: an equation such as "bij,bjk->bik" as lists of labels.
#pragma once

#include "ir/graph.h"

namespace pith::ir {

// Labels are numbered from 0; those of an ellipsis are labels like any other.
struct EinsumPlan {
  std::vector<std::vector<int>> operands;  // labels of each operand's dimensions; a label may repeat (diagonal)
  std::vector<int> result;
  std::vector<int64_t> sizes;  // of each label; an operand's dimension of 1 broadcasts to it
};
Result<EinsumPlan> plan_einsum(const std::string& equation, const std::vector<Shape>& shapes);

}  // namespace pith::ir
