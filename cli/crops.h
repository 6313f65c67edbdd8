// `pith run DETECTOR PICTURE --crops CLASSIFIER`: a detector, then a classifier on each box that it finds, in one
// arena.
//
// Both networks run one after the other, so one arena serves them, as large as the larger asks
// (pith_instance_create_shared); boxes are read before the classifier runs.
#pragma once

#include <memory>
#include <string>

#include "cli/engine.h"
#include "cli/heads.h"

namespace pith::cli {

class Crops {
 public:
  // Makes the arena of both. The detector is then opened with `options`, which this gives that arena.
  // Error kUsage: not a .pith file, or one with state, which the other network's runs would lose.
  static Result<std::unique_ptr<Crops>> open(const std::string& detector, const std::string& classifier,
                                             EngineOptions& options);

  // Classifies the picture inside each box (its corners rounded outwards, clipped, at least a pixel), and adds what it
  // finds to the boxes' lines and JSON.
  Result<void> classify(const Image& picture, int top, Reading& reading);

  size_t arena_bytes() const { return arena_bytes_; }

 private:
  std::unique_ptr<std::byte, void (*)(void*)> arena_{nullptr, nullptr};
  size_t arena_bytes_ = 0;
  std::unique_ptr<Engine> engine_;
  Preprocess preprocess_;
};

}  // namespace pith::cli
