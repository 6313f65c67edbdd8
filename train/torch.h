// The one place that includes libtorch: tensors and autograd, none of torch::nn or torch::optim, so that both Debian's 1.13
// and current releases serve and a translation unit stays cheap (it is the precompiled header of train/).
#pragma once

#include <torch/types.h>
#include <torch/utils.h>
