// Memory over time as a picture: address upwards, operators from left to right, one rectangle per buffer.
//
// Why: people see at a glance what makes the peak. The SVG is self-contained: names appear where there is room and, as
// tooltips, everywhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pith {

enum class PictureKind { kInput, kActivation, kState, kScratch, kOutput };

struct PictureBuffer {
  std::string name;
  int64_t lower = 0, upper = 0;  // steps, half-open
  int64_t size = 0, offset = 0;  // bytes
  PictureKind kind = PictureKind::kActivation;
};

struct PictureOptions {
  std::string title;
  std::vector<std::string> steps;  // operators' names
};

std::string memory_svg(const std::vector<PictureBuffer>& buffers, const PictureOptions& options);

}  // namespace pith
