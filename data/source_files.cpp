// Samples that are files of their own: in folders, in lists, in archives, or a single one (see source.h). A file's kind
// is told by the end of its name.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

#include "base/file.h"
#include "data/archive.h"
#include "data/bytes.h"
#include "data/source.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

enum class FileKind { kPicture, kSound, kArray, kRaw, kOther };

FileKind file_kind(std::string_view path) {
  std::string lower(path);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::string_view name = std::string_view(lower).substr(lower.rfind('/') + 1);
  if (name.starts_with('.')) return FileKind::kOther;
  if (is_image_name(name)) return FileKind::kPicture;
  if (name.ends_with(".wav")) return FileKind::kSound;
  if (name.ends_with(".npy")) return FileKind::kArray;
  if (name.ends_with(".bin") || name.ends_with(".raw")) return FileKind::kRaw;
  return FileKind::kOther;
}

Result<Sample> decode_sample(std::vector<uint8_t> bytes, const std::string& name, const SampleOptions& options) {
  Sample sample;
  switch (file_kind(name)) {
    case FileKind::kSound: {
      PITH_TRY(Sound sound, parse_wav(bytes, name));
      sample.rate = sound.rate;
      sample.arrays.push_back({"", std::move(sound.samples)});
      return sample;
    }
    case FileKind::kArray: {
      PITH_TRY(Array array, parse_npy(bytes, name));
      sample.arrays.push_back({"", std::move(array)});
      return sample;
    }
    case FileKind::kRaw: {
      PITH_TRY(Array array, parse_raw(std::move(bytes), name, options.raw_type, options.raw_shape));
      sample.arrays.push_back({"", std::move(array)});
      return sample;
    }
    case FileKind::kPicture:
    case FileKind::kOther:
      break;
  }
  PITH_TRY(sample.image, decode_image(bytes, name, options.orient));
  return sample;
}

class FileSource : public SampleSource {
 public:
  explicit FileSource(const SampleOptions& options) : options_(options) {}
  Result<Sample> read(size_t i) const override {
    PITH_TRY(std::vector<uint8_t> bytes, read_file(paths[i]));
    return decode_sample(std::move(bytes), paths[i], options_);
  }
  std::vector<std::string> paths;

 private:
  SampleOptions options_;
};

class ArchiveSource : public SampleSource {
 public:
  ArchiveSource(std::string path, const SampleOptions& options) : path_(std::move(path)), options_(options) {}
  Result<Sample> read(size_t i) const override {
    PITH_TRY(std::vector<uint8_t> bytes, read_member(path_, members[i]));
    return decode_sample(std::move(bytes), path_ + ":" + members[i].name, options_);
  }
  std::vector<ArchiveMember> members;

 private:
  std::string path_;
  SampleOptions options_;
};

// The first kind, in the order of FileKind, that any of the names has.
FileKind leading_kind(const std::vector<std::string>& names) {
  FileKind best = FileKind::kOther;
  for (const std::string& name : names) best = std::min(best, file_kind(name));
  return best;
}

Error nothing_found(const std::string& path) {
  return usage_error(fmt::format("'{}' holds no samples; give pictures (jpg, png, ppm), wav, npy or bin files", path));
}

// A line's path and, where its last word is a whole number, its label.
SampleItem parse_list_line(std::string_view line) {
  const size_t blank = line.find_last_of(" \t");
  if (blank == std::string_view::npos) return {std::string(line), std::nullopt};
  const std::string_view word = line.substr(blank + 1);
  int64_t label = 0;
  const auto [rest, status] = std::from_chars(word.data(), word.data() + word.size(), label);
  if (status != std::errc() || rest != word.data() + word.size()) return {std::string(line), std::nullopt};
  return {std::string(line.substr(0, line.find_last_not_of(" \t", blank) + 1)), label};
}

}  // namespace

SourceResult open_folder(const std::string& path, const SampleOptions& options) {
  std::vector<std::string> names;
  std::error_code failed;
  const auto walk = fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, failed);
  for (auto it = walk; !failed && it != fs::recursive_directory_iterator(); it.increment(failed)) {
    if (it->path().filename().string().starts_with('.')) {
      it.disable_recursion_pending();
    } else if (std::error_code unknown; it->is_regular_file(unknown)) {
      names.push_back(it->path().lexically_relative(path).generic_string());
    }
  }
  if (failed) return usage_error(fmt::format("can't list '{}': {}; check the path", path, failed.message()));
  const FileKind kind = leading_kind(names);
  if (kind == FileKind::kOther) return nothing_found(path);
  std::erase_if(names, [&](const std::string& name) { return file_kind(name) != kind; });
  std::sort(names.begin(), names.end(), natural_less);
  auto source = std::make_shared<FileSource>(options);
  for (const std::string& name : names) {
    source->items.push_back({name, std::nullopt});
    source->paths.push_back((fs::path(path) / name).string());
  }
  label_by_folder(*source);
  apply_found_labels(*source, (fs::path(path) / "labels.txt").string());
  return std::shared_ptr<SampleSource>(std::move(source));
}

SourceResult open_archive(const std::string& path, const SampleOptions& options) {
  const auto wanted = [](std::string_view name) {
    return file_kind(name) != FileKind::kOther && !name.starts_with("__MACOSX/");
  };
  PITH_TRY(std::vector<ArchiveMember> members, list_archive(path, wanted));
  std::vector<std::string> names;
  for (const ArchiveMember& m : members) names.push_back(m.name);
  const FileKind kind = leading_kind(names);
  if (kind == FileKind::kOther) return nothing_found(path);
  std::erase_if(members, [&](const ArchiveMember& m) { return file_kind(m.name) != kind; });
  std::sort(members.begin(), members.end(),
            [](const ArchiveMember& a, const ArchiveMember& b) { return natural_less(a.name, b.name); });
  auto source = std::make_shared<ArchiveSource>(path, options);
  for (const ArchiveMember& m : members) source->items.push_back({m.name, std::nullopt});
  source->members = std::move(members);
  label_by_folder(*source);
  apply_found_labels(*source, fs::path(path).replace_filename("labels.txt").string());
  return std::shared_ptr<SampleSource>(std::move(source));
}

SourceResult open_list(const std::string& path, const SampleOptions& options) {
  PITH_TRY(const std::string text, read_text_file(path));
  auto source = std::make_shared<FileSource>(options);
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    SampleItem item = parse_list_line(line);
    const fs::path place = fs::path(path).parent_path() / item.name;  // an absolute name stands for itself
    std::error_code unknown;
    if (!fs::is_regular_file(place, unknown)) {
      return usage_error(fmt::format("'{}' line {}: there is no file '{}'; paths are relative to the list's folder",
                                     path, number, printable(item.name)));
    }
    source->paths.push_back(place.string());
    source->items.push_back(std::move(item));
  }
  if (source->items.empty()) return usage_error(fmt::format("'{}' lists nothing; write one path per line", path));
  return std::shared_ptr<SampleSource>(std::move(source));
}

SourceResult open_single(const std::string& path, const SampleOptions& options) {
  auto source = std::make_shared<FileSource>(options);
  source->items.push_back({fs::path(path).filename().string(), std::nullopt});
  source->paths.push_back(path);
  return std::shared_ptr<SampleSource>(std::move(source));
}

}  // namespace pith
