// Rounding a row to the paths of a trellis (coding/decode/trellis.h): which path is nearest for its bits.
//
// Method: Viterbi's algorithm over the eight states (1967). Each state keeps one survivor, with its own errors, which the
// weights after it make up for (round.h), and with its own neighbours, under which its next index is priced. The adaptive
// code itself learns only what is settled, so many weights at a time, once the survivors have gone on a little further and
// mostly agree on them; what it foretells of weights ahead is a little old by then.
#pragma once

#include <array>
#include <vector>

#include "coding/encode/weights.h"
#include "micro/feedback.h"
#include "micro/levels.h"

namespace pith {

class TrellisSearch {
 public:
  explicit TrellisSearch(int64_t row_length);

  struct Prices {
    double step = 1, lambda = 0;  // of the multiples; of a bit, in squared error of the product
    int limit = 63;               // indices are at most so large
    const LevelSizes* sizes = nullptr;  // of multiples, in steps
  };
  // `row` holds the indices of the row before and then those of this one, `w` the weights, which move. The model and the meter take the row's
  // code in, `sums` what multiples got; returns the distortion.
  double row(coding::MixedRows& model, coding::BitMeter& meter, int8_t* row, std::vector<double>& w, const Prices& prices, const Feedback& feedback, LevelSums& sums);

 private:
  static constexpr int64_t kSettled = 64, kAhead = 24, kWindow = kSettled + kAhead;
  struct Survivor {
    double cost = 0;
    coding::MixedRows::Way way;
    std::array<double, kWindow> moved;  // the window's weights ahead, by errors so far
    std::vector<int8_t> row;
  };
  struct Choice {
    double cost = 0;
    int from = -1, index = 0;
    double error = 0;
  };
  using Step = std::array<Choice, coding::Trellis::kStates>;
  void extend(const coding::MixedRows& model, int64_t first, int64_t k, int64_t last, const std::vector<double>& w, const Prices& prices, const Feedback& feedback);
  void offer(Step& step, const coding::MixedRows& model, int from, int64_t k, double x, double cost, const Prices& prices) const;
  const Survivor& best() const;

  int64_t length_;
  std::vector<Survivor> now_, next_;
  std::array<bool, coding::Trellis::kStates> alive_{};
};

}  // namespace pith
