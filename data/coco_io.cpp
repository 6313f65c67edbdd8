// Reading COCO's JSON (see coco.h). nlohmann-json parses; every field is checked before it is read, so that nothing
// throws.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "data/bytes.h"
#include "data/coco.h"

namespace pith {
namespace {

using nlohmann::json;

// Says which entry of which list is wrong.
Error bad_entry(const std::string& name, std::string_view list, size_t i, std::string_view lacks) {
  return usage_error(fmt::format("'{}': {}[{}] lacks {}; give COCO's instances format", name, list, i, lacks));
}

std::optional<double> number(const json& entry, const char* key) {
  const auto found = entry.is_object() ? entry.find(key) : entry.end();
  if (found == entry.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> integer(const json& entry, const char* key) {
  const auto value = number(entry, key);
  if (!value || std::abs(*value) > 0x1p62) return std::nullopt;
  const json& held = entry[key];
  return held.is_number_integer() ? held.get<int64_t>() : static_cast<int64_t>(*value);
}

std::optional<std::string> text(const json& entry, const char* key) {
  const auto found = entry.is_object() ? entry.find(key) : entry.end();
  if (found == entry.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

// "bbox": [x, y, width, height] into any of the two structs.
template <typename Box>
bool read_box(const json& entry, Box& box) {
  const auto found = entry.is_object() ? entry.find("bbox") : entry.end();
  if (found == entry.end() || !found->is_array() || found->size() != 4) return false;
  double* const to[4] = {&box.x, &box.y, &box.width, &box.height};
  for (size_t i = 0; i < 4; ++i) {
    if (!(*found)[i].is_number()) return false;
    *to[i] = (*found)[i].template get<double>();
    if (!std::isfinite(*to[i])) return false;
  }
  return true;
}

Result<void> read_images(const json& list, const std::string& name, CocoTruth& truth) {
  for (size_t i = 0; i < list.size(); ++i) {
    const auto id = integer(list[i], "id");
    const auto file_name = text(list[i], "file_name");
    if (!id || !file_name) return bad_entry(name, "images", i, "id or file_name");
    const auto side = [&](const char* key) {
      return static_cast<int>(std::clamp<int64_t>(integer(list[i], key).value_or(0), 0, 1 << 20));
    };
    truth.images.push_back({*id, *file_name, side("width"), side("height")});
  }
  return {};
}

Result<void> read_categories(const json& list, const std::string& name, CocoTruth& truth) {
  for (size_t i = 0; i < list.size(); ++i) {
    const auto id = integer(list[i], "id");
    const auto title = text(list[i], "name");
    if (!id || !title) return bad_entry(name, "categories", i, "id or name");
    truth.categories.push_back({*id, *title});
  }
  return {};
}

Result<void> read_boxes(const json& list, const std::string& name, CocoTruth& truth) {
  for (size_t i = 0; i < list.size(); ++i) {
    CocoBox box;
    const auto image = integer(list[i], "image_id"), category = integer(list[i], "category_id");
    if (!image || !category) return bad_entry(name, "annotations", i, "image_id or category_id");
    if (!read_box(list[i], box)) return bad_entry(name, "annotations", i, "a bbox of four numbers");
    box.image_id = *image;
    box.category_id = *category;
    box.area = number(list[i], "area").value_or(box.width * box.height);
    box.crowd = integer(list[i], "iscrowd").value_or(0) != 0;
    truth.boxes.push_back(box);
  }
  return {};
}

template <typename T>
Result<void> sort_by_id(std::vector<T>& list, const std::string& name, std::string_view what) {
  const auto less = [](const T& a, const T& b) { return a.id < b.id; };
  std::sort(list.begin(), list.end(), less);
  const auto twice = std::adjacent_find(list.begin(), list.end(), [](const T& a, const T& b) { return a.id == b.id; });
  if (twice == list.end()) return {};
  return usage_error(fmt::format("'{}': {} id {} is there twice; make ids unique", name, what, twice->id));
}

Result<json> parse_json(std::string_view source, const std::string& name) {
  json parsed = json::parse(source, nullptr, false);
  if (parsed.is_discarded()) return usage_error(fmt::format("'{}' isn't valid JSON; copy the file again", name));
  return parsed;
}

}  // namespace

Result<CocoTruth> parse_coco(std::string_view source, const std::string& name) {
  PITH_TRY(const json file, parse_json(source, name));
  for (const char* key : {"images", "annotations", "categories"}) {
    if (!file.is_object() || !file.contains(key) || !file[key].is_array()) {
      return usage_error(fmt::format("'{}' has no list '{}'; give COCO's instances format", name, key));
    }
  }
  CocoTruth truth;
  PITH_CHECK_OK(read_images(file["images"], name, truth));
  PITH_CHECK_OK(read_categories(file["categories"], name, truth));
  PITH_CHECK_OK(read_boxes(file["annotations"], name, truth));
  PITH_CHECK_OK(sort_by_id(truth.images, name, "image"));
  PITH_CHECK_OK(sort_by_id(truth.categories, name, "category"));
  return truth;
}

Result<CocoTruth> read_coco(const std::string& path) {
  PITH_TRY(const std::string source, read_text_file(path));
  return parse_coco(source, path);
}

const CocoImage* CocoTruth::find_image(std::string_view file_name) const {
  const auto last_part = [](std::string_view path) { return path.substr(path.rfind('/') + 1); };
  const auto found = std::find_if(images.begin(), images.end(), [&](const CocoImage& image) {
    return last_part(image.file_name) == last_part(file_name);
  });
  return found == images.end() ? nullptr : &*found;
}

Result<std::vector<CocoDetection>> parse_coco_results(std::string_view source, const std::string& name) {
  PITH_TRY(const json list, parse_json(source, name));
  if (!list.is_array())
    return usage_error(fmt::format("'{}' isn't a list of detections; give COCO's results format", name));
  std::vector<CocoDetection> detections;
  for (size_t i = 0; i < list.size(); ++i) {
    CocoDetection d;
    const auto image = integer(list[i], "image_id"), category = integer(list[i], "category_id");
    const auto score = number(list[i], "score");
    if (!image || !category || !score) return bad_entry(name, "detections", i, "image_id, category_id or score");
    if (!read_box(list[i], d)) return bad_entry(name, "detections", i, "a bbox of four numbers");
    d.image_id = *image;
    d.category_id = *category;
    d.score = *score;
    detections.push_back(d);
  }
  return detections;
}

std::string format_coco_results(std::span<const CocoDetection> detections) {
  std::string out = "[";
  for (const CocoDetection& d : detections) {
    out += fmt::format("{}\n{{\"image_id\": {}, \"category_id\": {}, \"bbox\": [{}, {}, {}, {}], \"score\": {}}}",
                       out.size() > 1 ? "," : "", d.image_id, d.category_id, d.x, d.y, d.width, d.height, d.score);
  }
  return out + "\n]\n";
}

}  // namespace pith
