// The text form, written. One line per value and node:
//
//   graph "name"
//   metadata "key" "text"
//   value %1 "weights" f32 8x3x3x3 quant(bits=4 scale=0 zero=0 axis=0 codes=[-90, -88]) = i8 base64:AAEC...
//   node %2 = Conv "conv1" (%0, %1, -) group=1 strides=[2, 2] activation(Silu 1.0 0.0 pre -80 12)
//   inputs %0
//   outputs %2
//   state %0 %2
//
// Integers are written as such; reals always have a point, an exponent or a letter, and a list of reals starts with r[.
// Numbers are the shortest that read back as the same bits.
#include <fmt/format.h>

#include <algorithm>

#include "ir/graph.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

constexpr int64_t kInlineElements = 64;

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

template <typename T>
std::string real_text(T x) {
  std::string text = fmt::format("{}", x);
  if (text.find_first_of(".einf") == std::string::npos) text += ".0";
  return text;
}

template <typename T, typename F>
std::string joined(const T& list, F text_of) {
  std::string out;
  for (const auto& item : list) {
    if (!out.empty()) out += ", ";
    out += text_of(item);
  }
  return out;
}

std::string attribute_text(const Attribute& a) {
  if (const auto* i = std::get_if<int64_t>(&a)) return fmt::format("{}", *i);
  if (const auto* r = std::get_if<double>(&a)) return real_text(*r);
  if (const auto* s = std::get_if<std::string>(&a)) return quoted(*s);
  if (const auto* list = std::get_if<std::vector<int64_t>>(&a)) {
    return "[" + joined(*list, [](int64_t i) { return fmt::format("{}", i); }) + "]";
  }
  return "r[" + joined(std::get<std::vector<double>>(a), real_text<double>) + "]";
}

std::string id_text(ValueId id) { return id == kNoValue ? "-" : fmt::format("%{}", id); }

std::string base64(const uint8_t* bytes, size_t size) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((size + 2) / 3 * 4);
  for (size_t i = 0; i < size; i += 3) {
    uint32_t group = uint32_t{bytes[i]} << 16;
    if (i + 1 < size) group |= uint32_t{bytes[i + 1]} << 8;
    if (i + 2 < size) group |= bytes[i + 2];
    out += kDigits[group >> 18];
    out += kDigits[group >> 12 & 63];
    out += i + 1 < size ? kDigits[group >> 6 & 63] : '=';
    out += i + 2 < size ? kDigits[group & 63] : '=';
  }
  return out;
}

// FNV-1a, 64 bits: tells contents apart in a diff.
uint64_t content_hash(const Tensor& t) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (size_t i = 0; i < t.byte_count(); ++i) hash = (hash ^ t.bytes()[i]) * 0x100000001b3ull;
  return hash;
}

std::string constant_text(const Tensor& t, bool with_data) {
  const std::string type = dtype_name(t.dtype());
  if (t.count() <= kInlineElements) {
    return with_dtype(t.dtype(), [&](auto zero) {
      using T = decltype(zero);
      return type + " [" +
             joined(t.as<T>(),
                    [](T x) {
                      if constexpr (std::is_same_v<T, float>) return real_text(x);
                      return fmt::format("{}", static_cast<int64_t>(x));
                    }) +
             "]";
    });
  }
  if (!with_data) return fmt::format("{} hash:{:016x}", type, content_hash(t));
  return type + " base64:" + base64(t.bytes(), t.byte_count());
}

std::string value_text(const Value& v, size_t id, bool with_data) {
  std::string line = fmt::format("value %{} {} {} {}", id, quoted(v.name), dtype_name(v.dtype), to_string(v.shape));
  if (v.quant) {
    const Quant& q = *v.quant;
    line +=
        fmt::format(" quant(bits={} scale={} zero={} axis={} codes=[{}])", q.bits, q.affine.scale_code,
                    q.affine.zero_point, q.axis, joined(q.scale_codes, [](int16_t c) { return fmt::format("{}", c); }));
  }
  if (v.constant) line += " = " + constant_text(*v.constant, with_data);
  return line;
}

std::string node_text(const Node& n) {
  std::string line = fmt::format("node {} = {} {} ({})", joined(n.outputs, id_text), op_name(n.op), quoted(n.name),
                                 joined(n.inputs, id_text));
  for (const auto& [key, value] : n.attributes) line += " " + key + "=" + attribute_text(value);
  if (n.activation != Activation{}) {
    const Activation& a = n.activation;
    line += fmt::format(" activation({} {} {}", numerics::unary_name(a.function), real_text(a.a), real_text(a.b));
    if (a.pre) line += fmt::format(" pre {} {}", a.pre->scale_code, a.pre->zero_point);
    line += ")";
  }
  return line;
}

}  // namespace

std::string to_text(const Graph& graph, bool with_data) {
  std::string text = "graph " + quoted(graph.name) + "\n";
  for (const auto& [key, value] : graph.metadata) text += "metadata " + quoted(key) + " " + quoted(value) + "\n";
  for (size_t i = 0; i < graph.values.size(); ++i) text += value_text(graph.values[i], i, with_data) + "\n";
  for (const Node& n : graph.nodes) text += node_text(n) + "\n";
  text += "inputs " + joined(graph.inputs, id_text) + "\n";
  text += "outputs " + joined(graph.outputs, id_text) + "\n";
  for (const auto& [input, output] : graph.state) text += "state " + id_text(input) + " " + id_text(output) + "\n";
  return text;
}

}  // namespace pith::ir
