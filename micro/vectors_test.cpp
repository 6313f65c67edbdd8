// Books for all layers, and rows that are rounded to their vectors.
#include "micro/vectors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/random.h"
#include "numerics/scale.h"

namespace pith {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 3;
}

// Rows of very different deviations, and inputs that resemble each other.
struct Layer {
  int64_t rows, width;
  std::vector<double> weights, hessian;
  RoundProblem problem(double lambda) const {
    RoundProblem p;
    p.rows = rows, p.row_length = width, p.weights = weights, p.hessian = hessian, p.lambda = lambda, p.shape = {width, 1};
    return p;
  }
};

Layer layer(Random& random, int64_t rows, int64_t width) {
  Layer l{rows, width, {}, std::vector<double>(static_cast<size_t>(width * width))};
  for (int64_t r = 0; r < rows; ++r) {
    const double size = std::exp2(random.uniform(-4, 1));
    for (int64_t k = 0; k < width; ++k) l.weights.push_back(size * random.normal());
  }
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t k = 0; k < width; ++k) l.hessian[static_cast<size_t>(i * width + k)] = std::pow(0.8, std::abs(static_cast<double>(i - k)));
  }
  return l;
}

double distortion(const Layer& l, const Rounded& r) {
  double sum = 0;
  for (int64_t o = 0; o < l.rows; ++o) {
    std::vector<double> e;
    for (int64_t k = 0; k < l.width; ++k) e.push_back(l.weights[static_cast<size_t>(o * l.width + k)] - r.integers[static_cast<size_t>(o * l.width + k)] * numerics::scale_value(r.scale_codes[static_cast<size_t>(o)]));
    for (int64_t i = 0; i < l.width; ++i) {
      for (int64_t k = 0; k < l.width; ++k) sum += e[static_cast<size_t>(i)] * e[static_cast<size_t>(k)] * l.hessian[static_cast<size_t>(i * l.width + k)];
    }
  }
  return sum;
}

double power(const Layer& l) {
  Rounded nothing;
  nothing.integers.assign(l.weights.size(), 0);
  nothing.scale_codes.assign(static_cast<size_t>(l.rows), 0);
  return distortion(l, nothing);
}

TEST(VectorBooks, WhatIsLostIsWhatItSays) {
  Random random(seed());
  for (int64_t width : {30, 45, 7}) {  // runs end in the middle of a vector
    const Layer l = layer(random, 48, width);
    VectorBooks books;
    books.learn_from(l.weights, l.width);
    for (double bits : {1.0, 2.0, 3.0}) {
      const auto r = books.round(l.problem(1e-6), bits);
      ASSERT_TRUE(r.ok());
      ASSERT_EQ(r->integers.size(), l.weights.size());
      EXPECT_NEAR(distortion(l, *r), r->distortion, 1e-9 * power(l)) << "PITH_SEED=" << seed();
      // the squared error of a normal distribution is at least 2^-2R of its power
      EXPECT_LT(r->distortion, power(l) * 2.4 * std::exp2(-2 * bits + 0.4)) << bits;
      const coding::CodedRows rows{8, l.rows, l.width, r->integers, r->scale_codes, {l.width, 1}};
      size_t bytes = 1u << 30;
      for (int length : {2, 4, 8}) {
        const auto book = coding::book_of(rows, length);
        if (book) bytes = std::min(bytes, coding::encode_vectors(rows, *book, true, false)->size());
      }
      EXPECT_LT(8.0 * static_cast<double>(bytes), r->bits + 8.0 * 60) << "the stream is as long as was reckoned";
    }
  }
}

TEST(VectorBooks, WeightsAfterARunMakeUpForIt) {
  Random random(seed());
  const Layer l = layer(random, 32, 64);
  Layer alone = l;  // without what inputs have in common, errors aren't made up for
  alone.hessian = std::vector<double>(64, 1.0);
  VectorBooks books;
  books.learn_from(layer(random, 600, 64).weights, 64);
  const auto together = books.round(l.problem(1e-9), 2), apart = books.round(alone.problem(1e-9), 2);
  ASSERT_TRUE(together.ok() && apart.ok());
  EXPECT_LT(together->distortion, 0.75 * distortion(l, *apart));
}

TEST(VectorBooks, ABookIsPaidForOnce) {
  Random random(seed());
  const Layer l = layer(random, 16, 32);
  VectorBooks books;
  books.learn_from(l.weights, l.width);
  const auto first = books.round(l.problem(1e-9), 2);
  const auto unkept = books.round(l.problem(1e-9), 2);
  EXPECT_EQ(first->bits, unkept->bits);
  books.keep();
  const auto again = books.round(l.problem(1e-9), 2);
  EXPECT_LT(again->bits + 8 * 60, first->bits);
  EXPECT_TRUE(VectorBooks().round(l.problem(1e-9), 2)->integers.empty()) << "nothing was learnt from";
}

}  // namespace
}  // namespace pith
