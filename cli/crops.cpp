// See crops.h.
#include "cli/crops.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/file.h"
#include "pith/pith.h"
#include "program/program.h"

namespace pith::cli {
namespace {

Result<size_t> arena_bytes_of(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  const auto program = read_program(file);
  if (!program.ok())
    return usage_error(
        fmt::format("'{}' can't share an arena ({}); give .pith files with --crops", path, program.error().message));
  if (!program->state.empty())
    return usage_error(
        fmt::format("'{}' has state, which the other network's runs would lose; --crops takes networks without", path));
  return static_cast<size_t>(program->arena_bytes);
}

Image inside(const Image& picture, const pith_box& box) {
  const auto clip = [](double at, int size) {
    return static_cast<int>(std::clamp(at, 0.0, static_cast<double>(size)));
  };
  const int left = std::min(clip(std::floor(box.x1), picture.width), picture.width - 1),
            top = std::min(clip(std::floor(box.y1), picture.height), picture.height - 1);
  const int right = std::max(clip(std::ceil(box.x2), picture.width), left + 1),
            bottom = std::max(clip(std::ceil(box.y2), picture.height), top + 1);
  Image image = make_image(right - left, bottom - top, picture.channels);
  for (int y = 0; y < image.height; ++y)
    std::copy_n(picture.row(top + y) + left * picture.channels, image.width * image.channels, image.row(y));
  return image;
}

// Columns are for lines of their own.
std::string without_columns(const std::vector<std::string>& lines) {
  std::string text = fmt::format("{}", fmt::join(lines, "; "));
  text.erase(std::unique(text.begin(), text.end(), [](char a, char b) { return a == ' ' && b == ' '; }), text.end());
  return text;
}

}  // namespace

Result<std::unique_ptr<Crops>> Crops::open(const std::string& detector, const std::string& classifier,
                                           EngineOptions& options) {
  auto crops = std::make_unique<Crops>();
  for (const std::string& path : {detector, classifier}) {
    PITH_TRY(const size_t bytes, arena_bytes_of(path));
    crops->arena_bytes_ = std::max(crops->arena_bytes_, bytes);
  }
  const size_t bytes = (crops->arena_bytes_ + PITH_ARENA_BEYOND + PITH_ALIGNMENT - 1) / PITH_ALIGNMENT * PITH_ALIGNMENT;
  crops->arena_ = {static_cast<std::byte*>(std::aligned_alloc(PITH_ALIGNMENT, bytes)), &std::free};
  if (!crops->arena_)
    return error(ErrorCode::kDoesNotFit, fmt::format("the networks need {} bytes of memory; free some", bytes));
  options.arena = {crops->arena_.get(), bytes};
  PITH_TRY(crops->engine_, open_engine(classifier, options));
  PITH_TRY(crops->preprocess_, choose_preprocess(*crops->engine_, ""));
  return crops;
}

Result<void> Crops::classify(const Image& picture, int top, Reading& reading) {
  HeadOptions head = choose_head(*engine_, "", "");
  head.top = top;
  for (size_t i = 0; i < reading.boxes.size(); ++i) {
    Sample sample;
    sample.name = fmt::format("box {}", i);
    sample.image = inside(picture, reading.boxes[i]);
    Geometry geometry;
    PITH_TRY(const std::vector<Array> arrays, prepare_inputs(*engine_, preprocess_, sample, &geometry));
    PITH_TRY(const std::vector<Output> outputs, engine_->run(arrays));
    head.memory = engine_->post_memory();
    PITH_TRY(const Reading found, read_outputs(outputs, head, &geometry));
    reading.lines[i] += "  " + without_columns(found.lines);
    reading.json["boxes"][i]["crop"] = found.json;
  }
  return {};
}

}  // namespace pith::cli
