// How each kind of path becomes a list of samples. Internal to data/; SampleSet (samples.h) is the face.
//
// A source lists its items at opening and reads one item's content when asked; reading changes nothing, so several
// threads may read at once.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/samples.h"

namespace pith {

struct SampleItem {
  std::string name;
  std::optional<int64_t> label;
};

class SampleSource {
 public:
  virtual ~SampleSource() = default;
  // The content; SampleSet fills in the name and the label.
  virtual Result<Sample> read(size_t i) const = 0;

  std::vector<SampleItem> items;
  std::vector<std::string> class_names;
};
using SourceResult = Result<std::shared_ptr<SampleSource>>;

// Files of their own: source_files.cpp.
SourceResult open_folder(const std::string& path, const SampleOptions& options);
SourceResult open_list(const std::string& path, const SampleOptions& options);
SourceResult open_archive(const std::string& path, const SampleOptions& options);
SourceResult open_single(const std::string& path, const SampleOptions& options);
// Many samples in one file: source_arrays.cpp.
SourceResult open_npy(const std::string& path);
SourceResult open_npz(const std::string& path);
SourceResult open_idx(const std::string& path, std::vector<uint8_t> bytes);
SourceResult open_cifar(const std::string& path, std::vector<uint8_t> bytes);
SourceResult open_raw(const std::string& path, std::vector<uint8_t> bytes, const SampleOptions& options);
bool looks_like_idx(std::span<const uint8_t> bytes);
bool looks_like_cifar(std::span<const uint8_t> bytes);

// 16-bit PCM mono (wav.cpp). `name` is for the message.
struct Sound {
  int rate = 0;
  Array samples;  // f32 [n], -1..1
};
Result<Sound> parse_wav(std::span<const uint8_t> bytes, const std::string& name);

// Labels (sample_labels.cpp). From a file that the user named: every line must fit.
Result<void> apply_labels(SampleSource& source, const std::string& path);
// From a labels.txt that happens to lie there: used if it labels these samples, else left alone.
void apply_found_labels(SampleSource& source, const std::string& path);
// Where every item lies in a folder and there are at least two folders: the folders are the classes.
void label_by_folder(SampleSource& source);

}  // namespace pith
