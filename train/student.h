// A student's trainable parameters, its weights as they are rounded, and the rate of their code. Internal to train/.
//
// Rounding: u = w / s, q = round(u), w' = q s with s on the file's grid 2^(code/16). Gradients pass straight through the
// rounding (Bengio et al. 2013), and reach the step as in LSQ (Esser et al., "Learned step size quantization", 2020).
// Activations are clamped to the range of their codes and rounded likewise; pictures that the file stores in coded form go
// through the very codec, which gradients don't see either (rounding.h).
//
// Rate: the adaptive coder's context sees neighbouring and preceding magnitudes, so its cost follows local density. The
// estimate: weight (o, i) is nonzero with probability p whose log-odds are those of its output channel plus those of its
// input channel less those of the tensor; magnitudes beyond 1 are geometric. That is
//
//     bits(q) = -log2(1 - p) for 0;  -log2 p + 1 (sign) + (|q| - 1) log2(1/theta) - log2(1 - theta) otherwise
//
// and its gradient is taken along the line through bits(0), bits(1), bits(2) at |u|. As a channel thins out, p falls and
// the next weight pays more: whole filters vanish without a separate group term (reweighted sparsity, Candes et al. 2008).
#pragma once

#include "train/network.h"
#include "train/rounding.h"
#include "train/trainer.h"

namespace pith::train {

struct TrainedWeight {
  ir::ValueId id, bias;  // bias may be kNoValue; a table that a product reads too (tied embeddings) is one weight
  std::string name;
  int axis = 0;               // of the output channels
  ir::ValueId result;         // of the product that the bias belongs to
  int channels = 1;           // its dimension (-1: the last)
  bool leaves = false;        // the bias stays where a row of weights is zero
  at::Tensor latent, log2_step;  // leaves; latent in units of `unit`
  at::Tensor unit;
  at::Tensor bias_latent, bias_unit;
  at::Tensor held, live;  // 0 where a weight is zero from the beginning, and by now; 1 elsewhere; undefined: nowhere
};

// Gains, shifts and the like: trained as they are.
struct TrainedFloats {
  ir::ValueId id;
  at::Tensor latent, unit;
};

class Student {
 public:
  static Result<Student> create(const Model& model, const std::vector<at::Tensor>& probe);

  // Rounded weights of this moment, for Hooks::constant, and their rate. Gradients flow to parameters().
  struct Forward {
    std::map<ir::ValueId, at::Tensor> constants;
    at::Tensor rate;      // surrogate with gradient, in bits
    double bits = 0;      // estimate of the code's length
    double nonzero = 0, count = 0;
  };
  Forward forward() const;
  // `teacher`: the original's values by name. What is compared is relative squared error, a mean over those values that
  // both networks have in the same shape. `apart`: each goes on with the original's value, so that every layer learns for
  // itself, from the original's inputs (layer-wise distillation).
  struct Comparison {
    const std::map<std::string, at::Tensor>* teacher = nullptr;
    bool apart = false;
    at::Tensor error;  // of the last run; undefined where nothing was compared
  };
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs, const Forward& f, Comparison* comparison = nullptr) const;

  // Moves biases so that every layer's results, before its function, have the means of the original's in each channel: layer
  // after layer in one run, each for what it reads by then. `means`: of the original on these inputs, by the results' names
  // (channel_means). Batch norms are folded into products before training; this is what re-estimating their means comes to.
  void recentre(const std::vector<at::Tensor>& inputs, const std::map<std::string, at::Tensor>& means);

  // Weights that are zero now stay zero, as those that the model holds do from the beginning.
  void freeze_zeros();
  std::vector<at::Tensor> masks() const;  // of the model and of freeze_zeros(), where there are any, for checkpoints

  struct Parameter {
    at::Tensor tensor;
    double rate;  // learning rate relative to the options' (weights, biases) or absolute for steps
    bool step;
  };
  const std::vector<Parameter>& parameters() const { return parameters_; }
  std::vector<at::Tensor> units() const;  // what the latents are multiples of
  Model model() const;

 private:
  Result<std::map<ir::ValueId, double>> magnitudes(const std::vector<at::Tensor>& probe) const;
  void add_weight(ir::ValueId id);
  // What flows on from f(x): its codes, where it has some.
  at::Tensor flowing(ir::ValueId id, const ir::Activation& f, const at::Tensor& x) const;

  Model model_;
  Network network_;
  std::vector<TrainedWeight> weights_;
  std::vector<TrainedFloats> floats_;
  std::vector<Parameter> parameters_;
  std::map<ir::ValueId, Codes> activations_;
};

// The dimension of a product's results in which its channels lie: 1 of convolutions, the last (-1) of others.
int channel_dimension(ir::Op product);
// The mean of each channel over samples and positions.
at::Tensor channel_means(const at::Tensor& result, int dimension);

}  // namespace pith::train
