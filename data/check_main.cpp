// data_check: a door for the comparison scripts in tools/ (check_coco.py, check_pillow.py) to what data/ computes. It
// is built on demand and not installed.
//
//   data_check coco INSTANCES.json RESULTS.json          AP, AP50, AP75, AR and every category's AP, one number per
//   line data_check resize IN.png WIDTH HEIGHT METHOD OUT.png data_check letterbox IN WIDTH HEIGHT FILL METHOD OUT.png
//   data_check decode IN OUT.png
//   data_check apply PREPROCESS IN OUT.npy               the first sample of IN
//   data_check list PATH                                 name, label, and what each sample is
#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/coco.h"
#include "data/image.h"
#include "data/preprocess.h"
#include "data/samples.h"

namespace pith {
namespace {

Result<ResizeMethod> parse_method(const std::string& name) {
  for (const auto m : {ResizeMethod::kPilBilinear, ResizeMethod::kBilinear, ResizeMethod::kNearest}) {
    if (name == resize_method_name(m)) return m;
  }
  return usage_error(fmt::format("no resize method '{}'", name));
}

Result<void> score_coco(const std::string& truth_path, const std::string& results_path) {
  PITH_TRY(const CocoTruth truth, read_coco(truth_path));
  PITH_TRY(const std::string text, read_text_file(results_path));
  PITH_TRY(const std::vector<CocoDetection> detections, parse_coco_results(text, results_path));
  PITH_TRY(const CocoScores s, evaluate_coco(truth, detections));
  for (const double v : {s.ap, s.ap50, s.ap75, s.recall}) fmt::print("{:.17g}\n", v);
  for (const double v : s.category_ap) fmt::print("{:.17g}\n", v);
  return {};
}

Result<void> list(const std::string& path) {
  PITH_TRY(const SampleSet set, SampleSet::open(path));
  for (size_t i = 0; i < set.size(); ++i) {
    PITH_TRY(const Sample s, set.read(i));
    fmt::print("{} {}", s.name, s.label ? std::to_string(*s.label) : "-");
    if (s.image) fmt::print(" picture {}x{}x{}", s.image->width, s.image->height, s.image->channels);
    for (const NamedArray& a : s.arrays) {
      fmt::print(" '{}' {} {}", a.name, type_name(a.array.type), shape_text(a.array.shape));
    }
    fmt::print("\n");
  }
  for (const std::string& name : set.class_names()) fmt::print("class {}\n", name);
  return {};
}

Result<void> run(const std::vector<std::string>& a) {
  const std::string verb = a.empty() ? "" : a[0];
  if (verb == "coco" && a.size() == 3) return score_coco(a[1], a[2]);
  if (verb == "list" && a.size() == 2) return list(a[1]);
  if (verb == "decode" && a.size() == 3) {
    PITH_TRY(const Image image, read_image(a[1]));
    return write_png(a[2], image);
  }
  if (verb == "resize" && a.size() == 6) {
    PITH_TRY(const Image image, read_image(a[1]));
    PITH_TRY(const ResizeMethod method, parse_method(a[4]));
    return write_png(a[5], resize(image, std::atoi(a[2].c_str()), std::atoi(a[3].c_str()), method));
  }
  if (verb == "letterbox" && a.size() == 7) {
    PITH_TRY(const Image image, read_image(a[1]));
    PITH_TRY(const ResizeMethod method, parse_method(a[5]));
    return write_png(a[6], letterbox(image, std::atoi(a[2].c_str()), std::atoi(a[3].c_str()),
                                     static_cast<uint8_t>(std::atoi(a[4].c_str())), method)
                               .image);
  }
  if (verb == "apply" && a.size() == 4) {
    PITH_TRY(const Preprocess p, parse_preprocess(a[1]));
    PITH_TRY(const SampleSet set, SampleSet::open(a[2]));
    PITH_TRY(const Sample sample, set.read(0));
    PITH_TRY(const PreparedSample prepared, prepare(p, sample));
    return write_npy(a[3], prepared.inputs[0].array);
  }
  return usage_error("see the head of data/check_main.cpp for the arguments");
}

}  // namespace
}  // namespace pith

int main(int count, char** words) {
  const auto done = pith::run({words + 1, words + count});
  if (done.ok()) return 0;
  fmt::print(stderr, "data_check: {}\n", done.error().message);
  return static_cast<int>(done.error().code);
}
