// See array.h: the value and its conversions. The file formats are in npy.cpp.
#include "data/array.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "data/bytes.h"

namespace pith {
namespace {

struct TypeRow {
  ArrayType type;
  std::string_view name, long_name;
  size_t size;
};
constexpr TypeRow kTypes[] = {
    {ArrayType::kF32, "f32", "float32", 4}, {ArrayType::kU8, "u8", "uint8", 1},   {ArrayType::kI8, "i8", "int8", 1},
    {ArrayType::kI16, "i16", "int16", 2},   {ArrayType::kI32, "i32", "int32", 4}, {ArrayType::kI64, "i64", "int64", 8},
    {ArrayType::kBool, "bool", "bool", 1},
};

// Calls f with the elements as a span of their own type.
template <typename F>
auto visit(const Array& a, F f) {
  switch (a.type) {
    case ArrayType::kF32:
      return f(a.as<float>());
    case ArrayType::kU8:
    case ArrayType::kBool:
      return f(a.as<uint8_t>());
    case ArrayType::kI8:
      return f(a.as<int8_t>());
    case ArrayType::kI16:
      return f(a.as<int16_t>());
    case ArrayType::kI32:
      return f(a.as<int32_t>());
    case ArrayType::kI64:
      return f(a.as<int64_t>());
  }
  std::abort();
}

int64_t round_to_integer(float v) {
  if (std::isnan(v)) return 0;
  if (v >= 0x1p63f) return INT64_MAX;
  if (v < -0x1p63f) return INT64_MIN;
  return static_cast<int64_t>(std::nearbyint(v));
}

}  // namespace

size_t type_size(ArrayType type) { return kTypes[static_cast<size_t>(type)].size; }
std::string_view type_name(ArrayType type) { return kTypes[static_cast<size_t>(type)].name; }

Result<ArrayType> parse_array_type(std::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (name == row.name || name == row.long_name) return row.type;
  }
  return usage_error(fmt::format("unknown element type '{}'; use f32, u8, i8, i16, i32, i64 or bool", printable(name)));
}

size_t Array::elements() const { return bytes.size() / type_size(type); }

Array make_array(ArrayType type, std::vector<int64_t> shape) {
  uint64_t size = type_size(type);
  for (const int64_t d : shape) {
    if (d < 0 || !multiply_sizes(size, static_cast<uint64_t>(d), size)) std::abort();  // a bug at the call site
  }
  return Array{type, std::move(shape), std::vector<uint8_t>(size)};
}

Array make_array(std::vector<int64_t> shape, std::span<const float> values) {
  Array a = make_array(ArrayType::kF32, std::move(shape));
  if (a.elements() != values.size()) std::abort();  // a bug at the call site
  if (!values.empty()) std::memcpy(a.bytes.data(), values.data(), a.bytes.size());
  return a;
}

std::string shape_text(std::span<const int64_t> shape) {
  return shape.empty() ? "scalar" : fmt::format("{}", fmt::join(shape, "x"));
}

Result<std::vector<int64_t>> parse_shape(std::string_view text) {
  const Error bad = usage_error(fmt::format("'{}' isn't a shape; write it as 3x224x224", printable(text)));
  std::vector<int64_t> shape;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find_first_of("x,", at), text.size());
    int64_t d = 0;
    const auto [rest, status] = std::from_chars(text.data() + at, text.data() + end, d);
    if (status != std::errc() || rest != text.data() + end || d < 1) return bad;
    shape.push_back(d);
    at = end + 1;
  }
  return shape;
}

std::vector<float> to_floats(const Array& array) {
  return visit(array, [](auto values) {
    std::vector<float> out(values.size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(values[i]);
    return out;
  });
}

std::vector<int64_t> to_integers(const Array& array) {
  return visit(array, [](auto values) {
    std::vector<int64_t> out(values.size());
    for (size_t i = 0; i < out.size(); ++i) {
      if constexpr (std::is_same_v<decltype(values), std::span<const float>>) {
        out[i] = round_to_integer(values[i]);
      } else {
        out[i] = values[i];
      }
    }
    return out;
  });
}

Array slice(const Array& array, size_t index) {
  if (array.shape.empty() || index >= static_cast<size_t>(array.shape[0])) std::abort();  // a bug at the call site
  Array out{array.type, {array.shape.begin() + 1, array.shape.end()}, {}};
  const size_t stride = array.bytes.size() / static_cast<size_t>(array.shape[0]);
  const auto from = array.bytes.begin() + static_cast<ptrdiff_t>(index * stride);
  out.bytes.assign(from, from + static_cast<ptrdiff_t>(stride));
  return out;
}

Result<Array> parse_raw(std::vector<uint8_t> bytes, const std::string& name, ArrayType type,
                        const std::vector<int64_t>& shape) {
  if (shape.empty()) {
    if (bytes.size() % type_size(type) != 0) {
      return usage_error(fmt::format("'{}' has {} bytes, not a multiple of {}'s {}; give the right element type", name,
                                     bytes.size(), type_name(type), type_size(type)));
    }
    const int64_t n = static_cast<int64_t>(bytes.size() / type_size(type));
    return Array{type, {n}, std::move(bytes)};
  }
  uint64_t expected = type_size(type);
  bool fits = true;
  for (const int64_t d : shape) fits = fits && d >= 0 && multiply_sizes(expected, static_cast<uint64_t>(d), expected);
  if (!fits || expected != bytes.size()) {
    return usage_error(fmt::format("'{}' has {} bytes, but {} of {} takes {}; give the right shape and element type",
                                   name, bytes.size(), shape_text(shape), type_name(type),
                                   fits ? std::to_string(expected) : "too many"));
  }
  return Array{type, shape, std::move(bytes)};
}

Result<Array> read_raw(const std::string& path, ArrayType type, const std::vector<int64_t>& shape) {
  PITH_TRY(std::vector<uint8_t> bytes, read_file(path));
  return parse_raw(std::move(bytes), path, type, shape);
}

}  // namespace pith
