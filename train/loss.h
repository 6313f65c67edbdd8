// Distortions between the original's values and the student's. Internal to train/.
#pragma once

#include "train/torch.h"
#include "train/trainer.h"

namespace pith::train {

// Squared error over the variance of `teacher`.
at::Tensor relative_error(const at::Tensor& student, const at::Tensor& teacher);

// Of the outputs: Kullback-Leibler divergence at the options' temperature where they are distributions (`probabilities` by
// output: they come out of a Softmax, not as logits; those may not drift off together either), else relative squared error;
// cross-entropy with defined labels beside.
at::Tensor output_distortion(const TrainOptions& options, const std::vector<bool>& probabilities, const std::vector<at::Tensor>& student, const std::vector<at::Tensor>& teacher,
                             const at::Tensor& labels);

}  // namespace pith::train
