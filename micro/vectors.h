// Rounding a tensor to vectors out of a book (coding/decode/vectors.h): the code that is fastest to decode.
//
// Why: an index of fixed width stands for two, four or eight weights and is looked up, without an arithmetic decoder. Weights of
// all layers look much alike once each row is divided by its deviation, so one book for each shape serves the whole network and
// its bytes are paid once. Method: books by k-means (Lloyd, 1957), begun as k-means++ does (D. Arthur and S. Vassilvitskii, 2007),
// on runs of all layers and symmetric, a vector standing for its negative too. Then rows are taken run by run: each gets the
// vector with the least error of the product once the weights after it make up for it, and those are moved to do so (GPTQ by
// blocks, as in GPTVQ, M. van Baalen et al., arXiv 2402.15319).
#pragma once

#include <map>
#include <vector>

#include "coding/encode/vectors.h"
#include "micro/round.h"

namespace pith {

class VectorBooks {
 public:
  // Some rows of a tensor, `width` weights each.
  void learn_from(std::span<const double> rows, int64_t width);

  // The rounding with the least distortion + lambda x bits of all books that there may be; a book's own bits are paid where it
  // is used first. The problem's scales play no part. `bits`: about how many a weight may take; books of much more or less aren't tried.
  Result<Rounded> round(const RoundProblem& problem, double bits);
  // What was returned last is kept: its book is paid for.
  void keep() { paid_.insert(paid_.end(), last_); }

 private:
  struct Shape {
    int length = 0, count = 0;
    auto operator<=>(const Shape&) const = default;
  };
  const coding::Book& book(Shape shape);

  std::vector<double> runs_[3];  // of two, four and eight weights, in deviations of their rows
  std::map<Shape, coding::Book> books_;
  std::vector<Shape> paid_;
  Shape last_;
};

}  // namespace pith
