// See loss.h. The divergence is Hinton et al., "Distilling the knowledge in a neural network", 2015: softened by a
// temperature, and multiplied by its square so that gradients keep their size.
#include "train/loss.h"

namespace pith::train {
namespace {

// Of the square of how far all logits of a row have risen together. No answer shows it, so nothing else would hold them where
// they were, and in a long training they drift off, whose larger range then costs them resolution.
constexpr double kRise = 0.01;

at::Tensor divergence(const at::Tensor& student, const at::Tensor& teacher, double temperature) {
  const at::Tensor expected = at::softmax(teacher / temperature, -1);
  const at::Tensor per_row = (expected * (at::log_softmax(teacher / temperature, -1) - at::log_softmax(student / temperature, -1))).sum(-1);
  return per_row.mean() * (temperature * temperature);
}

}  // namespace

at::Tensor relative_error(const at::Tensor& student, const at::Tensor& teacher) { return (student - teacher).square().mean() / (teacher.var(false) + 1e-12); }

at::Tensor output_distortion(const TrainOptions& options, const std::vector<bool>& probabilities, const std::vector<at::Tensor>& student, const std::vector<at::Tensor>& teacher,
                             const at::Tensor& labels) {
  const auto logits = [&](size_t k, const at::Tensor& t) { return probabilities[k] ? at::log(t.clamp_min(1e-7)) : t; };
  at::Tensor sum = at::zeros({});
  for (size_t k = 0; k < student.size(); ++k) {
    if (options.distribution) {
      sum = sum + divergence(logits(k, student[k]), logits(k, teacher[k]), options.temperature);
      if (!probabilities[k]) sum = sum + kRise * (student[k].mean(-1) - teacher[k].mean(-1)).square().mean();
    } else if (options.logistic) {  // most places say a clear no, whose exact size matters little
      sum = sum + relative_error(at::sigmoid(student[k]), at::sigmoid(teacher[k])) + 0.2 * relative_error(student[k], teacher[k]);
    } else {
      sum = sum + relative_error(student[k], teacher[k]);
    }
  }
  if (options.label_weight > 0 && labels.defined() && labels.numel() * student[0].size(-1) == student[0].numel()) {
    const at::Tensor rows = logits(0, student[0]).reshape({labels.numel(), -1});
    sum = sum + options.label_weight * at::nll_loss(at::log_softmax(rows, -1), labels, {}, at::Reduction::Mean, kNoLabel);
  }
  return sum;
}

}  // namespace pith::train
