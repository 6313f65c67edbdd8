// See placing.h.
#include "cli/placing.h"

#include <fmt/format.h>

#include <cstdlib>
#include <map>

#include "base/file.h"
#include "program/schema.h"

namespace pith::cli {

Result<CompileOptions> compile_options(const std::string& ram, bool rows) {
  CompileOptions options;
  options.row_ports = rows;
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
  return {{"arena_bytes", m.arena}, {"lower_bound", m.lower_bound}, {"float32_peak", m.float32_peak}, {"operators", m.layers.size()}, {"macs", macs}, {"groups", m.groups.size()}};
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
