// What a fusion pass works with: who makes a value, who reads it, and the few edits that passes need. Nodes keep their
// index until finish(), which puts inserted nodes in place and drops the dead.
//
//   Rewriter r(graph);
//   for (size_t i = 0; i < r.size(); ++i) if (...pattern ending in r.node(i)...) r.replace(i, Op::kSilu, {x});
//   return r.finish();
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "importers/onnx/builder.h"
#include "ir/graph.h"

namespace pith::importers {

class Rewriter {
 public:
  explicit Rewriter(ir::Graph& graph);

  size_t size() const { return dead_.size(); }
  const ir::Node& node(size_t i) const { return graph.nodes[i]; }
  bool is_dead(size_t i) const { return dead_[i]; }

  // ---- asking ----
  const ir::Node* maker(ir::ValueId id) const;                // nullptr for inputs, constants, and values inserted by this pass
  const ir::Node* maker(ir::ValueId id, ir::Op op) const;     // when it is a plain `op` without activation, and `id` its first result
  int maker_index(ir::ValueId id) const { return id < static_cast<ir::ValueId>(maker_.size()) && id >= 0 ? maker_[static_cast<size_t>(id)] : -1; }
  bool sole(ir::ValueId id) const;                            // one operand reads it and it is no output or state
  const ir::Tensor* content(ir::ValueId id) const;            // of a constant
  std::optional<double> scalar(ir::ValueId id) const;         // of a constant with one element
  bool is_scalar(ir::ValueId id, double value, double tolerance = 1e-6) const;  // relative tolerance
  const ir::Shape& shape(ir::ValueId id) const { return graph.value(id).shape; }
  int64_t rank(ir::ValueId id) const { return static_cast<int64_t>(shape(id).size()); }
  bool is_real(ir::ValueId id) const { return graph.value(id).dtype == ir::DType::kF32; }

  // node(...) of two operands, one of them a scalar constant: the other operand and the constant.
  struct Scaled { ir::ValueId x; double c; };
  std::optional<Scaled> with_scalar(const ir::Node* node) const;          // either side
  std::optional<Scaled> with_right_scalar(const ir::Node* node) const;    // the second operand

  // ---- editing ----
  // Node i becomes another one with the same (first) result, whose type must stay. False, and nothing changed, when it doesn't.
  bool replace(size_t i, ir::Op op, std::vector<ir::ValueId> inputs, Attributes attributes = {}, ir::Activation activation = {});
  // A new node before node i (folded when its operands are constant); kNoValue when its operands don't fit.
  ir::ValueId insert(size_t i, ir::Op op, std::vector<ir::ValueId> inputs, Attributes attributes = {});
  ir::ValueId constant(const std::string& name, ir::Tensor tensor);  // the name gets a unique suffix
  // Everything that reads node i's result reads `other` (of the same type) instead. False when both must keep their names.
  bool bypass(size_t i, ir::ValueId other);
  // `successor`, the only reader of node i's result, dies and node i makes its result instead.
  void absorb(size_t i, size_t successor);
  ir::Node& edit(size_t i) { return ++changes_, graph.nodes[i]; }  // attributes and activation only

  // Applies everything; the number of edits.
  int finish();

  ir::Graph& graph;

 private:
  void release(const ir::Node& node);
  void retain(const ir::Node& node);
  void kill(size_t i);

  std::vector<int> maker_;   // node index of a value, -1 = none
  std::vector<int> uses_;    // operands, outputs and states that name a value
  std::vector<bool> pinned_; // graph inputs, outputs, states
  std::vector<bool> dead_;
  std::map<size_t, std::vector<ir::Node>> inserted_;
  int changes_ = 0;
};

// The fusion passes; each returns the number of edits. In the order in which they run (fuse.cpp).
int simplify(ir::Graph& graph);
int flatten_transposes(ir::Graph& graph);
int fold_constants(ir::Graph& graph);
int share_common(ir::Graph& graph);
int strip_quantization(ir::Graph& graph);
int fuse_activation_forms(ir::Graph& graph);
int fuse_normalization(ir::Graph& graph);
int fuse_rotary(ir::Graph& graph);
int fuse_attention(ir::Graph& graph);
int fuse_shuffle(ir::Graph& graph);
int fuse_einsum(ir::Graph& graph);
int fuse_padding(ir::Graph& graph);
int fuse_linear(ir::Graph& graph);
int absorb_activations(ir::Graph& graph);

}  // namespace pith::importers
