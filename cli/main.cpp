// pith's command line: one subcommand per verb, each in its own file.
//
// Data goes to stdout, progress and warnings to stderr, and a closing summary repeats every warning. Exit codes are
// those of base/result.h: 0 ok, 1 internal error, 2 usage, 3 unsupported operator, 4 does not fit, 5 quality gate,
// 6 mismatch; 130 after Ctrl-C.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <new>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/share.h"

namespace pith::cli {

CLI::App* add_verb(Context c, const std::string& name, const std::string& description, const std::string& examples) {
  CLI::App* verb = c.app.add_subcommand(name, description);
  verb->add_flag("--json", c.global.json, "machine-readable result on stdout");
  verb->add_option("--seed", c.global.seed, "seed of everything random; the same seed gives the same result")->capture_default_str();
  verb->add_flag("-v,--verbose", c.global.verbose, "say more");
  verb->add_flag("-q,--quiet", c.global.quiet, "warnings and errors only");
  if (!examples.empty()) verb->footer("examples:\n" + examples);
  return verb;
}

void print_json(const std::string& kind, nlohmann::json body) {
  nlohmann::json document = {{"schema_version", 1}, {"kind", kind}, {"producer", "pith 0.1.0"}};
  document.update(body);
  fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

std::string bytes_text(int64_t bytes) {
  if (bytes < 10000) return fmt::format("{} B", bytes);
  if (bytes < 1000000) return fmt::format("{:.1f} kB", static_cast<double>(bytes) / 1e3);
  return fmt::format("{:.2f} MB", static_cast<double>(bytes) / 1e6);
}

namespace {

// Outputs are written beside and renamed, so stopping at once loses nothing; the exit code says why.
void stop(int) {
  constexpr char line[] = "\nstopped; no output was changed\n";
  [[maybe_unused]] const auto n = ::write(2, line, sizeof line - 1);
  ::_exit(130);
}

// Messages may quote what files say: nothing that a terminal would obey.
std::string harmless(std::string text) {
  for (char& c : text) {
    if ((static_cast<unsigned char>(c) < 32 && c != '\n') || c == 127) c = '?';
  }
  return text;
}

int finish(const Result<void>& result) {
  const std::vector<std::string> warnings = take_warnings();
  if (!warnings.empty()) fmt::print(stderr, "\n{} warning(s):\n", warnings.size());
  for (const std::string& w : warnings) fmt::print(stderr, "  - {}\n", w);
  if (result.ok()) return 0;
  const Error& e = result.error();
  fmt::print(stderr, "error: {}\n", harmless(e.message));
  if (e.code == ErrorCode::kInternal) fmt::print(stderr, "this is a bug in pith, at {}:{}; please report it\n", e.where.file_name(), e.where.line());
  return static_cast<int>(e.code);
}

bool has_verb(const CLI::App& app, const std::string& name) {
  const auto verbs = app.get_subcommands(nullptr);
  return std::any_of(verbs.begin(), verbs.end(), [&](const CLI::App* verb) { return verb->get_name() == name; });
}

std::string verbs_text(const CLI::App& app) {
  std::string text;
  for (const CLI::App* verb : app.get_subcommands(nullptr)) text += (text.empty() ? " " : ", ") + verb->get_name();
  return text;
}

int run(int argc, char** argv) {
  Global global;
  Action action;
  CLI::App app("trained networks, compressed into small files and executed in that form", "pith");
  app.set_version_flag("--version", "pith 0.1.0");
  app.require_subcommand(1);
  app.footer("`pith VERB --help` shows a verb's flags with examples.\n"
             "exit codes: 0 ok, 1 internal error, 2 usage, 3 unsupported operator, 4 does not fit, 5 quality gate, 6 mismatch");
  const Context context{app, global, action};
  add_compress(context);
  add_info(context);
  add_run(context);
  add_eval(context);
  add_bench(context);
  add_import(context);
  add_compile(context);
  add_chip(context);
  add_plan(context);
  add_share(context);
  add_tokenize(context);
  add_supported_ops(context);
  add_docs(context);
  if (argc > 1 && argv[1][0] != '-' && !has_verb(app, argv[1])) {
    fmt::print(stderr, "error: pith has no verb '{}'; it has{}\n", argv[1], verbs_text(app));
    return static_cast<int>(ErrorCode::kUsage);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e, std::cout, std::cerr);  // help, version
    fmt::print(stderr, "error: {}; `pith {}--help` shows the flags\n", e.what(), argc > 1 && has_verb(app, argv[1]) ? argv[1] + std::string(" ") : "");
    return static_cast<int>(ErrorCode::kUsage);
  }
  set_verbosity(global.quiet ? Verbosity::kQuiet : global.verbose ? Verbosity::kVerbose : Verbosity::kNormal);
  return finish(action());
}

}  // namespace
}  // namespace pith::cli

int main(int argc, char** argv) {
  std::signal(SIGINT, pith::cli::stop);
  try {
    return pith::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("error: out of memory; use fewer samples (--data-count) or a machine with more\n", stderr);
    return static_cast<int>(pith::ErrorCode::kDoesNotFit);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s; this is a bug in pith, please report it\n", e.what());
    return static_cast<int>(pith::ErrorCode::kInternal);
  }
}
