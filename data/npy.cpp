// NPY and NPZ (see array.h). An NPY file is a magic, a version, a header that is a Python dict literal, and the
// elements: the format is described in numpy/lib/format.py (NEP 1). The literal is parsed strictly: the three known
// keys and the value forms that NumPy writes; anything else is refused by name.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/file.h"
#include "data/archive.h"
#include "data/array.h"
#include "data/bytes.h"

namespace pith {
namespace {

struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<int64_t> shape;
};

// A cursor over the dict literal; every step says whether it fitted.
class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text) {}

  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    skip_space();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  std::optional<std::string> string() {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return std::nullopt;
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) return std::nullopt;
    std::string out(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out;
  }
  std::optional<std::vector<int64_t>> tuple() {
    if (!take('(')) return std::nullopt;
    std::vector<int64_t> out;
    while (!take(')')) {
      skip_space();
      int64_t d = 0;
      const auto [rest, status] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), d);
      if (status != std::errc() || d < 0 || out.size() == 32) return std::nullopt;
      at_ = static_cast<size_t>(rest - text_.data());
      (void)take('L');  // Python 2's long integers
      out.push_back(d);
      if (!take(',')) {
        if (!take(')')) return std::nullopt;
        break;
      }
    }
    return out;
  }
  bool at_end() {
    skip_space();
    return at_ == text_.size();
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  std::string_view text_;
  size_t at_ = 0;
};

std::optional<Header> parse_header(std::string_view text) {
  Literal in(text);
  Header h;
  int seen = 0;
  if (!in.take('{')) return std::nullopt;
  while (!in.take('}')) {
    const auto key = in.string();
    if (!key || !in.take(':')) return std::nullopt;
    if (*key == "descr") {
      if (in.take('[')) {  // a list of fields
        h.descr = "a structured type";
        return h;
      }
      auto descr = in.string();
      if (!descr) return std::nullopt;
      h.descr = std::move(*descr);
      seen |= 1;
    } else if (*key == "fortran_order") {
      h.fortran = in.take_word("True");
      if (!h.fortran && !in.take_word("False")) return std::nullopt;
      seen |= 2;
    } else if (*key == "shape") {
      auto shape = in.tuple();
      if (!shape) return std::nullopt;
      h.shape = std::move(*shape);
      seen |= 4;
    } else {
      return std::nullopt;
    }
    (void)in.take(',');
  }
  if (seen != 7 || !in.at_end()) return std::nullopt;
  return h;
}

// How a file's element becomes one of ours.
enum class Change { kNone, kF16, kF64, kU16, kU32, kU64, kBool };
struct Descr {
  std::string_view name;
  size_t size;
  ArrayType type;
  Change change;
};
constexpr Descr kDescrs[] = {
    {"f4", 4, ArrayType::kF32, Change::kNone}, {"f2", 2, ArrayType::kF32, Change::kF16},
    {"f8", 8, ArrayType::kF32, Change::kF64},  {"u1", 1, ArrayType::kU8, Change::kNone},
    {"u2", 2, ArrayType::kI32, Change::kU16},  {"u4", 4, ArrayType::kI64, Change::kU32},
    {"u8", 8, ArrayType::kI64, Change::kU64},  {"i1", 1, ArrayType::kI8, Change::kNone},
    {"i2", 2, ArrayType::kI16, Change::kNone}, {"i4", 4, ArrayType::kI32, Change::kNone},
    {"i8", 8, ArrayType::kI64, Change::kNone}, {"b1", 1, ArrayType::kBool, Change::kBool},
};

const Descr* find_descr(std::string_view descr) {
  if (descr.size() != 3) return nullptr;
  const bool one_byte = descr[2] == '1';
  if (descr[0] != '<' && descr[0] != '=' && descr[0] != '|' && !(descr[0] == '>' && one_byte)) return nullptr;
  const auto* row =
      std::find_if(std::begin(kDescrs), std::end(kDescrs), [&](const Descr& d) { return d.name == descr.substr(1); });
  return row == std::end(kDescrs) ? nullptr : row;
}

float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const int exponent = h >> 10 & 31;
  const uint32_t mantissa = h & 1023;
  uint32_t bits = 0;
  if (exponent == 31) {
    bits = sign | 0x7f800000 | mantissa << 13;
  } else if (exponent != 0) {
    bits = sign | static_cast<uint32_t>(exponent + 112) << 23 | mantissa << 13;
  } else {  // subnormal: mantissa * 2^-24
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -value : value;
  }
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

template <typename From, typename To, typename F>
std::vector<uint8_t> convert(std::span<const uint8_t> in, F f) {
  const size_t n = in.size() / sizeof(From);
  std::vector<uint8_t> out(n * sizeof(To));
  for (size_t i = 0; i < n; ++i) {
    From v;
    std::memcpy(&v, in.data() + i * sizeof(From), sizeof v);
    const To w = f(v);
    std::memcpy(out.data() + i * sizeof(To), &w, sizeof w);
  }
  return out;
}

Result<std::vector<uint8_t>> change(std::span<const uint8_t> in, Change how, const std::string& name) {
  switch (how) {
    case Change::kNone:
      break;
    case Change::kF16:
      return convert<uint16_t, float>(in, half_to_float);
    case Change::kF64:
      return convert<double, float>(in, [](double v) { return static_cast<float>(v); });
    case Change::kU16:
      return convert<uint16_t, int32_t>(in, [](uint16_t v) { return v; });
    case Change::kU32:
      return convert<uint32_t, int64_t>(in, [](uint32_t v) { return v; });
    case Change::kU64: {
      bool fits = true;
      auto out = convert<uint64_t, int64_t>(in, [&](uint64_t v) {
        fits = fits && v <= INT64_MAX;
        return static_cast<int64_t>(v);
      });
      if (!fits) return usage_error(fmt::format("'{}' holds uint64 values beyond int64; save it as int64", name));
      return out;
    }
    case Change::kBool:
      return convert<uint8_t, uint8_t>(in, [](uint8_t v) { return uint8_t{v != 0}; });
  }
  return std::vector<uint8_t>(in.begin(), in.end());
}

// Column-major elements to row-major ones: walks the output in order and keeps the input's index beside it.
std::vector<uint8_t> to_row_major(const std::vector<uint8_t>& in, const std::vector<int64_t>& shape, size_t size) {
  std::vector<uint8_t> out(in.size());
  const size_t rank = shape.size();
  std::vector<size_t> stride(rank, 1), index(rank, 0);
  for (size_t d = 1; d < rank; ++d) stride[d] = stride[d - 1] * static_cast<size_t>(shape[d - 1]);
  size_t from = 0;
  for (size_t to = 0; to < in.size(); to += size) {
    std::memcpy(out.data() + to, in.data() + from * size, size);
    for (size_t d = rank; d-- > 0;) {
      from += stride[d];
      if (++index[d] < static_cast<size_t>(shape[d])) break;
      from -= stride[d] * static_cast<size_t>(shape[d]);
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace

Result<Array> parse_npy(std::span<const uint8_t> bytes, const std::string& name) {
  if (!starts_with(bytes, "\x93NUMPY") || bytes.size() < 12) {
    return usage_error(fmt::format("'{}' isn't an npy file; write it with numpy.save", name));
  }
  const int version = bytes[6];
  if (version < 1 || version > 3) {
    return usage_error(fmt::format("'{}' has npy version {}; save it again as version 1, 2 or 3", name, version));
  }
  const size_t start = version == 1 ? 10 : 12;
  const size_t length = version == 1 ? read_le16(bytes, 8) : read_le32(bytes, 8);
  if (length > bytes.size() - start) {
    return usage_error(fmt::format("'{}' ends inside its header; copy the file again", name));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + start, length);
  const auto header = parse_header(text);
  if (!header)
    return usage_error(fmt::format("'{}' has a damaged npy header: {}; save it again", name, printable(text)));
  const Descr* descr = find_descr(header->descr);
  if (descr == nullptr) {
    return usage_error(
        fmt::format("'{}' holds elements of {}; save it as little-endian float32, or an integer or bool "
                    "type of at most 64 bits",
                    name, printable(header->descr)));
  }
  uint64_t size = descr->size;
  for (const int64_t d : header->shape) {
    if (!multiply_sizes(size, static_cast<uint64_t>(d), size)) {
      return usage_error(
          fmt::format("'{}' states an impossible shape {}; save it again", name, shape_text(header->shape)));
    }
  }
  const std::span<const uint8_t> data = bytes.subspan(start + length);
  if (size > data.size()) {
    return usage_error(fmt::format("'{}' states {} of {} ({} bytes) but holds {} bytes; copy the file again", name,
                                   shape_text(header->shape), printable(header->descr), size, data.size()));
  }
  Array a{descr->type, header->shape, {}};
  PITH_TRY(a.bytes, change(data.first(size), descr->change, name));
  if (header->fortran && a.shape.size() > 1) a.bytes = to_row_major(a.bytes, a.shape, type_size(a.type));
  return a;
}

Result<Array> read_npy(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> bytes, read_file(path));
  return parse_npy(bytes, path);
}

std::vector<uint8_t> encode_npy(const Array& array) {
  constexpr std::string_view kNames[] = {"<f4", "|u1", "|i1", "<i2", "<i4", "<i8", "|b1"};
  std::string shape;
  for (const int64_t d : array.shape) shape += fmt::format("{}, ", d);
  if (array.shape.size() > 1) shape.resize(shape.size() - 2);
  if (array.shape.size() == 1) shape.pop_back();
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                   kNames[static_cast<size_t>(array.type)], shape);
  header.append(63 - (10 + header.size()) % 64, ' ');  // the elements start at a multiple of 64
  header += '\n';
  std::vector<uint8_t> out = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  out.push_back(static_cast<uint8_t>(header.size()));
  out.push_back(static_cast<uint8_t>(header.size() >> 8));
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), array.bytes.begin(), array.bytes.end());
  return out;
}

Result<void> write_npy(const std::string& path, const Array& array) { return write_file(path, encode_npy(array)); }

Result<std::vector<NamedArray>> parse_npz(std::span<const uint8_t> bytes, const std::string& name) {
  PITH_TRY(const std::vector<ArchiveMember> members, unpack_zip(bytes, name));
  std::vector<NamedArray> out;
  for (const ArchiveMember& m : members) {
    PITH_TRY(Array array, parse_npy(m.bytes, name + ":" + printable(m.name)));
    std::string_view key = m.name;
    if (key.ends_with(".npy")) key.remove_suffix(4);
    out.push_back({std::string(key), std::move(array)});
  }
  if (out.empty()) return usage_error(fmt::format("'{}' holds no arrays; write it with numpy.savez", name));
  return out;
}

Result<std::vector<NamedArray>> read_npz(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> bytes, read_file(path));
  return parse_npz(bytes, path);
}

}  // namespace pith
