// Non-maximum suppression: per class the best box, then the best that overlaps none taken before, and so on.
#include <algorithm>

#include "ir/eval.h"

namespace pith::ir {
namespace {

struct Box {
  float x0, y0, x1, y1;
  float area() const { return (x1 - x0) * (y1 - y0); }
};

Box box_of(const float* b, bool centre) {
  if (centre) return {b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2};
  return {std::min(b[1], b[3]), std::min(b[0], b[2]), std::max(b[1], b[3]), std::max(b[0], b[2])};
}

bool overlaps(const Box& a, const Box& b, float threshold) {
  const float w = std::min(a.x1, b.x1) - std::max(a.x0, b.x0), h = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  if (!(w > 0) || !(h > 0)) return false;
  const float together = a.area() + b.area() - w * h;
  return a.area() > 0 && b.area() > 0 && together > 0 && w * h / together > threshold;
}

}  // namespace

Result<void> eval_nms(Evaluation& e) {
  const int64_t batches = e.shape(1)[0], classes = e.shape(1)[1], count = e.shape(1)[2];
  const bool centre = e.node.integer("center_point_box", 0) != 0, thresholded = e.node.has("score_threshold");
  const auto most = static_cast<size_t>(std::min(e.node.integer("max_output_boxes_per_class", 0), count));
  const auto iou = static_cast<float>(e.node.real("iou_threshold", 0)),
             least = static_cast<float>(e.node.real("score_threshold", 0));
  auto rows = e.outputs[0].mut<int64_t>();
  std::fill(rows.begin(), rows.end(), int64_t{-1});
  size_t next = 0;
  std::vector<int64_t> order, taken;
  for (int64_t i = 0; i < batches * classes; ++i) {
    const float *scores = e.f32(1) + i * count, *boxes = e.f32(0) + i / classes * count * 4;
    order.clear();
    taken.clear();
    for (int64_t k = 0; k < count; ++k) {
      if (thresholded ? scores[k] > least : scores[k] == scores[k]) order.push_back(k);
    }
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
    for (int64_t k : order) {
      if (taken.size() == most) break;
      const Box box = box_of(boxes + 4 * k, centre);
      if (std::any_of(taken.begin(), taken.end(),
                      [&](int64_t t) { return overlaps(box, box_of(boxes + 4 * t, centre), iou); }))
        continue;
      taken.push_back(k);
      rows[next++] = i / classes;
      rows[next++] = i % classes;
      rows[next++] = k;
    }
  }
  return {};
}

}  // namespace pith::ir
