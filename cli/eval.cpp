// `pith eval`: quality on labelled data, for a float model and a compressed one alike.
#include <fmt/format.h>

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/engine.h"
#include "cli/heads.h"
#include "data/coco.h"
#include "data/metrics.h"

namespace pith::cli {
namespace {

struct Flags {
  std::string model, samples, labels, preprocess, head, coco, texts, against;
  EngineOptions engine;
  size_t count = 0;
  int label_offset = 0;
  double score = 0.001, iou = 0.6;
  int max_detections = 300;
};

struct Score {  // what a run over the samples adds up to
  Accuracy accuracy;
  std::vector<CocoDetection> detections;
  size_t characters = 0, character_errors = 0, texts = 0, texts_right = 0;
  Agreement agreement;
};

// Levenshtein distance: insertions, deletions, replacements.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::string line;
  for (char c : text) {
    if (c == '\n') {
      out.push_back(std::move(line));
      line.clear();
    } else if (c != '\r') {
      line += c;
    }
  }
  if (!line.empty()) out.push_back(line);
  return out;
}

Result<void> score_boxes(const std::vector<Output>& outputs, const HeadOptions& head, const Geometry& geometry, const Sample& sample, const CocoTruth& truth, Score& score) {
  const CocoImage* image = truth.find_image(sample.name);
  if (!image) return usage_error(fmt::format("'{}' isn't among the annotated pictures; leave it out or check --coco", sample.name));
  PITH_TRY(const std::vector<pith_box> boxes, decode_boxes(outputs, head, &geometry));
  for (const pith_box& b : boxes) {
    if (b.class_id < 0 || b.class_id >= static_cast<int32_t>(truth.categories.size())) continue;
    score.detections.push_back({image->id, truth.categories[static_cast<size_t>(b.class_id)].id, b.x1, b.y1, b.x2 - b.x1, b.y2 - b.y1, b.score});
  }
  return {};
}

nlohmann::json report(const Score& s, const CocoScores* coco) {
  nlohmann::json metrics;
  if (s.accuracy.samples > 0) metrics = {{"top1", s.accuracy.top1_percent()}, {"top5", s.accuracy.top5_percent()}};
  if (coco) metrics = {{"ap", coco->ap}, {"ap50", coco->ap50}, {"ap75", coco->ap75}, {"recall", coco->recall}};
  if (s.texts > 0) {
    metrics = {{"characters", 100.0 * (1 - static_cast<double>(s.character_errors) / static_cast<double>(std::max<size_t>(1, s.characters)))},
               {"lines", 100.0 * static_cast<double>(s.texts_right) / static_cast<double>(s.texts)}};
  }
  if (s.agreement.outputs > 0) {
    metrics["cosine"] = s.agreement.cosine();
    metrics["sqnr_db"] = s.agreement.sqnr();
    metrics["same_strongest"] = 100 * s.agreement.argmax_share();
  }
  return metrics;
}

Result<void> eval(const Flags& f, const Global& global) {
  PITH_TRY(const std::unique_ptr<Engine> engine, open_engine(f.model, f.engine));
  std::unique_ptr<Engine> reference;
  if (!f.against.empty()) {
    PITH_TRY(reference, open_engine(f.against, {}));
  }
  PITH_TRY(const Preprocess preprocess, choose_preprocess(*engine, f.preprocess));
  HeadOptions head = choose_head(*engine, f.head, "");
  head.score_threshold = static_cast<float>(f.score);
  head.iou_threshold = static_cast<float>(f.iou);
  head.max_detections = f.max_detections;
  head.multi_label = true;
  SampleOptions options;
  options.labels = f.labels;
  options.count = f.count;
  PITH_TRY(const SampleSet samples, SampleSet::open(f.samples, options));
  CocoTruth truth;
  if (!f.coco.empty()) {
    PITH_TRY(truth, read_coco(f.coco));
    if (!is_detector(head.kind)) return usage_error(fmt::format("--coco needs a detector, this model's head is '{}'; give --head", head.kind));
  }
  std::vector<std::string> texts;
  if (!f.texts.empty()) {
    PITH_TRY(const std::string text, read_text_file(f.texts));
    texts = lines(text);
    if (texts.size() < samples.size()) return usage_error(fmt::format("'{}' has {} lines for {} samples; give one per sample", f.texts, texts.size(), samples.size()));
  }
  if (f.coco.empty() && f.texts.empty() && !reference && !samples.has_labels())
    return usage_error(fmt::format("'{}' has no labels; give --labels, --coco, --texts or --against", f.samples));
  Score score;
  Progress bar("evaluating", samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    PITH_TRY(const Sample sample, samples.read(i));
    Geometry geometry;
    PITH_TRY(const std::vector<Array> inputs, prepare_inputs(*engine, preprocess, sample, &geometry));
    PITH_TRY(const std::vector<Output> outputs, engine->run(inputs));
    if (reference) {
      PITH_TRY(const std::vector<Output> expected, reference->run(inputs));
      for (size_t k = 0; k < expected.size() && k < outputs.size(); ++k) {
        if (expected[k].values.size() == outputs[k].values.size()) score.agreement.add(outputs[k].values, expected[k].values);
      }
    }
    if (!f.coco.empty()) {
      PITH_CHECK_OK(score_boxes(outputs, head, geometry, sample, truth, score));
    } else if (!texts.empty()) {
      PITH_TRY(const std::string text, decode_text(outputs[0], head));
      score.character_errors += edit_distance(text, texts[i]);
      score.characters += texts[i].size();
      score.texts_right += text == texts[i];
      ++score.texts;
    } else if (sample.label) {
      score.accuracy.add(outputs[0].values, *sample.label + f.label_offset);
    }
    bar.step();
  }
  CocoScores coco;
  if (!f.coco.empty()) {
    // pictures that were not run don't count
    CocoTruth part = truth;
    std::erase_if(part.images, [&](const CocoImage& image) {
      for (size_t i = 0; i < samples.size(); ++i) {
        if (truth.find_image(samples.name(i)) && truth.find_image(samples.name(i))->id == image.id) return false;
      }
      return true;
    });
    std::erase_if(part.boxes, [&](const CocoBox& b) { return std::none_of(part.images.begin(), part.images.end(), [&](const CocoImage& m) { return m.id == b.image_id; }); });
    PITH_TRY(coco, evaluate_coco(part, score.detections));
  }
  const nlohmann::json metrics = report(score, f.coco.empty() ? nullptr : &coco);
  const StoredRows rows = engine->stored_rows();
  warn_of_coarse_rows(*engine);
  if (global.json) {
    print_json("eval", {{"model", f.model}, {"target", engine->kind()}, {"samples", samples.size()}, {"metrics", metrics}, {"stored_rows", {{"all", rows.all}, {"coarse", rows.coarse}}}});
    return {};
  }
  fmt::print("{} on {}, {} samples\n", f.model, engine->kind(), samples.size());
  for (const auto& [name, value] : metrics.items()) fmt::print("  {:<16} {:.4f}\n", name, value.get<double>());
  return {};
}

}  // namespace

void add_eval(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "eval", "measure quality on labelled data",
                            "  pith eval resnet.pith --samples cifar10/test.bin\n  pith eval yolov5n.pith --samples coco/images --coco coco/instances.json\n"
                            "  pith eval reader.pith --samples lines.npz --texts lines.txt\n  pith eval small.pith --samples photos/ --against original.onnx");
  verb->add_option("model", f.model, ".pith (or .onnx, through the float interpreter)")->required();
  verb->add_option("--samples", f.samples, "folder, archive, list, IDX, CIFAR, npy or npz")->required();
  verb->add_option("--labels", f.labels, "`name label` lines, or one label per line in natural order");
  verb->add_option("--label-offset", f.label_offset, "added to every label (1 for networks with a background class)")->capture_default_str();
  verb->add_option("--coco", f.coco, "COCO instances.json: AP, AP50, AP75");
  verb->add_option("--texts", f.texts, "one text per sample: characters and lines read right");
  verb->add_option("--against", f.against, "another model: cosine, signal-to-noise, same strongest output");
  verb->add_option("--data-count", f.count, "at most so many samples (0: all)")->capture_default_str();
  verb->add_option("--preprocess", f.preprocess, "instead of the model's own");
  verb->add_option("--head", f.head, "instead of the model's own");
  verb->add_option("--score", f.score, "least score of a box")->capture_default_str();
  verb->add_option("--iou", f.iou, "overlap above which the weaker box goes")->capture_default_str();
  verb->add_option("--max-detections", f.max_detections, "boxes per picture")->capture_default_str();
  add_engine_flags(verb, f.engine);
  verb->callback([&global = c.global, &action = c.action] { action = [&global] { return eval(f, global); }; });
}

}  // namespace pith::cli
