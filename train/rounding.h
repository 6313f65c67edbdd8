// Activations as their codes: clamped, rounded, and gradients that see the clamping only.
//
// Why: as libtorch operators, a bounded function and its rounding are seven walks over what a layer makes, and seven more
// for the gradient, which took more time than the convolutions between them. Method: one walk each way, with a
// byte an element between them that says whether the gradient passes (Bengio et al. 2013).
#pragma once

#include "train/torch.h"
#include "train/trainer.h"

namespace pith::train {

// The codes of an 8-bit tensor: multiples of a step between two ends. `bits` below 8: a picture (batch x channels x rows x
// columns) that waits in coded form, in rows of so many bits a value; what comes is what is then decoded.
struct Codes {
  numerics::Affine affine;
  double bits = 8;
  Recode recode;  // none: ir/recode.h
  std::vector<uint8_t> lifting = {};
};

// f(x), rounded to codes. Error-free for every function that apply_function() knows.
at::Tensor rounded(const ir::Activation& f, const at::Tensor& x, const Codes& codes);

}  // namespace pith::train
