// Walks a model's nodes in order and adds what they mean to a Builder.
//
// Why one walk: once every input has a static shape and constants are folded as they arise, a branch with a constant
// condition is just a walk of the taken branch, a loop with a constant trip count a repeated walk, a local function a walk
// of its body, a sequence a list known at import. A node that can't be translated is noted and its outputs become
// unknown; nodes that only depend on unknown values are checked for being known operators and passed over, so that one
// run finds every offending node.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "importers/onnx/builder.h"
#include "importers/onnx/source.h"

namespace pith::importers {

// What a name of the model stands for.
struct Operand {
  enum class Kind { kOmitted, kTensor, kSequence, kUnknown };
  Kind kind = Kind::kOmitted;
  ir::ValueId id = ir::kNoValue;
  std::shared_ptr<const std::vector<ir::ValueId>> items;  // of a sequence
  int32_t element_type = kUndefined;                      // ONNX's type before widening, where it is known
  std::string refusal;                                    // an unknown operand's own reason; "" = a failed node made it
};

struct Scope {
  const Scope* parent = nullptr;
  std::map<std::string, Operand> names;
  const std::map<std::string, int64_t>* opsets = nullptr;
  const std::map<std::string, SourceAttribute>* attributes = nullptr;  // what a function was called with
  std::string prefix;                                                  // of node names
  int depth = 0;

  const Operand* find(const std::string& name) const;
};

struct Refusal {
  std::string node, op, reason;
  ErrorCode code = ErrorCode::kUnsupported;
};

class Translator {
 public:
  // Expanding functions, branches and loops stops after `most_nodes`.
  Translator(const SourceModel& model, Builder& builder, int64_t most_nodes) : builder(builder), model_(model), nodes_left_(most_nodes) {}

  // Walks nodes; what they produce goes into `scope`. Failures are noted in `refusals`; an error is returned only when the
  // walk itself must stop (recursion, budget).
  Result<void> walk(const std::vector<SourceNode>& nodes, Scope& scope);

  // Walks a subgraph with its formal inputs bound to `inputs`; its outputs in order.
  Result<std::vector<Operand>> walk_graph(const SourceGraph& graph, const Scope& outer, const std::string& name,
                                          const std::vector<Operand>& inputs);
  void add_initializers(const SourceGraph& graph, Scope& scope);

  Builder& builder;
  std::vector<Refusal> refusals;

 private:
  Result<void> visit(const SourceNode& node, Scope& scope);
  Result<void> call(const SourceFunction& function, const SourceNode& node, Scope& scope, const std::vector<Operand>& inputs);
  const SourceFunction* function(const SourceNode& node) const;
  void refuse(const SourceNode& node, const Scope& scope, const Error& why);
  void bind_outputs(const SourceNode& node, Scope& scope, const std::vector<Operand>& outputs);

  const SourceModel& model_;
  int64_t nodes_left_;
};

// One error from all refusals: kUnsupported if any part is unsupported, kUsage when all are mistakes in the file.
Error one_error(const std::vector<Refusal>& refusals);

}  // namespace pith::importers
