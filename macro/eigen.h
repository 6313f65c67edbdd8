// Eigenvalues and eigenvectors of symmetric matrices, for passes that look for subspaces.
#pragma once

#include <vector>

#include "base/result.h"

namespace pith {

// Eigenvalues, largest first, and eigenvectors by column, of a symmetric row-major n x n matrix (LAPACK's dsyevd).
// Error: it doesn't converge, as with elements that aren't numbers.
struct Eigen {
  std::vector<double> values, vectors;
};
Result<Eigen> symmetric_eigen(std::vector<double> matrix, int64_t n);

}  // namespace pith
