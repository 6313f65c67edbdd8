// Calibration: the distribution of every activation over unlabelled samples, and 8-bit ranges chosen from it.
//
// Each value gets a histogram of fixed size whose range doubles as larger magnitudes arrive, so that one pass over the
// samples is enough. Ranges: minimum and maximum, a percentile, or the least squared error of rounding and clipping (the
// default). Where a function such as SiLU follows, what is clipped counts kClipped times: rounding is lost where the function
// is flat, so that the least error alone would clip the strongest answers of a layer. Eight is where YOLOv5n's boxes stay
// closest; without a function behind, the least error is best (networks of ReLU answer as their originals more often).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "ir/interpret.h"
#include "micro/moments.h"

namespace pith {

enum class RangeMethod { kMinMax, kPercentile, kMse };

class Histogram {
 public:
  static constexpr int kBins = 4096;  // over [-range, range]
  static constexpr double kClipped = 8;
  // `stream`: what is added are moments of one stream, which differ in loudness; each counts relative to its own.
  void add(std::span<const float> values, bool stream = false);
  double minimum() const { return minimum_; }
  double maximum() const { return maximum_; }
  double count() const { return count_; }
  bool saw_nan() const { return nan_; }
  // The 8-bit meaning that represents this distribution best; zero is always representable. With kMse and a `function`,
  // which is all that reads the values, its results are what is represented best: codes for where SiLU is flat are wasted.
  numerics::Affine choose(RangeMethod method, double percentile, const ir::Activation* function = nullptr) const;
  // Power over that of rounding and clipping, in dB.
  double signal_to_noise(numerics::Affine a) const;
  // Share of the mass that an affine clips.
  double clipped(numerics::Affine a) const;

 private:
  struct Seen {  // a bin that isn't empty: how much, its middle, what the function makes of it, and the square of its slope there
    double count, x, y, slope2;
  };
  std::vector<Seen> seen(const ir::Activation* function) const;
  static double error(const std::vector<Seen>& seen, numerics::Affine a, const ir::Activation* function, double clipped);
  void widen(double magnitude);
  double vote(double power);
  std::vector<double> bins_;
  double range_ = 0, minimum_ = 0, maximum_ = 0, count_ = 0, log_power_ = 0, voices_ = 0;
  bool nan_ = false;
};

struct Calibration {
  std::vector<Histogram> values;                        // by value id; empty histograms for constants
  std::map<ir::ValueId, std::vector<double>> channel_means;  // of inputs of weighted nodes, along their channel axis
  // of products with short rows of weights, by (input, weights)
  std::map<std::pair<ir::ValueId, ir::ValueId>, PatchMoments> patches;
  int64_t samples = 0;
};

// Runs the float graph over the samples (each: one tensor per graph input). Where the graph has state, the samples are
// taken to follow each other: only the first one's state is used, later runs begin with what the run before left. Errors: NaN in an activation names the node.
Result<Calibration> calibrate(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples);

// The axis along which a weighted node's input has its channels: 1 for convolutions, the last for products.
int channel_axis(const ir::Node& n, size_t rank);
bool is_weighted(const ir::Graph& graph, const ir::Node& n);  // Conv, ConvTranspose, Gemm, MatMul with constant weights

}  // namespace pith
