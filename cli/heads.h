// From a network's outputs to what they mean: classes, boxes, text. Chosen by the model's `head` metadata.
//
//   classifier             scores of classes
//   yolov5, yolov8, yolox  boxes, from the exporter's decoded output
//   yolov5-raw, yolov8-raw boxes, from the feature maps (a graph whose decoding was cut off)
//   ssd                    scores and corner boxes (UltraFace)
//   ctc                    text; labels line k is the character of class k
//   tensor                 numbers
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "cli/engine.h"
#include "data/image.h"
#include "post/pith_post.h"

namespace pith::cli {

struct HeadOptions {
  std::string kind = "tensor";
  std::vector<std::string> labels;
  float score_threshold = 0.25f, iou_threshold = 0.45f;
  bool multi_label = false;  // as mAP is measured
  int top = 5;
  int max_detections = 300;
  double input_width = 0, input_height = 0;
  std::span<std::byte> memory;  // to read the outputs in, aligned to 4 bytes; where it is empty or too small, some is allocated
};

struct Boxes {
  std::vector<pith_box> boxes;  // in the source picture's pixels
};

// "head" and "labels" of the engine, unless the flags say otherwise (empty = the model's).
HeadOptions choose_head(const Engine& engine, const std::string& kind_flag, const std::string& labels_flag);

Result<std::vector<pith_box>> decode_boxes(const std::vector<Output>& outputs, const HeadOptions& head, const Geometry* geometry);
Result<std::string> decode_text(const Output& output, const HeadOptions& head);
bool is_detector(const std::string& kind);
std::string label_of(const HeadOptions& head, int64_t index);

// Human lines and JSON for one result.
struct Reading {
  std::vector<std::string> lines;
  nlohmann::json json;
  std::vector<pith_box> boxes;
};
Result<Reading> read_outputs(const std::vector<Output>& outputs, const HeadOptions& head, const Geometry* geometry);

}  // namespace pith::cli
