// `pith run`: one or many inputs through a model, and what comes out.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/crops.h"
#include "cli/engine.h"
#include "cli/heads.h"
#include "cli/run_language.h"
#include "cli/video.h"
#include "data/image.h"

namespace pith::cli {
namespace {

struct Flags {
  std::string model, preprocess, head, labels, draw, save, crops;
  std::vector<std::string> inputs;
  EngineOptions engine;
  LanguageFlags language;
  VideoFlags video;
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

// What stays the same from one input to the next.
struct Session {
  const Flags& flags;
  const Global& global;
  Engine& engine;
  Preprocess preprocess;
  HeadOptions head;
  Crops* crops = nullptr;
  bool several = false;  // inputs: names go with results
  size_t saved = 0;
};

Result<void> save(Session& s, const std::vector<Output>& outputs) {
  const std::string stem = s.several ? fmt::format("{}.{}", s.flags.save, s.saved++) : s.flags.save;
  for (size_t k = 0; k < outputs.size(); ++k) {
    const std::string path = outputs.size() == 1 ? stem + ".npy" : fmt::format("{}.{}.npy", stem, k);
    PITH_CHECK_OK(write_npy(path, make_array(outputs[k].dims, outputs[k].values)));
  }
  return {};
}

// Runs the model on one sample, draws and saves what is asked for, prints its lines unless JSON is wanted, and returns it.
Result<nlohmann::json> run_one(Session& s, const Sample& sample) {
  Geometry geometry;
  PITH_TRY(const std::vector<Array> arrays, prepare_inputs(s.engine, s.preprocess, sample, &geometry));
  PITH_TRY(const std::vector<Output> outputs, s.engine.run(arrays));
  PITH_TRY(Reading reading, read_outputs(outputs, s.head, s.preprocess.kind == InputKind::kImage ? &geometry : nullptr));
  if (!s.flags.draw.empty()) {
    if (!sample.image || !is_detector(s.head.kind)) return usage_error("--draw needs a picture and a detector; leave it out for this model");
    PITH_CHECK_OK(draw_boxes(*sample.image, reading, s.head, drawing_path(s.flags.draw, sample.name, s.several)));
  }
  if (!s.flags.save.empty()) PITH_CHECK_OK(save(s, outputs));
  if (s.crops) {
    if (!sample.image || !is_detector(s.head.kind)) return usage_error("--crops needs a picture and a detector; leave it out for this model");
    PITH_CHECK_OK(s.crops->classify(*sample.image, s.flags.top, reading));
  }
  reading.json["input"] = sample.name;
  if (s.global.json) return std::move(reading.json);
  if (s.several) fmt::print("{}\n", sample.name);
  for (const std::string& line : reading.lines) fmt::print("{}{}\n", s.several ? "  " : "", line);
  return std::move(reading.json);
}

Result<void> run_samples(Session& s) {
  nlohmann::json results = nlohmann::json::array();
  for (const std::string& input : s.flags.inputs) {
    PITH_TRY(const SampleSet samples, SampleSet::open(input));
    s.several = samples.size() > 1 || s.flags.inputs.size() > 1;
    for (size_t i = 0; i < samples.size(); ++i) {
      PITH_TRY(const Sample sample, samples.read(i));
      PITH_TRY(nlohmann::json result, run_one(s, sample));
      if (s.global.json) results.push_back(std::move(result));
    }
  }
  warn_of_coarse_rows(s.engine);
  if (s.global.json) {
    const StoredRows rows = s.engine.stored_rows();
    nlohmann::json all = {{"model", s.flags.model}, {"results", results}, {"stored_rows", {{"all", rows.all}, {"coarse", rows.coarse}}}};
    if (s.crops) all["arena_bytes"] = s.crops->arena_bytes();
    print_json("run", all);
  }
  return {};
}

// Frames in order, each result as soon as it is there: with --json a line of JSON each. Pictures are numbered.
Result<void> run_video(Session& s, const std::string& input) {
  s.several = true;
  PITH_TRY(Video video, Video::open(input, s.flags.video));
  const std::string stem = std::filesystem::path(input).stem().string();
  for (;;) {
    PITH_TRY(std::optional<Video::Frame> frame, video.next());
    if (!frame) return {};
    Sample sample;
    sample.name = fmt::format("{}-{:06}", stem, frame->index);
    sample.image = std::move(frame->image);
    PITH_TRY(nlohmann::json result, run_one(s, sample));
    if (s.global.json) {
      result["input"] = input;
      result["frame"] = frame->index;
      fmt::print("{}\n", result.dump());
    }
    std::fflush(stdout);
  }
}

Result<void> run(const Flags& f, const Global& global) {
  EngineOptions options = f.engine;
  std::unique_ptr<Crops> crops;
  if (!f.crops.empty()) {
    PITH_TRY(crops, Crops::open(f.model, f.crops, options));
  }
  PITH_TRY(const std::unique_ptr<Engine> engine, open_engine(f.model, options));
  if (f.language.given()) return run_language(*engine, f.language, f.model, f.top, global);
  if (f.inputs.empty()) return usage_error("nothing to run the model on; give inputs, or --text");
  PITH_TRY(const Preprocess preprocess, choose_preprocess(*engine, f.preprocess));
  Session s{f, global, *engine, preprocess, choose_head(*engine, f.head, f.labels), crops.get()};
  s.head.top = f.top;
  if (s.head.kind == engine->metadata("head")) s.head.memory = engine->post_memory();  // planned for that head
  s.head.score_threshold = static_cast<float>(f.score);
  s.head.iou_threshold = static_cast<float>(f.iou);
  const auto videos = std::count_if(f.inputs.begin(), f.inputs.end(), is_video_name);
  if (videos == 0 && !(f.video.frames.empty() && f.video.size.empty())) return usage_error("--frames and --frame-size are for videos (.y4m, .nv12, .i420, .yuv)");
  if (videos == 0) return run_samples(s);
  if (videos != static_cast<ptrdiff_t>(f.inputs.size())) return usage_error("videos and other inputs don't go together; run them apart");
  for (const std::string& input : f.inputs) PITH_CHECK_OK(run_video(s, input));
  return {};
}

}  // namespace

void add_run(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "run", "run a model on pictures, videos, arrays, sounds or text",
                            "  pith run yolov5n.pith bus.jpg --draw boxes.png\n  pith run mobilenet.pith photos/ --json\n  pith run yolov5n.pith bus.jpg --crops mobilenet.pith --memory smallest\n  pith run model.pith input.npy --save result\n  pith run yolov5n.pith street.y4m --frames ::5 --draw drawn/ --json\n  pith run roberta.pith --text \"The capital of France is <mask>.\"");
  verb->add_option("model", f.model, ".pith (or .onnx, through the float interpreter)")->required();
  verb->add_option("inputs", f.inputs, "pictures, folders, archives, npy, npz, wav or raw tensors; or videos: .y4m, .nv12, .i420");
  add_language_flags(verb, f.language);
  add_video_flags(verb, f.video);
  verb->add_option("--draw", f.draw, "write the picture with boxes and labels (a folder for several inputs and for videos)");
  verb->add_option("--crops", f.crops, "a classifier (.pith) that looks at each box that a detector finds; both share one arena, as large as the larger asks");
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
