// Small ONNX models made in code, for tests and fuzzing: a SourceModel is filled in and written as an ONNX file's bytes.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "importers/onnx/source.h"

namespace pith::importers::testing {

// The bytes of an ONNX file; parse_model reads them back.
std::vector<uint8_t> write_model(const SourceModel& model);

using NamedAttributes = std::vector<std::pair<std::string, SourceAttribute>>;

inline SourceNode node(const std::string& op, std::vector<std::string> inputs, std::vector<std::string> outputs,
                       const NamedAttributes& attributes = {}) {
  SourceNode n;
  n.op = op;
  n.name = op + "_" + (outputs.empty() ? "" : outputs[0]);
  n.inputs = std::move(inputs);
  n.outputs = std::move(outputs);
  for (const auto& [name, value] : attributes) n.attributes[name] = value;
  return n;
}

// A tensor with a static shape.
inline SourceValue value(const std::string& name, const ir::Shape& shape = {}, int32_t type = kFloat) {
  SourceValue v;
  v.name = name;
  v.element_type = type;
  v.shape.emplace();
  for (const int64_t d : shape) v.shape->push_back({d, ""});
  return v;
}

inline SourceTensor tensor(const std::string& name, ir::Tensor t, int32_t type = kUndefined) {
  constexpr int32_t kTypes[] = {kFloat, kUint8, kInt8, kInt32, kInt64, kBool};  // in the order of ir::DType
  SourceTensor s;
  s.name = name;
  s.element_type = type != kUndefined ? type : kTypes[static_cast<size_t>(t.dtype())];
  s.tensor = std::move(t);
  return s;
}

inline SourceTensor integers(const std::string& name, const std::vector<int64_t>& v) {
  return tensor(name, ir::Tensor::i64({static_cast<int64_t>(v.size())}, v));
}

inline SourceTensor real(const std::string& name, float v) { return tensor(name, ir::Tensor::f32({}, {v})); }

// A tensor of small values that differ: k -> sin(k + seed) / 2.
SourceTensor wave(const std::string& name, const ir::Shape& shape, double seed = 0);

SourceModel model(std::vector<SourceValue> inputs, std::vector<SourceNode> nodes, std::vector<std::string> outputs,
                  std::vector<SourceTensor> initializers = {}, int64_t opset = 17);

// Models that between them use most operators and all of the importer's stages: the seeds of fuzzing.
std::vector<SourceModel> seed_models();

}  // namespace pith::importers::testing
