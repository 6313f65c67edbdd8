// The text form, read (see text_write.cpp). Any text is safe to give: nothing is allocated that the text doesn't hold.
// The result is what the text says; verify() tells whether it is a sound graph.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "ir/graph.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

// A line of text and how far it is read.
class Line {
 public:
  Line(std::string_view text, int number) : rest_(text), number_(number) {}

  Error fail(const std::string& expected) const {
    return usage_error(fmt::format("line {}: expected {} at \"{}\"", number_, expected, rest_.substr(0, 24)));
  }
  bool at_end() {
    skip_spaces();
    return rest_.empty();
  }
  // Takes `token` when it comes next.
  bool take(std::string_view token) {
    skip_spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  Result<void> need(std::string_view token) {
    if (take(token)) return {};
    return fail("'" + std::string(token) + "'");
  }
  // The longest run of letters, digits and the given characters.
  std::string_view word(std::string_view also = "_") {
    skip_spaces();
    size_t n = 0;
    while (n < rest_.size() &&
           (std::isalnum(static_cast<unsigned char>(rest_[n])) != 0 || also.find(rest_[n]) != std::string_view::npos))
      ++n;
    const std::string_view w = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return w;
  }
  template <typename T>
  Result<T> number() {
    skip_spaces();
    T value{};
    const auto [end, problem] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (problem != std::errc()) return fail("a number");
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return value;
  }
  Result<std::string> quoted() {
    PITH_CHECK_OK(need("\""));
    std::string text;
    while (!rest_.empty() && rest_[0] != '"') {
      if (rest_[0] == '\\' && rest_.size() > 1 && rest_[1] != 'x') {
        text += rest_[1];
        rest_.remove_prefix(2);
      } else if (rest_[0] == '\\') {
        unsigned code = 0;
        if (rest_.size() < 4 || std::from_chars(rest_.data() + 2, rest_.data() + 4, code, 16).ptr != rest_.data() + 4)
          return fail("\\x and two digits");
        text += static_cast<char>(code);
        rest_.remove_prefix(4);
      } else {
        text += rest_[0];
        rest_.remove_prefix(1);
      }
    }
    PITH_CHECK_OK(need("\""));
    return text;
  }
  Result<ValueId> id() {
    if (take("-")) return kNoValue;
    PITH_CHECK_OK(need("%"));
    PITH_TRY(const ValueId id, number<ValueId>());
    if (id < 0) return fail("an id");
    return id;
  }
  // Items up to `end`, separated by commas.
  template <typename T, typename F>
  Result<std::vector<T>> list(std::string_view end, F item) {
    std::vector<T> items;
    if (end.empty() ? at_end() : take(end)) return items;
    for (;;) {
      PITH_TRY(T next, item());
      items.push_back(std::move(next));
      if (end.empty() ? at_end() : take(end)) return items;
      PITH_CHECK_OK(need(","));
    }
  }
  template <typename T>
  Result<std::vector<T>> numbers(std::string_view end) {
    return list<T>(end, [&] { return number<T>(); });
  }
  bool quote_follows() {
    skip_spaces();
    return rest_.starts_with('"');
  }
  // Whether the number that comes next is written as a real.
  bool real_follows() {
    skip_spaces();
    const std::string_view digits = rest_.substr(0, rest_.find_first_of(" ,)]"));
    return digits.find_first_of(".einf") != std::string_view::npos;
  }

 private:
  void skip_spaces() {
    while (!rest_.empty() && rest_[0] == ' ') rest_.remove_prefix(1);
  }
  std::string_view rest_;
  int number_;
};

Result<std::vector<uint8_t>> decode_base64(const Line& line, std::string_view text) {
  const auto digit = [](char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
  };
  std::vector<uint8_t> bytes;
  bytes.reserve(text.size() / 4 * 3);
  if (text.size() % 4 != 0) return line.fail("base64 in groups of four");
  for (size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const int missing = last && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2 : 1) : 0;
    uint32_t group = 0;
    for (int k = 0; k < 4; ++k) {
      const int d = k >= 4 - missing ? 0 : digit(text[i + static_cast<size_t>(k)]);
      if (d < 0) return line.fail("base64 digits");
      group = group << 6 | static_cast<uint32_t>(d);
    }
    for (int k = 0; k < 3 - missing; ++k) bytes.push_back(static_cast<uint8_t>(group >> (16 - 8 * k)));
  }
  return bytes;
}

Result<DType> parse_dtype(Line& line) {
  const auto type = dtype_from_name(line.word());
  if (!type) return line.fail("a type (f32 u8 i8 i32 i64 bool)");
  return *type;
}

Result<Shape> parse_shape(Line& line) {
  if (line.take("scalar")) return Shape{};
  Shape shape;
  do {
    PITH_TRY(const int64_t d, line.number<int64_t>());
    if (d < 0) return line.fail("a dimension");
    shape.push_back(d);
  } while (line.take("x"));
  return shape;
}

Result<Tensor> parse_constant(Line& line, const Shape& shape) {
  PITH_TRY(const DType type, parse_dtype(line));
  const int64_t count = element_count(shape);
  if (line.take("base64:")) {
    PITH_TRY(const auto bytes, decode_base64(line, line.word("+/=")));
    if (count < 0 || static_cast<uint64_t>(count) != bytes.size() / dtype_bytes(type) ||
        bytes.size() % dtype_bytes(type) != 0) {
      return line.fail(fmt::format("{} elements", count));
    }
    return Tensor::of(type, shape, bytes);
  }
  if (line.take("hash:")) return line.fail("data: this text was written without, and can't be read back");
  PITH_CHECK_OK(line.need("["));
  return with_dtype(type, [&](auto zero) -> Result<Tensor> {
    using T = decltype(zero);
    PITH_TRY(const std::vector<T> values, line.numbers<T>("]"));
    if (static_cast<int64_t>(values.size()) != count) return line.fail(fmt::format("{} elements", count));
    if (type == DType::kBool) {
      for (T v : values) {
        if (v != T{0} && v != T{1}) return line.fail("0 or 1");
      }
    }
    return Tensor::of(type, shape, values);
  });
}

Result<Quant> parse_quant(Line& line) {
  Quant q;
  PITH_CHECK_OK(line.need("bits="));
  PITH_TRY(q.bits, line.number<int>());
  PITH_CHECK_OK(line.need("scale="));
  PITH_TRY(q.affine.scale_code, line.number<int16_t>());
  PITH_CHECK_OK(line.need("zero="));
  PITH_TRY(q.affine.zero_point, line.number<uint8_t>());
  PITH_CHECK_OK(line.need("axis="));
  PITH_TRY(q.axis, line.number<int>());
  PITH_CHECK_OK(line.need("codes=["));
  PITH_TRY(q.scale_codes, line.numbers<int16_t>("]"));
  PITH_CHECK_OK(line.need(")"));
  return q;
}

Result<void> parse_value(Line& line, Graph& graph) {
  PITH_TRY(const ValueId id, line.id());
  if (id != static_cast<ValueId>(graph.values.size()))
    return line.fail(fmt::format("value %{} next", graph.values.size()));
  Value v;
  PITH_TRY(v.name, line.quoted());
  PITH_TRY(v.dtype, parse_dtype(line));
  PITH_TRY(v.shape, parse_shape(line));
  if (line.take("quant(")) {
    PITH_TRY(v.quant, parse_quant(line));
  }
  if (line.take("=")) {
    PITH_TRY(v.constant, parse_constant(line, v.shape));
  }
  graph.values.push_back(std::move(v));
  return {};
}

Result<Attribute> parse_attribute(Line& line) {
  if (line.take("r[")) {
    PITH_TRY(auto list, line.numbers<double>("]"));
    return Attribute(std::move(list));
  }
  if (line.take("[")) {
    PITH_TRY(auto list, line.numbers<int64_t>("]"));
    return Attribute(std::move(list));
  }
  if (line.quote_follows()) {
    PITH_TRY(auto text, line.quoted());
    return Attribute(std::move(text));
  }
  if (line.real_follows()) {
    PITH_TRY(const double real, line.number<double>());
    return Attribute(real);
  }
  PITH_TRY(const int64_t integer, line.number<int64_t>());
  return Attribute(integer);
}

std::optional<numerics::Unary> unary_from_name(std::string_view name) {
  for (int i = 0; i < numerics::kUnaryCount; ++i) {
    if (name == numerics::unary_name(static_cast<numerics::Unary>(i))) return static_cast<numerics::Unary>(i);
  }
  return std::nullopt;
}

Result<Activation> parse_activation(Line& line) {
  Activation a;
  const auto function = unary_from_name(line.word());
  if (!function) return line.fail("a function");
  a.function = *function;
  PITH_TRY(a.a, line.number<double>());
  PITH_TRY(a.b, line.number<double>());
  if (line.take("pre")) {
    a.pre.emplace();
    PITH_TRY(a.pre->scale_code, line.number<int16_t>());
    PITH_TRY(a.pre->zero_point, line.number<uint8_t>());
  }
  PITH_CHECK_OK(line.need(")"));
  return a;
}

Result<void> parse_node(Line& line, Graph& graph) {
  Node n;
  const auto id = [&] { return line.id(); };
  PITH_TRY(n.outputs, line.list<ValueId>("=", id));
  const auto op = op_from_name(line.word());
  if (!op) return line.fail("an operator");
  n.op = *op;
  PITH_TRY(n.name, line.quoted());
  PITH_CHECK_OK(line.need("("));
  PITH_TRY(n.inputs, line.list<ValueId>(")", id));
  while (!line.at_end()) {
    if (line.take("activation(")) {
      PITH_TRY(n.activation, parse_activation(line));
      continue;
    }
    const std::string key(line.word());
    if (key.empty()) return line.fail("an attribute");
    PITH_CHECK_OK(line.need("="));
    PITH_TRY(n.attributes[key], parse_attribute(line));
  }
  graph.nodes.push_back(std::move(n));
  return {};
}

Result<void> parse_line(Line& line, Graph& graph) {
  const auto id = [&] { return line.id(); };
  const std::string_view kind = line.word();
  if (kind == "value") {
    PITH_CHECK_OK(parse_value(line, graph));
  } else if (kind == "node") {
    PITH_CHECK_OK(parse_node(line, graph));
  } else if (kind == "graph") {
    PITH_TRY(graph.name, line.quoted());
  } else if (kind == "metadata") {
    PITH_TRY(const std::string key, line.quoted());
    PITH_TRY(graph.metadata[key], line.quoted());
  } else if (kind == "inputs") {
    PITH_TRY(graph.inputs, line.list<ValueId>("", id));
  } else if (kind == "outputs") {
    PITH_TRY(graph.outputs, line.list<ValueId>("", id));
  } else if (kind == "state") {
    PITH_TRY(const ValueId input, line.id());
    PITH_TRY(const ValueId output, line.id());
    graph.state.emplace_back(input, output);
  } else {
    return line.fail("graph, metadata, value, node, inputs, outputs or state");
  }
  if (!line.at_end()) return line.fail("the end of the line");
  return {};
}

}  // namespace

Result<Graph> parse_text(std::string_view text) {
  Graph graph;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    Line line(text.substr(0, end), number);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.at_end()) PITH_CHECK_OK(parse_line(line, graph));
  }
  return graph;
}

}  // namespace pith::ir
