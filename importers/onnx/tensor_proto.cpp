// TensorProto -> SourceTensor.
//
// A TensorProto keeps its elements in one of several fields: raw little-endian bytes, one of the typed repeated fields
// (small types travel as int32), or a range of another file. Method: bring all of them to one span of raw bytes in the
// stored type, check its length against the shape, and widen element by element. Formats: onnx.proto; float8 as in
// "FP8 Formats for Deep Learning" (Micikevicius et al., 2022). A hostile file can state any dimension, so the element
// count is computed with overflow checks, and nothing is allocated before the bytes are known to be there.
#include "importers/onnx/tensor_proto.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "importers/onnx/element_types.h"

namespace pith::importers {
namespace {

using ir::DType;
using ir::Shape;

constexpr int64_t kMostElements = int64_t{1} << 33;

Result<int64_t> checked_count(const std::string& name, const Shape& shape) {
  int64_t count = 1, without_zeros = 1;
  for (const int64_t d : shape) {
    if (d < 0) return usage_error(fmt::format("tensor '{}' states a dimension of {}; export the model again", name, d));
    if (d != 0 && without_zeros > kMostElements / d)
      return usage_error(fmt::format("tensor '{}' states more than 2^33 elements; export the model again", name));
    count *= d;
    without_zeros *= std::max<int64_t>(d, 1);
  }
  return count;
}

struct FileRange {
  std::string location;
  int64_t offset = 0, length = -1;
};

Result<FileRange> external_range(const ::onnx::TensorProto& proto) {
  FileRange range;
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location") range.location = entry.value();
    if (entry.key() != "offset" && entry.key() != "length") continue;
    const std::string& text = entry.value();
    if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos)
      return usage_error(fmt::format("tensor '{}': external data's {} '{}' isn't a number; export the model again",
                                     proto.name(), entry.key(), text));
    (entry.key() == "offset" ? range.offset : range.length) = std::stoll(text);
  }
  return range;
}

// The external file must lie in the model's folder or below it, links resolved.
Result<std::string> external_path(const std::string& name, const std::string& location, const std::string& folder) {
  namespace fs = std::filesystem;
  if (folder.empty())
    return usage_error(fmt::format("tensor '{}' keeps its data in '{}': give the model as a file beside it", name, location));
  const fs::path relative(location);
  bool leaves = location.empty() || relative.is_absolute() || location.find('\0') != std::string::npos;
  for (const fs::path& part : relative) leaves = leaves || part == "..";
  std::error_code failed;
  const fs::path base = fs::weakly_canonical(folder, failed);
  const fs::path full = failed || leaves ? fs::path() : fs::weakly_canonical(base / relative, failed);
  const std::string inside = (base / "").string();
  if (leaves || failed || full.string().compare(0, inside.size(), inside) != 0)
    return usage_error(fmt::format(
        "tensor '{}' names external data '{}' outside the model's folder; put the file beside the model", name, location));
  return full.string();
}

Result<std::string> read_external(const ::onnx::TensorProto& proto, const std::string& folder, int64_t expected) {
  PITH_TRY(const FileRange range, external_range(proto));
  PITH_TRY(const std::string path, external_path(proto.name(), range.location, folder));
  std::error_code failed;
  const auto size = std::filesystem::file_size(path, failed);
  if (failed)
    return usage_error(fmt::format("tensor '{}': external data '{}' can't be read: {}; put the file beside the model",
                                   proto.name(), range.location, failed.message()));
  const int64_t length = range.length < 0 ? expected : range.length;
  if (length != expected || range.offset > static_cast<int64_t>(size) || expected > static_cast<int64_t>(size) - range.offset)
    return usage_error(fmt::format("tensor '{}' needs {} bytes at {} of '{}', which has {} (stated length {}); fetch the file again",
                                   proto.name(), expected, range.offset, range.location, size, length));
  std::string bytes(static_cast<size_t>(expected), '\0');
  std::FILE* file = std::fopen(path.c_str(), "rb");
  const bool read = file && std::fseek(file, static_cast<long>(range.offset), SEEK_SET) == 0 &&
                    std::fread(bytes.data(), 1, bytes.size(), file) == bytes.size();
  if (file) std::fclose(file);
  if (!read)
    return usage_error(fmt::format("tensor '{}': external data '{}' can't be read; check the file", proto.name(), range.location));
  return bytes;
}

template <typename Stored, typename Field>
void append(std::string& raw, const Field& field) {
  raw.resize(static_cast<size_t>(field.size()) * sizeof(Stored));
  char* at = raw.data();
  for (const auto v : field) {
    const Stored s = static_cast<Stored>(v);
    std::memcpy(at, &s, sizeof s);
    at += sizeof s;
  }
}

// The typed fields as raw bytes of the stored type.
std::string typed_bytes(const ::onnx::TensorProto& proto) {
  std::string raw;
  switch (proto.data_type()) {
    case kFloat: append<float>(raw, proto.float_data()); break;
    case kDouble: append<double>(raw, proto.double_data()); break;
    case kInt64: append<int64_t>(raw, proto.int64_data()); break;
    case kUint64: append<uint64_t>(raw, proto.uint64_data()); break;
    case kUint32: append<uint32_t>(raw, proto.uint64_data()); break;
    case kInt32: append<int32_t>(raw, proto.int32_data()); break;
    case kInt16: case kUint16: case kFloat16: case kBfloat16: append<uint16_t>(raw, proto.int32_data()); break;
    default: append<uint8_t>(raw, proto.int32_data()); break;
  }
  return raw;
}

template <typename Stored>
Stored load(const char* bytes, int64_t i) {
  Stored s;
  std::memcpy(&s, bytes + static_cast<size_t>(i) * sizeof s, sizeof s);
  return s;
}

template <typename To, typename Read>
void fill(ir::Tensor& tensor, Read read) {
  const auto out = tensor.mut<To>();
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<To>(read(static_cast<int64_t>(i)));
}

// `bits`-wide fields, the first in the lowest bits of a byte.
int packed(const char* bytes, int64_t i, int bits, bool is_signed) {
  const int per_byte = 8 / bits;
  const int shift = static_cast<int>(i % per_byte) * bits;
  const int v = (static_cast<uint8_t>(bytes[i / per_byte]) >> shift) & ((1 << bits) - 1);
  return is_signed && v >> (bits - 1) ? v - (1 << bits) : v;
}

void widen(int32_t type, const char* raw, ir::Tensor& t) {
  switch (type) {
    case kFloat: case kInt32: case kInt64: case kUint8: case kInt8:
      if (t.byte_count() != 0) std::memcpy(t.mutable_bytes(), raw, t.byte_count());
      break;
    case kDouble: fill<float>(t, [&](int64_t i) { return load<double>(raw, i); }); break;
    case kFloat16: fill<float>(t, [&](int64_t i) { return from_half(load<uint16_t>(raw, i)); }); break;
    case kBfloat16: fill<float>(t, [&](int64_t i) { return from_bfloat16(load<uint16_t>(raw, i)); }); break;
    case kFloat8E4M3FN: case kFloat8E4M3FNUZ: case kFloat8E5M2: case kFloat8E5M2FNUZ: case kFloat8E8M0:
      fill<float>(t, [&](int64_t i) { return from_float8(type, static_cast<uint8_t>(raw[i])); });
      break;
    case kFloat4E2M1: fill<float>(t, [&](int64_t i) { return from_float4(packed(raw, i, 4, false)); }); break;
    case kInt16: fill<int32_t>(t, [&](int64_t i) { return load<int16_t>(raw, i); }); break;
    case kUint16: fill<int32_t>(t, [&](int64_t i) { return load<uint16_t>(raw, i); }); break;
    case kUint32: fill<int64_t>(t, [&](int64_t i) { return load<uint32_t>(raw, i); }); break;
    case kUint64: fill<int64_t>(t, [&](int64_t i) { return load<uint64_t>(raw, i); }); break;
    case kBool: fill<uint8_t>(t, [&](int64_t i) { return raw[i] != 0; }); break;
    case kUint4: fill<uint8_t>(t, [&](int64_t i) { return packed(raw, i, 4, false); }); break;
    case kInt4: fill<int8_t>(t, [&](int64_t i) { return packed(raw, i, 4, true); }); break;
    case kUint2: fill<uint8_t>(t, [&](int64_t i) { return packed(raw, i, 2, false); }); break;
    case kInt2: fill<int8_t>(t, [&](int64_t i) { return packed(raw, i, 2, true); }); break;
    default: break;
  }
}

}  // namespace

Result<SourceTensor> decode_tensor(const ::onnx::TensorProto& proto, const std::string& folder) {
  SourceTensor out;
  out.name = proto.name();
  out.element_type = proto.data_type();
  const Shape shape(proto.dims().begin(), proto.dims().end());
  PITH_TRY(const int64_t count, checked_count(out.name, shape));
  const std::optional<DType> dtype = widened(out.element_type);
  if (!dtype) {
    out.refusal = fmt::format("tensors of {} aren't supported", element_type_name(out.element_type));
    return out;
  }
  const int64_t expected = (count * element_bits(out.element_type) + 7) / 8;
  std::string owned;
  const std::string* raw = &owned;
  if (proto.data_location() == ::onnx::TensorProto::EXTERNAL) {
    PITH_TRY(owned, read_external(proto, folder, expected));
  } else if (proto.has_raw_data()) {
    raw = &proto.raw_data();
  } else {
    owned = typed_bytes(proto);
  }
  if (static_cast<int64_t>(raw->size()) != expected)
    return usage_error(fmt::format("tensor '{}' ({} {}) has {} bytes of data where its shape needs {}; export the model again",
                                   out.name, element_type_name(out.element_type), ir::to_string(shape), raw->size(), expected));
  out.tensor = ir::Tensor(*dtype, shape);
  widen(out.element_type, raw->data(), out.tensor);
  return out;
}

Result<SourceTensor> decode_sparse(const ::onnx::SparseTensorProto& proto, const std::string& folder) {
  constexpr int64_t kMostDense = int64_t{1} << 28;
  PITH_TRY(SourceTensor values, decode_tensor(proto.values(), folder));
  PITH_TRY(const SourceTensor indices, decode_tensor(proto.indices(), folder));
  if (!values.refusal.empty()) return values;
  const Shape shape(proto.dims().begin(), proto.dims().end());
  PITH_TRY(const int64_t count, checked_count(values.name, shape));
  const int64_t n = values.tensor.count(), rank = static_cast<int64_t>(shape.size());
  const bool linear = indices.tensor.shape().size() == 1;
  const Shape wanted = linear ? Shape{n} : Shape{n, rank};
  if (count > kMostDense || indices.element_type != kInt64 || indices.tensor.shape() != wanted)
    return usage_error(fmt::format("sparse tensor '{}' is malformed or too large; export it as a dense tensor", values.name));
  ir::Tensor dense(values.tensor.dtype(), shape);
  const auto at = indices.tensor.as<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    int64_t flat = linear ? at[static_cast<size_t>(i)] : 0;
    bool inside = true;
    for (int64_t d = 0; !linear && d < rank; ++d) {
      const int64_t coordinate = at[static_cast<size_t>(i * rank + d)], size = shape[static_cast<size_t>(d)];
      inside = inside && coordinate >= 0 && coordinate < size;
      flat = inside ? flat * size + coordinate : 0;
    }
    if (!inside || flat < 0 || flat >= count)
      return usage_error(fmt::format("sparse tensor '{}' has an index outside its shape; export it again", values.name));
    const size_t width = ir::dtype_bytes(dense.dtype());
    std::memcpy(dense.mutable_bytes() + static_cast<size_t>(flat) * width,
                values.tensor.bytes() + static_cast<size_t>(i) * width, width);
  }
  values.tensor = dense;
  return values;
}

}  // namespace pith::importers
