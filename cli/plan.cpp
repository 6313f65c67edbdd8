// `pith plan`: the memory planner for anyone's buffers, in the exchange format of google/minimalloc.
#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "base/file.h"
#include "cli/cli.h"
#include "compile/plan_csv.h"
#include "compile/plan_memory.h"

namespace pith::cli {
namespace {

struct Flags {
  std::string path, output;
  int64_t capacity = 0, steps = ExactOptions{}.max_steps;
};

Result<void> plan(const Flags& f, const Global& global) {
  if (f.capacity < 0) return usage_error(fmt::format("--capacity {} is negative; give the bytes that must suffice", f.capacity));
  PITH_TRY(const std::string text, read_text_file(f.path));
  PITH_TRY(const PlanTable table, read_plan_csv(text, f.path));
  const auto started = std::chrono::steady_clock::now();
  ExactOptions options;
  if (f.capacity > 0) options.capacity = f.capacity;
  options.max_steps = f.steps;
  options.seed = global.seed;
  PITH_TRY(const Plan placed, plan_exact(table.problem, options));
  PITH_CHECK_OK(check_plan(table.problem, placed));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  const std::string csv = write_plan_csv(table.problem, placed);
  if (!f.output.empty()) PITH_CHECK_OK(write_file(f.output, csv));
  const size_t buffers = table.problem.buffers.size();
  if (global.json) {
    print_json("plan", {{"buffers", buffers}, {"peak", placed.peak}, {"lower_bound", placed.lower_bound}, {"proven_optimal", placed.proven_optimal}, {"seconds", seconds}});
    return {};
  }
  if (f.output.empty()) fmt::print("{}", csv);
  fmt::print(stderr, "{} buffers in {} bytes ({}) in {:.2f} s\n", buffers, placed.peak,
             placed.proven_optimal ? "the fewest possible" : fmt::format("lower bound {}", placed.lower_bound), seconds);
  return {};
}

}  // namespace

void add_plan(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "plan", "place buffers with known lifetimes in one arena (CSV: id, lower, upper, size)",
                            "  pith plan buffers.csv --capacity 1048576 -o placed.csv");
  verb->add_option("buffers", f.path, "CSV file as google/minimalloc's")->required();
  verb->add_option("--capacity", f.capacity, "bytes that must suffice (0: as few as possible)")->capture_default_str();
  verb->add_option("--steps", f.steps, "placements tried by the search before it gives up")->capture_default_str();
  verb->add_option("-o,--output", f.output, "write the CSV with offsets (default: stdout)");
  verb->callback([&action = c.action, &global = c.global] { action = [&global] { return plan(f, global); }; });
}

}  // namespace pith::cli
