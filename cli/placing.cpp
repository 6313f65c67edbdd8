// See placing.h.
#include "cli/placing.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <map>

#include "base/file.h"
#include "cli/cli.h"
#include "program/schema.h"

namespace pith::cli {

void add_placing_flags(CLI::App* verb, PlacingFlags& f) {
  verb->add_option("--ram", f.ram, "bytes that the arena may take (400000, 400kB, 1.5MB); layers run in bands of rows to meet it; least: as few as can be; 0: no limit")->capture_default_str();
  verb->add_flag("--rows", f.rows, "with --ram: inputs may come and outputs may go row by row, so that neither lies in memory whole (C: pith_set_row_source, pith_set_row_sink)");
  verb->add_option("--max-macs-overhead", f.macs_overhead, "with --ram: percent of the network's multiplications that may be done once more where that saves memory, with the same results")
      ->capture_default_str()->check(CLI::Range(0.0, 1000.0));
  verb->add_option("--cache-bits", f.cache_bits,
                   "models that continue text: keys and values of the tokens so far are remembered in so many bits: 8, "
                   "6 (keys 8, values 4) or 4 (default: float)")
      ->check(CLI::IsMember({4, 6, 8}));
}

Result<CompileOptions> compile_options(const PlacingFlags& f) {
  const std::string& ram = f.ram;
  CompileOptions options;
  options.row_ports = f.rows;
  options.macs_overhead = f.macs_overhead / 100;
  options.cache_bits = f.cache_bits;
  options.least = ram == "least";
  if (options.least) return options;
  char* end = nullptr;
  const double number = std::strtod(ram.c_str(), &end);
  const std::string unit = end;
  double factor = 0;
  for (const auto& [name, bytes] : {std::pair{"", 1.0}, {"B", 1.0}, {"kB", 1e3}, {"k", 1e3}, {"MB", 1e6}, {"M", 1e6}, {"KiB", 1024.0}, {"MiB", 1048576.0}})
    if (unit == name) factor = bytes;
  if (end == ram.c_str() || factor == 0 || !(number >= 0) || number * factor > 1e15)
    return usage_error(fmt::format("--ram {} isn't a number of bytes; give 400000, 400kB, 1.5MB, or least", ram));
  options.ram = static_cast<int64_t>(number * factor);
  return options;
}

Result<CodecChoice> codec_choice(const std::string& name) {
  const std::map<std::string, CodecChoice> choices = {{"smallest", CodecChoice::kSmallest}, {"balanced", CodecChoice::kBalanced}, {"fastest", CodecChoice::kFastest}};
  const auto choice = choices.find(name);
  if (choice == choices.end()) return usage_error(fmt::format("unknown --codec '{}'; choose smallest, balanced or fastest", name));
  return choice->second;
}

nlohmann::json memory_json(const MemoryReport& m) {
  int64_t macs = 0;
  for (const LayerReport& layer : m.layers) macs += layer.macs;
  int64_t more = 0;
  for (const MemoryMove& move : m.moves) more += move.macs;
  for (const RemadeTensor& r : m.remade) more += r.macs;
  return {{"arena_bytes", m.arena}, {"lower_bound", m.lower_bound}, {"float32_peak", m.float32_peak}, {"operators", m.layers.size()}, {"macs", macs}, {"groups", m.groups.size()}, {"more_macs", more}};
}

void print_moves(const MemoryReport& m) {
  int64_t macs = 0;
  for (const LayerReport& layer : m.layers) macs += layer.macs;
  for (const MemoryMove& move : m.moves) macs -= move.macs;
  for (const RemadeTensor& r : m.remade) macs -= r.macs;
  for (const RemadeTensor& r : m.remade)
    fmt::print("  {} made again by {} operators before its late use: {} need not wait, {} multiplications more ({:.2f} %)\n", r.name, r.operators, bytes_text(r.bytes), r.macs,
               100.0 * static_cast<double>(r.macs) / static_cast<double>(macs));
  for (const MemoryMove& move : m.moves) {
    if (move.macs == 0) continue;
    fmt::print("  {} to {} in {} bands, borders of {} made again: {} instead of {} in use there, {} multiplications more ({:.2f} %)\n", move.first, move.last, move.bands, move.borders,
               bytes_text(move.bytes_after), bytes_text(move.bytes_before), move.macs, 100.0 * static_cast<double>(move.macs) / static_cast<double>(macs));
  }
}

Result<Program> read_placed(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  auto read = read_program(file);
  if (!read.ok()) return usage_error(fmt::format("'{}': {}", path, read.error().message));
  Program p = std::move(*read);
  for (size_t i = 0; i < p.ops.size(); ++i) {
    for (int32_t id : p.ops[i].outputs)
      if (id != kNone && p.tensors[static_cast<size_t>(id)].name.empty()) p.tensors[static_cast<size_t>(id)].name = fmt::format("{} {}", format::kOpcodeNames[p.ops[i].opcode], i);
  }
  for (const ProgramPort& port : p.inputs) p.tensors[static_cast<size_t>(port.tensor)].name = port.name;
  return p;
}

}  // namespace pith::cli
