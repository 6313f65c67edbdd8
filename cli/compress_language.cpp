// See compress_language.h. The network is first made smaller (shrink_language.h); what is left is rounded or retrained, towards the
// original with the same tokens. What is measured is measured against the original as it came (compare_language.h).
#include "cli/compress_language.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "cli/compare_language.h"
#include "cli/key_levels.h"
#include "cli/language.h"
#include "compile/compile.h"
#include "ir/interpret.h"
#include "micro/layerwise.h"
#include "micro/smooth.h"

namespace pith::cli {
namespace {

constexpr size_t kMostStateBytes = size_t{1} << 30;  // of decoder steps that calibrate: each carries the whole cache
constexpr size_t kMostStates = 2048;
constexpr size_t kPartLines = 128;       // at most, on which leaving parts out is measured
constexpr size_t kCountedLines = 50000;  // of which words are counted

using Inputs = std::vector<std::vector<ir::Tensor>>;

ir::Tensor tensor_of(const ir::Value& v, const Array& a) {
  ir::Tensor t(v.dtype, v.shape);
  const std::vector<int64_t> x = to_integers(a);
  for (size_t i = 0; i < x.size(); ++i) t.set(static_cast<int64_t>(i), static_cast<double>(x[i]));
  return t;
}

bool is_state(const ir::Graph& g, ir::ValueId id) {
  return std::any_of(g.state.begin(), g.state.end(), [&](const auto& s) { return s.first == id; });
}

Result<Inputs> encoder_inputs(const ir::Graph& g, const Language& model, const std::vector<std::string>& lines, Random& random) {
  Inputs all;
  for (const std::string& line : lines) {
    int64_t masked = -1;
    if (model.head() == "fill-mask") {
      PITH_TRY(const std::vector<int64_t> places, model.maskable(line));
      if (places.empty()) continue;
      masked = places[static_cast<size_t>(random.integer(0, static_cast<int64_t>(places.size()) - 1))];
    }
    PITH_TRY(const std::vector<Array> arrays, model.inputs(line, masked));
    std::vector<ir::Tensor> tensors;
    for (size_t i = 0; i < arrays.size(); ++i) tensors.push_back(tensor_of(g.value(g.inputs[i]), arrays[i]));
    all.push_back(std::move(tensors));
  }
  return all;
}

// Steps of a decoder with the states that the float network had before them, spread over the lines.
Result<Inputs> decoder_inputs(const ir::Graph& g, const Language& model, const std::vector<std::string>& lines, size_t count) {
  Inputs all;
  size_t state_bytes = 1;
  for (const auto& [in, out] : g.state) state_bytes += static_cast<size_t>(ir::element_count(g.value(in).shape)) * 4;
  const size_t most = std::min({count, kMostStates, kMostStateBytes / state_bytes + 1}), per_line = std::max<size_t>(1, most / std::max<size_t>(1, lines.size()));
  for (const std::string& line : lines) {
    if (all.size() >= most) break;
    PITH_TRY(const std::vector<pith_text_token> tokens, model.vocabulary().encode(line, true));
    const size_t steps = static_cast<size_t>(std::min({static_cast<int64_t>(tokens.size()), kScoreTokens, model.length()})), stride = std::max<size_t>(1, steps / per_line);
    std::map<ir::ValueId, ir::Tensor> states;
    for (size_t i = 0; i < steps; ++i) {
      const std::vector<Array> arrays = model.step(tokens[i].id, static_cast<int64_t>(i));
      std::vector<ir::Tensor> tensors;
      size_t next = 0;
      for (ir::ValueId id : g.inputs) {
        if (!is_state(g, id)) tensors.push_back(tensor_of(g.value(id), arrays[next++]));
        else tensors.push_back(states.count(id) ? states[id] : ir::Tensor(g.value(id).dtype, g.value(id).shape));
      }
      PITH_TRY(const std::vector<ir::Tensor> results, ir::interpret(g, tensors));
      for (const auto& [in, out] : g.state) {
        for (size_t k = 0; k < g.outputs.size(); ++k) {
          if (g.outputs[k] == out) states[in] = results[k];
        }
      }
      if (i % stride == stride - 1 || i + 1 == steps) all.push_back(std::move(tensors));
    }
  }
  return all;
}

// The tokens of lines, each as far as a held-back line is read.
Result<std::vector<std::vector<int32_t>>> beginnings(const Language& model, const std::vector<std::string>& lines) {
  std::vector<std::vector<int32_t>> texts;
  for (const std::string& line : lines) {
    PITH_TRY(const std::vector<pith_text_token> tokens, model.vocabulary().encode(line, true));
    std::vector<int32_t> ids;
    for (const pith_text_token& t : tokens) ids.push_back(t.id);
    ids.resize(static_cast<size_t>(std::min({static_cast<int64_t>(ids.size()), kScoreTokens, model.length()})));
    texts.push_back(std::move(ids));
  }
  return texts;
}

// As many tokens as fit at once, lines one after the other.
Result<Inputs> whole_inputs(const ir::Graph& g, const Language& model, const std::vector<std::string>& lines, size_t count) {
  const ir::Value& tokens = g.value(g.inputs[0]);
  const size_t length = static_cast<size_t>(ir::element_count(tokens.shape));
  Inputs all;
  std::vector<int32_t> row;
  for (const std::string& line : lines) {
    PITH_TRY(const std::vector<pith_text_token> ids, model.vocabulary().encode(line, true));
    for (const pith_text_token& t : ids) {
      row.push_back(t.id);
      if (row.size() < length) continue;
      ir::Tensor t_row(tokens.dtype, tokens.shape);
      for (size_t i = 0; i < length; ++i) t_row.set(static_cast<int64_t>(i), row[i]);
      all.push_back({std::move(t_row)});
      row.clear();
      if (all.size() == count) return all;
    }
  }
  if (all.empty()) return usage_error(fmt::format("the lines hold fewer than {} tokens, too few to calibrate on", length));
  return all;
}

// Weights rounded layer after layer; words count by how often the lines have them.
Result<void> round_language(ir::Graph& student, const std::optional<ir::Graph>& whole, const LanguageCompression& f, double bits_per_weight, const Language& model, const Inputs& steps, const std::vector<std::string>& lines,
                            uint64_t seed, QuantizeOptions& options) {
  const bool decoder = whole && model.head() == "generate";  // rounded in its form without state
  ir::Graph g = decoder ? *whole : student;
  PITH_CHECK_OK(ir::canonicalize(g));
  PITH_CHECK_OK(ir::canonicalize(student));
  if (f.integers && !decoder) {
    PITH_CHECK_OK(smooth(student, steps));
    g = student;
  }
  PITH_TRY(const Inputs inputs, decoder ? whole_inputs(g, model, lines, f.count) : Result<Inputs>(steps));
  LayerwiseOptions how;
  how.bits_per_weight = bits_per_weight;
  how.logits = model.head() != "embedding";
  how.may_be = {f.codec != CodecChoice::kFastest && !f.retrain.wanted(), f.codec == CodecChoice::kFastest && !f.retrain.wanted()};  // retraining goes by even steps
  how.seed = seed;
  for (ir::ValueId id : g.inputs) {
    if (g.value(id).name == "attention_mask") how.row_mask = id;
  }
  for (const std::string& line : lines) {
    PITH_TRY(const std::vector<pith_text_token> tokens, model.vocabulary().encode(line, true));
    for (const pith_text_token& t : tokens) {
      if (t.id >= static_cast<int32_t>(how.row_counts.size())) how.row_counts.resize(static_cast<size_t>(t.id) + 1, 0.0);
      how.row_counts[static_cast<size_t>(t.id)] += 1;
    }
  }
  for (const ir::Node& n : g.nodes) {
    if (is_embedding(g, n)) how.row_counts.resize(static_cast<size_t>(std::max<int64_t>(g.value(n.inputs[0]).shape[0], static_cast<int64_t>(how.row_counts.size()))), 0.0);
  }
  PITH_TRY(Layerwise rounded, round_layerwise(g, inputs, how));
  for (ir::Value& v : student.values) {  // the same constants, by name
    for (const ir::Value& r : rounded.graph.values) {
      if (v.constant && r.constant && !v.name.empty() && v.name == r.name && v.shape == r.shape) v.constant = r.constant;
    }
  }
  if (!decoder) student = std::move(rounded.graph);
  options.weight_codes = std::move(rounded.weight_codes);
  options.equalize = false;
  log_info(fmt::format("{:.0f} weights in {:.3f} bits each", rounded.weights, rounded.bits / std::max(rounded.weights, 1.0)));
  return {};
}

// Bits that each weight of products and embeddings may take in a file of `target` bytes, beside the vocabulary and 8-bit parameters.
double first_bits(const ir::Graph& g, double target) {
  constexpr double kStructure = 1500, kLeast = 0.5, kMost = 8;
  const auto parameters = static_cast<double>(ir::parameter_count(g));
  std::set<ir::ValueId> weights;
  for (const ir::Node& n : g.nodes) {
    if (is_embedding(g, n)) weights.insert(n.inputs[0]);
    if (is_weighted(g, n)) weights.insert(n.inputs[1]);
  }
  double count = 0;
  for (ir::ValueId id : weights) count += static_cast<double>(g.value(id).constant->count());
  const double bytes = target - static_cast<double>(g.metadata.at("tokenizer").size()) - (parameters - count) - kStructure;
  return std::clamp(8 * bytes / std::max(count, 1.0), kLeast, kMost);
}

// Lines in their order, less those held back.
std::vector<std::string> without(const std::vector<std::string>& lines, const std::vector<std::string>& held) {
  const std::set<std::string> gone(held.begin(), held.end());
  std::vector<std::string> rest;
  std::copy_if(lines.begin(), lines.end(), std::back_inserter(rest), [&](const std::string& line) { return gone.count(line) == 0; });
  return rest;
}

}  // namespace

bool is_language(const ir::Graph& g) { return g.metadata.count("tokenizer") != 0 && g.metadata.count("head") != 0 && is_language_head(g.metadata.at("head")); }

Result<void> compress_language(const ir::Graph& g, const LanguageCompression& f, const Global& global) {
  const auto started = std::chrono::steady_clock::now();
  PITH_TRY(const Vocabulary vocabulary, Vocabulary::load(g.metadata.at("tokenizer")));
  PITH_TRY(const std::vector<std::string> all, text_lines(f.samples));
  if (all.size() < 2) return usage_error(fmt::format("'{}' holds {} line(s) of text; give at least two, one calibrates and one is held back", f.samples, all.size()));
  Random random(global.seed);
  std::vector<std::string> lines = all;
  for (size_t i = lines.size() - 1; i > 0; --i) std::swap(lines[i], lines[static_cast<size_t>(random.integer(0, static_cast<int64_t>(i)))]);
  const size_t held = std::min(f.held_back, lines.size() / 2), used = std::min(f.count, lines.size() - held);
  const std::vector<std::string> kept(lines.begin(), lines.begin() + static_cast<int64_t>(held)), calibration(lines.begin() + static_cast<int64_t>(held), lines.begin() + static_cast<int64_t>(held + used));
  const std::unique_ptr<Engine> original = graph_engine(g);
  PITH_TRY(const Language model, Language::open(*original, vocabulary));
  const std::vector<std::string> read = without(all, kept);
  const double original_bytes = 4.0 * static_cast<double>(ir::parameter_count(g)), target = f.retrain.ratio > 0 ? original_bytes / f.retrain.ratio : 0;
  nlohmann::json moves = nlohmann::json::array();
  TextForms teacher{g, f.whole};
  PITH_TRY(const std::vector<uint32_t> tokens, leave_out_tokens(teacher, f.tokenizer, vocabulary, read, f.shrink, moves));
  PITH_TRY(const Vocabulary own_vocabulary, Vocabulary::load(teacher.used.metadata.at("tokenizer")));
  const std::unique_ptr<Engine> same_tokens = graph_engine(teacher.used);
  PITH_TRY(const Language reader, Language::open(*same_tokens, own_vocabulary));
  TextForms smaller = teacher;
  if (f.shrink.parts()) {
    const std::vector<std::string> few(calibration.begin(), calibration.begin() + static_cast<int64_t>(std::min(kPartLines, calibration.size())));
    PITH_TRY(const Inputs samples, smaller.on_whole(reader.head()) ? whole_inputs(*smaller.whole, reader, calibration, kPartLines) : encoder_inputs(smaller.used, reader, few, random));
    PITH_TRY(const std::vector<double> counts, count_tokens(own_vocabulary, read));
    PITH_CHECK_OK(leave_out_parts(smaller, reader.head(), counts, samples, f.shrink, moves));
  }
  PITH_TRY(Inputs inputs, reader.head() == "generate" ? decoder_inputs(smaller.used, reader, calibration, f.count) : encoder_inputs(smaller.used, reader, calibration, random));
  QuantizeReport report;
  ir::Graph student = smaller.used;
  QuantizeOptions options = f.options;
  options.code_parameters = true;
  options.float_activations = !f.integers;
  const double bits_per_weight = f.bits_per_weight > 0 ? f.bits_per_weight : f.retrain.first_step > 0 || f.retrain.ratio <= 0 ? 0 : first_bits(student, target);
  if (bits_per_weight > 0) {  // retraining goes on from there
    const size_t text_used = std::min(lines.size() - held, kCountedLines);
    const std::vector<std::string> counted(lines.begin() + static_cast<int64_t>(held), lines.begin() + static_cast<int64_t>(held + text_used));
    PITH_CHECK_OK(round_language(student, smaller.whole, f, bits_per_weight, reader, inputs, counted, global.seed, options));
  }
  if (f.retrain.wanted()) {
    const Inputs one(inputs.begin(), inputs.begin() + 1);
    const auto bytes_of = [&](const ir::Graph& now, const QuantizeOptions& how) -> Result<size_t> {
      PITH_TRY(const ir::Graph quantized, quantize(now, one, how));
      PITH_TRY(Program program, compile(quantized, {}));
      PITH_TRY(const std::vector<uint8_t> file, write_program(program, f.codec, nullptr));
      return file.size();
    };
    PITH_TRY(const bool writes, retrain_text(student, {teacher.whole ? *teacher.whole : teacher.used, smaller.whole ? *smaller.whole : smaller.used, reader, read, original_bytes, bytes_of}, f.retrain, global.seed, options));
    if (!writes) return {};
  }
  PITH_TRY(const ir::Graph quantized, quantize(student, inputs, options, &report));
  MemoryReport memory;
  PITH_TRY(Program program, lower_graph(quantized));
  CompileOptions placing = f.placing;
  PITH_TRY(const auto texts, placing.cache_bits == 4 ? beginnings(reader, calibration) : std::vector<std::vector<int32_t>>());
  PITH_CHECK_OK(learn_key_levels(program, texts, global.seed, placing));
  PITH_TRY(program, place(std::move(program), placing, &memory));
  const int64_t parameters = ir::parameter_count(g);
  program.metadata["parameters"] = std::to_string(parameters);
  WrittenSizes sizes;
  PITH_TRY(const std::vector<uint8_t> file, write_program(program, f.codec, &sizes));
  PITH_TRY(const std::unique_ptr<Engine> compressed, pith_engine(file, f.output, {}));
  PITH_TRY(const Language small, Language::open(*compressed, own_vocabulary));
  PITH_TRY(const nlohmann::json quality, compare_language(model, small, tokens, kept, random));
  PITH_CHECK_OK(write_file(f.output, file));
  const double ratio = original_bytes / static_cast<double>(file.size()), seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (global.json) {
    print_json("compress", {{"output", f.output}, {"bytes", file.size()}, {"vocabulary_bytes", sizes.metadata}, {"parameters", parameters}, {"ratio", ratio}, {"arena_bytes", memory.arena},
                            {"calibration_samples", report.samples}, {"saturating", report.saturating}, {"moves", moves}, {"seconds", seconds}, {"held_back", quality}});
    return {};
  }
  fmt::print("{}: {} for {} parameters, {:.1f}x smaller than float32; the vocabulary is {} of it\n", f.output, bytes_text(static_cast<int64_t>(file.size())), parameters, ratio, bytes_text(sizes.metadata));
  fmt::print("arena {} (float32 layer by layer: {})\non held-back lines:", bytes_text(memory.arena), bytes_text(memory.float32_peak));
  for (const auto& [name, figure] : quality.items()) fmt::print(" {} {}", name, figure.is_number_float() ? fmt::format("{:.5f}", figure.get<double>()) : figure.dump());
  fmt::print("\n");
  return {};
}

}  // namespace pith::cli
