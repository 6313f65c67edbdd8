// See network.h.
#include "train/network.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include "base/first_line.h"
#include "train/node.h"

namespace pith::train {

using ir::DType;
using ir::ValueId;

namespace {
at::Device g_device = at::kCPU;
}

Result<void> use_device(const std::string& name) {
  try {
    const at::Device device(name);
    if (device.is_cuda() && !at::hasCUDA()) return usage_error("--device '" + name + "': this program's libtorch has no CUDA, or the machine has no such device; leave out --device, or build with a libtorch that has it (docs/retraining.md)");
    const bool of_tests = device.type() == c10::DeviceType::PrivateUse1 && c10::impl::hasDeviceGuardImpl(device.type());  // far_device.h; in no other program
    if (!device.is_cuda() && !device.is_cpu() && !of_tests) return usage_error("--device '" + name + "' isn't cpu, cuda or cuda:NUMBER");
    at::empty({1}, device);
    g_device = device;
  } catch (const std::exception& e) {
    return usage_error("--device '" + name + "': " + first_line(e.what()));
  }
  return {};
}

at::Tensor placed(const at::Tensor& t) { return t.to(g_device); }

Error failure(const std::string& doing, const std::exception& e, SourceLocation where) {
  const std::string why = first_line(e.what());
  for (const char* memory : {"out of memory", "can't allocate memory"}) {  // CUDA's words, and the CPU's
    if (why.find(memory) != std::string::npos) return usage_error(doing + ": " + why + "; use a smaller --batch, or --train-size", where);
  }
  return internal_error(doing + ": " + why, where);
}

at::Tensor to_torch(const ir::Tensor& t) {
  const at::IntArrayRef shape(t.shape());
  if (t.dtype() == DType::kF32) return placed(at::from_blob(const_cast<uint8_t*>(t.bytes()), shape, at::kFloat).clone());
  at::Tensor out = at::empty(shape, at::kLong);
  for (int64_t i = 0; i < t.count(); ++i) out.data_ptr<int64_t>()[i] = static_cast<int64_t>(t.at(i));
  return placed(out);
}

ir::Tensor from_torch(const at::Tensor& t) {
  const at::Tensor plain = t.detach().to(at::kCPU, at::kFloat).contiguous();
  ir::Tensor out(DType::kF32, plain.sizes().vec());
  if (out.byte_count() != 0) std::memcpy(out.mutable_bytes(), plain.data_ptr<float>(), out.byte_count());
  return out;
}

namespace {

Result<Network::Step> build_step(const NodeView& n) {
  for (ValueId id : n.node.inputs) {
    if (id == ir::kNoValue) continue;
    const ir::Value& v = n.graph.value(id);
    if (v.quant) return n.fail(fmt::format("'{}' is quantised already", v.name));
  }
  for (const auto& build : {build_product, build_elementwise, build_pool, build_normal, build_sequence, build_move}) {
    PITH_TRY(std::optional<Network::Step> step, build(n));
    if (step) return std::move(*step);
  }
  return n.fail("the operator has no differentiable form here");
}

}  // namespace

Result<Network> Network::build(const ir::Graph& graph) {
  Network net;
  net.axis_.assign(graph.values.size(), -1);
  net.constants_.resize(graph.values.size());
  net.last_use_.assign(graph.values.size(), -1);
  net.inputs_ = graph.inputs;
  net.outputs_ = graph.outputs;
  if (!graph.state.empty()) return error(ErrorCode::kUnsupported, fmt::format("'{}' carries state from run to run; retraining takes networks without state", graph.name));
  for (ValueId id : graph.inputs) {
    const ir::Value& v = graph.value(id);
    if (v.shape.empty() || v.shape[0] != 1)
      return error(ErrorCode::kUnsupported, fmt::format("input '{}' is {} {}; retraining takes a first dimension of 1", v.name, ir::dtype_name(v.dtype), ir::to_string(v.shape)));
    net.axis_[static_cast<size_t>(id)] = 0;
  }
  for (size_t i = 0; i < graph.values.size(); ++i) {
    if (graph.values[i].constant) net.constants_[i] = to_torch(*graph.values[i].constant);
  }
  for (size_t k = 0; k < graph.nodes.size(); ++k) {
    const ir::Node& node = graph.nodes[k];
    const NodeView view{graph, node, net.axis_};
    PITH_TRY(Step step, build_step(view));
    if (!has_function(node.activation.function)) return view.fail(fmt::format("its activation {} has no gradient", numerics::unary_name(node.activation.function)));
    for (ValueId id : node.inputs) {
      if (id != ir::kNoValue) net.last_use_[static_cast<size_t>(id)] = static_cast<int>(k);
    }
    net.calls_.push_back({std::move(step), node.inputs, node.outputs, node.activation});
  }
  for (ValueId id : graph.outputs) {
    if (net.axis_[static_cast<size_t>(id)] < 0)
      return error(ErrorCode::kUnsupported, fmt::format("output '{}' doesn't depend on the input", graph.value(id).name));
    net.places_.push_back(graph.value(id).shape[static_cast<size_t>(net.axis_[static_cast<size_t>(id)])]);
  }
  return net;
}

std::vector<at::Tensor> Network::run(const std::vector<at::Tensor>& inputs, const Hooks& hooks) const {
  std::vector<at::Tensor> values(axis_.size());
  const auto put = [&](ValueId id, const at::Tensor& t) { values[static_cast<size_t>(id)] = hooks.value ? hooks.value(id, t) : t; };
  for (size_t i = 0; i < inputs_.size(); ++i) put(inputs_[i], inputs[i].dim() == 4 ? inputs[i].contiguous(at::MemoryFormat::ChannelsLast) : inputs[i]);
  for (size_t k = 0; k < calls_.size(); ++k) {
    const Call& call = calls_[k];
    Values operands;
    for (ValueId id : call.inputs) {
      if (id == ir::kNoValue) {
        operands.emplace_back();
        continue;
      }
      const at::Tensor& constant = constants_[static_cast<size_t>(id)];
      operands.push_back(!constant.defined() ? values[static_cast<size_t>(id)] : hooks.constant ? hooks.constant(id, constant) : constant);
    }
    Values results = call.step(operands);
    at::Tensor first;
    if (hooks.result && call.outputs[0] != ir::kNoValue) first = hooks.result(call.outputs[0], call.activation, results[0]);
    if (first.defined()) {
      values[static_cast<size_t>(call.outputs[0])] = first;
    } else {
      results[0] = apply_function(call.activation, results[0]);
    }
    for (size_t i = first.defined() ? 1 : 0; i < call.outputs.size() && i < results.size(); ++i) {
      if (call.outputs[i] != ir::kNoValue) put(call.outputs[i], results[i]);
    }
    for (ValueId id : call.inputs) {
      if (id != ir::kNoValue && last_use_[static_cast<size_t>(id)] == static_cast<int>(k) && std::find(outputs_.begin(), outputs_.end(), id) == outputs_.end()) values[static_cast<size_t>(id)] = at::Tensor();
    }
  }
  std::vector<at::Tensor> outputs;
  for (ValueId id : outputs_) {
    const at::Tensor& t = values[static_cast<size_t>(id)];
    const int axis = axis_[static_cast<size_t>(id)];
    const int64_t places = places_[outputs.size()];
    if (places == 1) {
      outputs.push_back(axis > 0 ? t.movedim(axis, 0) : t);
      continue;
    }
    std::vector<int64_t> shape = t.sizes().vec();
    shape[static_cast<size_t>(axis)] = places;
    shape.insert(shape.begin() + axis, t.size(axis) / std::max<int64_t>(1, places));
    outputs.push_back(t.reshape(shape).movedim(axis, 0));
  }
  return outputs;
}

}  // namespace pith::train
