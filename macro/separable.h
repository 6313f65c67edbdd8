// Separable forms: a k x k convolution as a k x 1 and a 1 x k one, or as a depthwise and a pointwise one.
//
// Why: the two need r (k C + k O) or C (k k + O) multiply-accumulates a position where the whole needs k k C O, and keep the sight
// of a k x k window. Method: the first convolution's filters are directions of what the window's parts hold (its columns, or its
// channels), those that matter most for the results on these inputs: eigenvectors of K' W' S S W K, K K' the parts' covariance
// and S the square roots of what errors of the rows cost (Jaderberg et al., arXiv 1405.3866, have the form; the inputs' part
// is as in low_rank.h). The second is what least squares makes of everything that the first puts out, all parts together:
// B = W C L' (L C L')^-1, L the first one's filters as rows over the window and C its covariance; what is lost is
// tr S (W C W' - B L C W') S, and its mean goes into the bias.
#pragma once

#include <optional>
#include <vector>

#include "ir/geometry.h"
#include "ir/side_by_side.h"

namespace pith {

// What a product's split needs to know of it.
struct SplitProduct {
  ir::ProductRows rows;
  std::vector<double> weights;  // rows in the file's order
  std::vector<double> scale;    // S
};

// Two products in place of one.
struct Factors {
  ir::Tensor first;
  ir::Shape second_shape;
  std::map<std::string, ir::Attribute> first_attributes, second_attributes;
  int64_t parts = 1;             // features that one row of the first gives, neighbours
  std::vector<double> features;  // by row, then by part: rows over all that the whole product reads, features x width
  std::vector<double> mix;       // outputs x features: the second product

  ir::Tensor second() const;
  std::vector<double> together(const ir::ProductRows& rows) const;  // what both come to, outputs x width
  // The mix that brings the student's results nearest to the original's, on what each of them reads.
  void refit(const SplitProduct& product, const ir::ReadMoments& moments, double damping);
};

class Separable {
 public:
  enum class Kind { kColumnsRows, kDepthwise };
  // Nothing where the product is no such convolution, or the form takes as many operations at every rank. `c`: width x width.
  static Result<std::optional<Separable>> make(Kind kind, const SplitProduct& product, std::span<const double> c, const std::array<ir::Window, 2>& window);

  // The most filters of the first convolution that still save operations; a depthwise one has one for each channel, and only that.
  int64_t most() const { return most_; }
  bool any_rank() const { return kind_ == Kind::kColumnsRows; }
  // Of the whole product's multiply-accumulates and weights; what the results lose.
  double macs_share(int64_t rank) const;
  double weights_share(int64_t rank) const;
  double loss(int64_t rank) const;
  Factors factors(int64_t rank) const;

 private:
  Kind kind_ = Kind::kDepthwise;
  const SplitProduct* product_ = nullptr;
  std::array<ir::Window, 2> window_;
  int64_t most_ = 0, parts_ = 1;     // parts: features that one filter gives, neighbours
  std::vector<double> filters_;      // by filter, over a part
  std::vector<double> factor_;       // Cholesky's of L C L'
  std::vector<double> projected_;    // features x outputs: its inverse times L C W' S
  double energy_ = 0;                // tr S W C W' S

  int64_t part() const { return product_->rows.width / (kind_ == Kind::kDepthwise ? product_->rows.depth : parts_); }
  int64_t element(int64_t feature, int64_t i) const;
  int64_t features(int64_t rank) const { return rank * parts_; }
  Result<void> find_filters(std::span<const double> c);
  bool project(std::span<const double> c);
};

}  // namespace pith
