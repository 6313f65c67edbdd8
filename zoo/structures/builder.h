// Quantised graphs, layer by layer.
#pragma once

#include "base/random.h"
#include "ir/graph.h"
#include "zoo/structures/structures.h"

namespace pith::zoo {

inline constexpr numerics::Affine kMeaning{-64, 128};  // of every activation: steps of 1/16 around zero

class Builder {
 public:
  Builder(std::string name, const StructureOptions& options);

  ir::ValueId input(ir::Shape shape);
  ir::ValueId node(ir::Op op, std::vector<ir::ValueId> inputs, std::map<std::string, ir::Attribute> attributes = {});
  // Convolution with `same` padding unless told, and an activation function.
  ir::ValueId conv(ir::ValueId x, int64_t outputs, int64_t kernel, int64_t stride = 1, numerics::Unary function = numerics::Unary::kIdentity, double a = 0, int64_t groups = 1,
                   int64_t pad = -1);
  ir::ValueId dense(ir::ValueId x, int64_t outputs, numerics::Unary function = numerics::Unary::kIdentity);
  ir::ValueId add(ir::ValueId a, ir::ValueId b, numerics::Unary function = numerics::Unary::kIdentity);
  ir::ValueId concat(std::vector<ir::ValueId> parts) { return node(ir::Op::kConcat, std::move(parts), {{"axis", int64_t{1}}}); }
  ir::ValueId upsample(ir::ValueId x);
  ir::ValueId max_pool(ir::ValueId x, int64_t kernel, int64_t stride);
  ir::ValueId layer_norm(ir::ValueId x);
  // Whole numbers from outside, and real values between nodes, as ONNX has them.
  ir::ValueId whole_input(const std::string& name, ir::Shape shape);
  ir::ValueId real_node(ir::Op op, std::vector<ir::ValueId> inputs, std::map<std::string, ir::Attribute> attributes = {});
  // Constant codes of one scale: zero except with probability `density`; of 8 bits around `middle`.
  ir::ValueId sparse_table(ir::Shape shape, int16_t scale_code);
  ir::ValueId parameters(int64_t count, int middle, int16_t scale_code);
  const ir::Shape& shape(ir::ValueId id) const { return graph.value(id).shape; }

  ir::Graph graph;
  Result<void> failure;  // the first; build_structure returns it

 private:
  ir::ValueId weighted(ir::Op op, ir::ValueId x, ir::Shape weights, std::map<std::string, ir::Attribute> attributes, numerics::Unary function, double a);
  StructureOptions options_;
  Random random_;
};

}  // namespace pith::zoo
