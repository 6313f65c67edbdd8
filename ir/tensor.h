// Tensors as values: a type (dtype and static shape) and shared immutable bytes, row-major, innermost dimension last.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pith::ir {

// Importers widen float16, bfloat16 and float64 to kF32, and 16-bit and unsigned 32/64-bit integers to kI32 or kI64.
enum class DType : uint8_t { kF32, kU8, kI8, kI32, kI64, kBool };
size_t dtype_bytes(DType t);
const char* dtype_name(DType t);  // f32 u8 i8 i32 i64 bool
std::optional<DType> dtype_from_name(std::string_view name);

using Shape = std::vector<int64_t>;         // all dimensions >= 0; {} is a scalar
int64_t element_count(const Shape& shape);  // saturates
std::string to_string(const Shape& shape);  // 1x3x224x224; "scalar"

class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape);  // zero-filled
  template <typename T>
  static Tensor of(DType dtype, Shape shape, const std::vector<T>& values) {
    Tensor t(dtype, std::move(shape));
    const size_t given = values.size() * sizeof(T), size = t.byte_count();
    if (size != 0 && given == size) std::memcpy(t.mutable_bytes(), values.data(), size);
    return t;
  }
  static Tensor f32(Shape shape, const std::vector<float>& values) { return of(DType::kF32, std::move(shape), values); }
  static Tensor i64(Shape shape, const std::vector<int64_t>& values) {
    return of(DType::kI64, std::move(shape), values);
  }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t count() const { return element_count(shape_); }
  size_t byte_count() const { return static_cast<size_t>(count()) * dtype_bytes(dtype_); }

  // Typed views; T must be the dtype's own type (bool is stored as uint8_t 0/1).
  template <typename T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes_.get()), static_cast<size_t>(count())};
  }
  template <typename T>
  std::span<T> mut() {
    return {reinterpret_cast<T*>(mutable_bytes()), static_cast<size_t>(count())};
  }
  const uint8_t* bytes() const { return bytes_.get(); }
  uint8_t* mutable_bytes();  // copies first when the bytes are shared with another tensor

  double at(int64_t flat_index) const;         // any dtype, as a double
  void set(int64_t flat_index, double value);  // saturating conversion to integers, truncation towards zero
  Tensor reshaped(Shape shape) const;          // shares the bytes; the element count must be the same
  Tensor cast(DType dtype) const;              // as ONNX's Cast: truncates (and saturates) floats, wraps integers

 private:
  DType dtype_ = DType::kF32;
  Shape shape_{0};
  std::shared_ptr<uint8_t[]> bytes_;
};

}  // namespace pith::ir
