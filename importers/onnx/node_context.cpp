// See node_context.h.
#include "importers/onnx/node_context.h"

#include <fmt/format.h>

#include <sstream>

namespace pith::importers {

using ir::Tensor;
using ir::ValueId;

Error unsupported(const std::string& reason) { return error(ErrorCode::kUnsupported, reason); }

Result<ValueId> NodeContext::input(size_t i) const {
  if (!has_input(i)) return usage_error(fmt::format("input {} is missing; export the model again", i));
  if (inputs[i].kind != Operand::Kind::kTensor)
    return usage_error(fmt::format("input {} is a sequence where a tensor is needed; export the model again", i));
  return inputs[i].id;
}

Result<ValueId> NodeContext::optional(size_t i) const {
  if (!has_input(i)) return ir::kNoValue;
  return input(i);
}

Result<std::vector<ValueId>> NodeContext::all_inputs() const {
  std::vector<ValueId> ids;
  for (size_t i = 0; i < inputs.size(); ++i) {
    PITH_TRY(const ValueId id, optional(i));
    ids.push_back(id);
  }
  return ids;
}

const Tensor* NodeContext::content(size_t i) const {
  if (!has_input(i) || inputs[i].kind != Operand::Kind::kTensor) return nullptr;
  return builder.content(inputs[i].id);
}

Result<Tensor> NodeContext::constant(size_t i, const char* what) const {
  PITH_TRY(const ValueId id, input(i));
  if (const Tensor* t = builder.content(id)) return *t;
  return unsupported(fmt::format("its '{}' is computed at run time, but shapes must be known at import; fix the input that it "
                                 "comes from to a constant, or export with static shapes", what));
}

Result<std::vector<int64_t>> NodeContext::constant_integers(size_t i, const char* what) const {
  PITH_TRY(const Tensor t, constant(i, what));
  if (t.dtype() == ir::DType::kF32) return usage_error(fmt::format("its '{}' must be integers; export the model again", what));
  if (t.dtype() == ir::DType::kI64) return std::vector<int64_t>(t.as<int64_t>().begin(), t.as<int64_t>().end());
  std::vector<int64_t> v;
  for (int64_t k = 0; k < t.count(); ++k) v.push_back(static_cast<int64_t>(t.at(k)));
  return v;
}

Result<int64_t> NodeContext::constant_integer(size_t i, const char* what) const {
  PITH_TRY(const std::vector<int64_t> v, constant_integers(i, what));
  if (v.size() != 1) return usage_error(fmt::format("its '{}' must be one number, not {}; export the model again", what, v.size()));
  return v[0];
}

Result<std::vector<double>> NodeContext::constant_reals(size_t i, const char* what) const {
  PITH_TRY(const Tensor t, constant(i, what));
  std::vector<double> v;
  for (int64_t k = 0; k < t.count(); ++k) v.push_back(t.at(k));
  return v;
}

Result<double> NodeContext::constant_real(size_t i, const char* what) const {
  PITH_TRY(const std::vector<double> v, constant_reals(i, what));
  if (v.size() != 1) return usage_error(fmt::format("its '{}' must be one number, not {}; export the model again", what, v.size()));
  return v[0];
}

void NodeContext::set(size_t i, ValueId id, int32_t element_type) {
  if (i >= outputs.size()) return;
  outputs[i].kind = Operand::Kind::kTensor;
  outputs[i].id = id;
  outputs[i].element_type = element_type;
}

Result<void> NodeContext::emit(ir::Op op, std::vector<ValueId> operands, Attributes attributes) {
  PITH_TRY(const ValueId id, builder.add(op, std::move(operands), std::move(attributes)));
  set(0, id);
  return {};
}

Result<void> NodeContext::emit_all(ir::Op op, std::vector<ValueId> operands, Attributes attributes, size_t outputs) {
  PITH_TRY(const std::vector<ValueId> ids,
           builder.add_many(op, std::move(operands), std::move(attributes), std::vector<bool>(outputs, true)));
  for (size_t i = 0; i < ids.size(); ++i) set(i, ids[i]);
  return {};
}

Result<void> NodeContext::emit_wanted(ir::Op op, std::vector<ValueId> operands, Attributes attributes, size_t most_outputs) {
  std::vector<bool> wanted(std::min(most_outputs, std::max<size_t>(1, node.outputs.size())));
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = wants_output(i);
  PITH_TRY(const std::vector<ValueId> ids, builder.add_many(op, std::move(operands), std::move(attributes), wanted));
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] != ir::kNoValue) set(i, ids[i]);
  return {};
}

template <typename T>
const T* NodeContext::attribute(const std::string& name, const char* kind) {
  read_.insert(name);
  const auto found = node.attributes.find(name);
  if (found == node.attributes.end()) return nullptr;
  const T* v = std::get_if<T>(&found->second);
  if (!v && problem_.empty()) problem_ = fmt::format("attribute '{}' isn't {}; export the model again", name, kind);
  return v;
}

int64_t NodeContext::integer(const std::string& name, int64_t otherwise) {
  const auto* v = attribute<int64_t>(name, "an integer");
  return v ? *v : otherwise;
}

double NodeContext::real(const std::string& name, double otherwise) {
  const auto* v = attribute<double>(name, "a real number");
  return v ? *v : otherwise;
}

std::string NodeContext::text(const std::string& name, const std::string& otherwise) {
  const auto* v = attribute<std::string>(name, "a text");
  return v ? *v : otherwise;
}

std::vector<int64_t> NodeContext::integers(const std::string& name) {
  const auto* v = attribute<std::vector<int64_t>>(name, "a list of integers");
  return v ? *v : std::vector<int64_t>();
}

std::vector<double> NodeContext::reals(const std::string& name) {
  const auto* v = attribute<std::vector<double>>(name, "a list of real numbers");
  return v ? *v : std::vector<double>();
}

std::vector<std::string> NodeContext::texts(const std::string& name) {
  const auto* v = attribute<std::vector<std::string>>(name, "a list of texts");
  return v ? *v : std::vector<std::string>();
}

const SourceTensor* NodeContext::tensor(const std::string& name) { return attribute<SourceTensor>(name, "a tensor"); }

std::shared_ptr<const SourceGraph> NodeContext::graph(const std::string& name) {
  const auto* v = attribute<std::shared_ptr<const SourceGraph>>(name, "a graph");
  return v ? *v : nullptr;
}

Attributes NodeContext::copy(const char* names_and_types) {
  Attributes out;
  std::istringstream words(names_and_types);
  for (std::string word; words >> word;) {
    const size_t colon = word.find(':');
    const std::string name = word.substr(0, colon);
    if (!has(name)) continue;
    switch (word[colon + 1]) {
      case 'i': out[name] = integer(name, 0); break;
      case 'f': out[name] = real(name, 0); break;
      case 's': out[name] = text(name, ""); break;
      case 'I': out[name] = integers(name); break;
      case 'F': out[name] = reals(name); break;
      default: break;
    }
  }
  return out;
}

std::string NodeContext::attribute_problem() const {
  if (!problem_.empty()) return problem_;
  for (const auto& [name, value] : node.attributes)
    if (!read_.count(name) && name != "consumed_inputs" && !std::holds_alternative<std::monostate>(value))
      return fmt::format("attribute '{}' isn't supported; export without it", name);
  return "";
}

}  // namespace pith::importers
