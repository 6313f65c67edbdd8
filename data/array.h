// Host tensors that come from files: the values that samples, labels and reference outputs are made of.
//
// Why: the toolchain reads what NumPy and others write, and needs one small value type for it, independent of the
// Graph. Elements are dense, row-major (C order) and in the machine's little-endian byte order; a Fortran-ordered file
// is reordered at reading. Formats: NPY 1.0-3.0 (numpy/lib/format.py's documentation), NPZ (a zip of NPY members,
// stored or deflated, read with libarchive), and raw bytes whose type and shape the caller gives.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pith {

enum class ArrayType : uint8_t { kF32, kU8, kI8, kI16, kI32, kI64, kBool };

size_t type_size(ArrayType type);                           // bytes of one element
std::string_view type_name(ArrayType type);                 // "f32", "u8", "i8", "i16", "i32", "i64", "bool"
Result<ArrayType> parse_array_type(std::string_view name);  // the inverse; also "float32", "uint8", ...

// A dense tensor. Invariant: bytes.size() == elements() * type_size(type); a scalar has an empty shape.
struct Array {
  ArrayType type = ArrayType::kF32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;

  size_t elements() const;
  // The elements as T, whose size must be type_size(type).
  template <typename T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  template <typename T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  std::span<const float> f32() const { return as<float>(); }
};

struct NamedArray {
  std::string name;  // the member's name without ".npy"; empty for a file that holds a single array
  Array array;
};

Array make_array(ArrayType type, std::vector<int64_t> shape);                 // zeros
Array make_array(std::vector<int64_t> shape, std::span<const float> values);  // f32; sizes must agree
std::string shape_text(std::span<const int64_t> shape);                       // "3x224x224"; "scalar" when empty
Result<std::vector<int64_t>> parse_shape(std::string_view text);              // "3x224x224" or "3,224,224"

std::vector<float> to_floats(const Array& array);      // every type; 64-bit integers round to nearest
std::vector<int64_t> to_integers(const Array& array);  // every type; floats round to nearest, NaN to 0
// Element `index` of the first axis: shape [N, rest...] -> [rest...]. The array must have at least one axis.
Array slice(const Array& array, size_t index);

// NPY. f16 and f64 become f32; u16 becomes i32, u32 and u64 become i64 (a u64 beyond i64 is an error). Big-endian,
// structured, object and complex arrays are refused. `name` is for the message.
Result<Array> parse_npy(std::span<const uint8_t> bytes, const std::string& name);
Result<Array> read_npy(const std::string& path);
std::vector<uint8_t> encode_npy(const Array& array);  // version 1.0, C order
Result<void> write_npy(const std::string& path, const Array& array);

// NPZ: the members in the file's order.
Result<std::vector<NamedArray>> parse_npz(std::span<const uint8_t> bytes, const std::string& name);
Result<std::vector<NamedArray>> read_npz(const std::string& path);

// Nothing but elements. An empty shape means one axis of as many elements as there are.
Result<Array> parse_raw(std::vector<uint8_t> bytes, const std::string& name, ArrayType type,
                        const std::vector<int64_t>& shape = {});
Result<Array> read_raw(const std::string& path, ArrayType type, const std::vector<int64_t>& shape = {});

}  // namespace pith
