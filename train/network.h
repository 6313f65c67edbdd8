// A verified float Graph as a differentiable program over batches.
//
// Why: a Graph has one sample's static shapes; training wants many samples at once and gradients. Method: every node is
// resolved once, at building, into a function on libtorch tensors. A sample's batch dimension (size 1 in the Graph) is
// followed through reshapes and transposes, and where it lies, the program carries the whole batch; a reshape that drops
// the dimension leaves a sample's rows together along the one after it. Semantics are the reference interpreter's; tests
// hold the two together.
//
// The caller sees and replaces tensors by hooks: `constant` gives a constant's tensor (a trained or quantised one),
// `value` what flows on instead of a computed value (a fake-quantised one). `result` may do both for a node's first result:
// its function, and what flows on instead; undefined where it leaves them to the others.
#pragma once

#include <functional>

#include "ir/graph.h"
#include "train/torch.h"

namespace pith::train {

// Where all tensors lie that are trained, or computed with: "cpu" (the default), "cuda" or "cuda:1". To be chosen before
// anything is built. Error kUsage where this libtorch has no such device.
Result<void> use_device(const std::string& name);
at::Tensor placed(const at::Tensor& t);            // there
// What libtorch threw while `doing`, in one line (its stack follows there): kUsage where memory ran out, else kInternal.
Error failure(const std::string& doing, const std::exception& e, SourceLocation where = SourceLocation::current());

at::Tensor to_torch(const ir::Tensor& t);          // copies, placed; f32 and integers
ir::Tensor from_torch(const at::Tensor& t);        // f32

struct Hooks {
  std::function<at::Tensor(ir::ValueId, const at::Tensor&)> constant, value;
  std::function<at::Tensor(ir::ValueId, const ir::Activation&, const at::Tensor&)> result;
};

class Network {
 public:
  // Error kUnsupported names the first node that has no differentiable form, or that mixes samples of a batch.
  static Result<Network> build(const ir::Graph& graph);

  // inputs: one per graph input, batch first (dimension 0 of each); integers as at::kLong. Returns graph.outputs, their
  // batch axis first; where the graph's output has none of its own, one is put before its dimensions.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs, const Hooks& hooks = {}) const;

  using Values = std::vector<at::Tensor>;
  using Step = std::function<Values(const Values&)>;

 private:
  struct Call {
    Step step;
    std::vector<ir::ValueId> inputs, outputs;
    ir::Activation activation;
  };
  std::vector<Call> calls_;
  std::vector<at::Tensor> constants_;  // by value id; undefined for computed values
  std::vector<int> last_use_;          // by value id, the call after which nobody reads it
  std::vector<int> axis_;              // by value id, the batch axis (-1: the same for all samples)
  std::vector<ir::ValueId> inputs_, outputs_;
  std::vector<int64_t> places_;        // by output, how many places of the batch axis are one sample's (mostly 1)
};

}  // namespace pith::train
