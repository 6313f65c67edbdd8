// An ONNX model as plain values, freed from protobuf.
//
// Why: protobuf's generated header costs seconds of compile time and its accessors hide what is present. parse.cpp reads a
// model once into these structs; nothing else of the importer knows protobuf. Names follow onnx.proto (onnx.ai, docs/IR.md).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ir/tensor.h"

namespace pith::importers {

// TensorProto.DataType, with the types that are newer than Debian's onnx.proto.
enum ElementType : int32_t {
  kUndefined = 0, kFloat = 1, kUint8 = 2, kInt8 = 3, kUint16 = 4, kInt16 = 5, kInt32 = 6, kInt64 = 7, kString = 8,
  kBool = 9, kFloat16 = 10, kDouble = 11, kUint32 = 12, kUint64 = 13, kComplex64 = 14, kComplex128 = 15, kBfloat16 = 16,
  kFloat8E4M3FN = 17, kFloat8E4M3FNUZ = 18, kFloat8E5M2 = 19, kFloat8E5M2FNUZ = 20, kUint4 = 21, kInt4 = 22,
  kFloat4E2M1 = 23, kFloat8E8M0 = 24, kUint2 = 25, kInt2 = 26,
};
const char* element_type_name(int32_t type);  // "float16"; "type 99" for what ONNX doesn't define
// The type that holds every value of `type` after widening; nothing for strings and complex numbers.
std::optional<ir::DType> widened(int32_t type);

struct SourceTensor {
  std::string name;
  int32_t element_type = kUndefined;  // as stored, before widening
  ir::Tensor tensor;                  // widened
  std::string refusal;                // why there is no tensor (a string tensor, say); empty when there is one
};

struct SourceGraph;
using SourceAttribute = std::variant<std::monostate, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                                     std::vector<std::string>, SourceTensor, std::shared_ptr<const SourceGraph>>;

struct SourceNode {
  std::string name, op, domain, overload;
  std::vector<std::string> inputs, outputs;  // "" = omitted
  std::map<std::string, SourceAttribute> attributes;
  std::map<std::string, std::string> references;  // in a function's body: attribute -> the function's attribute it copies
};

struct SourceDimension {
  int64_t size = -1;   // -1 = not stated
  std::string symbol;  // its name when it has one
};

struct SourceValue {
  std::string name;
  bool is_tensor = true;
  int32_t element_type = kUndefined;
  std::optional<std::vector<SourceDimension>> shape;  // none = rank not stated
};

struct SourceGraph {
  std::string name;
  std::vector<SourceNode> nodes;
  std::vector<SourceValue> inputs, outputs;
  std::vector<SourceTensor> initializers;
};

struct SourceFunction {
  std::string name, domain, overload;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, SourceAttribute> defaults;
  std::vector<SourceNode> nodes;
  std::map<std::string, int64_t> opsets;
};

struct SourceModel {
  int64_t ir_version = 0;
  std::string producer;
  std::map<std::string, int64_t> opsets;  // domain -> version; "" is ai.onnx
  SourceGraph graph;
  std::vector<SourceFunction> functions;
  std::map<std::string, std::string> metadata;
};

}  // namespace pith::importers
