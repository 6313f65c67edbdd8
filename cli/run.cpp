// `pith run`: one or many inputs through a model, and what comes out.
#include <fmt/format.h>

#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/engine.h"
#include "cli/heads.h"
#include "cli/run_language.h"
#include "data/image.h"

namespace pith::cli {
namespace {

struct Flags {
  std::string model, preprocess, head, labels, draw, save;
  std::vector<std::string> inputs;
  EngineOptions engine;
  LanguageFlags language;
  int top = 5;
  double score = 0.25, iou = 0.45;
  std::vector<int64_t> shape;
};

Result<void> draw_boxes(const Image& picture, const Reading& reading, const HeadOptions& head, const std::string& path) {
  Image canvas = to_rgb(picture);
  for (auto b = reading.boxes.rbegin(); b != reading.boxes.rend(); ++b) {
    draw_labelled_box(canvas, {b->x1, b->y1, b->x2, b->y2}, fmt::format("{} {:.2f}", label_of(head, b->class_id), b->score), palette_color(b->class_id));
  }
  return write_png(path, canvas);
}

// --draw names a file for one input, a folder for several.
std::string drawing_path(const std::string& draw, const std::string& sample, bool several) {
  if (!several && !std::filesystem::is_directory(draw)) return draw;
  std::filesystem::create_directories(draw);
  return (std::filesystem::path(draw) / std::filesystem::path(sample).filename().replace_extension(".png")).string();
}

Result<void> run(const Flags& f, const Global& global) {
  PITH_TRY(const std::unique_ptr<Engine> engine, open_engine(f.model, f.engine));
  if (f.language.given()) return run_language(*engine, f.language, f.model, f.top, global);
  if (f.inputs.empty()) return usage_error("nothing to run the model on; give inputs, or --text");
  PITH_TRY(const Preprocess preprocess, choose_preprocess(*engine, f.preprocess));
  HeadOptions head = choose_head(*engine, f.head, f.labels);
  head.top = f.top;
  head.score_threshold = static_cast<float>(f.score);
  head.iou_threshold = static_cast<float>(f.iou);
  nlohmann::json results = nlohmann::json::array();
  size_t written = 0;
  for (const std::string& input : f.inputs) {
    PITH_TRY(const SampleSet samples, SampleSet::open(input));
    for (size_t i = 0; i < samples.size(); ++i) {
      PITH_TRY(const Sample sample, samples.read(i));
      Geometry geometry;
      PITH_TRY(const std::vector<Array> arrays, prepare_inputs(*engine, preprocess, sample, &geometry));
      PITH_TRY(const std::vector<Output> outputs, engine->run(arrays));
      PITH_TRY(Reading reading, read_outputs(outputs, head, preprocess.kind == InputKind::kImage ? &geometry : nullptr));
      const bool several = samples.size() > 1 || f.inputs.size() > 1;
      if (!f.draw.empty()) {
        if (!sample.image || !is_detector(head.kind)) return usage_error("--draw needs a picture and a detector; leave it out for this model");
        PITH_CHECK_OK(draw_boxes(*sample.image, reading, head, drawing_path(f.draw, sample.name, several)));
      }
      if (!f.save.empty()) {
        const std::string stem = several ? fmt::format("{}.{}", f.save, written++) : f.save;
        for (size_t k = 0; k < outputs.size(); ++k) {
          const std::string path = outputs.size() == 1 ? stem + ".npy" : fmt::format("{}.{}.npy", stem, k);
          PITH_CHECK_OK(write_npy(path, make_array(outputs[k].dims, outputs[k].values)));
        }
      }
      if (global.json) {
        reading.json["input"] = sample.name;
        results.push_back(std::move(reading.json));
        continue;
      }
      if (several) fmt::print("{}\n", sample.name);
      for (const std::string& line : reading.lines) fmt::print("{}{}\n", several ? "  " : "", line);
    }
  }
  if (global.json) print_json("run", {{"model", f.model}, {"results", results}});
  return {};
}

}  // namespace

void add_run(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "run", "run a model on pictures, arrays, sounds or text",
                            "  pith run yolov5n.pith bus.jpg --draw boxes.png\n  pith run mobilenet.pith photos/ --json\n  pith run model.pith input.npy --save result\n  pith run roberta.pith --text \"The capital of France is <mask>.\"");
  verb->add_option("model", f.model, ".pith (or .onnx, through the float interpreter)")->required();
  verb->add_option("inputs", f.inputs, "pictures, folders, archives, npy, npz, wav or raw tensors");
  add_language_flags(verb, f.language);
  verb->add_option("--draw", f.draw, "write the picture with boxes and labels (a folder for several inputs)");
  verb->add_option("--save", f.save, "write the outputs as STEM.npy");
  verb->add_option("--preprocess", f.preprocess, "instead of the model's own");
  verb->add_option("--head", f.head, "instead of the model's own");
  verb->add_option("--labels", f.labels, "text file with one label per line, instead of the model's own");
  verb->add_option("--top", f.top, "how many classes to show")->capture_default_str();
  verb->add_option("--score", f.score, "least score of a box")->capture_default_str();
  verb->add_option("--iou", f.iou, "overlap above which the weaker box goes")->capture_default_str();
  add_engine_flags(verb, f.engine);
  verb->callback([&global = c.global, &action = c.action] { action = [&global] { return run(f, global); }; });
}

}  // namespace pith::cli
