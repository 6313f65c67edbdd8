// Several processes that train one student, each on its own part of every batch. Internal to train/.
//
// Why: where one machine is not enough. Method: data-parallel on PyTorch's own engine, c10d with Gloo, or with NCCL where the
// network is trained on GPUs and libtorch and its headers are there: gradients are averaged over all processes before each update, so that every process holds the same student at every step and none
// leads. Who belongs together is said as torchrun says it (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).
#pragma once

#include <memory>

#include "train/torch.h"
#include "train/trainer.h"

namespace pith::train {

class Group {
 public:
  virtual ~Group() = default;
  // Replaces each by its mean over all processes; float, the same shapes in the same order everywhere. Throws c10::Error
  // where a process is gone.
  virtual void average(const std::vector<at::Tensor>& tensors) = 0;

  // Waits until all are there; use_device() comes before. Error kUnsupported where libtorch was found without the headers of
  // what that device needs.
  static Result<std::unique_ptr<Group>> join(const Place& place);
};

}  // namespace pith::train
