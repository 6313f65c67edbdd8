// A set of input samples from whatever the user has: read lazily, in an order that is always the same.
//
// Why: calibration, evaluation and `run` all need "the samples at this path", and must all see the same ones in the
// same order. SampleSet::open looks at the path and picks a source; what it can't use it says in one line.
//
//   folder of pictures            recursive; sorted naturally (2 before 10); labels.txt inside it is read
//   folder of class folders       label = place of the folder's name in byte order, as in torchvision's ImageFolder
//   list.txt                      lines `path [label]`, relative to the list's folder, in the list's order
//   .tar .tar.gz .tar.xz .zip ..  the same as a folder; labels.txt beside it is read; plain tar is read in place
//   .npy .npz                     first axis = samples; npz members are named inputs, those without an axis go with
//   every
//                                 sample, and `labels`, `label` or `y` is the label
//   IDX (MNIST), also .gz         the labels file beside it (images-idx3 -> labels-idx1) is found
//   CIFAR-10 binary (.bin)        label byte + 3 x 32 x 32; told by its size and labels
//   .wav                          16-bit PCM, mono; f32 -1..1
//   .bin .raw                     raw tensors of options.raw_type and raw_shape, one after the other
//   one picture                   a set of one
//
// A folder or archive without pictures is searched for .wav, then .npy, then .bin and .raw files, each being one sample
// with the file's whole shape. Names that begin with a dot are skipped.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "data/array.h"
#include "data/image.h"
#include "data/preprocess.h"

namespace pith {

struct Sample {
  std::string name;                // path relative to what was opened, or "path[index]"
  std::optional<Image> image;      // either a picture ...
  std::vector<NamedArray> arrays;  // ... or arrays: one without a name, or the named inputs of an npz
  std::optional<int64_t> label;
  int rate = 0;  // sounds: samples per second
};

struct SampleOptions {
  size_t count = 0;                 // --data-count: at most so many (the first ones, after shuffling); 0 = all
  std::optional<uint64_t> shuffle;  // seed of the order; none = the natural order
  std::string labels;               // file of `name label` lines, or of one label per line in the natural order
  bool orient = true;               // apply EXIF orientation
  bool raw = false;                 // read .bin as raw tensors even where it looks like CIFAR
  ArrayType raw_type = ArrayType::kF32;
  std::vector<int64_t> raw_shape;  // of one sample; empty = the whole file as one axis
};

class SampleSource;  // how one kind of path is read; see data/source.h

// A view on a source: cheap to copy, safe to read from several threads.
class SampleSet {
 public:
  static Result<SampleSet> open(const std::string& path, const SampleOptions& options = {});
  explicit SampleSet(std::shared_ptr<const SampleSource> source);

  size_t size() const { return order_.size(); }
  std::string name(size_t i) const;
  std::optional<int64_t> label(size_t i) const;         // without reading the sample
  bool has_labels() const;                              // every sample has one
  const std::vector<std::string>& class_names() const;  // of class folders; else empty
  Result<Sample> read(size_t i) const;

  SampleSet first(size_t count) const;  // at most count
  SampleSet shuffled(uint64_t seed) const;
  SampleSet pick(const std::vector<size_t>& indices) const;

 private:
  std::shared_ptr<const SampleSource> source_;
  std::vector<size_t> order_;
};

struct SampleSplit {
  SampleSet calibration, held_back;  // disjoint
};
// Seeded: at most `calibration` and `held_back` samples, drawn without overlap, each part in the set's order. Where
// there are too few for both, calibration keeps up to half of the set. A set of one sample can't be split: an error.
Result<SampleSplit> split(const SampleSet& set, size_t calibration, size_t held_back, uint64_t seed);

// The network's inputs for a sample: one per array (named as in the sample), a picture's or sound's under "".
struct PreparedSample {
  std::vector<NamedArray> inputs;
  Geometry geometry;  // pictures only
};
Result<PreparedSample> prepare(const Preprocess& p, const Sample& sample);

// One name per line, the line number being the class; a leading WordNet id ("n01440764 ") is dropped.
Result<std::vector<std::string>> read_class_names(const std::string& path);

// Natural order: runs of digits compare as numbers, so "img2" < "img10"; ties by bytes.
bool natural_less(std::string_view a, std::string_view b);

}  // namespace pith
