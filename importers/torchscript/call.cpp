// See call.h.
#include "importers/torchscript/call.h"

namespace pith::importers {

int32_t element_type_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat: case at::kDouble: case at::kHalf: case at::kBFloat16: return kFloat;
    case at::kLong: return kInt64;
    case at::kInt: case at::kShort: return kInt32;
    case at::kByte: return kUint8;
    case at::kChar: return kInt8;
    case at::kBool: return kBool;
    default: return kUndefined;
  }
}

std::vector<std::string> Script::add_several(size_t outputs, const std::string& op, std::vector<std::string> inputs, std::map<std::string, SourceAttribute> attributes) {
  SourceNode n;
  n.name = at_, n.op = op, n.inputs = std::move(inputs), n.attributes = std::move(attributes);
  for (size_t i = 0; i < outputs; ++i) n.outputs.push_back(fresh());
  model_.graph.nodes.push_back(n);
  return n.outputs;
}

std::string Script::add(const std::string& op, std::vector<std::string> inputs, std::map<std::string, SourceAttribute> attributes) {
  return add_several(1, op, std::move(inputs), std::move(attributes))[0];
}

std::string Script::constant(const at::Tensor& t) {
  SourceTensor s;
  s.name = fresh();
  s.element_type = element_type_of(t.scalar_type());
  const ir::Shape shape(t.sizes().begin(), t.sizes().end());
  const auto filled = [&](ir::DType dtype, at::ScalarType type) {
    const at::Tensor plain = t.detach().to(at::kCPU, type).contiguous();
    ir::Tensor tensor(dtype, shape);
    if (tensor.byte_count() != 0) std::memcpy(tensor.mutable_bytes(), plain.data_ptr(), tensor.byte_count());
    s.tensor = std::move(tensor);
  };
  switch (s.element_type) {
    case kFloat: filled(ir::DType::kF32, at::kFloat); break;
    case kInt64: filled(ir::DType::kI64, at::kLong); break;
    case kInt32: filled(ir::DType::kI32, at::kInt); break;
    case kUint8: filled(ir::DType::kU8, at::kByte); break;
    case kInt8: filled(ir::DType::kI8, at::kChar); break;
    case kBool: filled(ir::DType::kBool, at::kBool); break;
    default: s.refusal = std::string("its element type is ") + c10::toString(t.scalar_type());
  }
  model_.graph.initializers.push_back(s);
  return s.name;
}

std::string Script::integers(const std::vector<int64_t>& values) { return constant(at::tensor(values, at::kLong)); }

std::string Call::tensor(size_t i) const {
  if (!names[i].empty() && !names[i][0].empty()) return names[i][0];
  return in[i].isTensor() ? script.constant(in[i].toTensor()) : script.constant(at::scalar_tensor(in[i].toScalar()));
}

std::string Call::cast(const std::string& x, at::ScalarType from, at::ScalarType to) const {
  const int32_t wanted = element_type_of(to);
  return element_type_of(from) == wanted ? x : script.add("Cast", {x}, {{"to", int64_t{wanted}}});
}

std::string Call::real(size_t i, const at::Tensor& like) const {
  if (!in[i].isTensor()) return script.constant(at::scalar_tensor(in[i].toScalar(), like.scalar_type()));
  if (names[i].empty() || names[i][0].empty()) return script.constant(in[i].toTensor().to(like.scalar_type()));
  return cast(names[i][0], in[i].toTensor().scalar_type(), like.scalar_type());
}

std::vector<std::string> Call::tensors(size_t i) const {
  const std::vector<at::Tensor> values = in[i].toTensorVector();
  std::vector<std::string> all;
  for (size_t k = 0; k < values.size(); ++k) all.push_back(k < names[i].size() && !names[i][k].empty() ? names[i][k] : script.constant(values[k]));
  return all;
}

std::vector<int64_t> Call::sizes(size_t i, size_t count) const {
  std::vector<int64_t> all;
  if (!has(i)) return all;
  if (in[i].isInt()) {
    all = {in[i].toInt()};
  } else {
    all = in[i].toIntVector();
  }
  if (all.size() == 1 && count > 1) all.assign(count, all[0]);
  return all;
}

int64_t Call::axis(size_t i, int64_t rank, int64_t otherwise) const {
  const int64_t a = integer(i, otherwise);
  return a < 0 ? a + rank : a;
}

}  // namespace pith::importers
