// `pith info`: what a file holds and what it will need, before anything runs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <numeric>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/engine.h"
#include "cli/report.h"
#include "compile/code_cache.h"
#include "compile/compile.h"
#include "compile/memory_picture.h"
#include "compile/post_place.h"
#include "pith/pith.h"
#include "program/program.h"
#include "program/schema.h"

namespace pith::cli {
namespace {

std::string model, svg;
bool as_text = false, timed = false;
ReportFlags reports;

// What a way to hold weights takes; together with the file where weights stay coded in it.
struct Mode {
  std::string name, meaning;
  pith_sizes sizes{};
  size_t file = 0;
  double milliseconds = 0;  // measured on zeros, one thread; 0: not asked for
  size_t together() const { return sizes.model_bytes + sizes.instance_bytes + file; }
};

Result<std::vector<Mode>> probe(const std::vector<uint8_t>& file) {
  std::vector<Mode> modes;
  for (const auto& [mode, name, meaning] : {std::tuple(PITH_MODE_SMALLEST, "smallest", "weights stay coded in the file"), std::tuple(PITH_MODE_BALANCED, "balanced", "those that several operators use are decoded at load"),
                                            std::tuple(PITH_MODE_FASTEST, "fastest", "all are decoded at load")}) {
    Mode m{name, meaning, {}, mode == PITH_MODE_FASTEST ? 0 : file.size(), 0};
    if (const pith_status s = pith_probe(file.data(), file.size(), mode, 1, &m.sizes); s != PITH_OK)
      return usage_error(fmt::format("'{}': {}: {}", model, pith_status_text(s), pith_last_error().reason));
    if (timed) {
      PITH_TRY(const std::unique_ptr<Engine> engine, pith_engine(file, model, {.memory = name}));
      PITH_TRY(const std::vector<double> seconds, engine->operator_seconds(3));
      m.milliseconds = 1e3 * std::accumulate(seconds.begin(), seconds.end(), 0.0);
    }
    modes.push_back(std::move(m));
  }
  return modes;
}

std::vector<int32_t> output_dims(const Program& p, const ProgramOp& op) {
  return op.outputs.empty() || op.outputs[0] == kNone ? std::vector<int32_t>{} : p.tensors[static_cast<size_t>(op.outputs[0])].dims;
}

std::vector<std::string> port_names(const std::vector<ProgramPort>& ports) {
  std::vector<std::string> names;
  for (const ProgramPort& port : ports) names.push_back(port.name);
  return names;
}

std::string picture(const Program& p) {
  std::vector<PictureBuffer> buffers;
  for (const StorageInterval& s : storage_intervals(p)) {
    PictureKind kind = PictureKind::kActivation;
    if (s.kind == "input") kind = PictureKind::kInput;
    if (s.kind == "output") kind = PictureKind::kOutput;
    if (s.kind == "state") kind = PictureKind::kState;
    if (s.kind == "scratch") kind = PictureKind::kScratch;
    const std::string name = !s.name.empty() ? s.name : fmt::format("t{}", s.tensor);
    buffers.push_back({.name = name, .lower = s.first, .upper = s.last + 1, .size = s.bytes, .offset = s.offset, .kind = kind});
  }
  PictureOptions options;
  options.title = fmt::format("{}: memory over time", model);
  for (const ProgramOp& op : p.ops) options.steps.push_back(format::kOpcodeNames[op.opcode]);
  return memory_svg(buffers, options);
}

Result<void> info(const Global& global) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(model));
  WrittenSizes sizes;
  PITH_TRY(const Program p, read_program(file, &sizes));
  PITH_TRY(const std::vector<Mode> modes, probe(file));
  if (!svg.empty()) PITH_CHECK_OK(write_file(svg, picture(p)));
  PITH_CHECK_OK(write_reports(reports, {model, p, file, sizes}));
  if (as_text) {
    fmt::print("{}", to_text(p));
    return {};
  }
  const std::vector<int64_t> coded = coded_bytes(p, sizes);
  int64_t macs = 0;
  for (const ProgramOp& op : p.ops) macs += executed_macs(p, op);
  int64_t elements = 0;
  for (const ProgramConstant& k : p.constants) {
    if (k.dtype == PITH_I8 || k.dtype == PITH_F32) elements += static_cast<int64_t>(std::max(k.integers.size(), k.reals.size()));
  }
  const auto parameters_text = p.metadata.find("parameters");
  const int64_t parameters = parameters_text != p.metadata.end() ? std::atoll(parameters_text->second.c_str()) : elements;
  if (global.json) {
    nlohmann::json layers = nlohmann::json::array();
    for (size_t i = 0; i < p.ops.size(); ++i) {
      const ProgramOp& op = p.ops[i];
      layers.push_back({{"index", i}, {"op", format::kOpcodeNames[op.opcode]}, {"macs", executed_macs(p, op)}, {"coded_bytes", coded[i]}, {"scratch_bytes", scratch_bytes(p, op)},
                        {"output", output_dims(p, op)}});
    }
    const auto mode = [](const Mode& m) {
      nlohmann::json all = {{"model_bytes", m.sizes.model_bytes}, {"instance_bytes", m.sizes.instance_bytes}, {"arena_bytes", m.sizes.arena_bytes}, {"together_bytes", m.together()}};
      if (timed) all["milliseconds"] = m.milliseconds;
      return all;
    };
    print_json("info", {{"model", model},
                        {"bytes", file.size()},
                        {"parameters", parameters},
                        {"macs", macs},
                        {"arena_bytes", p.arena_bytes},
                        {"state_bytes", state_bytes(p)},
                        {"post_bytes", p.metadata.count("post") ? post_bytes(p) : 0},
                        {"inputs", port_names(p.inputs)},
                        {"outputs", port_names(p.outputs)},
                        {"structure_bytes", sizes.structure},
                        {"metadata_bytes", sizes.metadata},
                        {"header_bytes", sizes.header},
                        {"smallest", mode(modes[0])},
                        {"balanced", mode(modes[1])},
                        {"fastest", mode(modes[2])},
                        {"layers", layers}});
    return {};
  }
  fmt::print("{}: {}, {} parameters, {:.1f}x smaller than float32, {:.1f} million multiply-accumulates\n", model, bytes_text(static_cast<int64_t>(file.size())), parameters,
             4.0 * static_cast<double>(parameters) / static_cast<double>(file.size()), static_cast<double>(macs) / 1e6);
  for (const auto& [key, value] : p.metadata) {
    if (key != "parameters") fmt::print("  {:<10} {}\n", key, value.size() > 100 || value.find('\n') != std::string::npos ? fmt::format("({} bytes)", value.size()) : value);
  }
  fmt::print("\n{:>4}  {:<18} {:<20} {:>12} {:>12} {:>12}\n", "", "operator", "output", "MACs", "coded bytes", "scratch");
  for (size_t i = 0; i < p.ops.size(); ++i) {
    const ProgramOp& op = p.ops[i];
    const std::string dims = fmt::format("{}", fmt::join(output_dims(p, op), "x"));
    fmt::print("{:>4}  {:<18} {:<20} {:>12} {:>12} {:>12}\n", i, format::kOpcodeNames[op.opcode], dims, executed_macs(p, op), coded[i], scratch_bytes(p, op));
  }
  fmt::print("\nfile: {} weights and tables, {} structure, {} metadata, {} frame\n", bytes_text(static_cast<int64_t>(file.size()) - sizes.structure - sizes.metadata - sizes.header),
             bytes_text(sizes.structure), bytes_text(sizes.metadata), bytes_text(sizes.header));
  fmt::print("\n| memory | model | arena and scratch | together |{}\n| --- | ---: | ---: | ---: |{}\n", timed ? " time |" : "", timed ? " ---: |" : "");
  for (const Mode& m : modes) {
    fmt::print("| {} ({}) | {} | {} | {} |{}\n", m.name, m.meaning, bytes_text(static_cast<int64_t>(m.sizes.model_bytes)), bytes_text(static_cast<int64_t>(m.sizes.instance_bytes)),
               bytes_text(static_cast<int64_t>(m.together())), timed ? fmt::format(" {:.1f} ms |", m.milliseconds) : "");
  }
  fmt::print("\nthe arena's {} are planned: inputs, activations, decode buffers and outputs all lie in it\n", bytes_text(p.arena_bytes));
  if (const int64_t kept = state_bytes(p); kept > 0) {
    const int bits = cache_bits(p);
    fmt::print("{} of them are kept from run to run{}\n", bytes_text(kept),
               bits > 0 ? fmt::format(", keys and values in {} bits", bits) : "");
  }
  if (const auto post = post_interval(p); post && p.metadata.count("post")) fmt::print("{}: {} at {} of the arena, when the network is done\n", post->name, bytes_text(post->bytes), post->offset);
  return {};
}

}  // namespace

void add_info(Context c) {
  CLI::App* verb = add_verb(c, "info", "bytes per layer, memory and work, before anything runs", "  pith info model.pith\n  pith info model.pith --svg memory.svg");
  verb->add_option("model", model, ".pith file")->required();
  verb->add_option("--svg", svg, "draw memory over time by address");
  add_report_flags(verb, reports);
  verb->add_flag("--time", timed, "measure each way to hold weights on this machine, on zeros, with one thread");
  verb->add_flag("--text", as_text, "print the program itself");
  verb->callback([&global = c.global, &action = c.action] { action = [&global] { return info(global); }; });
}

}  // namespace pith::cli
