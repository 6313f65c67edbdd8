// MiniMalloc's CSV (see plan_csv.h). Files come from other people's compilers, so every field is checked and every
// error names its line.
#include "compile/plan_csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

namespace pith {
namespace {

enum Column { kId, kLower, kUpper, kSize, kAlignment, kOffset, kColumns };
constexpr std::array<std::string_view, kColumns> kNames = {"id", "lower", "upper", "size", "alignment", "offset"};
constexpr size_t kAbsent = SIZE_MAX;
using Layout = std::array<size_t, kColumns>;  // the position of each column, or kAbsent

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.remove_suffix(1);
  return s;
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  for (;;) {
    const size_t comma = line.find(',');
    fields.push_back(trim(line.substr(0, comma)));
    if (comma == std::string_view::npos) return fields;
    line.remove_prefix(comma + 1);
  }
}

// At most 40 characters of a field for a message, the unprintable ones as '?'.
std::string excerpt(std::string_view s) {
  std::string out(s.substr(0, 40));
  for (char& c : out)
    if (c < 32 || c == 127) c = '?';
  return out;
}

Result<Layout> read_header(std::string_view line, const std::string& where) {
  Layout layout;
  layout.fill(kAbsent);
  const std::vector<std::string_view> fields = split(line);
  for (size_t i = 0; i < fields.size(); ++i) {
    const auto name = std::find(kNames.begin(), kNames.end(), fields[i]);
    if (name == kNames.end())
      return usage_error(
          fmt::format("{}: column '{}' is unknown: the header must name id,lower,upper,size and, optionally, "
                      "alignment and offset",
                      where, excerpt(fields[i])));
    size_t& place = layout[static_cast<size_t>(name - kNames.begin())];
    if (place != kAbsent) return usage_error(fmt::format("{}: column '{}' appears twice", where, *name));
    place = i;
  }
  for (size_t c = kId; c <= kSize; ++c)
    if (layout[c] == kAbsent)
      return usage_error(
          fmt::format("{}: the header has no column '{}': it must name id,lower,upper,size", where, kNames[c]));
  return layout;
}

Result<int64_t> read_number(std::string_view field, std::string_view column, const std::string& where) {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (failure == std::errc::result_out_of_range)
    return usage_error(fmt::format("{}: {} '{}' does not fit in 64 bits", where, column, excerpt(field)));
  if (failure != std::errc{} || end != field.data() + field.size())
    return usage_error(fmt::format("{}: {} '{}' is not a whole number", where, column, excerpt(field)));
  return value;
}

Result<void> read_row(std::string_view line, const Layout& layout, const std::string& where, PlanTable& table) {
  const std::vector<std::string_view> fields = split(line);
  const size_t expected = kColumns - static_cast<size_t>(std::count(layout.begin(), layout.end(), kAbsent));
  if (fields.size() != expected)
    return usage_error(fmt::format("{}: {} fields where the header names {}", where, fields.size(), expected));
  std::array<int64_t, kColumns> number{};
  number[kAlignment] = 1;
  for (size_t c = kLower; c < kColumns; ++c) {
    if (layout[c] == kAbsent) continue;
    PITH_TRY(const int64_t value, read_number(fields[layout[c]], kNames[c], where));
    number[c] = value;
  }
  Buffer buffer{
      std::string(fields[layout[kId]]), number[kLower], number[kUpper], number[kSize], number[kAlignment], {}};
  const auto wrong = [&](const char* what) {
    return usage_error(fmt::format("{}: buffer '{}' {}", where, excerpt(buffer.name), what));
  };
  if (buffer.name.empty()) return usage_error(where + ": the id is empty");
  if (buffer.lower >= buffer.upper) return wrong("must have lower < upper");
  if (buffer.size < 0) return wrong("must have a size of at least 0");
  if (buffer.alignment < 1) return wrong("must have an alignment of at least 1");
  if (number[kOffset] < 0) return wrong("must have an offset of at least 0");
  table.problem.buffers.push_back(std::move(buffer));
  if (layout[kOffset] != kAbsent) table.offsets.push_back(number[kOffset]);
  return {};
}

}  // namespace

Result<PlanTable> read_plan_csv(std::string_view text, const std::string& path) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
  PlanTable table;
  std::optional<Layout> layout;
  std::map<std::string, size_t, std::less<>> line_of;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty()) continue;
    const std::string where = fmt::format("{}, line {}", path, number);
    if (!layout) {
      PITH_TRY(const Layout found, read_header(line, where));
      layout = found;
      continue;
    }
    PITH_CHECK_OK(read_row(line, *layout, where, table));
    const std::string& id = table.problem.buffers.back().name;
    const auto [earlier, is_new] = line_of.insert({id, number});
    if (!is_new)
      return usage_error(fmt::format("{}: id '{}' was already used on line {}: ids must be unique", where, excerpt(id),
                                     earlier->second));
  }
  if (!layout) return usage_error(path + " is empty: its first line must name the columns id,lower,upper,size");
  PITH_CHECK_OK(check_problem(table.problem));
  return table;
}

std::string write_plan_csv(const PlanProblem& problem, const Plan& plan) {
  const bool aligned =
      std::any_of(problem.buffers.begin(), problem.buffers.end(), [](const Buffer& b) { return b.alignment != 1; });
  std::string text = aligned ? "id,lower,upper,size,alignment,offset\n" : "id,lower,upper,size,offset\n";
  for (size_t i = 0; i < problem.buffers.size(); ++i) {
    const Buffer& b = problem.buffers[i];
    text += fmt::format("{},{},{},{},", b.name, b.lower, b.upper, b.size);
    if (aligned) text += fmt::format("{},", b.alignment);
    text += fmt::format("{}\n", plan.offsets[i]);
  }
  return text;
}

}  // namespace pith
