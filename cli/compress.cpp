// `pith compress` and `pith compile`: from a model to one small file, and how well it agrees with the original.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "cli/activation_coding.h"
#include "cli/cli.h"
#include "cli/compress_language.h"
#include "cli/engine.h"
#include "cli/heads.h"
#include "cli/key_levels.h"
#include "cli/language.h"
#include "cli/onnx_flags.h"
#include "cli/placing.h"
#include "cli/report.h"
#include "cli/post_training.h"
#include "cli/retrain.h"
#include "cli/sensitivity.h"
#include "cli/shrink_language.h"
#include "compile/compile.h"
#include "data/metrics.h"
#include "importers/tokenizer/tokenizer.h"
#include "macro/cut_head.h"
#include "micro/quantize.h"
#include "zoo/structures/structures.h"

namespace pith::cli {
namespace {

// Coarser by a bit than 8-bit weights need be: what that adds stays far below the noise of 8-bit activations.
constexpr double kRateWeight = 4;
constexpr int kRoundedWindow = 128;  // tokens at once of a decoder that is rounded by layers
constexpr int kMasks = 10;           // asked for in a row of a masked-language model while it is retrained

struct Flags {
  std::string model, samples, output, preprocess, labels, head, vocabulary, method = "mse", codec = "smallest";
  OnnxFlags onnx;
  RetrainFlags retrain;
  ReportFlags report;
  PostFlags post;
  PlacingFlags placing;
  ShrinkFlags shrink;
  CodingFlags coding;
  size_t count = 1024, held_back = 64;
  int bits = 8;
  double percentile = 99.99, max_drop = -1, rate_weight = -1, bits_per_weight = 0;
  bool cut = false, no_equalize = false, no_bias = false, force = false, integers = false, integer_outputs = false;
};

struct Agreed {
  size_t samples = 0, rows = 0, equal_rows = 0;
  double cosine = 1, sqnr = 200;
  double drop() const { return rows == 0 ? 0 : 100.0 * (1 - static_cast<double>(equal_rows) / static_cast<double>(rows)); }
};

// Float against compressed on held-back samples: rows are the last axis (classes of a position), compared by their
// strongest entry; everything together by cosine and signal-to-noise.
Result<Agreed> agreement(Engine& original, Engine& compressed, const SampleSet& samples, const Preprocess& preprocess, const std::string& head) {
  Agreement total;
  Agreed a;
  Progress bar("comparing", samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    PITH_TRY(const Sample sample, samples.read(i));
    PITH_TRY(const std::vector<Array> inputs, prepare_inputs(original, preprocess, sample, nullptr));
    PITH_TRY(const std::vector<Output> expected, original.run(inputs));
    PITH_TRY(const std::vector<Output> got, compressed.run(inputs));
    for (size_t k = 0; k < expected.size(); ++k) {
      total.add(got[k].values, expected[k].values);
      const size_t width = expected[k].dims.empty() ? 1 : static_cast<size_t>(expected[k].dims.back());
      if (k > 0 || width < 2 || (head != "classifier" && head != "ctc")) continue;
      for (size_t r = 0; r + width <= expected[k].values.size(); r += width) {
        const std::span<const float> e(expected[k].values.data() + r, width), g(got[k].values.data() + r, width);
        a.equal_rows += argmax(e) == argmax(g);
        ++a.rows;
      }
    }
    ++a.samples;
    bar.step();
  }
  a.cosine = total.cosine();
  a.sqnr = total.sqnr();
  return a;
}

Result<std::vector<std::vector<ir::Tensor>>> calibration_inputs(Engine& engine, const ir::Graph& g, const SampleSet& set, const Preprocess& preprocess) {
  std::vector<std::vector<ir::Tensor>> all;
  for (size_t i = 0; i < set.size(); ++i) {
    PITH_TRY(const Sample sample, set.read(i));
    PITH_TRY(const std::vector<Array> inputs, prepare_inputs(engine, preprocess, sample, nullptr));
    std::vector<ir::Tensor> tensors;
    size_t next = 0;
    for (ir::ValueId id : g.inputs) {
      const bool state = std::any_of(g.state.begin(), g.state.end(), [&](const auto& s) { return s.first == id; });
      ir::Tensor t(g.value(id).dtype, g.value(id).shape);
      if (!state) {
        const Array& a = inputs[next++];
        const std::vector<float> x = to_floats(a);
        for (size_t k = 0; k < x.size(); ++k) t.set(static_cast<int64_t>(k), x[k]);
      }
      tensors.push_back(std::move(t));
    }
    all.push_back(std::move(tensors));
  }
  return all;
}

Result<RangeMethod> range_method(const std::string& name) {
  if (name == "mse") return RangeMethod::kMse;
  if (name == "minmax") return RangeMethod::kMinMax;
  if (name == "percentile") return RangeMethod::kPercentile;
  return usage_error(fmt::format("unknown --range '{}'; choose mse, minmax or percentile", name));
}

// `structure:NAME` or `structure:NAME@DENSITY`: a well-known network with seeded random weights, quantised as it stands.
Result<ir::Graph> read_graph(const Flags& f, uint64_t seed) {
  const std::string prefix = "structure:";
  if (!f.model.starts_with(prefix)) return import_model(f.model, f.onnx);
  zoo::StructureOptions options;
  options.seed = seed;
  std::string name = f.model.substr(prefix.size());
  if (const size_t at = name.find('@'); at != std::string::npos) {
    char* end = nullptr;
    options.density = std::strtod(name.c_str() + at + 1, &end);
    if (end == name.c_str() + at + 1 || *end != 0) return usage_error(fmt::format("'{}' is no density; write structure:NAME@0.06", name.substr(at + 1)));
    name.resize(at);
  }
  return zoo::build_structure(name, options);
}

// Of a model that reads text; "" for others.
std::string vocabulary_path(const Flags& f) { return !f.vocabulary.empty() ? f.vocabulary : importers::has_tokenizer(f.model) ? f.model : ""; }

Result<ir::Graph> import_with_metadata(const Flags& f, uint64_t seed) {
  PITH_TRY(ir::Graph g, read_graph(f, seed));
  if (!f.preprocess.empty()) {
    PITH_TRY(const Preprocess p, parse_preprocess(f.preprocess));
    g.metadata["preprocess"] = format_preprocess(p);
  }
  if (!f.head.empty()) g.metadata["head"] = f.head;
  if (!f.labels.empty()) {
    PITH_TRY(g.metadata["labels"], read_text_file(f.labels));
    while (g.metadata["labels"].ends_with('\n')) g.metadata["labels"].pop_back();
  }
  if (f.cut) {
    PITH_TRY(const int outputs, cut_head(g));
    log_info(fmt::format("cut the decoding off: {} feature maps are the outputs", outputs));
  }
  if (const std::string vocabulary = vocabulary_path(f); !vocabulary.empty()) {
    PITH_TRY(const Tokenizer t, importers::read_tokenizer(vocabulary));
    PITH_TRY(g.metadata["tokenizer"], coded_tokenizer(t));
  }
  for (auto it = g.metadata.begin(); it != g.metadata.end();) {  // only what pith itself reads travels in the file
    const bool known = it->first == "preprocess" || it->first == "head" || it->first == "labels" || it->first == "license" || it->first == "tokenizer" || it->first == "positions";
    it = known ? std::next(it) : g.metadata.erase(it);
  }
  return g;
}

void add_model_flags(CLI::App* verb, Flags& f) {
  verb->add_option("model,-m,--model", f.model, "ONNX or TorchScript file, Hugging Face folder, or checkpoint of llama2.c")->required();
  verb->add_option("-o,--output", f.output, "the .pith file to write (default: beside the model)");
  verb->add_option("--preprocess", f.preprocess, "what is done to an input, as in image:rgb:640x640:letterbox=114:scale=1/255; travels in the file");
  verb->add_option("--labels", f.labels, "text file with one label per line; travels in the file");
  verb->add_option("--head", f.head, "what the outputs mean: classifier, yolov5, yolov5-raw, yolov8, yolov8-raw, yolox, ssd, ctc, tensor");
  verb->add_option("--vocabulary", f.vocabulary, "tokenizer.json, vocab.txt ... of a model that reads text (default: what lies in its folder); travels in the file");
  verb->add_flag("--cut-head", f.cut, "make the last layers with weights the outputs; decoding is left to the post-processing library");
  verb->add_option("--codec", f.codec, "smallest (mixed contexts), balanced (adaptive codes) or fastest (rANS, vectors that are looked up)")->capture_default_str();
  add_placing_flags(verb, f.placing);
  add_report_flags(verb, f.report);
  add_onnx_flags(verb, f.onnx);
}

// Beside the model: its name with another ending, a folder's name with one.
std::string output_path(const Flags& f) {
  if (!f.output.empty()) return f.output;
  std::filesystem::path path(f.model);
  if (path.filename().empty()) path = path.parent_path();
  return std::filesystem::is_directory(path) ? path.string() + ".pith" : path.replace_extension(".pith").string();
}

Result<std::vector<uint8_t>> write_model(const Program& program, const Flags& f, std::string& path, WrittenSizes* sizes) {
  path = output_path(f);
  PITH_TRY(const CodecChoice codec, codec_choice(f.codec));
  return write_program(program, codec, sizes);
}

Result<PostResult> without_retraining(ir::Graph& student, const Flags& f, Engine& original, const SampleSplit& parts, const std::vector<std::vector<ir::Tensor>>& inputs, const Preprocess& preprocess,
                                      const std::string& head, uint64_t seed, const PostFlags& flags, QuantizeOptions& options) {
  PostTarget target;
  PITH_TRY(const CodecChoice codec, codec_choice(f.codec));
  target.ratio = f.retrain.ratio, target.max_drop = f.max_drop, target.parameters = ir::parameter_count(student);
  const bool fastest = codec == CodecChoice::kFastest;  // levels gain next to nothing on paths
  target.may_be = {!fastest && !f.retrain.allocate, fastest && !f.retrain.allocate, fastest && !f.retrain.allocate};
  target.write = [&](const ir::Graph& quantized) -> Result<std::vector<uint8_t>> {
    PITH_TRY(const CompileOptions placing, compile_options(f.placing));
    PITH_TRY(Program program, compile(quantized, placing));
    program.metadata["parameters"] = std::to_string(target.parameters);
    if (preprocess.kind != InputKind::kTensor) program.metadata["preprocess"] = format_preprocess(preprocess);
    std::string path;
    return write_model(program, f, path, nullptr);
  };
  target.measure = [&](const std::vector<uint8_t>& file) -> Result<Measured> {
    PITH_TRY(const std::unique_ptr<Engine> compressed, pith_engine(file, "the file", {}));
    PITH_TRY(const Agreed a, agreement(original, *compressed, parts.held_back, preprocess, head));
    return Measured{a.cosine, a.sqnr, a.rows > 0 ? 100 - a.drop() : -1};
  };
  return post_train(student, inputs, head, seed, flags, target, options);
}

std::string head_of(const ir::Graph& g) { return g.metadata.count("head") ? g.metadata.at("head") : "tensor"; }

// Before any work: whether what --max-drop bounds can be measured at all.
Result<void> check_gate(const Flags& f, const ir::Graph& g) {
  if (f.max_drop < 0) return {};
  const std::string head = head_of(g);
  if (head != "classifier" && head != "ctc") return usage_error(fmt::format("--max-drop compares answers, and the head '{}' has none to compare; give --head classifier or ctc", head));
  const ir::Shape& first = g.value(g.outputs[0]).shape;
  if (first.empty() || first.back() < 2) return usage_error("--max-drop compares the strongest of several classes, and the first output has only one; leave it out");
  if (f.held_back == 0) return usage_error("--max-drop compares on held-back samples; let --held-back be at least 1");
  return {};
}

Result<void> compress(const Flags& f, const Global& global) {
  if (f.retrain.wanted() && !f.post.no_retrain) PITH_CHECK_OK(hand_over("--ratio and --lambda retrain"));
  if (!f.post.no_retrain && ((f.post.explain && f.post.fewer.macs <= 0 && !f.retrain.allocate) || !f.post.curves.empty()))
    return usage_error("--explain and --curve tell of what --no-retrain does (--explain of --macs and --allocate too); give it too");
  if (f.retrain.allocate && !(f.retrain.ratio > 0 && !f.post.no_retrain)) return usage_error("--allocate begins retraining towards a size; give --ratio, and --time or --steps");
  if (f.post.macro && (!(f.post.no_retrain || f.retrain.allocate) || !f.post.curves.empty() || !f.post.graph.empty() || f.post.fewer.named()))
    return usage_error("--macro chooses among networks brought to one size; give --no-retrain or --allocate, and none of --curve, --write-graph, --blocks, --channels, --low-rank, --sparse");
  const auto started = std::chrono::steady_clock::now();
  PITH_TRY(const CompileOptions placing, compile_options(f.placing));
  PITH_CHECK_OK(check_coding(f.coding, placing));
  PITH_TRY(const ir::Graph g, import_with_metadata(f, global.seed));
  if (f.post.wanted() && !is_language(g)) PITH_CHECK_OK(hand_over_for_gradients());
  const bool retrains = !f.post.no_retrain && (f.retrain.wanted() || (!is_language(g) && f.post.fewer.wanted() && f.retrain.ends()));
  if (retrains && !f.retrain.ends()) return usage_error("retraining needs an end; give --steps or --time, or --no-retrain");
  if (retrains && !f.retrain.wanted()) {
    PITH_CHECK_OK(hand_over("--time and --steps retrain"));
    if (f.bits != 8) return usage_error("without --ratio or --lambda a network of fewer operations is retrained in 8 bits; leave --bits out");
  }
  PITH_CHECK_OK(check_gate(f, g));
  QuantizeOptions options;
  options.weight_bits = f.bits;
  options.rate_weight = f.rate_weight >= 0 ? f.rate_weight : f.bits == 8 && !retrains && (is_language(g) || !f.post.wanted()) ? kRateWeight : 0;
  PITH_TRY(options.method, range_method(f.method));
  options.percentile = f.percentile;
  options.equalize = !f.no_equalize;
  options.correct_bias = !f.no_bias;
  options.integer_outputs = f.integer_outputs;
  PITH_TRY(const CodecChoice codec, codec_choice(f.codec));
  if (is_language(g)) {
    if (f.integer_outputs) return usage_error("--integer-outputs is for models that don't read text; see --integers");
    if (f.post.no_retrain || f.post.macro || f.post.fewer.macs > 0 || f.post.fewer.channels > 0 || f.post.fewer.low_rank > 0 || f.post.fewer.sparse > 0)
      return usage_error("--no-retrain, --macro, --macs, --channels, --low-rank and --sparse are for models that don't read text; give --bits-per-weight, or --ratio to retrain");
    ShrinkFlags shrink = f.shrink;
    shrink.blocks = f.post.fewer.blocks;
    if (f.coding.wanted()) return usage_error("--activation-bits and what belongs to it are for networks with 8-bit pictures inside; for what a model that continues text remembers there is --cache-bits");
    if (retrains && f.bits_per_weight > 0) return usage_error("--bits-per-weight rounds without retraining, and --ratio retrains; give one of them");
    if (shrink.sets > 0 && !retrains && f.bits_per_weight == 0) return usage_error("--share-layers holds matrices once only where they are rounded once; give --bits-per-weight, or --ratio to retrain");
    std::optional<ir::Graph> whole;
    const std::string& reads = g.metadata.at("head");
    if (reads == "generate" ? retrains || f.bits_per_weight > 0 || shrink.parts() : reads == "fill-mask" && retrains) {
      OnnxFlags flags = f.onnx;
      const int64_t positions = known_positions(g.metadata.count("positions") ? g.metadata.at("positions") : "");
      flags.dimensions.push_back(reads == "fill-mask" ? fmt::format("masks={}", kMasks) : fmt::format("whole={}", retrains ? f.retrain.window : std::min<int64_t>(kRoundedWindow, positions)));
      PITH_TRY(whole, import_model(f.model, flags));
    }
    Tokenizer tokenizer;
    if (shrink.tokens > 0) {
      PITH_TRY(tokenizer, importers::read_tokenizer(vocabulary_path(f)));
    }
    return compress_language(
        g, {f.samples, output_path(f), f.count, f.held_back, options, f.bits_per_weight, codec, f.integers, std::move(whole), placing, retrains ? f.retrain : RetrainFlags{}, shrink, std::move(tokenizer)}, global);
  }
  if (f.shrink.wanted()) return usage_error("--keep-tokens, --embedding-rank, --heads and --share-layers are for models that read text; this one has no vocabulary");
  if (f.bits_per_weight > 0) return usage_error("--bits-per-weight is for models that read text; for others --ratio retrains towards a size");
  const int64_t parameters = ir::parameter_count(g);
  std::unique_ptr<Engine> original = graph_engine(g);
  PITH_TRY(const Preprocess preprocess, choose_preprocess(*original, f.preprocess));
  PITH_TRY(const SampleSet all, SampleSet::open(f.samples));
  if (all.size() < 2) return usage_error(fmt::format("'{}' holds {} sample(s); give at least two, one calibrates and one is held back", f.samples, all.size()));
  PITH_TRY(const SampleSplit parts, split(all, f.count, f.held_back, global.seed));
  PITH_TRY(const auto inputs, calibration_inputs(*original, g, parts.calibration, preprocess));
  const std::string head = head_of(g);
  ir::Graph student = g;
  CodingChoice coding(f.coding, placing);
  const auto lowered = [&](const ir::Graph& quantized) -> Result<Program> {
    PITH_TRY(Program program, lower_graph(quantized));
    program.metadata["parameters"] = std::to_string(parameters);
    if (preprocess.kind != InputKind::kTensor) program.metadata["preprocess"] = format_preprocess(preprocess);
    return program;
  };
  PostResult post;
  if (f.post.wanted() && !retrains) {
    PITH_TRY(post, without_retraining(student, f, *original, parts, inputs, preprocess, head, global.seed, f.post, options));
  }
  if (retrains) {
    RetrainStart start;
    const bool prepared = f.retrain.allocate || f.post.fewer.wanted();
    if (prepared) {
      PostFlags flags = f.post;
      flags.no_retrain = f.retrain.allocate;
      start.graph = g;
      PITH_TRY(post, without_retraining(start.graph, f, *original, parts, inputs, preprocess, head, global.seed, flags, options));
      start.codes = post.rounded.codes;
      start.fewer = f.post.fewer.wanted() || post.fewer;
    }
    PITH_TRY(const SampleSplit whole, split(all, all.size(), f.held_back, global.seed));
    const CodedBits coded = [&](const ir::Graph& quantized) -> Result<std::map<std::string, ir::CodedRows>> {
      PITH_TRY(const Program program, lowered(quantized));
      return coding.coded(program);
    };
    PITH_TRY(const bool writes, retrain(student, whole.calibration, preprocess, head, f.retrain, global.seed, inputs, prepared ? &start : nullptr, coded, options));
    if (!writes) return {};
  }
  QuantizeReport report;
  PITH_TRY(const ir::Graph quantized, quantize(student, inputs, options, &report));
  MemoryReport memory;
  PITH_TRY(Program program, lowered(quantized));
  CompileOptions placed = placing;
  PITH_TRY(placed.coding, coding.of(program));
  if (placed.coding.lossless) program.metadata["activations"] = "lossless";
  PITH_TRY(program, place(std::move(program), placed, &memory));
  std::string path;
  WrittenSizes sizes;
  PITH_TRY(const std::vector<uint8_t> file, write_model(program, f, path, &sizes));
  PITH_TRY(const std::unique_ptr<Engine> compressed, pith_engine(file, path, {}));
  PITH_TRY(const Agreed agreed, agreement(*original, *compressed, parts.held_back, preprocess, head));
  PITH_CHECK_OK(write_file(path, file));
  PITH_CHECK_OK(write_reports(f.report, {path, program, file, sizes, &memory}));
  const double ratio = 4.0 * static_cast<double>(parameters) / static_cast<double>(file.size());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (global.json) {
    nlohmann::json body = {{"output", path}, {"bytes", file.size()}, {"parameters", parameters}, {"ratio", ratio},
                           {"bits_per_parameter", 8.0 * static_cast<double>(file.size()) / static_cast<double>(parameters)}, {"arena_bytes", memory.arena}, {"memory", memory_json(memory)}, {"coded_activations", coding_json(memory)},
                           {"calibration_samples", report.samples}, {"saturating", report.saturating}, {"seconds", seconds},
                           {"held_back", {{"samples", agreed.samples}, {"cosine", agreed.cosine}, {"sqnr_db", agreed.sqnr}, {"rows", agreed.rows}, {"same_answer", 100 - agreed.drop()}}}};
    if (f.post.explain) body["layers"] = explanation_json(post);
    if (!post.ways.empty()) body["ways"] = ways_json(post);
    print_json("compress", std::move(body));
  } else {
    fmt::print("{}: {} for {} parameters, {:.1f}x smaller than float32 ({:.2f} bits per parameter)\n", path, bytes_text(static_cast<int64_t>(file.size())), parameters, ratio,
               8.0 * static_cast<double>(file.size()) / static_cast<double>(parameters));
    fmt::print("arena {} (float32 layer by layer: {})\n", bytes_text(memory.arena), bytes_text(memory.float32_peak));
    fmt::print("on {} held-back samples: cosine {:.5f}, {:.1f} dB", agreed.samples, agreed.cosine, agreed.sqnr);
    if (agreed.rows > 0) fmt::print(", same answer {:.2f} % of {}", 100 - agreed.drop(), agreed.rows);
    fmt::print("\n");
    if (f.post.explain) fmt::print("{}", explanation(post));
  }
  if (f.max_drop >= 0 && agreed.drop() > f.max_drop)
    return error(ErrorCode::kQuality, fmt::format("'{}' answers {:.2f} % of the held-back samples differently, above --max-drop {}; use more --bits or more --samples", path, agreed.drop(), f.max_drop));
  return {};
}

}  // namespace

void add_compress(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "compress", "make a small .pith file out of a model, with unlabelled samples to calibrate on",
                            "  pith compress mobilenet.onnx --samples photos/ --preprocess image:rgb:224x224:crop:mean=127.5:scale=1/127.5 --head classifier\n"
                            "  pith compress yolov5n.onnx --samples photos.tar --cut-head --head yolov5-raw --preprocess image:rgb:640x640:letterbox=114:scale=1/255 -o yolov5n.pith");
  add_model_flags(verb, f);
  verb->add_option("--samples,--calib-path", f.samples, "folder, archive, list or array of unlabelled samples")->required();
  verb->add_option("--data-count", f.count, "calibrate on at most so many samples")->capture_default_str();
  verb->add_option("--held-back", f.held_back, "compare on at most so many other samples")->capture_default_str();
  verb->add_option("--bits", f.bits, "bits of a weight, 2 to 8")->capture_default_str();
  verb->add_option("--rate-weight", f.rate_weight, "what a bit of the file is worth: weights are rounded for fewer bits, coarser the higher; 0 takes none for it (default: 4 with 8 bits, else 0)")->check(CLI::Range(0.0, 1e4));
  verb->add_flag("--integers", f.integers, "models that read text: 8-bit activations; products, attention and normalisations run in integers (default: floats between coded weights)");
  verb->add_option("--bits-per-weight", f.bits_per_weight, "models that read text: mean length of a weight's code; weights are rounded layer after layer, each for what its inputs are by then")->check(CLI::Range(0.2, 8.0));
  verb->add_option("--range", f.method, "how activation ranges are chosen: mse, minmax, percentile")->capture_default_str();
  verb->add_option("--percentile", f.percentile, "for --range percentile")->capture_default_str();
  verb->add_option("--max-drop", f.max_drop, "fail with exit code 5 when more than so many percent of the answers differ");
  add_shrink_flags(verb, f.shrink);
  add_coding_flags(verb, f.coding);
  add_retrain_flags(verb, f.retrain);
  add_post_flags(verb, f.post);
  verb->add_flag("--no-equalize", f.no_equalize, "leave the channels' ranges as they are");
  verb->add_flag("--integer-outputs", f.integer_outputs, "outputs of products leave as 8-bit integers, a quarter of the memory (without: only those of more than 4096 values)");
  verb->add_flag("--no-bias-correction", f.no_bias, "leave the mean error of rounded weights");
  verb->callback([&global = c.global, &action = c.action] { action = [&global] { return compress(f, global); }; });
}

void add_compile(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "compile", "make a .pith file that computes in float, without calibration, or place one that is there in memory again",
                            "  pith compile model.onnx -o model.pith\n  pith compile model.pith --ram least --rows -o small.pith --report memory.html");
  add_model_flags(verb, f);
  static CodingFlags coding;
  add_coding_flags(verb, coding);
  verb->callback([&global = c.global, &action = c.action] {
    action = [&global]() -> Result<void> {
      PITH_TRY(CompileOptions placing, compile_options(f.placing));
      Program source;
      if (f.model.ends_with(".pith")) {
        if (f.output.empty()) return usage_error(fmt::format("'{}' would be written over; give --output", f.model));
        PITH_TRY(source, read_placed(f.model));
      } else {
        PITH_TRY(const ir::Graph g, import_with_metadata(f, global.seed));
        PITH_TRY(source, lower_graph(g));
        source.metadata["parameters"] = std::to_string(ir::parameter_count(g));
      }
      PITH_TRY(placing.coding, choose_coding(coding, source, placing));
      if (placing.coding.wanted()) source.metadata.erase("activations");
      if (placing.coding.lossless) source.metadata["activations"] = "lossless";
      PITH_CHECK_OK(learn_key_levels(source, {}, global.seed, placing));
      MemoryReport memory;
      PITH_TRY(const Program program, place(std::move(source), placing, &memory));
      std::string path;
      WrittenSizes sizes;
      PITH_TRY(const std::vector<uint8_t> file, write_model(program, f, path, &sizes));
      PITH_CHECK_OK(write_file(path, file));
      PITH_CHECK_OK(write_reports(f.report, {path, program, file, sizes, &memory}));
      if (global.json) {
        print_json("compile", {{"output", path}, {"bytes", file.size()}, {"arena_bytes", memory.arena}, {"memory", memory_json(memory)}, {"coded_activations", coding_json(memory)}});
      } else {
        fmt::print("{}: {}, arena {}\n", path, bytes_text(static_cast<int64_t>(file.size())), bytes_text(memory.arena));
        print_moves(memory);
      }
      return {};
    };
  });
}

}  // namespace pith::cli
