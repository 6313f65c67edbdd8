// What the verbs that place networks in memory share: limits as text, reports as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "compile/compile.h"

namespace pith::cli {

// `ram`: bytes, with kB or MB (decimal) or KiB or MiB behind them, or "least". Error kUsage.
Result<CompileOptions> compile_options(const std::string& ram, bool rows);

Result<CodecChoice> codec_choice(const std::string& name);  // smallest, balanced, fastest

nlohmann::json memory_json(const MemoryReport& m);

// A .pith file as a program whose tensors have names (which files don't keep): of the operator that makes them.
Result<Program> read_placed(const std::string& path);

}  // namespace pith::cli
