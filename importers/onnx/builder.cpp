// See builder.h.
#include "importers/onnx/builder.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/interpret.h"
#include "ir/work.h"

namespace pith::importers {

using ir::Op;
using ir::Tensor;
using ir::ValueId;

namespace {
constexpr int64_t kMostFoldedWork = int64_t{1} << 32;  // of one node (ir/work.h)
constexpr int64_t kWorkPerByte = 8;                    // work takes from the limit too: few bytes may need much of it
}  // namespace

void Builder::begin(const std::string& name) { name_ = name; }

std::string Builder::unique(const std::string& wanted) {
  const std::string base = wanted.empty() ? "value" : wanted;
  std::string name = base;
  while (!names_.insert(name).second) name = fmt::format("{}_{}", base, ++suffixes_[base]);
  return name;
}

const Tensor* Builder::content(ValueId id) const {
  if (id == ir::kNoValue) return nullptr;
  const auto& constant = graph.value(id).constant;
  return constant ? &*constant : nullptr;
}

ValueId Builder::constant(Tensor tensor, const std::string& name) {
  ir::Value v;
  v.name = unique(name.empty() ? name_ + "/constant" : name);
  v.dtype = tensor.dtype();
  v.shape = tensor.shape();
  v.constant = std::move(tensor);
  return graph.add_value(std::move(v));
}

ValueId Builder::input(const std::string& name, ir::DType dtype, ir::Shape shape) {
  ir::Value v;
  v.name = unique(name);
  v.dtype = dtype;
  v.shape = std::move(shape);
  const ValueId id = graph.add_value(std::move(v));
  graph.inputs.push_back(id);
  return id;
}

void Builder::rename(ValueId id, const std::string& name) {
  ir::Value& v = graph.value(id);
  if (name.empty() || v.name == name) return;
  names_.erase(v.name);
  v.name = unique(name);
}

Result<ValueId> Builder::reshape(ValueId id, const ir::Shape& shape) {
  if (this->shape(id) == shape) return id;
  Attributes attributes{{"shape", shape}};
  if (std::count(shape.begin(), shape.end(), 0) != 0) attributes["allowzero"] = int64_t{1};
  return add(Op::kReshape, {id}, std::move(attributes));
}

Result<ValueId> Builder::cast(ValueId id, ir::DType dtype) {
  if (this->dtype(id) == dtype) return id;
  return add(Op::kCast, {id}, {{"to", std::string(ir::dtype_name(dtype))}});
}

Result<ValueId> Builder::add(Op op, std::vector<ValueId> inputs, Attributes attributes) {
  PITH_TRY(const std::vector<ValueId> ids, add_many(op, std::move(inputs), std::move(attributes), {true}));
  return ids[0];
}

Result<std::vector<ValueId>> Builder::add_many(Op op, std::vector<ValueId> inputs, Attributes attributes,
                                               const std::vector<bool>& wanted) {
  ir::Node node;
  node.op = op;
  node.name = name_;
  node.inputs = std::move(inputs);
  while (!node.inputs.empty() && node.inputs.back() == ir::kNoValue) node.inputs.pop_back();
  node.attributes = std::move(attributes);
  const size_t first = graph.values.size();
  for (size_t i = 0; i < wanted.size(); ++i) {
    ir::Value v;
    if (i == 0 || wanted[i]) v.name = unique(fmt::format("{}/{}", name_, ir::op_name(op)));
    node.outputs.push_back(i == 0 || wanted[i] ? graph.add_value(std::move(v)) : ir::kNoValue);
  }
  while (node.outputs.back() == ir::kNoValue) node.outputs.pop_back();
  Result<void> done = ir::infer_shapes(graph, node);
  const bool foldable = !node.inputs.empty() && std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
    return id == ir::kNoValue || graph.value(id).is_constant();
  });
  if (done.ok() && foldable) {
    done = fold(node);
  } else if (done.ok()) {
    graph.nodes.push_back(node);
  }
  node.outputs.resize(wanted.size(), ir::kNoValue);
  if (done.ok()) return node.outputs;
  while (graph.values.size() > first) {
    names_.erase(graph.values.back().name);
    graph.values.pop_back();
  }
  return done.error();
}

Result<void> Builder::fold(const ir::Node& node) {
  int64_t bytes = 0;
  for (const ValueId id : node.outputs)
    if (id != ir::kNoValue) bytes += ir::element_count(shape(id)) * static_cast<int64_t>(ir::dtype_bytes(dtype(id)));
  const int64_t work = ir::work(graph, node);
  if (bytes > bytes_left_ || work > kMostFoldedWork || work / kWorkPerByte > bytes_left_ - bytes)
    return error(ErrorCode::kUnsupported, fmt::format("its constant result of {} bytes and {} steps is beyond the limit for constant folding; "
                                                      "simplify the model", bytes, work));
  bytes_left_ -= bytes + work / kWorkPerByte;
  std::vector<const Tensor*> operands;
  for (const ValueId id : node.inputs) operands.push_back(content(id));
  PITH_TRY(std::vector<Tensor> results, ir::interpret_node(graph, node, operands));
  for (size_t i = 0; i < node.outputs.size() && i < results.size(); ++i) {
    if (node.outputs[i] == ir::kNoValue) continue;
    ir::Value& v = graph.value(node.outputs[i]);
    v.dtype = results[i].dtype();
    v.shape = results[i].shape();
    v.constant = std::move(results[i]);
  }
  return {};
}

}  // namespace pith::importers
