// See activation_coding.h.
#include "cli/activation_coding.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <map>

#include "base/allocate.h"
#include "base/log.h"
#include "cli/engine.h"
#include "cli/row_lifting.h"
#include "compile/code_rows.h"

namespace pith::cli {
namespace {

constexpr std::array<double, 9> kRates = {8, 6, 5, 4, 3.2, 2.6, 2.1, 1.7, 1.4};  // 8: as it is

using Outputs = std::vector<std::vector<Output>>;  // by sample

// A program that codes some tensors, run on the samples.
Result<Outputs> run_on(const Program& program, const std::vector<std::vector<Array>>& inputs) {
  Program placed = program;
  PITH_CHECK_OK(plan_arena(placed, {}, nullptr));
  PITH_TRY(const std::vector<uint8_t> file, write_program(placed, CodecChoice::kFastest));
  PITH_TRY(const std::unique_ptr<Engine> engine, pith_engine(file, "the network", {}));
  Outputs all;
  for (const std::vector<Array>& sample : inputs) {
    engine->reset();
    PITH_TRY(std::vector<Output> outputs, engine->run(sample));
    all.push_back(std::move(outputs));
  }
  return all;
}

// Squared error over squared deviation from each output's mean, averaged over samples and outputs.
double relative_error(const Outputs& expected, const Outputs& got) {
  double sum = 0;
  size_t count = 0;
  for (size_t s = 0; s < expected.size(); ++s) {
    for (size_t k = 0; k < expected[s].size(); ++k) {
      const std::vector<float>&e = expected[s][k].values, &g = got[s][k].values;
      double mean = 0, power = 0, error = 0;
      for (float v : e) mean += v;
      mean /= static_cast<double>(std::max<size_t>(e.size(), 1));
      for (size_t i = 0; i < e.size(); ++i) {
        power += (e[i] - mean) * (e[i] - mean);
        error += (double{e[i]} - g[i]) * (double{e[i]} - g[i]);
      }
      if (power > 0) sum += error / power;
      ++count;
    }
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

Result<std::vector<std::vector<Array>>> read_samples(const std::string& path, size_t count, const Program& program) {
  Program placed = program;
  PITH_CHECK_OK(plan_arena(placed, {}, nullptr));
  PITH_TRY(const std::vector<uint8_t> file, write_program(placed, CodecChoice::kFastest));
  PITH_TRY(const std::unique_ptr<Engine> engine, pith_engine(file, "the network", {}));
  PITH_TRY(const Preprocess preprocess, choose_preprocess(*engine, ""));
  SampleOptions options;
  options.count = count;
  options.shuffle = 1;
  PITH_TRY(const SampleSet set, SampleSet::open(path, options));
  std::vector<std::vector<Array>> all;
  for (size_t i = 0; i < set.size(); ++i) {
    PITH_TRY(const Sample sample, set.read(i));
    PITH_TRY(std::vector<Array> inputs, prepare_inputs(*engine, preprocess, sample, nullptr));
    all.push_back(std::move(inputs));
  }
  return all;
}

// Rows of these tensors as samples make them.
Result<std::vector<SampledRows>> sampled_rows(const Program& program, const std::vector<int32_t>& tensors, const std::string& path, size_t count) {
  PITH_TRY(const auto inputs, read_samples(path, count, program));
  Program open = program;
  for (int32_t id : tensors) open.outputs.push_back({"", id, {0, 1, 2, 3}});
  PITH_TRY(const Outputs outputs, run_on(open, inputs));
  std::vector<SampledRows> all;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const ProgramTensor& t = program.tensors[static_cast<size_t>(tensors[i])];
    SampledRows rows{t.dims[2], t.dims[3], t.dims[1], t.affine.zero_point, {}};
    for (const std::vector<Output>& sample : outputs)
      for (float v : sample[program.outputs.size() + i].values) rows.values.push_back(numerics::quantize_u8(double{v}, t.affine));
    all.push_back(std::move(rows));
  }
  return all;
}

// Bytes of rows that hold all that the samples have in them.
int32_t lossless_bytes(const SampledRows& rows, const std::vector<uint8_t>& lifting) {
  constexpr int64_t kMargin = 16;  // a part of so many more
  const int64_t most = most_bits(rows, lifting), row = 1 + (most + most / kMargin + 7) / 8;
  return static_cast<int32_t>((row + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT);
}

// Bytes of each tensor's rows without loss, and what their channels look at where that makes them fewer. `shown`: rows that say
// which go together, or none.
void choose_lossless(const std::vector<int32_t>& tensors, const std::vector<SampledRows>& sampled, const std::vector<SampledRows>& shown, ActivationCoding& coding) {
  Progress bar("looking at what each activation holds", tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i, bar.step()) {
    const SampledRows& rows = sampled[i];
    const int32_t plain = coding.row_bytes_of[tensors[i]] = lossless_bytes(rows, {});
    if (shown.empty()) continue;
    const std::vector<uint8_t> fitted = fit_lifting(shown[i], shown[i].count() / 2, 0);  // the others say, too, how many bytes it needs
    const int32_t bytes = fitted.empty() ? plain : lossless_bytes(rows, fitted);
    if (int64_t{plain - bytes} * rows.height <= static_cast<int64_t>(fitted.size())) continue;  // the lifting waits in memory, too
    coding.lifting_of[tensors[i]] = fitted;
    coding.lifted_row_bytes_of[tensors[i]] = bytes;
  }
}

// What channels look at where that makes a tensor's error smaller in the same bytes: fitted on half of the samples, judged on the rest.
void choose_liftings(const Program& program, const std::vector<int32_t>& tensors, const std::vector<SampledRows>& shown, ActivationCoding& coding) {
  constexpr double kWorth = 0.02;  // of the error
  Progress bar("looking at which channels go together", tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i, bar.step()) {
    const SampledRows& rows = shown[i];
    const int32_t bytes = wanted_form(program, tensors[i], coding).row_bytes;
    const size_t half = rows.count() / 2;
    if (bytes == 0 || half == 0) continue;
    const std::vector<uint8_t> fitted = fit_lifting(rows, half, bytes);
    if (fitted.empty()) continue;
    const double plain = squared_error(rows, half, bytes, {}), error = squared_error(rows, half, bytes, fitted);
    if (error < (1 - kWorth) * plain) coding.lifting_of[tensors[i]] = fitted;
  }
}

// For each codable tensor an option for each rate: bytes, and the error that it alone makes.
Result<std::vector<Unit>> measure(const Program& program, const std::vector<int32_t>& tensors, const CodingFlags& f) {
  PITH_TRY(const auto inputs, read_samples(f.samples, f.count, program));
  PITH_TRY(const Outputs exact, run_on(program, inputs));
  std::vector<Unit> units;
  Progress bar("measuring what each activation bears", tensors.size());
  for (int32_t id : tensors) {
    const ProgramTensor& t = program.tensors[static_cast<size_t>(id)];
    Unit unit{t.name, {}};
    double least = 0;
    for (double rate : kRates) {
      const int32_t row = coded_row_bytes(t, rate);
      Option option;
      option.spent.bytes = static_cast<double>(row) * t.dims[1];
      if (rate < 8) {
        PITH_TRY(const Outputs coded, run_on(code_rows(program, {{id, row}}), inputs));
        least = std::max(least, relative_error(exact, coded));  // fewer bits are never taken to be better
        option.loss = least;
      }
      unit.options.push_back(option);
    }
    units.push_back(std::move(unit));
    bar.step();
  }
  return units;
}

// Bits where they count: as many on the average, or as few, as the flags say.
Result<void> choose_rates(const Program& program, const std::vector<int32_t>& tensors, const CodingFlags& f, ActivationCoding& coding) {
  PITH_TRY(const std::vector<Unit> units, measure(program, tensors, f));
  Allocation chosen;
  if (f.error > 0) {
    for (const Allocation& a : rate_distortion_curve(units))
      if (a.loss <= f.error || chosen.option.empty()) chosen = a;
  } else {
    double whole = 0;
    for (const Unit& u : units) whole += u.options[0].spent.bytes;
    PITH_TRY(chosen, allocate(units, {.bytes = whole * coding.bits / 8}));
  }
  for (size_t i = 0; i < tensors.size(); ++i) coding.bits_of[tensors[i]] = kRates[chosen.option[i]];
  return {};
}

}  // namespace

void add_coding_flags(CLI::App* verb, CodingFlags& f) {
  verb->add_option("--activation-bits", f.bits, "activations that wait may be stored in coded form, in so many bits a value (with --activation-samples on the average); at 6 hardly anything is lost, at 4 little; lossless: nothing, for all that --activation-samples have in them")
      ->check(CLI::Range(1.0, 8.0) | CLI::IsMember({"lossless"}));
  verb->add_option("--activation-samples", f.samples, "measure on these samples which activations bear fewer bits");
  verb->add_option("--activation-count", f.count, "at most so many of them")->capture_default_str();
  verb->add_option("--activation-error", f.error, "instead of --activation-bits: as few bits as keep the outputs' relative squared error (summed over tensors) under this")->check(CLI::Range(0.0, 1.0));
  verb->add_option("--activation-lifting", f.lifting, "let channels of coded activations look at each other, as these samples show, where that makes rows smaller (lossless) or the same bytes hold more; takes several times as long to code and decode");
  verb->add_flag("--code-all", f.all, "send all 8-bit pictures between operators through the codec, whether that saves memory or not: to see what it costs");
}

Result<void> check_coding(const CodingFlags& f, const CompileOptions& placing) {
  if (!f.wanted()) return {};
  if (f.bits.empty() && f.error == 0) return usage_error("--code-all, --activation-samples and --activation-lifting need --activation-bits or --activation-error");
  if (!f.bits.empty() && f.error > 0) return usage_error("--activation-bits and --activation-error exclude each other");
  if (f.error > 0 && f.samples.empty()) return usage_error("--activation-error needs samples to measure it on; give --activation-samples");
  if (!f.all && placing.ram == 0 && !placing.least) return usage_error("activations are coded where memory is short; give --ram, or --code-all");
  if (f.bits == "lossless" && f.samples.empty()) return usage_error("--activation-bits lossless needs samples to see how much its rows hold; give --activation-samples");
  return {};
}

Result<ActivationCoding> choose_coding(const CodingFlags& f, const Program& program, const CompileOptions& placing) {
  ActivationCoding coding;
  PITH_CHECK_OK(check_coding(f, placing));
  if (!f.wanted()) return coding;
  coding.all = f.all;
  coding.lossless = f.bits == "lossless";
  coding.bits = coding.lossless || f.bits.empty() ? 8 : std::stod(f.bits);
  if (f.samples.empty() && f.lifting.empty()) return coding;
  const std::vector<int32_t> tensors = codable_tensors(program);
  if (tensors.empty()) return usage_error("the network has no 8-bit pictures that could be coded; compress it first");
  std::vector<SampledRows> shown;
  if (!f.lifting.empty()) {
    PITH_TRY(shown, sampled_rows(program, tensors, f.lifting, f.count));
  }
  if (coding.lossless) {
    std::vector<SampledRows> others;
    if (f.samples != f.lifting) {
      PITH_TRY(others, sampled_rows(program, tensors, f.samples, f.count));
    }
    choose_lossless(tensors, f.samples == f.lifting ? shown : others, shown, coding);
    return coding;
  }
  if (!f.samples.empty()) PITH_CHECK_OK(choose_rates(program, tensors, f, coding));
  if (!shown.empty()) choose_liftings(program, tensors, shown, coding);
  return coding;
}

Result<ActivationCoding> CodingChoice::of(const Program& program) {
  if (!first_) {
    PITH_TRY(first_, choose_coding(flags_, program, placing_));
    for (const int32_t id : codable_tensors(program)) rows_[program.tensors[static_cast<size_t>(id)].name].bits = first_->bits;
    for (const auto& [id, bits] : first_->bits_of) rows_[program.tensors[static_cast<size_t>(id)].name].bits = bits;
    for (const auto& [id, lifting] : first_->lifting_of) rows_[program.tensors[static_cast<size_t>(id)].name].lifting = lifting;
    return *first_;
  }
  if (first_->lossless) return choose_coding(flags_, program, placing_);  // its rows hold what this network's values need
  ActivationCoding coding = *first_;
  coding.bits_of.clear(), coding.lifting_of.clear();
  for (int32_t id : codable_tensors(program)) {
    const ProgramTensor& t = program.tensors[static_cast<size_t>(id)];
    const auto at = rows_.find(t.name);
    if (at == rows_.end()) continue;
    coding.bits_of[id] = at->second.bits;
    if (static_cast<int32_t>(at->second.lifting.size()) == 3 * t.dims[3]) coding.lifting_of[id] = at->second.lifting;
  }
  return coding;
}

Result<std::map<std::string, ir::CodedRows>> CodingChoice::coded(const Program& program) {
  std::map<std::string, ir::CodedRows> rows;
  if (!flags_.wanted() || flags_.bits == "lossless") return rows;
  CompileOptions placing = placing_;
  PITH_TRY(placing.coding, of(program));
  MemoryReport memory;
  memory.coded = describe_coded(program, placing.coding.all ? all_coded(program, placing.coding) : std::vector<CodedTensor>{});
  if (!placing.coding.all) PITH_CHECK_OK(place(program, placing, &memory));
  for (const CodedActivation& c : memory.coded) rows[c.name] = {8.0 * static_cast<double>(c.bytes) / static_cast<double>(c.values), c.lifting};
  return rows;
}

nlohmann::json coding_json(const MemoryReport& m) {
  nlohmann::json tensors = nlohmann::json::array();
  int64_t values = 0, bytes = 0;
  for (const CodedActivation& c : m.coded) {
    tensors.push_back({{"name", c.name}, {"values", c.values}, {"bytes", c.bytes}, {"lifted", !c.lifting.empty()}});
    values += c.values, bytes += c.bytes;
  }
  return {{"tensors", tensors}, {"values", values}, {"bytes", bytes}};
}

}  // namespace pith::cli
