// Rate-distortion rounding: integers for a tensor's weights that cost few bits and little of the product's result.
//
// Rounding to nearest minimises the error of each weight; what matters is the error of the product and the length of the
// code. So weights are rounded one after the other in the order in which they are coded, each to the integer with the
// least D + lambda R. R is the length under the adaptive code's own state at that moment (coding/decode/mixed.h), which
// then learns from the choice, as in DeepCABAC (Wiedemann et al., arXiv 1907.11900). D is the growth of the product's
// squared error when the weights after it in the row are free to make up for it, and they are then moved to do so: the
// "optimal brain" step of GPTQ (Frantar et al., arXiv 2210.17323), with the Cholesky factor of the inverse Hessian.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "coding/decode/levels.h"
#include "coding/encode/weights.h"

namespace pith {

// What weights may be beside multiples of even steps.
struct WeightCodes {
  bool paths = true;   // multiples along the paths of a trellis (trellis.h)
  bool levels = true;  // learned levels (levels.h) that multiples stand for
  bool vectors = false;  // vectors out of a book (vectors.h): for files that decode fast
};

struct RoundProblem {
  int bits = 8;                             // integers are at most 2^(bits-1) - 1 in magnitude
  int64_t rows = 0, row_length = 0;
  std::span<const double> weights;          // rows x row_length, in the file's order (output; kernel row, column, input)
  std::span<const int16_t> scale_codes;     // one, or one per row; they stay
  coding::RowShape shape;
  // Mean of x x' over inputs x of a row: nothing (all alike, 1), row_length (the diagonal), or row_length^2 numbers, or those
  // for each of `groups` equal parts of the rows.
  std::span<const double> hessian;
  double lambda = 0;                        // what a bit may cost in squared error of the product
  int64_t groups = 1;
  std::span<const double> row_weights = {}; // what a row's squared error counts; none: 1
  bool trellis = false;                     // multiples of the scales that lie on the paths of a trellis (trellis.h)
  std::span<const uint8_t> zeros = {};      // rows x row_length: 1 where the integer is 0, whatever the weight (ir/blocks.h); none: nowhere
  coding::Levels levels = {};               // what multiples stand for, in scales
};

struct Rounded {
  std::vector<int32_t> integers;
  double bits = 0;        // of their code, scales and all
  double distortion = 0;  // sum over rows of e' H e, times the row's weight, with the errors e
  bool trellis = false;   // along its paths
  coding::Levels levels;  // that multiples stand for, if not for themselves
  std::vector<int16_t> scale_codes;  // of the integers
  int vectors = 0, vector_length = 0;  // out of a book of so many, so long
};

// Its name, for people.
std::string code_name(const Rounded& rounded);

// Errors: sizes that don't fit each other, or a full Hessian that isn't positive definite (name the mend: damp it).
Result<Rounded> round_for_rate(const RoundProblem& problem);

// By how much a trellis's step is finer than that of a grid at the same price.
inline constexpr double kTrellisOctaves = 0.84;

// Row-major upper factor U of the inverse of a Hessian, U'U = H^-1: with it, a weight's error e at k costs (e / U[k][k])^2,
// and the weights j > k make up for it by moving e U[k][j] / U[k][k]. Empty: not positive definite.
std::vector<double> feedback_factor(std::span<const double> hessian, int64_t n);

// The price of a bit at which a uniform step of this size is the right one at high rates: D = step^2 / 12 halves its
// logarithm's slope, so -dD/dR = 2 ln 2 D.
double natural_lambda(double step);

}  // namespace pith
