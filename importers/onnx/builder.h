// Grows an ir::Graph node by node: shapes are inferred as a node is added, and a node whose operands are all constant is
// computed at once and leaves only its result. So shape arithmetic (Shape, Gather, Concat, Reshape ...) never reaches the
// graph, and whoever adds nodes sees static shapes and constant contents.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace pith::importers {

using Attributes = std::map<std::string, ir::Attribute>;

class Builder {
 public:
  // Folding stops with an error when the folded constants take more than `most_constant_bytes` in all.
  explicit Builder(int64_t most_constant_bytes) : bytes_left_(most_constant_bytes) {}

  // Nodes and values added from now on are named after `name` ("", when the model names nothing).
  void begin(const std::string& name);

  // Adds a node (or its folded results). Errors: kUsage from shape inference, kUnsupported when the limit for constants is met.
  Result<ir::ValueId> add(ir::Op op, std::vector<ir::ValueId> inputs, Attributes attributes = {});
  // With several outputs; one that isn't `wanted` becomes kNoValue (the first is always made).
  Result<std::vector<ir::ValueId>> add_many(ir::Op op, std::vector<ir::ValueId> inputs, Attributes attributes,
                                            const std::vector<bool>& wanted);

  ir::ValueId constant(ir::Tensor tensor, const std::string& name = "");
  ir::ValueId scalar(float v) { return constant(ir::Tensor::f32({}, {v})); }
  ir::ValueId input(const std::string& name, ir::DType dtype, ir::Shape shape);
  // Gives a value the model's own name; a name that is taken gets a suffix.
  void rename(ir::ValueId id, const std::string& name);

  // The id of `id`'s values under another shape of the same element count; `id` itself when it has that shape already.
  Result<ir::ValueId> reshape(ir::ValueId id, const ir::Shape& shape);
  Result<ir::ValueId> cast(ir::ValueId id, ir::DType dtype);

  const ir::Shape& shape(ir::ValueId id) const { return graph.value(id).shape; }
  int64_t rank(ir::ValueId id) const { return static_cast<int64_t>(shape(id).size()); }
  ir::DType dtype(ir::ValueId id) const { return graph.value(id).dtype; }
  const ir::Tensor* content(ir::ValueId id) const;  // a constant's tensor, otherwise nullptr
  ir::ValueId next_id() const { return static_cast<ir::ValueId>(graph.values.size()); }

  ir::Graph graph;

 private:
  std::string unique(const std::string& wanted);
  Result<void> fold(const ir::Node& node);

  std::string name_;
  std::set<std::string> names_;
  std::map<std::string, int> suffixes_;
  int64_t bytes_left_;
};

}  // namespace pith::importers
