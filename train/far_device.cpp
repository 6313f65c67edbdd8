// See far_device.h. All kernels are boxed (they take a stack of values), which every libtorch from 1.13 on reads alike.
#include "train/far_device.h"

#include <ATen/InferSize.h>
#include <ATen/TensorUtils.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <torch/version.h>
#if TORCH_VERSION_MAJOR >= 2
#include <ATen/detail/PrivateUse1HooksInterface.h>
#endif

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "train/torch.h"

namespace pith::train {
namespace {

using c10::OperatorHandle;
using torch::jit::Stack;

constexpr c10::DeviceType kFar = c10::DeviceType::PrivateUse1;
std::atomic<int64_t> g_waits{0};
std::atomic<bool> g_full{false};

// Pages by their address, and how many kernels work on them.
struct Region {
  size_t bytes;
  int users;
};
std::mutex g_mutex;
std::map<void*, Region> g_regions;

void unmap(void* base) {
  const std::lock_guard lock(g_mutex);
  ::munmap(base, g_regions.at(base).bytes);
  g_regions.erase(base);
}

c10::Storage new_storage(size_t bytes) {
  const c10::Device device(kFar, 0);
  if (bytes == 0) return c10::Storage(c10::Storage::use_byte_size_t(), 0, at::DataPtr(nullptr, device));
  void* base = g_full ? MAP_FAILED : ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TORCH_CHECK(base != MAP_FAILED, "far device out of memory. Tried to allocate ", bytes, " bytes");
  const std::lock_guard lock(g_mutex);
  g_regions[base] = {bytes, 0};
  return c10::Storage(c10::Storage::use_byte_size_t(), bytes, at::DataPtr(base, base, unmap, device));
}

// While it lives, the host may touch what it was told.
class Opened {
 public:
  Opened() = default;
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  ~Opened() {
    for (void* base : bases_) use(base, -1);
  }
  // The same memory as a tensor of the CPU.
  at::Tensor near(const at::Tensor& t) {
    const auto options = at::TensorOptions().dtype(t.dtype()).device(at::kCPU);
    void* base = t.storage().data_ptr().get_context();
    if (base == nullptr) return at::empty_strided(t.sizes(), t.strides(), options);
    use(base, 1);
    bases_.push_back(base);
    uint8_t* first = static_cast<uint8_t*>(base) + t.storage_offset() * static_cast<int64_t>(t.itemsize());
    return at::from_blob(first, t.sizes(), t.strides(), options);
  }

 private:
  static void use(void* base, int by) {
    const std::lock_guard lock(g_mutex);
    Region& r = g_regions.at(base);
    const bool was = r.users > 0;
    r.users += by;
    if (was != (r.users > 0)) TORCH_CHECK(::mprotect(base, r.bytes, was ? PROT_NONE : PROT_READ | PROT_WRITE) == 0, "mprotect");
  }
  std::vector<void*> bases_;
};

at::Tensor laid_out(const c10::Storage& storage, const caffe2::TypeMeta& type, at::IntArrayRef sizes, at::IntArrayRef strides, int64_t offset) {
  at::Tensor t = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(storage), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), type);
  t.unsafeGetTensorImpl()->set_storage_offset(offset);
  t.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides);
  return t;
}

at::Tensor new_like(const at::Tensor& plan) {  // its type, sizes and strides
  size_t last = 0;
  for (int64_t d = 0; d < plan.dim(); ++d) last += static_cast<size_t>((plan.size(d) - 1) * plan.stride(d));
  return laid_out(new_storage(plan.numel() == 0 ? 0 : (last + 1) * plan.itemsize()), plan.dtype(), plan.sizes(), plan.strides(), 0);
}

at::Tensor far_copy(const at::Tensor& here) {
  if (!here.defined()) return here;
  const at::Tensor there = new_like(here);
  Opened opened;
  opened.near(there).copy_(here);
  return there;
}

// Where an element-wise operator meets a single number of the CPU, CUDA takes it along.
bool takes_numbers(const std::string& name) {
  static const std::set<std::string> kNames{"add", "sub", "mul", "div", "pow", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "addcmul", "addcdiv", "lerp", "logical_and", "logical_or"};
  const std::string plain = name.substr(name.find("::") + 2);
  return kNames.count(plain.back() == '_' ? plain.substr(0, plain.size() - 1) : plain) != 0;
}

// A tensor that takes its size from what is written to it.
bool is_open_result(const c10::Argument& argument, const at::Tensor& t) { return argument.kwarg_only() && argument.alias_info() != nullptr && argument.alias_info()->isWrite() && t.numel() == 0; }

void assume(const at::Tensor& far, const at::Tensor& from) {
  const at::Tensor made = far_copy(from);
  far.unsafeGetTensorImpl()->set_storage_keep_dtype(made.storage());
  far.unsafeGetTensorImpl()->set_storage_offset(0);
  far.unsafeGetTensorImpl()->set_sizes_and_strides(made.sizes(), made.strides());
}

c10::IValue near_value(const OperatorHandle& op, const c10::Argument& argument, const c10::IValue& given, Opened& opened) {
  const auto near = [&](const at::Tensor& t) {
    if (!t.defined()) return t;
    const bool number = t.device().is_cpu() && t.dim() == 0 && takes_numbers(op.operator_name().name);
    TORCH_CHECK(number || t.device().type() == kFar, op.operator_name(), ": '", argument.name(), "' is on the ", t.device(), ", not where the others are");
    if (number) return t;
    return is_open_result(argument, t) ? at::empty({0}, t.options().device(at::kCPU)) : opened.near(t);
  };
  if (given.isTensor()) return near(given.toTensor());
  if (given.isTensorList()) {
    std::vector<at::Tensor> list;
    for (const at::Tensor& t : given.toTensorVector()) list.push_back(near(t));
    return list;
  }
  TORCH_CHECK(!given.isList() || given.toListRef().empty() || !given.toListRef()[0].isTensor(), op.operator_name(), ": the far device has no lists of optional tensors");
  return given;
}

c10::IValue far_value(const OperatorHandle& op, const c10::Argument& returned, const c10::IValue& made, const std::vector<c10::IValue>& given) {
  if (const auto* alias = returned.alias_info()) {
    TORCH_CHECK(alias->isWrite(), op.operator_name(), ": the far device doesn't know this view");
    for (size_t i = 0; i < given.size(); ++i) {
      const auto* from = op.schema().arguments()[i].alias_info();
      if (from != nullptr && from->beforeSets() == alias->beforeSets()) return given[i];
    }
  }
  if (made.isTensor()) return far_copy(made.toTensor());
  if (!made.isTensorList()) return made;
  std::vector<at::Tensor> list;
  for (const at::Tensor& t : made.toTensorVector()) list.push_back(far_copy(t));
  return list;
}

// Runs `kernel` (mostly `op` itself) on the CPU and the device's memory.
void compute_by(const OperatorHandle& op, const OperatorHandle& kernel, Stack* stack, const std::function<void(Stack&)>& adapt = nullptr) {
  const auto& arguments = op.schema().arguments();
  const std::vector<c10::IValue> given(stack->end() - static_cast<std::ptrdiff_t>(arguments.size()), stack->end());
  stack->resize(stack->size() - arguments.size());
  Opened opened;
  Stack near;
  for (size_t i = 0; i < given.size(); ++i) near.push_back(near_value(op, arguments[i], given[i], opened));
  const Stack before = near;
  if (adapt) adapt(near);
  const at::AutoDispatchBelowAutograd guard;
  kernel.callBoxed(&near);
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i].isTensor() && given[i].toTensor().defined() && is_open_result(arguments[i], given[i].toTensor())) assume(given[i].toTensor(), before[i].toTensor());
  }
  for (size_t i = 0; i < near.size(); ++i) stack->push_back(far_value(op, op.schema().returns()[i], near[i], given));
  if (op.operator_name().name == "aten::equal") ++g_waits;  // answers with a number of the host
}

void compute(const OperatorHandle& op, Stack* stack) { compute_by(op, op, stack); }

OperatorHandle found(const char* name) { return c10::Dispatcher::singleton().findSchemaOrThrow(name, ""); }

void convolution(const OperatorHandle& op, Stack* stack) { compute_by(op, found("aten::convolution"), stack); }

// The CPU's form wants the sizes of the bias, too.
void convolution_backward(const OperatorHandle& op, Stack* stack) {
  compute_by(op, found("aten::convolution_backward"), stack, [](Stack& s) {
    const at::Tensor& weight = s[2].toTensor();
    const bool transposed = s[6].toBool();
    s.insert(s.begin() + 3, std::vector<int64_t>{transposed ? weight.size(1) * s[8].toInt() : weight.size(0)});
  });
}

std::vector<c10::IValue> taken(const OperatorHandle& op, Stack* stack) {
  const auto count = static_cast<std::ptrdiff_t>(op.schema().arguments().size());
  std::vector<c10::IValue> arguments(stack->end() - count, stack->end());
  stack->erase(stack->end() - count, stack->end());
  return arguments;
}

at::TensorOptions planned(const c10::IValue& type) { return at::TensorOptions().device(at::kMeta).dtype(type.isNone() ? at::kFloat : type.toScalarType()); }

void empty(const OperatorHandle& op, Stack* stack) {
  const auto a = taken(op, stack);
  const auto format = a[5].isNone() ? at::MemoryFormat::Contiguous : a[5].toMemoryFormat();
  stack->push_back(new_like(at::empty(a[0].toIntVector(), planned(a[1]), format)));
}

void empty_strided(const OperatorHandle& op, Stack* stack) {
  const auto a = taken(op, stack);
  stack->push_back(new_like(at::empty_strided(a[0].toIntVector(), a[1].toIntVector(), planned(a[2]))));
}

void resize(const OperatorHandle& op, Stack* stack) {
  const auto a = taken(op, stack);
  const at::Tensor t = a[0].toTensor();
  TORCH_CHECK(t.numel() == 0, "the far device resizes only what is empty");
  assume(t, at::empty(a[1].toIntVector(), t.options().device(at::kCPU), a[2].isNone() ? at::MemoryFormat::Contiguous : a[2].toMemoryFormat()));
  stack->push_back(t);
}

void copy_from(const OperatorHandle& op, Stack* stack) {
  const auto a = taken(op, stack);
  const at::Tensor from = a[0].toTensor(), to = a[1].toTensor();
  Opened opened;
  const auto near = [&](const at::Tensor& t) { return t.device().type() == kFar ? opened.near(t) : t; };
  if (to.device().is_cpu()) ++g_waits;
  near(to).copy_(near(from));
  stack->push_back(to);
}

void local_scalar(const OperatorHandle& op, Stack* stack) {
  const auto a = taken(op, stack);
  Opened opened;
  ++g_waits;
  stack->push_back(opened.near(a[0].toTensor()).item());
}

at::Tensor view_of(const at::Tensor& t, at::IntArrayRef sizes, at::IntArrayRef strides, int64_t offset) { return laid_out(t.storage(), t.dtype(), sizes, strides, offset); }

void as_strided(const OperatorHandle& op, Stack* stack) {
  const auto a = taken(op, stack);
  const at::Tensor t = a[0].toTensor();
  const bool offset = a.size() > 3 && !a[3].isNone();
  stack->push_back(view_of(t, a[1].toIntVector(), a[2].toIntVector(), offset ? a[3].toInt() : t.storage_offset()));
}

void view(const OperatorHandle& op, Stack* stack) {
  const auto a = taken(op, stack);
  const at::Tensor t = a[0].toTensor();
  const auto sizes = at::infer_size(a[1].toIntVector(), t.numel());
  const auto strides = at::detail::computeStride(t.sizes(), t.strides(), sizes);
  TORCH_CHECK(strides, "view: the sizes don't fit the strides");
  stack->push_back(view_of(t, sizes, *strides, t.storage_offset()));
}

// There is one device, and it has one stream.
struct FarGuard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const noexcept override { return kFar; }
  c10::Device exchangeDevice(c10::Device) const noexcept override { return {kFar, 0}; }
  c10::Device getDevice() const noexcept override { return {kFar, 0}; }
  void setDevice(c10::Device) const noexcept override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};

}  // namespace

int64_t far_waits() { return g_waits; }
void fill_far_memory(bool full) { g_full = full; }

C10_REGISTER_GUARD_IMPL(PrivateUse1, FarGuard);

#if TORCH_VERSION_MAJOR >= 2  // gradients ask there which accelerator the program has
struct FarHooks final : at::PrivateUse1HooksInterface {
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
};

const bool kAccelerator = [] {
  static FarHooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::register_privateuse1_backend("far");
  return true;
}();
#endif

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", torch::CppFunction::makeFromBoxedFunction<&empty>());
  m.impl("empty_strided", torch::CppFunction::makeFromBoxedFunction<&empty_strided>());
  m.impl("resize_", torch::CppFunction::makeFromBoxedFunction<&resize>());
  m.impl("_copy_from", torch::CppFunction::makeFromBoxedFunction<&copy_from>());
  m.impl("_local_scalar_dense", torch::CppFunction::makeFromBoxedFunction<&local_scalar>());
  m.impl("as_strided", torch::CppFunction::makeFromBoxedFunction<&as_strided>());
  m.impl("_reshape_alias", torch::CppFunction::makeFromBoxedFunction<&as_strided>());
  m.impl("view", torch::CppFunction::makeFromBoxedFunction<&view>());
  m.impl("convolution_overrideable", torch::CppFunction::makeFromBoxedFunction<&convolution>());
  m.impl("convolution_backward_overrideable", torch::CppFunction::makeFromBoxedFunction<&convolution_backward>());
}

}  // namespace pith::train
