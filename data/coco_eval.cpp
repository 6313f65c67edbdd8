// COCO's box score (see coco.h).
//
// Per category and picture, the at most 100 best detections are matched greedily in the order of their scores, at each
// of ten IoU thresholds: to the best free box above the threshold, a counted box before an ignored one. Crowds (and
// boxes of impossible area) are ignored: a detection on them is neither right nor wrong, and a crowd may take many;
// against a crowd the overlap is divided by the detection's own area. Over all pictures the detections, best first,
// then give precision at each recall; made monotone, it is read at 101 recalls. AP is the mean over thresholds, recalls
// and categories.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "data/coco.h"

namespace pith {
namespace {

constexpr size_t kThresholds = 10, kRecalls = 101, kMaxDetections = 100;
constexpr double kMaxArea = 1e10;

// .50 to .95 and 0 to 1, by the same floating-point steps as numpy.linspace, so that ties at a threshold fall alike.
double threshold(size_t t) { return t == kThresholds - 1 ? 0.95 : static_cast<double>(t) * ((0.95 - 0.5) / 9) + 0.5; }
double recall_point(size_t r) { return r == kRecalls - 1 ? 1.0 : static_cast<double>(r) * 0.01; }

// The boxes and detections of one category in one picture.
struct Cell {
  std::vector<const CocoBox*> boxes;
  std::vector<const CocoDetection*> detections;
};

// What became of a detection at each threshold.
enum class Outcome : uint8_t { kWrong, kRight, kIgnored };
struct Judged {
  double score = 0;
  std::array<Outcome, kThresholds> outcome{};
};

struct Category {
  std::vector<Judged> judged;  // all pictures, in the order of their ids
  size_t counted_boxes = 0;
};

bool is_ignored(const CocoBox& box) { return box.crowd || box.area < 0 || box.area > kMaxArea; }

double overlap(const CocoDetection& d, const CocoBox& b) {
  const double w = std::min(d.x + d.width, b.x + b.width) - std::max(d.x, b.x);
  const double h = std::min(d.y + d.height, b.y + b.height) - std::max(d.y, b.y);
  if (w <= 0 || h <= 0) return 0;
  const double both = w * h, own = d.width * d.height;
  return both / (b.crowd ? own : own + b.width * b.height - both);
}

// The box that a detection takes at a threshold, or -1. `overlaps` are the detection's with each box; counted boxes
// come first. At equal overlap the later box wins.
int best_box(const Cell& cell, std::span<const double> overlaps, const std::vector<bool>& taken, double least) {
  least = std::min(least, 1 - 1e-10);
  int best = -1;
  for (size_t g = 0; g < cell.boxes.size(); ++g) {
    const CocoBox& box = *cell.boxes[g];
    if (taken[g] && !box.crowd) continue;
    if (best >= 0 && !is_ignored(*cell.boxes[static_cast<size_t>(best)]) && is_ignored(box)) break;
    if (overlaps[g] < least) continue;
    least = overlaps[g];
    best = static_cast<int>(g);
  }
  return best;
}

void judge(Cell& cell, Category& category) {
  std::stable_sort(cell.detections.begin(), cell.detections.end(),
                   [](const CocoDetection* a, const CocoDetection* b) { return a->score > b->score; });
  if (cell.detections.size() > kMaxDetections) cell.detections.resize(kMaxDetections);
  const auto counted =
      std::stable_partition(cell.boxes.begin(), cell.boxes.end(), [](const CocoBox* b) { return !is_ignored(*b); });
  category.counted_boxes += static_cast<size_t>(counted - cell.boxes.begin());
  std::vector<std::vector<bool>> taken(kThresholds, std::vector<bool>(cell.boxes.size(), false));
  std::vector<double> overlaps(cell.boxes.size());
  for (const CocoDetection* d : cell.detections) {
    std::transform(cell.boxes.begin(), cell.boxes.end(), overlaps.begin(),
                   [&](const CocoBox* b) { return overlap(*d, *b); });
    const double area = d->width * d->height;
    Judged j{d->score, {}};
    for (size_t t = 0; t < kThresholds; ++t) {
      const int g = best_box(cell, overlaps, taken[t], threshold(t));
      if (g < 0) {
        j.outcome[t] = area < 0 || area > kMaxArea ? Outcome::kIgnored : Outcome::kWrong;
      } else {
        taken[t][static_cast<size_t>(g)] = true;
        j.outcome[t] = is_ignored(*cell.boxes[static_cast<size_t>(g)]) ? Outcome::kIgnored : Outcome::kRight;
      }
    }
    category.judged.push_back(j);
  }
}

struct Curve {
  double precision = 0;  // mean over the recall points
  double recall = 0;     // reached
};

Curve score(const Category& category, size_t t) {
  const double boxes = static_cast<double>(category.counted_boxes);
  std::vector<double> recall, precision;
  double right = 0, wrong = 0;
  for (const Judged& j : category.judged) {
    right += j.outcome[t] == Outcome::kRight;
    wrong += j.outcome[t] == Outcome::kWrong;
    recall.push_back(right / boxes);
    precision.push_back(right / (wrong + right + std::numeric_limits<double>::epsilon()));
  }
  for (size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
  Curve curve;
  for (size_t r = 0; r < kRecalls; ++r) {
    const auto at = std::lower_bound(recall.begin(), recall.end(), recall_point(r)) - recall.begin();
    if (static_cast<size_t>(at) < precision.size()) curve.precision += precision[static_cast<size_t>(at)];
  }
  curve.precision /= static_cast<double>(kRecalls);
  curve.recall = recall.empty() ? 0 : recall.back();
  return curve;
}

bool has_image(const CocoTruth& truth, int64_t id) {
  const auto at = std::lower_bound(truth.images.begin(), truth.images.end(), id,
                                   [](const CocoImage& image, int64_t wanted) { return image.id < wanted; });
  return at != truth.images.end() && at->id == id;
}

Result<void> check_detections(const CocoTruth& truth, std::span<const CocoDetection> detections) {
  for (const CocoDetection& d : detections) {
    if (!has_image(truth, d.image_id)) {
      return usage_error(
          fmt::format("a detection is on picture {}, which the ground truth doesn't have; evaluate on its "
                      "pictures only",
                      d.image_id));
    }
    if (!std::isfinite(d.score + d.x + d.y + d.width + d.height)) {
      return usage_error(
          fmt::format("a detection on picture {} has a score or box that isn't finite; check the network's "
                      "output",
                      d.image_id));
    }
  }
  return {};
}

}  // namespace

Result<CocoScores> evaluate_coco(const CocoTruth& truth, std::span<const CocoDetection> detections) {
  PITH_CHECK_OK(check_detections(truth, detections));
  std::map<int64_t, std::map<int64_t, Cell>> cells;  // category, then picture
  for (const CocoCategory& c : truth.categories) cells[c.id];
  for (const CocoBox& b : truth.boxes) {
    const auto found = cells.find(b.category_id);
    if (found != cells.end() && has_image(truth, b.image_id)) found->second[b.image_id].boxes.push_back(&b);
  }
  for (const CocoDetection& d : detections) {
    const auto found = cells.find(d.category_id);
    if (found != cells.end()) found->second[d.image_id].detections.push_back(&d);
  }
  CocoScores out;
  std::array<double, kThresholds> ap{}, recall{};
  size_t scored = 0;
  for (auto& [id, pictures] : cells) {
    Category category;
    for (auto& [image, cell] : pictures) judge(cell, category);
    std::stable_sort(category.judged.begin(), category.judged.end(),
                     [](const Judged& a, const Judged& b) { return a.score > b.score; });
    out.category_ap.push_back(-1);
    if (category.counted_boxes == 0) continue;
    ++scored;
    double sum = 0;
    for (size_t t = 0; t < kThresholds; ++t) {
      const Curve curve = score(category, t);
      ap[t] += curve.precision;
      recall[t] += curve.recall;
      sum += curve.precision;
    }
    out.category_ap.back() = sum / kThresholds;
  }
  if (scored == 0) return out;
  const double n = static_cast<double>(scored);
  out.ap = std::accumulate(ap.begin(), ap.end(), 0.0) / n / kThresholds;
  out.recall = std::accumulate(recall.begin(), recall.end(), 0.0) / n / kThresholds;
  out.ap50 = ap[0] / n;
  out.ap75 = ap[5] / n;
  return out;
}

}  // namespace pith
