// See heads.h.
#include "cli/heads.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/file.h"

namespace pith::cli {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::string line;
  for (char c : text) {
    if (c != '\n') {
      line += c;
      continue;
    }
    lines.push_back(line);
    line.clear();
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

pith_tensor_view view_of(const Output& o) {
  std::vector<int64_t> dims = o.dims;
  while (dims.size() > PITH_POST_MAX_RANK && dims[0] == 1) dims.erase(dims.begin());
  return pith_view_f32(o.values.data(), static_cast<int32_t>(dims.size()), dims.data());
}

Error post_error(pith_post_status s, const HeadOptions& head) {
  return usage_error(fmt::format("the outputs don't read as '{}': {}; check --head", head.kind, pith_post_message(s)));
}

// Hands out the memory that is there, and allocates what doesn't fit into it.
class Workspace {
 public:
  explicit Workspace(std::span<std::byte> memory) : rest_(memory) {}
  template <class T>
  std::span<T> take(size_t count) {
    const size_t bytes = count * sizeof(T);
    if (bytes <= rest_.size()) {
      T* const first = reinterpret_cast<T*>(rest_.data());
      rest_ = rest_.subspan(bytes);
      return {first, count};
    }
    own_.push_back(std::make_unique<std::byte[]>(bytes));
    return {reinterpret_cast<T*>(own_.back().get()), count};
  }

 private:
  std::span<std::byte> rest_;
  std::vector<std::unique_ptr<std::byte[]>> own_;
};

// One feature map per stride; the stride is the input's width over the map's.
std::vector<pith_yolo_head> raw_heads(const std::vector<Output>& outputs, const HeadOptions& head) {
  std::vector<pith_yolo_head> heads;
  for (const Output& o : outputs) {
    if (o.dims.size() != 4) continue;
    const pith_tensor_view view = pith_view_at(view_of(o), 0, 0);
    const float stride = static_cast<float>(head.input_width / static_cast<double>(o.dims[3]));
    heads.push_back(head.kind == "yolov5-raw" ? pith_yolov5_coco_head(view, PITH_HEAD_CHW, stride) : pith_yolo_head_of(view, PITH_HEAD_CHW, stride));
  }
  std::sort(heads.begin(), heads.end(), [](const auto& a, const auto& b) { return a.stride < b.stride; });
  return heads;
}

}  // namespace

bool is_detector(const std::string& kind) { return kind.starts_with("yolo") || kind == "ssd"; }

HeadOptions choose_head(const Engine& engine, const std::string& kind_flag, const std::string& labels_flag) {
  HeadOptions head;
  const std::string kind = kind_flag.empty() ? engine.metadata("head") : kind_flag;
  if (!kind.empty()) head.kind = kind;
  if (!labels_flag.empty()) {
    if (const auto text = read_text_file(labels_flag); text.ok()) head.labels = lines_of(*text);
  } else {
    head.labels = lines_of(engine.metadata("labels"));
  }
  if (!engine.inputs().empty() && engine.inputs()[0].dims.size() == 4) {
    const auto& d = engine.inputs()[0].dims;
    const bool nchw = d[1] == 1 || d[1] == 3;
    head.input_height = static_cast<double>(nchw ? d[2] : d[1]);
    head.input_width = static_cast<double>(nchw ? d[3] : d[2]);
  }
  return head;
}

// What compile/post_place.cpp plans with.
static_assert(sizeof(pith_box) == 28 && sizeof(pith_ranked) == 8 && sizeof(pith_ctc_symbol) == 16);

std::string label_of(const HeadOptions& head, int64_t index) {
  return index >= 0 && index < static_cast<int64_t>(head.labels.size()) ? head.labels[static_cast<size_t>(index)] : fmt::format("class {}", index);
}

Result<std::vector<pith_box>> decode_boxes(const std::vector<Output>& outputs, const HeadOptions& head, const Geometry* geometry) {
  Workspace work(head.memory);
  const size_t room = head.memory.size() / sizeof(pith_box);  // a list holds the best of what it is given
  const std::span<pith_box> memory = work.take<pith_box>(room > 0 ? room : head.multi_label ? 100000 : 30000);
  pith_box_list list;
  pith_box_list_init(&list, memory.data(), memory.size_bytes());
  pith_yolo_params yolo = pith_yolo_defaults();
  yolo.score_threshold = head.score_threshold;
  yolo.multi_label = head.multi_label;
  pith_post_status s = PITH_POST_OK;
  if (head.kind == "ssd") {
    if (outputs.size() < 2) return usage_error("an ssd head has two outputs, scores and boxes; check --head");
    const bool first_scores = outputs[0].dims.back() != 4;
    const pith_tensor_view scores = view_of(outputs[first_scores ? 0 : 1]), boxes = view_of(outputs[first_scores ? 1 : 0]);
    pith_ssd_params ssd = pith_ssd_defaults();
    ssd.score_threshold = head.score_threshold;
    ssd.scale_x = static_cast<float>(head.input_width);
    ssd.scale_y = static_cast<float>(head.input_height);
    s = pith_decode_ssd(&scores, &boxes, &ssd, &list);
  } else if (head.kind == "yolov5-raw" || head.kind == "yolov8-raw") {
    const std::vector<pith_yolo_head> heads = raw_heads(outputs, head);
    if (heads.empty()) return usage_error(fmt::format("the outputs aren't feature maps; '{}' wants one per stride", head.kind));
    s = head.kind == "yolov5-raw" ? pith_decode_yolov5_heads(heads.data(), static_cast<int32_t>(heads.size()), &yolo, &list)
                                  : pith_decode_yolov8_heads(heads.data(), static_cast<int32_t>(heads.size()), 16, &yolo, &list);
  } else {
    const pith_tensor_view view = view_of(outputs[0]);
    if (head.kind == "yolov8") {
      s = pith_decode_yolov8(&view, &yolo, &list);
    } else if (head.kind == "yolox") {
      const int32_t strides[3] = {8, 16, 32};
      s = pith_decode_yolox(&view, static_cast<int32_t>(head.input_width), static_cast<int32_t>(head.input_height), strides, 3, &yolo, &list);
    } else {
      s = pith_decode_yolov5(&view, &yolo, &list);
    }
  }
  if (s != PITH_POST_OK) return post_error(s, head);
  pith_nms_params nms = pith_nms_defaults();
  nms.iou_threshold = head.iou_threshold;
  nms.max_detections = head.max_detections;
  s = pith_nms(&nms, &list);
  if (s != PITH_POST_OK) return post_error(s, head);
  std::vector<pith_box> boxes(list.boxes, list.boxes + list.count);
  for (pith_box& b : boxes) {
    if (!geometry) continue;
    const auto c = undo(*geometry, {b.x1, b.y1, b.x2, b.y2});
    b.x1 = c[0];
    b.y1 = c[1];
    b.x2 = c[2];
    b.y2 = c[3];
  }
  return boxes;
}

Result<std::string> decode_text(const Output& output, const HeadOptions& head) {
  const pith_tensor_view view = view_of(output);
  pith_ctc_params ctc = pith_ctc_defaults();
  ctc.logits = 1;
  Workspace work(head.memory);
  const std::span<pith_ctc_symbol> symbols = work.take<pith_ctc_symbol>(static_cast<size_t>(output.dims.size() > 1 ? output.dims[output.dims.size() - 2] : 1));
  int32_t count = 0;
  const pith_post_status s = pith_ctc_greedy(&view, &ctc, symbols.data(), static_cast<int32_t>(symbols.size()), &count);
  if (s != PITH_POST_OK) return post_error(s, head);
  std::string text;
  for (int32_t i = 0; i < count; ++i) text += label_of(head, symbols[static_cast<size_t>(i)].label);
  return text;
}

namespace {

// The strongest classes; scores that are no distribution yet are shown as one.
Result<void> read_classes(const Output& output, const HeadOptions& head, Reading& r) {
  const std::vector<float>& x = output.values;
  const int64_t count = static_cast<int64_t>(x.size());
  const pith_tensor_view scores = pith_view_f32(x.data(), 1, &count);
  Workspace work(head.memory);
  const std::span<float> probabilities = work.take<float>(x.size());
  const std::span<pith_ranked> best = work.take<pith_ranked>(std::min(x.size(), static_cast<size_t>(std::max(head.top, 1))));
  int32_t found = 0;
  pith_post_status s = pith_top_k(&scores, std::max(head.top, 1), best.data(), &found);
  if (s == PITH_POST_OK) s = pith_softmax(&scores, probabilities.data(), probabilities.size());
  if (s != PITH_POST_OK) return post_error(s, head);
  double sum = 0;
  for (float v : x) sum += v;
  const bool distribution = std::abs(sum - 1) < 0.02 && *std::min_element(x.begin(), x.end()) >= 0;
  r.json["classes"] = nlohmann::json::array();
  for (int32_t k = 0; k < std::min(found, head.top); ++k) {
    const int32_t i = best[static_cast<size_t>(k)].index;
    const double p = distribution ? x[static_cast<size_t>(i)] : probabilities[static_cast<size_t>(i)];
    r.lines.push_back(fmt::format("{:<40} {:5.1f} %", label_of(head, i), 100 * p));
    r.json["classes"].push_back({{"class", i}, {"label", label_of(head, i)}, {"probability", p}});
  }
  return {};
}

}  // namespace

Result<Reading> read_outputs(const std::vector<Output>& outputs, const HeadOptions& head, const Geometry* geometry) {
  Reading r;
  if (is_detector(head.kind)) {
    PITH_TRY(r.boxes, decode_boxes(outputs, head, geometry));
    r.json["boxes"] = nlohmann::json::array();
    for (const pith_box& b : r.boxes) {
      r.lines.push_back(fmt::format("{:<16} {:.3f}  x {:.0f}..{:.0f}  y {:.0f}..{:.0f}", label_of(head, b.class_id), b.score, b.x1, b.x2, b.y1, b.y2));
      r.json["boxes"].push_back({{"class", b.class_id}, {"label", label_of(head, b.class_id)}, {"score", b.score}, {"box", {b.x1, b.y1, b.x2, b.y2}}});
    }
    if (r.boxes.empty()) r.lines.push_back("nothing found");
  } else if (head.kind == "ctc") {
    PITH_TRY(const std::string text, decode_text(outputs[0], head));
    r.lines.push_back(text);
    r.json["text"] = text;
  } else if (head.kind == "classifier") {
    PITH_CHECK_OK(read_classes(outputs[0], head, r));
  } else {
    r.json["outputs"] = nlohmann::json::array();
    for (const Output& o : outputs) {
      std::string line = fmt::format("[{}]", shape_text(o.dims));
      for (size_t i = 0; i < std::min<size_t>(o.values.size(), 10); ++i) line += fmt::format(" {:.4g}", o.values[i]);
      if (o.values.size() > 10) line += " ...";
      r.lines.push_back(line);
      nlohmann::json values = o.values;
      r.json["outputs"].push_back({{"shape", o.dims}, {"values", values}});
    }
  }
  return r;
}

}  // namespace pith::cli
