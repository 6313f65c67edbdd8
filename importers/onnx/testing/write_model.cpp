// SourceModel -> bytes: the inverse of parse.cpp, for tests.
#include <cmath>

#include "importers/onnx/element_types.h"
#include "importers/onnx/tensor_proto.h"
#include "importers/onnx/testing/models.h"

namespace pith::importers::testing {
namespace {

void write_tensor(const SourceTensor& t, ::onnx::TensorProto* p) {
  p->set_name(t.name);
  p->set_data_type(t.element_type);
  for (const int64_t d : t.tensor.shape()) p->add_dims(d);
  const bool as_stored = widened(t.element_type) == t.tensor.dtype() &&
                         element_bits(t.element_type) == 8 * static_cast<int64_t>(ir::dtype_bytes(t.tensor.dtype()));
  if (as_stored) {
    p->set_raw_data(t.tensor.bytes(), t.tensor.byte_count());
    return;
  }
  for (int64_t i = 0; i < t.tensor.count(); ++i) {  // types that are stored narrower or wider
    if (t.element_type == kDouble) p->add_double_data(t.tensor.at(i));
    else if (t.element_type == kUint32 || t.element_type == kUint64) p->add_uint64_data(static_cast<uint64_t>(t.tensor.at(i)));
    else p->add_int32_data(static_cast<int32_t>(t.tensor.at(i)));
  }
}

void write_graph(const SourceGraph& g, ::onnx::GraphProto* p);

void write_attribute(const std::string& name, const SourceAttribute& value, ::onnx::AttributeProto* p) {
  using ::onnx::AttributeProto;
  p->set_name(name);
  if (const auto* v = std::get_if<int64_t>(&value)) p->set_type(AttributeProto::INT), p->set_i(*v);
  if (const auto* v = std::get_if<double>(&value)) p->set_type(AttributeProto::FLOAT), p->set_f(static_cast<float>(*v));
  if (const auto* v = std::get_if<std::string>(&value)) p->set_type(AttributeProto::STRING), p->set_s(*v);
  if (const auto* v = std::get_if<SourceTensor>(&value)) p->set_type(AttributeProto::TENSOR), write_tensor(*v, p->mutable_t());
  if (const auto* v = std::get_if<std::vector<int64_t>>(&value)) {
    p->set_type(AttributeProto::INTS);
    for (const int64_t x : *v) p->add_ints(x);
  }
  if (const auto* v = std::get_if<std::vector<double>>(&value)) {
    p->set_type(AttributeProto::FLOATS);
    for (const double x : *v) p->add_floats(static_cast<float>(x));
  }
  if (const auto* v = std::get_if<std::vector<std::string>>(&value)) {
    p->set_type(AttributeProto::STRINGS);
    for (const std::string& x : *v) p->add_strings(x);
  }
  if (const auto* v = std::get_if<std::shared_ptr<const SourceGraph>>(&value); v && *v) {
    p->set_type(AttributeProto::GRAPH);
    write_graph(**v, p->mutable_g());
  }
}

void write_node(const SourceNode& n, ::onnx::NodeProto* p) {
  p->set_name(n.name);
  p->set_op_type(n.op);
  p->set_domain(n.domain);
  for (const std::string& s : n.inputs) p->add_input(s);
  for (const std::string& s : n.outputs) p->add_output(s);
  for (const auto& [name, attribute] : n.attributes) write_attribute(name, attribute, p->add_attribute());
  for (const auto& [name, reference] : n.references) {
    ::onnx::AttributeProto* a = p->add_attribute();
    a->set_name(name);
    a->set_ref_attr_name(reference);
  }
}

void write_value(const SourceValue& v, ::onnx::ValueInfoProto* p) {
  p->set_name(v.name);
  if (!v.is_tensor) {
    p->mutable_type()->mutable_sequence_type();
    return;
  }
  auto* type = p->mutable_type()->mutable_tensor_type();
  type->set_elem_type(v.element_type);
  if (!v.shape) return;
  type->mutable_shape();
  for (const SourceDimension& d : *v.shape) {
    auto* dim = type->mutable_shape()->add_dim();
    if (d.size >= 0) dim->set_dim_value(d.size);
    else if (!d.symbol.empty()) dim->set_dim_param(d.symbol);
  }
}

void write_graph(const SourceGraph& g, ::onnx::GraphProto* p) {
  p->set_name(g.name);
  for (const SourceValue& v : g.inputs) write_value(v, p->add_input());
  for (const SourceValue& v : g.outputs) write_value(v, p->add_output());
  for (const SourceTensor& t : g.initializers) write_tensor(t, p->add_initializer());
  for (const SourceNode& n : g.nodes) write_node(n, p->add_node());
}

}  // namespace

std::vector<uint8_t> write_model(const SourceModel& m) {
  ::onnx::ModelProto p;
  p.set_ir_version(m.ir_version);
  p.set_producer_name(m.producer);
  for (const auto& [domain, version] : m.opsets) {
    auto* o = p.add_opset_import();
    o->set_domain(domain);
    o->set_version(version);
  }
  for (const auto& [key, text] : m.metadata) {
    auto* entry = p.add_metadata_props();
    entry->set_key(key);
    entry->set_value(text);
  }
  write_graph(m.graph, p.mutable_graph());
  for (const SourceFunction& f : m.functions) {
    auto* q = p.add_functions();
    q->set_name(f.name);
    q->set_domain(f.domain);
    for (const std::string& s : f.inputs) q->add_input(s);
    for (const std::string& s : f.outputs) q->add_output(s);
    for (const auto& [domain, version] : f.opsets) {
      auto* o = q->add_opset_import();
      o->set_domain(domain);
      o->set_version(version);
    }
    for (const SourceNode& n : f.nodes) write_node(n, q->add_node());
  }
  const std::string bytes = p.SerializeAsString();
  return {bytes.begin(), bytes.end()};
}

SourceTensor wave(const std::string& name, const ir::Shape& shape, double seed) {
  ir::Tensor t(ir::DType::kF32, shape);
  for (int64_t k = 0; k < t.count(); ++k) t.set(k, std::sin(static_cast<double>(k) + seed) / 2);
  return tensor(name, std::move(t));
}

SourceModel model(std::vector<SourceValue> inputs, std::vector<SourceNode> nodes, std::vector<std::string> outputs,
                  std::vector<SourceTensor> initializers, int64_t opset) {
  SourceModel m;
  m.ir_version = 8;
  m.opsets[""] = opset;
  m.graph.name = "test";
  m.graph.inputs = std::move(inputs);
  m.graph.nodes = std::move(nodes);
  m.graph.initializers = std::move(initializers);
  for (const std::string& name : outputs) {
    SourceValue v;
    v.name = name;
    v.element_type = kFloat;
    m.graph.outputs.push_back(v);
  }
  return m;
}

}  // namespace pith::importers::testing
