// See retrain.h.
// With --allocate, training begins where compression without retraining ends, and the size is right from the start. Moves that
// save operations come before either; the original teaches what is left.
//
// The loop alternates: train for a stretch, round, remove the channels that carry nothing, measure the real file, correct
// the target of the estimated bits by what the file adds to them, go on with the smaller student. Once the ratio is reached the
// activations are rounded as the file will round them, and go through the codec where it will store them in coded form.
#include "cli/retrain.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "base/log.h"
#include "cli/retrain_run.h"
#include "cli/sensitivity.h"
#include "compile/compile.h"
#include "ir/recode.h"
#include "macro/channels.h"
#include "micro/post_training.h"
#include "program/scratch.h"
#include "runtime/kernels/kernels.h"
#include "train/trainer.h"

namespace pith::cli {
namespace {

Result<train::Dataset> load(const ir::Graph& g, const SampleSet& samples, const Preprocess& preprocess, bool with_labels) {
  if (g.inputs.size() != 1) return error(ErrorCode::kUnsupported, fmt::format("'{}' has {} inputs; retraining takes networks with one", g.name, g.inputs.size()));
  train::Dataset d;
  d.shape = g.value(g.inputs[0]).shape;
  const auto wanted = static_cast<size_t>(ir::element_count(d.shape));
  d.values.reserve(wanted * samples.size());
  const std::unique_ptr<Engine> engine = graph_engine(g);
  Progress bar("reading samples", samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    PITH_TRY(const Sample sample, samples.read(i));
    PITH_TRY(const std::vector<Array> inputs, prepare_inputs(*engine, preprocess, sample, nullptr));
    const std::vector<float> x = to_floats(inputs[0]);
    d.values.insert(d.values.end(), x.begin(), x.end());
    if (with_labels) {
      if (!sample.label) return usage_error(fmt::format("sample '{}' has no label; leave out --label-weight", sample.name));
      d.labels.push_back(*sample.label);
    }
    bar.step();
  }
  return d;
}

// The graph for pictures of another size: the same weights, all shapes anew.
Result<void> resize_input(ir::Graph& g, const ir::Shape& shape) {
  g.value(g.inputs[0]).shape = shape;
  const Result<void> inferred = ir::infer_shapes(g);
  if (!inferred.ok()) return error(ErrorCode::kUnsupported, fmt::format("'{}' doesn't take pictures of {}: {}; leave out --train-size", g.name, ir::to_string(shape), inferred.error().message));
  return ir::verify(g);
}

// --train-size: the preprocessing and the network's input shape become those of training.
Result<void> choose_size(const std::string& text, ir::Graph& g, Preprocess& preprocess) {
  int width = 0, height = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%dx%d%c", &width, &height, &rest) != 2 || width < 1 || height < 1) return usage_error(fmt::format("--train-size '{}' isn't WIDTHxHEIGHT, as in 320x320", text));
  if (g.value(g.inputs[0]).shape.size() != 4 || preprocess.kind != InputKind::kImage) return usage_error("--train-size is for networks of pictures; leave it out");
  preprocess.width = width, preprocess.height = height;
  const int64_t channels = preprocess.channels();
  return resize_input(g, preprocess.layout == PixelLayout::kNchw ? ir::Shape{1, channels, height, width} : ir::Shape{1, height, width, channels});
}

// A rounded student without dead channels, the grids of its weights, and the latent weights cut alike.
struct Pruned {
  train::Rounded rounded;
  train::Model model;
  ChannelReport report;
};

Result<Pruned> prune(const train::Model& model) {
  Pruned p{train::round_model(model), model, {}};
  const ir::Graph whole = p.rounded.graph;
  PITH_TRY(p.report, remove_channels(p.rounded.graph));
  if (!model.held.empty() && p.report.macs < 0) p.rounded.graph = whole, p.report = {};  // blocks of zeros would no longer line up
  std::map<std::string, ir::Tensor> latent;
  for (const ir::Value& v : model.graph.values) {
    if (v.constant) latent[v.name] = *v.constant;
  }
  for (const auto& [name, cuts] : p.report.cuts) {
    for (const ChannelCut& c : cuts) {
      if (latent.count(name)) latent[name] = cut_tensor(latent[name], c);
      if (p.model.held.count(name)) p.model.held[name] = cut_tensor(p.model.held[name], c);
      const auto steps = p.model.steps.find(name);
      if (steps == p.model.steps.end() || steps->second.log2.size() == 1 || steps->second.axis != c.axis) continue;
      std::vector<float> kept;
      for (int64_t k : c.kept) kept.push_back(steps->second.log2[static_cast<size_t>(k)]);
      steps->second.log2 = kept;
      std::vector<int16_t> codes;
      for (int64_t k : c.kept) codes.push_back(p.rounded.codes[name][static_cast<size_t>(k)]);
      p.rounded.codes[name] = codes;
    }
  }
  p.model.graph = p.rounded.graph;
  for (ir::Value& v : p.model.graph.values) {
    if (v.constant && latent.count(v.name) && latent[v.name].shape() == v.shape) v.constant = latent[v.name];
  }
  return p;
}

struct Measured {
  size_t bytes = 0;
  std::map<std::string, numerics::Affine> activations;
  std::map<std::string, ir::CodedRows> coded;  // of these
};

// The file that this student would be now; which of its activations wait in coded form only where `coded` is given.
Result<Measured> measure(const train::Rounded& r, const std::vector<std::vector<ir::Tensor>>& calibration, const QuantizeOptions& options, const CodedBits* coded = nullptr) {
  QuantizeOptions o = options;
  o.weight_codes = r.codes;
  PITH_TRY(const ir::Graph quantized, quantize(r.graph, calibration, o));
  PITH_TRY(const Program program, compile(quantized, {}));
  PITH_TRY(const std::vector<uint8_t> file, write_program(program, CodecChoice::kSmallest, nullptr));
  Measured m{file.size(), {}, {}};
  for (const ir::Value& v : quantized.values) {
    if (v.quant && !v.constant) m.activations[v.name] = v.quant->affine;
  }
  if (coded != nullptr) {
    PITH_TRY(m.coded, (*coded)(quantized));
    const size_t all = m.coded.size();  // with copies that lowering makes of a value, which the graph doesn't have
    std::erase_if(m.coded, [&](const auto& c) { return !m.activations.count(c.first); });
    if (all > 0) log_info(fmt::format("{} of {} activations that wait in coded form go through the codec from here on", m.coded.size(), all));
  }
  return m;
}

// The runtime's own kernels, as fast as this processor has them; the same bits in all (runtime/kernels/kernels.h).
void recode(const uint8_t* x, uint8_t* y, int64_t rows, int64_t width, int64_t channels, int64_t row_bytes, uint8_t zero, const uint8_t* lifting) {
  if (lifting != nullptr) return ir::recode_picture(x, y, {rows, width, channels, width * channels, channels, 1}, row_bytes, zero, lifting);
  const runtime::Kernels& kernels = runtime::kernels_of(runtime::best_isa());
  std::vector<uint8_t> state(static_cast<size_t>((PITH_ROW_CHANNEL + 1) * channels + train::kRecodeSlack)), row(static_cast<size_t>(row_bytes + train::kRecodeSlack));
  for (int64_t i = 0; i < rows; ++i, x += width * channels, y += width * channels) {
    kernels.encode_row_u8({x, static_cast<int32_t>(width), static_cast<int32_t>(channels), zero, state.data(), row.data(), row_bytes});
    kernels.decode_row_u8({row.data(), row_bytes, static_cast<int32_t>(width), static_cast<int32_t>(channels), zero, state.data(), y});
  }
}

train::Model even_start(const ir::Graph& begun, const RetrainFlags& f, double target_bits) {
  if (!f.wanted()) return train::start_fine(begun);
  const double share = f.first_step > 0 ? f.first_step : target_bits > 0 ? train::share_for([&](double s) { return train::start_model(begun, f.per_channel, s); }, 1.15 * target_bits) : 0.75;
  return train::start_model(begun, f.per_channel, share);
}

// The allocation's grids and weights; constants that it left alone aren't trained. Activations are rounded from the first
// step on.
Result<train::Model> allocated_start(const RetrainStart& start, const ir::Shape& shape, const std::vector<std::vector<ir::Tensor>>& calibration, const QuantizeOptions& options, const CodedBits& coded) {
  train::Model m = train::start_model(start.graph, true, 1);
  std::erase_if(m.steps, [&](const auto& s) { return !start.codes.count(s.first); });
  for (auto& [name, steps] : m.steps) {
    steps.log2.clear();
    for (int16_t code : start.codes.at(name)) steps.log2.push_back(static_cast<float>(code) / numerics::kScaleStepsPerOctave);
  }
  PITH_TRY(const Measured measured, measure({m.graph, start.codes}, calibration, options, &coded));
  m.activations = measured.activations, m.coded = measured.coded;
  PITH_CHECK_OK(resize_input(m.graph, shape));
  return m;
}

constexpr double kNoPrice = 1e-12;  // of a bit: trainers choose one where it is zero

// What training begins with, and the shares of the way after which the file is measured.
struct Beginning {
  train::Model model;
  std::vector<double> shares;
  bool sized = false;  // the size is right as it is: lambda need not move
};

Result<Beginning> begin(const ir::Graph& teacher, const RetrainFlags& f, const std::vector<std::vector<ir::Tensor>>& calibration, const RetrainStart* start, const CodedBits& coded, const QuantizeOptions& options,
                        train::TrainOptions& t) {
  Beginning b;
  if (start != nullptr && !start->codes.empty()) {
    PITH_TRY(b.model, allocated_start(*start, teacher.value(teacher.inputs[0]).shape, calibration, options, coded));
    b.sized = true;
    t.ramp = 0.02;
    t.lambda = f.lambda;
  } else {
    ir::Graph begun = start != nullptr ? start->graph : teacher;
    if (start != nullptr) PITH_CHECK_OK(resize_input(begun, teacher.value(teacher.inputs[0]).shape));
    b.model = even_start(begun, f, t.target_bits);
    for (int i = 1; f.wanted() && i <= 5; ++i) b.shares.push_back(t.ramp * i / 5);  // often while the network shrinks, since smaller ones train faster
    if (!f.wanted()) t.lambda = kNoPrice;
  }
  // An allocation rounds blocks to zero where it saves bits: those may come back.
  if (!b.sized || start->fewer) train::hold_zero_blocks(b.model);
  b.model.recode = recode;
  for (int i = 1; i <= 4; ++i) b.shares.push_back(t.ramp + (t.settle - t.ramp) * i / 4);
  b.shares.push_back(1);
  return b;
}

}  // namespace

Result<void> hand_over(const std::string&) { return {}; }

Result<bool> retrain(ir::Graph& graph, const SampleSet& samples, const Preprocess& preprocess, const std::string& head, const RetrainFlags& f, uint64_t seed,
                     const std::vector<std::vector<ir::Tensor>>& calibration, const RetrainStart* start, const CodedBits& coded, QuantizeOptions& options) {
  ir::Graph teacher = graph;
  if (start != nullptr) {
    PITH_TRY(teacher, prepare_post_training(graph));
  } else {
    PITH_CHECK_OK(ir::canonicalize(teacher));
  }
  PITH_TRY(train::TrainOptions t, train_options(f, seed));
  const bool first_process = t.place.rank == 0;
  const ir::Shape full = teacher.value(teacher.inputs[0]).shape;
  Preprocess training = preprocess;
  if (!f.train_size.empty()) PITH_CHECK_OK(choose_size(f.train_size, teacher, training));
  const bool pictures = teacher.value(teacher.inputs[0]).shape.size() == 4;
  if ((f.shift != 0 || f.flip) && !pictures) return usage_error("--shift and --flip are for pictures; leave them out");
  t.distribution = answers_are_classes(head);
  t.logistic = head == "yolov5-raw" || head == "yolox-raw" || head == "yolov8-raw";
  const double target = f.ratio > 0 ? 4.0 * static_cast<double>(ir::parameter_count(graph)) / f.ratio : 0;
  t.target_bits = target > 0 ? std::max(64.0, 8 * target * 0.8) : 0;
  options.equalize = options.correct_bias = options.round_by_covariance = false;
  PITH_TRY(train::Dataset data, load(teacher, samples, training, f.label_weight > 0));
  PITH_TRY(const Beginning beginning, begin(teacher, f, calibration, start, coded, options, t));
  PITH_TRY(const std::unique_ptr<train::Trainer> trainer, train::Trainer::create(teacher, beginning.model, std::move(data), t));
  if (!f.checkpoint.empty() && std::filesystem::exists(f.checkpoint)) {
    PITH_CHECK_OK(trainer->load(f.checkpoint));
    log_info(fmt::format("resumed '{}' at step {}", f.checkpoint, trainer->status().step));
  }
  const StopOnInterrupt interrupt;
  Teller teller;
  Measured measured;
  const std::vector<std::vector<ir::Tensor>> few(calibration.begin(), calibration.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(calibration.size(), 16)));
  if (beginning.sized && trainer->status().step == 0) {
    PITH_CHECK_OK(trainer->run(1e-9, stop_asked(), nullptr));
    trainer->aim(trainer->status().bits);
  }
  double before = 0;
  for (double share : beginning.shares) {
    if (trainer->status().share >= share) {
      before = share;
      continue;
    }
    PITH_CHECK_OK(trainer->run(share, stop_asked(), first_process ? std::function<void(const train::Status&)>(std::ref(teller)) : nullptr));
    PITH_TRY(Pruned p, prune(trainer->model()));
    PITH_CHECK_OK(resize_input(p.rounded.graph, full));
    const bool first_rounded = share > t.ramp && before <= t.ramp;  // a network of fewer operations has come nearer to the original's values by then
    const bool ranges = share > t.ramp && (!beginning.sized || (first_rounded && start->fewer));  // are wanted; elsewhere only bytes are
    before = share;
    PITH_TRY(measured, measure(p.rounded, ranges ? calibration : few, options, ranges ? &coded : nullptr));
    const train::Status s = trainer->status();
    if (first_process) log_info(fmt::format("{:3.0f} %: the file has {} bytes, distortion {:.5f}, {} channels removed", 100 * s.share, measured.bytes, s.distortion, p.report.removed));
    if (share == 1.0 && first_process) tell_choice(s);
    const bool reached = s.share >= share;  // or stopped before
    if (reached && share < 1.0) {
      const double added = static_cast<double>(measured.bytes) - s.bits / 8;
      if (target > 0) trainer->aim(8 * std::max(target * 0.3, target - std::min(added, 0.7 * target)));
      if (ranges) p.model.activations = measured.activations, p.model.coded = measured.coded;
      if (share >= f.layerwise) PITH_CHECK_OK(trainer->replace(p.model));  // before, layers are compared with the original's, channel by channel
    }
    if (!f.checkpoint.empty() && first_process) PITH_CHECK_OK(trainer->save(f.checkpoint));
    if (stop_asked()) break;
  }
  if (stop_asked()) log_warning("interrupted: the file holds what was reached so far");
  const train::Model last = trainer->model();
  PITH_TRY(Pruned p, prune(last));
  PITH_CHECK_OK(resize_input(p.rounded.graph, full));
  graph = p.rounded.graph;
  options.weight_codes = p.rounded.codes;
  options.activations = last.activations;
  return first_process;
}

}  // namespace pith::cli
