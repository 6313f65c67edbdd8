// COCO ground truth and its box score, as the community computes it.
//
// Why: detectors are compared by COCO's AP, and small differences in matching, ignoring of crowds or interpolation move
// it by whole points. Method: that of pycocotools' COCOeval for boxes, all areas, at most 100 detections per picture
// and category (described at cocodataset.org/#detection-eval); tools/check_coco.py compares the two.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pith {

struct CocoImage {
  int64_t id = 0;
  std::string file_name;
  int width = 0, height = 0;
};
struct CocoCategory {
  int64_t id = 0;
  std::string name;
};
struct CocoBox {  // an annotation; pixels, x and y of the top left corner
  int64_t image_id = 0, category_id = 0;
  double x = 0, y = 0, width = 0, height = 0;
  double area = 0;  // of the object's mask, as the file states it
  bool crowd = false;
};
struct CocoTruth {
  std::vector<CocoImage> images;         // ascending id
  std::vector<CocoCategory> categories;  // ascending id: a detector's class c of 80 is categories[c]
  std::vector<CocoBox> boxes;            // the file's order

  const CocoImage* find_image(std::string_view file_name) const;  // by the name's last path part; null if absent
};

struct CocoDetection {
  int64_t image_id = 0, category_id = 0;
  double x = 0, y = 0, width = 0, height = 0;
  double score = 0;
};

struct CocoScores {  // -1 where there is nothing to score
  double ap = -1;    // mean over IoU .50:.05:.95
  double ap50 = -1, ap75 = -1;
  double recall = -1;               // AR at 100 detections, mean over the same IoUs
  std::vector<double> category_ap;  // per categories[i]
};

Result<CocoTruth> parse_coco(std::string_view json, const std::string& name);
Result<CocoTruth> read_coco(const std::string& path);  // an instances.json
// A results file: [{"image_id": .., "category_id": .., "bbox": [x, y, w, h], "score": ..}, ...]
Result<std::vector<CocoDetection>> parse_coco_results(std::string_view json, const std::string& name);
std::string format_coco_results(std::span<const CocoDetection> detections);

// A detection on a picture that the truth doesn't have is an error; one of an unknown category is not counted.
Result<CocoScores> evaluate_coco(const CocoTruth& truth, std::span<const CocoDetection> detections);

}  // namespace pith
