// Where labels come from when they don't lie in the samples' own file: label files and class folders (see source.h).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>
#include <unordered_map>

#include "base/file.h"
#include "data/bytes.h"
#include "data/source.h"

namespace pith {
namespace {

std::string_view last_part(std::string_view path) { return path.substr(path.rfind('/') + 1); }

struct LabelLine {
  std::string name;  // empty for a line that is only a label
  int64_t label = 0;
};

// "name label", separated by blanks or a comma; the label is the last word.
std::optional<LabelLine> parse_line(std::string_view line) {
  constexpr std::string_view kBlank = " \t,";
  const size_t last = line.find_last_of(kBlank);
  const std::string_view word = last == std::string_view::npos ? line : line.substr(last + 1);
  LabelLine out;
  const auto [rest, status] = std::from_chars(word.data(), word.data() + word.size(), out.label);
  if (status != std::errc() || rest != word.data() + word.size()) return std::nullopt;
  if (last != std::string_view::npos) {
    const size_t end = line.find_last_not_of(kBlank, last);
    out.name = end == std::string_view::npos ? "" : line.substr(0, end + 1);
  }
  return out;
}

Result<std::vector<LabelLine>> parse_labels(const std::string& path) {
  PITH_TRY(const std::string text, read_text_file(path));
  std::vector<LabelLine> lines;
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    auto parsed = parse_line(line);
    if (!parsed) {
      return usage_error(fmt::format("'{}' line {}: '{}' doesn't end with a whole number; write `name label`", path,
                                     number, printable(line)));
    }
    lines.push_back(std::move(*parsed));
  }
  return lines;
}

// Gives each item the label of its name, else of its name's last part; the number of items that got one.
size_t match(SampleSource& source, const std::vector<LabelLine>& lines) {
  std::unordered_map<std::string_view, int64_t> by_name;
  for (const LabelLine& line : lines) by_name.emplace(line.name, line.label);
  size_t matched = 0;
  for (SampleItem& item : source.items) {
    auto found = by_name.find(item.name);
    if (found == by_name.end()) found = by_name.find(last_part(item.name));
    if (found == by_name.end()) continue;
    item.label = found->second;
    ++matched;
  }
  return matched;
}

}  // namespace

Result<void> apply_labels(SampleSource& source, const std::string& path) {
  PITH_TRY(const std::vector<LabelLine> lines, parse_labels(path));
  const auto bare = std::count_if(lines.begin(), lines.end(), [](const LabelLine& l) { return l.name.empty(); });
  if (bare != 0) {
    if (static_cast<size_t>(bare) != lines.size() || lines.size() != source.items.size()) {
      return usage_error(
          fmt::format("'{}' has {} lines, {} of them without a name, for {} samples; name every sample or "
                      "give one label per sample",
                      path, lines.size(), bare, source.items.size()));
    }
    for (size_t i = 0; i < lines.size(); ++i) source.items[i].label = lines[i].label;
    return {};
  }
  if (match(source, lines) == 0) {
    return usage_error(fmt::format("'{}' names none of the {} samples (the first is '{}'); write `name label` lines",
                                   path, source.items.size(), printable(source.items[0].name)));
  }
  return {};
}

void apply_found_labels(SampleSource& source, const std::string& path) {
  if (!std::filesystem::exists(path)) return;
  const auto lines = parse_labels(path);
  if (lines.ok()) (void)match(source, *lines);
}

void label_by_folder(SampleSource& source) {
  std::map<std::string, int64_t> classes;
  std::vector<std::string> folders;
  for (const SampleItem& item : source.items) {
    const size_t slash = item.name.rfind('/');
    if (slash == std::string::npos) return;
    folders.emplace_back(last_part(std::string_view(item.name).substr(0, slash)));
    classes.emplace(folders.back(), 0);
  }
  if (classes.size() < 2) return;
  for (auto& [name, label] : classes) {
    label = static_cast<int64_t>(source.class_names.size());
    source.class_names.push_back(name);
  }
  for (size_t i = 0; i < folders.size(); ++i) source.items[i].label = classes[folders[i]];
}

}  // namespace pith
