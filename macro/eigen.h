// Eigenvalues, eigenvectors and inverses of symmetric row-major matrices (LAPACK's dsyevd, dpotrf and dpotri), for passes that
// look at second moments.
#pragma once

#include <vector>

#include "base/result.h"

namespace pith {

// Eigenvalues, largest first, and eigenvectors by column, of n x n numbers.
// Error: it doesn't converge, as with elements that aren't numbers.
struct Eigen {
  std::vector<double> values, vectors;
};
Result<Eigen> symmetric_eigen(std::vector<double> matrix, int64_t n);

// Nothing where the matrix isn't positive definite.
std::vector<double> symmetric_inverse(std::vector<double> matrix, int64_t n);

}  // namespace pith
