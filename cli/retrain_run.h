// What every retraining run shares: options out of flags, Ctrl-C, and progress. Only in the program with libtorch.
#pragma once

#include <atomic>
#include <chrono>

#include "cli/retrain.h"
#include "train/trainer.h"

namespace pith::cli {

// The flags that concern every network; what the answers are is left to the caller.
Result<train::TrainOptions> train_options(const RetrainFlags& flags, uint64_t seed);

// Ctrl-C asks the training to end with what it has; the handler from before is put back.
class StopOnInterrupt {
 public:
  StopOnInterrupt();
  ~StopOnInterrupt();

 private:
  void (*before_)(int);
};
const std::atomic<bool>& stop_asked();

// What the result was chosen by, where something was held apart.
void tell_choice(const train::Status& status);

// Progress: one line that is redrawn on a terminal, else a line now and then.
class Teller {
 public:
  void operator()(const train::Status& status);

 private:
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  double told_ = -1e9, first_ = -1;
};

}  // namespace pith::cli
