// Batches of augmented samples with the teacher's answers. Internal to train/.
//
// A sample has a fixed number of augmented variants, each drawn from (seed, sample, variant), so that the teacher answers
// each once; its answers are kept where they fit into a gigabyte.
#pragma once

#include "train/network.h"
#include "train/trainer.h"

namespace pith::train {

struct Batch {
  at::Tensor inputs;
  std::vector<at::Tensor> answers;  // the teacher's, batch first
  at::Tensor labels;                // undefined without
};

class Batches {
 public:
  static Result<Batches> create(const ir::Graph& teacher, Dataset data, const TrainOptions& options);
  Batch at_step(int64_t step);
  at::Tensor probe() const;  // a few samples as they are
  int64_t count() const { return count_; }

 private:
  at::Tensor augmented(int64_t sample, int64_t variant) const;
  int64_t sample_at(int64_t position);

  Network teacher_;
  TrainOptions options_;
  Dataset data_;
  at::Tensor all_;
  int64_t count_ = 0;
  std::vector<at::Tensor> kept_;  // by output, [samples * variants, elements]; empty: not kept
  std::vector<bool> known_;
  std::vector<int64_t> order_;    // of the epoch that was asked for last
  int64_t epoch_ = -1;
};

}  // namespace pith::train
