// See samples.h: choosing the source, the view on it, splitting, and preparing samples for a network.
#include "data/samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "base/file.h"
#include "base/random.h"
#include "data/archive.h"
#include "data/bytes.h"
#include "data/source.h"

namespace pith {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Files whose name doesn't tell, and .bin, whose content must.
SourceResult open_by_content(const std::string& path, const std::string& name, const SampleOptions& options) {
  PITH_TRY(std::vector<uint8_t> packed, read_file(path));
  PITH_TRY(std::vector<uint8_t> bytes, unpack_stream(std::move(packed), path));
  if (!options.raw) {
    if (looks_like_idx(bytes)) return open_idx(path, std::move(bytes));
    if (looks_like_cifar(bytes)) return open_cifar(path, std::move(bytes));
  }
  if (options.raw || name.ends_with(".bin") || name.ends_with(".raw")) {
    return open_raw(path, std::move(bytes), options);
  }
  if (decode_image(bytes, path, false).ok()) return open_single(path, options);
  return usage_error(
      fmt::format("'{}' is no kind of samples that pith reads; give pictures, a folder or archive of them, "
                  "a .txt list, npy, npz, wav, IDX, CIFAR-10 or raw .bin",
                  path));
}

SourceResult open_source(const std::string& path, const SampleOptions& options) {
  std::error_code unknown;
  if (!std::filesystem::exists(path, unknown)) {
    return usage_error(fmt::format("there are no samples at '{}'; check the path", path));
  }
  if (std::filesystem::is_directory(path, unknown)) return open_folder(path, options);
  std::string name = path;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  if (options.raw) return open_by_content(path, name, options);
  if (is_archive_name(name)) return open_archive(path, options);
  if (name.ends_with(".npy")) return open_npy(path);
  if (name.ends_with(".npz")) return open_npz(path);
  if (name.ends_with(".txt")) return open_list(path, options);
  if (is_image_name(name) || name.ends_with(".wav")) return open_single(path, options);
  return open_by_content(path, name, options);
}

std::vector<size_t> permutation(size_t count, uint64_t seed) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  Random random(seed);
  for (size_t i = count; i > 1; --i) {  // Fisher-Yates
    std::swap(order[i - 1], order[static_cast<size_t>(random.integer(0, static_cast<int64_t>(i) - 1))]);
  }
  return order;
}

}  // namespace

bool natural_less(std::string_view a, std::string_view b) {
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
      ++i, ++j;
      continue;
    }
    const auto run = [](std::string_view s, size_t& at) {  // a number without its leading zeros
      while (at < s.size() && s[at] == '0') ++at;
      const size_t start = at;
      while (at < s.size() && is_digit(s[at])) ++at;
      return s.substr(start, at - start);
    };
    const std::string_view x = run(a, i), y = run(b, j);
    if (x.size() != y.size()) return x.size() < y.size();
    if (x != y) return x < y;
  }
  if ((i < a.size()) != (j < b.size())) return j < b.size();
  return a < b;
}

Result<SampleSet> SampleSet::open(const std::string& path, const SampleOptions& options) {
  PITH_TRY(const std::shared_ptr<SampleSource> source, open_source(path, options));
  if (!options.labels.empty()) PITH_CHECK_OK(apply_labels(*source, options.labels));
  SampleSet set(source);
  if (options.shuffle) set = set.shuffled(*options.shuffle);
  return options.count == 0 ? set : set.first(options.count);
}

SampleSet::SampleSet(std::shared_ptr<const SampleSource> source) : source_(std::move(source)) {
  order_.resize(source_->items.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
}

std::string SampleSet::name(size_t i) const { return source_->items[order_[i]].name; }
std::optional<int64_t> SampleSet::label(size_t i) const { return source_->items[order_[i]].label; }
const std::vector<std::string>& SampleSet::class_names() const { return source_->class_names; }

bool SampleSet::has_labels() const {
  return !order_.empty() &&
         std::all_of(order_.begin(), order_.end(), [&](size_t i) { return source_->items[i].label.has_value(); });
}

Result<Sample> SampleSet::read(size_t i) const {
  PITH_TRY(Sample sample, source_->read(order_[i]));
  sample.name = name(i);
  sample.label = label(i);
  return sample;
}

SampleSet SampleSet::first(size_t count) const {
  SampleSet out = *this;
  out.order_.resize(std::min(count, order_.size()));
  return out;
}

SampleSet SampleSet::shuffled(uint64_t seed) const { return pick(permutation(size(), seed)); }

SampleSet SampleSet::pick(const std::vector<size_t>& indices) const {
  SampleSet out = *this;
  out.order_.clear();
  for (const size_t i : indices) out.order_.push_back(order_[i]);
  return out;
}

Result<SampleSplit> split(const SampleSet& set, size_t calibration, size_t held_back, uint64_t seed) {
  const size_t n = set.size();
  if (calibration > 0 && held_back > 0) {
    if (n < 2) return usage_error("one sample can't be both calibrated on and held back; give at least two samples");
    const size_t spare = n - std::min(n, held_back);
    calibration = std::min(calibration, std::max(n / 2, spare));
  }
  calibration = std::min(calibration, n);
  held_back = std::min(held_back, n - calibration);
  const std::vector<size_t> order = permutation(n, seed);
  const auto middle = order.begin() + static_cast<ptrdiff_t>(calibration);
  std::vector<size_t> first(order.begin(), middle), second(middle, middle + static_cast<ptrdiff_t>(held_back));
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  return SampleSplit{set.pick(first), set.pick(second)};
}

Result<PreparedSample> prepare(const Preprocess& p, const Sample& sample) {
  PreparedSample out;
  if (sample.image) {
    PITH_TRY(Prepared one, apply(p, *sample.image));
    out.geometry = one.geometry;
    out.inputs.push_back({"", std::move(one.input)});
    return out;
  }
  if (p.kind == InputKind::kAudio && p.rate != 0 && sample.rate != 0 && p.rate != sample.rate) {
    return usage_error(
        fmt::format("'{}' has {} samples per second, the network takes {}; convert it with: ffmpeg -i IN "
                    "-ar {} OUT.wav",
                    sample.name, sample.rate, p.rate, p.rate));
  }
  for (const NamedArray& a : sample.arrays) {
    auto one = apply(p, a.array);
    if (!one.ok()) return usage_error(fmt::format("'{}': {}", sample.name, one.error().message));
    out.geometry = one->geometry;
    out.inputs.push_back({a.name, std::move(one->input)});
  }
  return out;
}

Result<std::vector<std::string>> read_class_names(const std::string& path) {
  PITH_TRY(const std::string text, read_text_file(path));
  std::vector<std::string> names;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    const bool wordnet = line.size() > 10 && line[0] == 'n' && line[9] == ' ' &&
                         std::all_of(line.begin() + 1, line.begin() + 9, is_digit);
    names.emplace_back(line.substr(wordnet ? 10 : 0));
  }
  while (!names.empty() && names.back().empty()) names.pop_back();
  if (names.empty()) return usage_error(fmt::format("'{}' names no classes; write one name per line", path));
  return names;
}

}  // namespace pith
