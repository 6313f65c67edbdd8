// Files that hold many samples: NPY, NPZ, IDX, CIFAR-10 and raw tensors (see source.h). The whole file is in memory and
// a sample is a slice of it.
//
// IDX (Yann LeCun's MNIST page): two zero bytes, a type byte, the number of axes, the axes as big-endian 32-bit
// integers, the elements, big-endian. CIFAR-10's binary version (Alex Krizhevsky's page): records of a label byte and
// 3072 pixels, the red, green and blue planes of 32 x 32.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "data/archive.h"
#include "data/bytes.h"
#include "data/source.h"

namespace pith {
namespace {

constexpr size_t kCifarPixels = 3072, kCifarRecord = 1 + kCifarPixels;

std::string indexed(const std::string& path, size_t i) {
  return fmt::format("{}[{}]", std::filesystem::path(path).filename().string(), i);
}

void name_items(SampleSource& source, const std::string& path, size_t count) {
  source.items.resize(count);
  for (size_t i = 0; i < count; ++i) source.items[i].name = indexed(path, i);
}

// Named arrays that share their first axis; those without an axis belong to every sample.
class ArraySource : public SampleSource {
 public:
  explicit ArraySource(std::vector<NamedArray> arrays) : arrays_(std::move(arrays)) {}
  Result<Sample> read(size_t i) const override {
    Sample sample;
    for (const NamedArray& a : arrays_) {
      sample.arrays.push_back({a.name, a.array.shape.empty() ? a.array : slice(a.array, i)});
    }
    return sample;
  }

 private:
  std::vector<NamedArray> arrays_;
};

// u8 pictures one after the other, `planar` or interleaved.
class PictureSource : public SampleSource {
 public:
  PictureSource(std::vector<uint8_t> bytes, size_t start, size_t stride, Image form, bool planar)
      : bytes_(std::move(bytes)), start_(start), stride_(stride), form_(std::move(form)), planar_(planar) {}
  Result<Sample> read(size_t i) const override {
    Sample sample;
    sample.image = make_image(form_.width, form_.height, form_.channels);
    std::vector<uint8_t>& pixels = sample.image->pixels;
    const uint8_t* from = bytes_.data() + start_ + i * stride_;
    const size_t channels = static_cast<size_t>(form_.channels), plane = pixels.size() / channels;
    for (size_t k = 0; k < pixels.size(); ++k) {
      pixels[k] = planar_ ? from[k % channels * plane + k / channels] : from[k];
    }
    return sample;
  }

 private:
  std::vector<uint8_t> bytes_;
  size_t start_, stride_;
  Image form_;  // its size and channels count; it has no pixels
  bool planar_;
};

// ---- IDX -------------------------------------------------------------------------------------------------------
struct Idx {
  ArrayType type = ArrayType::kU8;
  std::vector<int64_t> shape;
  size_t start = 0;  // of the elements
};

std::optional<Idx> parse_idx(std::span<const uint8_t> b) {
  if (b.size() < 8 || b[0] != 0 || b[1] != 0 || b[3] < 1 || b[3] > 8) return std::nullopt;
  Idx idx;
  switch (b[2]) {
    case 0x08:
      idx.type = ArrayType::kU8;
      break;
    case 0x09:
      idx.type = ArrayType::kI8;
      break;
    case 0x0b:
      idx.type = ArrayType::kI16;
      break;
    case 0x0c:
      idx.type = ArrayType::kI32;
      break;
    case 0x0d:
      idx.type = ArrayType::kF32;
      break;
    default:
      return std::nullopt;
  }
  idx.start = 4 + size_t{b[3]} * 4;
  if (b.size() < idx.start) return std::nullopt;
  uint64_t size = type_size(idx.type);
  for (size_t d = 0; d < b[3]; ++d) {
    idx.shape.push_back(read_be32(b, 4 + d * 4));
    if (!multiply_sizes(size, read_be32(b, 4 + d * 4), size)) return std::nullopt;
  }
  return size == b.size() - idx.start ? std::optional(idx) : std::nullopt;
}

Array idx_array(const Idx& idx, std::span<const uint8_t> b) {
  Array a = make_array(idx.type, idx.shape);
  std::copy(b.begin() + static_cast<ptrdiff_t>(idx.start), b.end(), a.bytes.begin());
  const size_t size = type_size(idx.type);
  for (size_t at = 0; at < a.bytes.size(); at += size) std::reverse(&a.bytes[at], &a.bytes[at] + size);
  return a;
}

// "t10k-images-idx3-ubyte.gz" -> the labels file beside it, packed or not; empty if there is none.
std::string labels_beside(const std::string& path) {
  const std::filesystem::path place(path);
  std::string name = place.filename().string();
  const auto swap = [&](std::string_view from, std::string_view to) {
    const size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
  };
  swap("images", "labels");
  swap("idx3", "idx1");
  if (name == place.filename().string()) return {};
  const std::string bare = name.ends_with(".gz") ? name.substr(0, name.size() - 3) : name;
  for (const std::string& candidate : {name, bare, bare + ".gz"}) {
    const auto beside = std::filesystem::path(path).replace_filename(candidate);
    if (std::filesystem::exists(beside)) return beside.string();
  }
  return {};
}

Result<void> read_idx_labels(SampleSource& source, const std::string& path) {
  if (path.empty()) return {};
  PITH_TRY(std::vector<uint8_t> packed, read_file(path));
  PITH_TRY(const std::vector<uint8_t> bytes, unpack_stream(std::move(packed), path));
  const auto idx = parse_idx(bytes);
  if (!idx || idx->shape.size() != 1 || idx->type == ArrayType::kF32 ||
      static_cast<size_t>(idx->shape[0]) != source.items.size()) {
    return usage_error(
        fmt::format("'{}' isn't an IDX file of {} labels; put the right one beside the pictures or name "
                    "another labels file",
                    path, source.items.size()));
  }
  const std::vector<int64_t> labels = to_integers(idx_array(*idx, bytes));
  for (size_t i = 0; i < labels.size(); ++i) source.items[i].label = labels[i];
  return {};
}

bool is_label_name(std::string_view name) { return name == "labels" || name == "label" || name == "y"; }

}  // namespace

SourceResult open_npy(const std::string& path) {
  PITH_TRY(Array array, read_npy(path));
  if (array.shape.empty() || array.shape[0] == 0) {
    return usage_error(fmt::format("'{}' has shape {}; give an array whose first axis counts the samples", path,
                                   shape_text(array.shape)));
  }
  const size_t count = static_cast<size_t>(array.shape[0]);
  std::vector<NamedArray> arrays;
  arrays.push_back({"", std::move(array)});
  auto source = std::make_shared<ArraySource>(std::move(arrays));
  name_items(*source, path, count);
  return std::shared_ptr<SampleSource>(std::move(source));
}

SourceResult open_npz(const std::string& path) {
  PITH_TRY(std::vector<NamedArray> arrays, read_npz(path));
  const NamedArray* first = nullptr;
  for (const NamedArray& a : arrays) {
    if (a.array.shape.empty()) continue;
    if (first == nullptr) first = &a;
    if (a.array.shape[0] != first->array.shape[0]) {
      return usage_error(fmt::format("'{}': '{}' has {} samples but '{}' has {}; give all arrays the same first axis",
                                     path, printable(first->name), first->array.shape[0], printable(a.name),
                                     a.array.shape[0]));
    }
  }
  if (first == nullptr || first->array.shape[0] == 0) {
    return usage_error(fmt::format("'{}' holds no samples; give arrays whose first axis counts the samples", path));
  }
  const size_t count = static_cast<size_t>(first->array.shape[0]);
  std::vector<int64_t> labels;
  const auto is_labels = [&](const NamedArray& a) {
    return is_label_name(a.name) && a.array.type != ArrayType::kF32 && a.array.elements() == count;
  };
  const auto found = std::find_if(arrays.begin(), arrays.end(), is_labels);
  if (found != arrays.end() && arrays.size() > 1) {
    labels = to_integers(found->array);
    arrays.erase(found);
  }
  auto source = std::make_shared<ArraySource>(std::move(arrays));
  name_items(*source, path, count);
  for (size_t i = 0; i < labels.size(); ++i) source->items[i].label = labels[i];
  return std::shared_ptr<SampleSource>(std::move(source));
}

bool looks_like_idx(std::span<const uint8_t> bytes) { return parse_idx(bytes).has_value(); }

SourceResult open_idx(const std::string& path, std::vector<uint8_t> bytes) {
  const auto idx = parse_idx(bytes);
  if (!idx || idx->shape[0] == 0)
    return usage_error(fmt::format("'{}' is no IDX file with samples; copy it again", path));
  std::shared_ptr<SampleSource> source;
  const auto& shape = idx->shape;
  const bool pictures = idx->type == ArrayType::kU8 && (shape.size() == 3 || (shape.size() == 4 && shape[3] == 3));
  if (pictures && shape[1] > 0 && shape[2] > 0 && shape[1] <= 32768 && shape[2] <= 32768) {
    const Image form{static_cast<int>(shape[2]), static_cast<int>(shape[1]), shape.size() == 4 ? 3 : 1, {}};
    const size_t stride = (bytes.size() - idx->start) / static_cast<size_t>(shape[0]);
    source = std::make_shared<PictureSource>(std::move(bytes), idx->start, stride, form, false);
  } else {
    std::vector<NamedArray> arrays;
    arrays.push_back({"", idx_array(*idx, bytes)});
    source = std::make_shared<ArraySource>(std::move(arrays));
  }
  name_items(*source, path, static_cast<size_t>(idx->shape[0]));
  PITH_CHECK_OK(read_idx_labels(*source, labels_beside(path)));
  return source;
}

bool looks_like_cifar(std::span<const uint8_t> bytes) {
  if (bytes.empty() || bytes.size() % kCifarRecord != 0) return false;
  for (size_t at = 0; at < bytes.size(); at += kCifarRecord) {
    if (bytes[at] > 9) return false;
  }
  return true;
}

SourceResult open_cifar(const std::string& path, std::vector<uint8_t> bytes) {
  const size_t count = bytes.size() / kCifarRecord;
  std::vector<SampleItem> items(count);
  for (size_t i = 0; i < count; ++i) items[i] = {indexed(path, i), bytes[i * kCifarRecord]};
  auto source = std::make_shared<PictureSource>(std::move(bytes), 1, kCifarRecord, Image{32, 32, 3, {}}, true);
  source->items = std::move(items);
  return std::shared_ptr<SampleSource>(std::move(source));
}

SourceResult open_raw(const std::string& path, std::vector<uint8_t> bytes, const SampleOptions& options) {
  uint64_t each = type_size(options.raw_type);
  for (const int64_t d : options.raw_shape) {
    if (d < 1 || !multiply_sizes(each, static_cast<uint64_t>(d), each)) {
      return usage_error(fmt::format("raw shape {} is impossible; give positive sizes", shape_text(options.raw_shape)));
    }
  }
  std::vector<int64_t> shape = options.raw_shape;
  const bool many = !shape.empty() && bytes.size() > each && bytes.size() % each == 0;
  shape.insert(shape.begin(), many ? static_cast<int64_t>(bytes.size() / each) : 1);
  if (options.raw_shape.empty()) shape.push_back(static_cast<int64_t>(bytes.size() / each));
  PITH_TRY(Array array, parse_raw(std::move(bytes), path, options.raw_type, shape));
  const size_t count = static_cast<size_t>(shape[0]);
  std::vector<NamedArray> arrays;
  arrays.push_back({"", std::move(array)});
  auto source = std::make_shared<ArraySource>(std::move(arrays));
  name_items(*source, path, count);
  return std::shared_ptr<SampleSource>(std::move(source));
}

}  // namespace pith
