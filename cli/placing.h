// What the verbs that place networks in memory share: limits as text, reports as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "compile/compile.h"

namespace CLI {
class App;
}

namespace pith::cli {

struct PlacingFlags {
  std::string ram = "0";  // bytes, with kB or MB (decimal) or KiB or MiB behind them, or "least"
  bool rows = false;
  double macs_overhead = 0;  // percent
  int cache_bits = 0;        // 4, 6 or 8; 0: float
};
void add_placing_flags(CLI::App* verb, PlacingFlags& flags);
// Error kUsage.
Result<CompileOptions> compile_options(const PlacingFlags& flags);

Result<CodecChoice> codec_choice(const std::string& name);  // smallest, balanced, fastest

nlohmann::json memory_json(const MemoryReport& m);
// The moves that cost multiplications, a line each.
void print_moves(const MemoryReport& m);

// A .pith file as a program whose tensors have names (which files don't keep): of the operator that makes them.
Result<Program> read_placed(const std::string& path);

}  // namespace pith::cli
