// Bytes of an ONNX file -> SourceModel.
//
// Debian's libonnx (1.12) knows the protobuf messages of IR version 8; newer files parse because protobuf keeps unknown
// fields, and the two that matter here (a function's attribute defaults and the `overload` names, IR version 9 and 10) are
// taken from those. Everything structural is checked: protobuf itself bounds nesting (100 messages), tensors are checked
// by decode_tensor. Source: onnx.proto, docs/IR.md.
#include "importers/onnx/parse.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/unknown_field_set.h>

#include <limits>

#include "importers/onnx/tensor_proto.h"

namespace pith::importers {
namespace {

using ::onnx::AttributeProto;

// Field numbers that are newer than Debian's onnx.proto.
constexpr int kNodeOverload = 8, kFunctionDefaults = 11, kFunctionOverload = 13;

std::string domain_of(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

class Reader {
 public:
  explicit Reader(std::string folder) : folder_(std::move(folder)) {}

  Result<SourceGraph> graph(const ::onnx::GraphProto& proto);
  Result<SourceNode> node(const ::onnx::NodeProto& proto);
  Result<SourceFunction> function(const ::onnx::FunctionProto& proto);

 private:
  Result<SourceAttribute> attribute(const AttributeProto& proto);
  std::string folder_;
};

AttributeProto::AttributeType type_of(const AttributeProto& p) {
  if (p.has_type() && p.type() != AttributeProto::UNDEFINED) return p.type();  // IR version 1 states none
  if (p.has_f()) return AttributeProto::FLOAT;
  if (p.has_i()) return AttributeProto::INT;
  if (p.has_s()) return AttributeProto::STRING;
  if (p.has_t()) return AttributeProto::TENSOR;
  if (p.has_g()) return AttributeProto::GRAPH;
  if (p.floats_size()) return AttributeProto::FLOATS;
  if (p.ints_size()) return AttributeProto::INTS;
  if (p.strings_size()) return AttributeProto::STRINGS;
  return AttributeProto::UNDEFINED;
}

Result<SourceAttribute> Reader::attribute(const AttributeProto& p) {
  switch (type_of(p)) {
    case AttributeProto::FLOAT: return SourceAttribute(static_cast<double>(p.f()));
    case AttributeProto::INT: return SourceAttribute(static_cast<int64_t>(p.i()));
    case AttributeProto::STRING: return SourceAttribute(p.s());
    case AttributeProto::FLOATS: return SourceAttribute(std::vector<double>(p.floats().begin(), p.floats().end()));
    case AttributeProto::INTS: return SourceAttribute(std::vector<int64_t>(p.ints().begin(), p.ints().end()));
    case AttributeProto::STRINGS: return SourceAttribute(std::vector<std::string>(p.strings().begin(), p.strings().end()));
    case AttributeProto::TENSOR: {
      PITH_TRY(SourceTensor t, decode_tensor(p.t(), folder_));
      return SourceAttribute(std::move(t));
    }
    case AttributeProto::SPARSE_TENSOR: {
      PITH_TRY(SourceTensor t, decode_sparse(p.sparse_tensor(), folder_));
      return SourceAttribute(std::move(t));
    }
    case AttributeProto::GRAPH: {
      PITH_TRY(SourceGraph g, graph(p.g()));
      return SourceAttribute(std::make_shared<const SourceGraph>(std::move(g)));
    }
    default: return SourceAttribute();  // a kind that no supported operator has; refused where it is asked for
  }
}

Result<SourceNode> Reader::node(const ::onnx::NodeProto& p) {
  SourceNode n;
  n.name = p.name();
  n.op = p.op_type();
  n.domain = domain_of(p.domain());
  n.inputs.assign(p.input().begin(), p.input().end());
  n.outputs.assign(p.output().begin(), p.output().end());
  const auto& unknown = p.unknown_fields();
  for (int i = 0; i < unknown.field_count(); ++i) {
    const auto& f = unknown.field(i);
    if (f.number() == kNodeOverload && f.type() == f.TYPE_LENGTH_DELIMITED) n.overload = f.length_delimited();
  }
  for (const AttributeProto& a : p.attribute()) {
    if (!a.ref_attr_name().empty()) {
      n.references[a.name()] = a.ref_attr_name();
      continue;
    }
    PITH_TRY(n.attributes[a.name()], attribute(a));
  }
  return n;
}

SourceValue value_info(const ::onnx::ValueInfoProto& p) {
  SourceValue v;
  v.name = p.name();
  v.is_tensor = p.type().value_case() == ::onnx::TypeProto::kTensorType ||
                p.type().value_case() == ::onnx::TypeProto::VALUE_NOT_SET;
  v.element_type = p.type().tensor_type().elem_type();
  if (!p.type().tensor_type().has_shape()) return v;
  v.shape.emplace();
  for (const auto& d : p.type().tensor_type().shape().dim()) {
    SourceDimension dimension;
    if (d.value_case() == d.kDimValue && d.dim_value() >= 0) dimension.size = d.dim_value();
    if (d.value_case() == d.kDimParam) dimension.symbol = d.dim_param();
    v.shape->push_back(dimension);
  }
  return v;
}

Result<SourceGraph> Reader::graph(const ::onnx::GraphProto& p) {
  SourceGraph g;
  g.name = p.name();
  for (const auto& v : p.input()) g.inputs.push_back(value_info(v));
  for (const auto& v : p.output()) g.outputs.push_back(value_info(v));
  for (const auto& t : p.initializer()) {
    PITH_TRY(SourceTensor tensor, decode_tensor(t, folder_));
    g.initializers.push_back(std::move(tensor));
  }
  for (const auto& t : p.sparse_initializer()) {
    PITH_TRY(SourceTensor tensor, decode_sparse(t, folder_));
    g.initializers.push_back(std::move(tensor));
  }
  for (const auto& n : p.node()) {
    PITH_TRY(SourceNode source, node(n));
    g.nodes.push_back(std::move(source));
  }
  return g;
}

Result<SourceFunction> Reader::function(const ::onnx::FunctionProto& p) {
  SourceFunction f;
  f.name = p.name();
  f.domain = domain_of(p.domain());
  f.inputs.assign(p.input().begin(), p.input().end());
  f.outputs.assign(p.output().begin(), p.output().end());
  for (const auto& o : p.opset_import()) f.opsets[domain_of(o.domain())] = o.version();
  const auto& unknown = p.unknown_fields();
  for (int i = 0; i < unknown.field_count(); ++i) {
    const auto& field = unknown.field(i);
    if (field.type() != field.TYPE_LENGTH_DELIMITED) continue;
    if (field.number() == kFunctionOverload) f.overload = field.length_delimited();
    if (field.number() != kFunctionDefaults) continue;
    AttributeProto a;
    if (!a.ParseFromString(field.length_delimited()))
      return usage_error(fmt::format("function '{}' has a malformed attribute default; export the model again", f.name));
    PITH_TRY(f.defaults[a.name()], attribute(a));
  }
  for (const auto& n : p.node()) {
    PITH_TRY(SourceNode source, node(n));
    f.nodes.push_back(std::move(source));
  }
  return f;
}

// What the first bytes look like, for a helpful message.
std::string guess(std::span<const uint8_t> bytes) {
  const std::string head(bytes.begin(), bytes.begin() + static_cast<long>(std::min<size_t>(bytes.size(), 40)));
  if (bytes.empty()) return "the file is empty";
  if (head.rfind("version https://git-lfs", 0) == 0) return "it is a git-lfs pointer, not the model: fetch it with git lfs pull";
  if (head.rfind("PK", 0) == 0) return "it looks like a zip file or a PyTorch checkpoint: export it with torch.onnx.export";
  if (head.rfind("<", 0) == 0) return "it looks like a web page: download the file itself";
  if (head.rfind("\x89HDF", 0) == 0) return "it looks like a Keras file: export it with tf2onnx";
  if (head.size() > 8 && head.substr(4, 4) == "TFL3") return "it looks like a TensorFlow Lite file: convert it with tf2onnx";
  return "it isn't an ONNX file or is cut short: export or fetch it again";
}

}  // namespace

Result<SourceModel> parse_model(std::span<const uint8_t> bytes, const std::string& folder) {
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()))
    return usage_error("the model file is beyond 2 GB, protobuf's limit; export it with external data");
  ::onnx::ModelProto proto;
  google::protobuf::io::CodedInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  if (!proto.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage() || bytes.empty())
    return usage_error("the model can't be read: " + guess(bytes));
  if (!proto.has_graph()) return usage_error("the model holds no graph: " + guess(bytes));

  SourceModel model;
  model.ir_version = proto.ir_version();
  model.producer = proto.producer_name();
  for (const auto& o : proto.opset_import()) model.opsets[domain_of(o.domain())] = o.version();
  if (proto.ir_version() < 3 && !model.opsets.count("")) model.opsets[""] = 1;
  for (const auto& entry : proto.metadata_props()) model.metadata[entry.key()] = entry.value();
  Reader reader(folder);
  PITH_TRY(model.graph, reader.graph(proto.graph()));
  for (const auto& f : proto.functions()) {
    PITH_TRY(SourceFunction function, reader.function(f));
    model.functions.push_back(std::move(function));
  }
  return model;
}

Result<SourceTensor> parse_tensor(std::span<const uint8_t> bytes) {
  ::onnx::TensorProto proto;
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return usage_error("not a serialised ONNX tensor; give a TensorProto file (.pb)");
  return decode_tensor(proto, "");
}

}  // namespace pith::importers
