#include "ir/tensor.h"

#include <cassert>
#include <limits>
#include <new>

#include "ir/typed.h"

namespace pith::ir {
namespace {

// ONNX's Cast: float to integer truncates (and saturates here, where ONNX leaves it open), integers wrap, bool is x !=
// 0.
template <typename To, typename From>
To convert(From x) {
  if constexpr (std::is_same_v<From, float> && std::is_integral_v<To>) {
    return saturate_to<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace

size_t dtype_bytes(DType t) {
  return with_dtype(t, [](auto zero) { return sizeof zero; });
}

const char* dtype_name(DType t) {
  static constexpr const char* kNames[] = {"f32", "u8", "i8", "i32", "i64", "bool"};
  return kNames[static_cast<size_t>(t)];
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (DType t : {DType::kF32, DType::kU8, DType::kI8, DType::kI32, DType::kI64, DType::kBool}) {
    if (name == dtype_name(t)) return t;
  }
  return std::nullopt;
}

int64_t element_count(const Shape& shape) {
  int64_t n = 1;
  bool saturated = false;
  for (int64_t d : shape) {
    if (d == 0) return 0;
    saturated = saturated || __builtin_mul_overflow(n, d, &n);
  }
  return saturated ? std::numeric_limits<int64_t>::max() : n;
}

std::string to_string(const Shape& shape) {
  if (shape.empty()) return "scalar";
  std::string text;
  for (int64_t d : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(d);
  }
  return text;
}

Tensor::Tensor(DType dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)) {
  // calloc gives large tensors fresh zero pages without writing them.
  auto* bytes = static_cast<uint8_t*>(std::calloc(byte_count() + 1, 1));
  if (bytes == nullptr) throw std::bad_alloc();
  bytes_ = std::shared_ptr<uint8_t[]>(bytes, [](uint8_t* p) { std::free(p); });
}

uint8_t* Tensor::mutable_bytes() {
  if (bytes_ == nullptr || bytes_.use_count() > 1) {
    Tensor own(dtype_, shape_);
    if (bytes_ != nullptr) std::memcpy(own.bytes_.get(), bytes_.get(), byte_count());
    bytes_ = std::move(own.bytes_);
  }
  return bytes_.get();
}

double Tensor::at(int64_t i) const {
  return with_dtype(dtype_,
                    [&](auto zero) { return static_cast<double>(as<decltype(zero)>()[static_cast<size_t>(i)]); });
}

void Tensor::set(int64_t i, double value) {
  if (dtype_ == DType::kBool) value = value != 0;
  with_dtype(dtype_, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T>) {
      mut<T>()[static_cast<size_t>(i)] = saturate_to<T>(value);
    } else {
      mut<T>()[static_cast<size_t>(i)] = static_cast<T>(value);
    }
  });
}

Tensor Tensor::reshaped(Shape shape) const {
  assert(element_count(shape) == count());
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::cast(DType to) const {
  if (to == dtype_) return *this;
  Tensor out(to, shape_);
  with_dtype(dtype_, [&](auto from_zero) {
    using From = decltype(from_zero);
    const auto in = as<From>();
    if (to == DType::kBool) {
      auto result = out.mut<uint8_t>();
      for (size_t i = 0; i < in.size(); ++i) result[i] = in[i] != From{0};
      return;
    }
    with_dtype(to, [&](auto to_zero) {
      using To = decltype(to_zero);
      auto result = out.mut<To>();
      for (size_t i = 0; i < in.size(); ++i) result[i] = convert<To>(in[i]);
    });
  });
  return out;
}

}  // namespace pith::ir
