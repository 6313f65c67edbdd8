// What the verbs share: registration, global flags, and how a verb ends.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/result.h"

namespace pith::cli {

struct Global {
  bool json = false, verbose = false, quiet = false;
  uint64_t seed = 1;
};

// Each verb adds its subcommand; `run` is set to what executes it.
using Action = std::function<Result<void>()>;
struct Context {
  CLI::App& app;
  Global& global;
  Action& action;
};
void add_import(Context c);
void add_info(Context c);
void add_supported_ops(Context c);
void add_compress(Context c);
void add_compile(Context c);
void add_run(Context c);
void add_eval(Context c);
void add_bench(Context c);
void add_plan(Context c);
void add_chip(Context c);
void add_tokenize(Context c);
void add_docs(Context c);

// A subcommand with the flags that all verbs have, and examples under its help.
CLI::App* add_verb(Context c, const std::string& name, const std::string& description, const std::string& examples);

// JSON results: {"schema_version": 1, "kind": ..., ...} on stdout.
void print_json(const std::string& kind, nlohmann::json body);

std::string bytes_text(int64_t bytes);  // 12.3 kB, 1.2 MB (decimal)

// In the program without libtorch: goes on as `pith-retrain`, the one with it, and returns only an error. There it does nothing.
// `what` is wanted, as "TorchScript is read".
Result<void> hand_over(const std::string& what);

}  // namespace pith::cli
