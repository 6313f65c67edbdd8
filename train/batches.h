// Batches of augmented samples with the teacher's answers. Internal to train/.
//
// A sample has a fixed number of augmented variants, each drawn from (seed, sample, variant), so that the teacher answers
// each once; its answers are kept where they fit into a gigabyte. They are not where pictures are mixed or values of its
// inside are wanted: then it runs at every step, and every epoch has variants of its own. Nor are they for samples that are
// drawn anew (text with other tokens masked).
//
// Mixing (Zhang et al., "mixup", 2018; for distillation: Beyer et al., "Knowledge distillation: a good teacher is patient
// and consistent", 2022): x = a x1 + (1 - a) x2 makes many samples of few, and the teacher says what they are.
#pragma once

#include <set>

#include "train/network.h"
#include "train/trainer.h"

namespace pith::train {

struct Batch {
  std::vector<at::Tensor> inputs;   // of the network, batch first
  std::vector<at::Tensor> answers;  // the teacher's, batch first
  at::Tensor labels;                // undefined without
  std::map<std::string, at::Tensor> values;  // the teacher's wanted ones by name
};

class Batches {
 public:
  static Result<Batches> create(const ir::Graph& teacher, Dataset data, const TrainOptions& options);
  // `wanted`: names of the teacher's values to hand over; null: none.
  Batch at_step(int64_t step, const std::set<std::string>* wanted = nullptr);
  std::vector<at::Tensor> probe() const;  // a few samples as they are
  // The teacher's channel means (student.h) on these inputs, of what its products make, by name.
  std::map<std::string, at::Tensor> means(const std::vector<at::Tensor>& inputs) const;
  // Samples that are never trained on, as they are, with the teacher's answers; none where too few are there.
  const std::vector<Batch>& validation() const { return validation_; }
  int64_t count() const { return count_; }

 private:
  Batch drawn(int64_t number) const;  // without answers
  at::Tensor augmented(int64_t sample, int64_t variant) const;
  int64_t sample_at(int64_t position);
  std::vector<at::Tensor> answers(const std::vector<int64_t>& keys);
  void teach(Batch& batch, const std::set<std::string>* wanted) const;
  at::Tensor mixed(const at::Tensor& x, int64_t step, std::vector<int64_t>& labels) const;

  Network teacher_;
  TrainOptions options_;
  Dataset data_;
  at::Tensor all_;
  std::vector<std::string> names_;  // of the teacher's values
  std::map<ir::ValueId, int> channels_;  // of its products' results: their channels' dimension
  std::vector<Batch> validation_;
  int64_t count_ = 0;
  std::vector<at::Tensor> kept_;  // by output, [samples * variants, elements]; empty: not kept
  std::vector<bool> known_;
  std::vector<int64_t> order_;    // of the epoch that was asked for last
  int64_t epoch_ = -1;
};

}  // namespace pith::train
