// What the errors of a product's rows cost, and the weights that make the most of changed inputs.
//
// Why: pruning and rounding both change what later layers read, and both must know where an error matters. Methods: rows
// weighed by the diagonal of the Fisher information, shared out over a row by the moments of what it reads (as K-FAC factors
// it, Martens and Grosse, 2015); least squares from second moments, damped towards the original weights.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/side_by_side.h"

namespace pith::ir {

// Products of different elements shrink towards zero, by count / (count + width): few positions show relations that aren't
// there, and what relies on them generalises badly (after Ledoit and Wolf, 2004, with the diagonal as the target).
void shrink(ReadMoments& moments);

// By the weights' value name: the mean square of the gradient of the answers by each weight (train/sensitivity.h).
using SquaredGradients = std::map<std::string, Tensor>;

// For each row the loss per unit of mean squared error of its result: the importance under which independent errors of its
// weights cost what the gradients say; without gradients of this name, errors count relative to the variance of the
// layer's results, and `relative` of the return is true.
struct RowImportance {
  std::vector<double> rows;
  bool relative = false;
};
RowImportance row_importance(const Tensor& weights, const ProductRows& rows, const ReadMoments& moments, const SquaredGradients& gradients, const std::string& name);
// The same without gradients.
std::vector<double> relative_importance(const Tensor& weights, const ProductRows& rows, const ReadMoments& moments);

// Rows in the file's order that come nearest to the original's results on the student's inputs, and what to add to each
// row's bias so that the means agree. `moments` with cross. `zeros`: 1 where a weight is held at zero (blocks.h); none: nowhere.
struct LeastSquares {
  std::vector<double> weights, bias;
};
LeastSquares least_squares(const Tensor& original, const ProductRows& rows, const ReadMoments& moments, double damping, std::span<const uint8_t> zeros = {});

// In place, for each row x of n: y with y H = x but where y is held at zero. False: H isn't positive definite there.
bool solve_rows(std::span<const double> hessian, int64_t n, std::span<double> rows, std::span<const uint8_t> zeros);

// A constant's rows in the file's order; w' C w of one.
std::vector<double> weight_rows(const Tensor& weights, const ProductRows& rows);
double row_energy(std::span<const double> w, std::span<const double> covariance);

}  // namespace pith::ir
