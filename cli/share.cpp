// `pith share`: several networks in one arena, one after the other.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/file.h"
#include "cli/engine.h"
#include "cli/placing.h"
#include "cli/share.h"
#include "compile/schedule.h"

namespace pith::cli {
namespace {

struct Flags {
  std::vector<std::string> models;
  std::vector<double> every;
  int64_t crops = 0;
  std::string folder, codec = "smallest";
  PlacingFlags placing;
};

struct Network {
  std::string name;
  Program program;
  MemoryReport memory;
  std::vector<uint8_t> file;
  int64_t alone = 0, micros = 0;
};

// Every network's state lies apart from everybody else's; what lives only during a run may lie over another's.
Result<std::vector<Network>> place_together(const Flags& f) {
  PITH_TRY(CompileOptions options, compile_options(f.placing));
  PITH_TRY(const CodecChoice codec, codec_choice(f.codec));
  std::vector<Network> all;
  for (const std::string& path : f.models) {
    Network n;
    n.name = std::filesystem::path(path).filename().string();
    if (std::any_of(all.begin(), all.end(), [&](const Network& o) { return o.name == n.name; })) return usage_error(fmt::format("two files are called '{}'; rename one", n.name));
    PITH_TRY(n.program, read_placed(path));
    options.state_bytes += state_bytes(n.program);
    all.push_back(std::move(n));
  }
  for (Network& n : all) {
    CompileOptions alone = options;
    alone.state_bytes = 0;
    PITH_TRY(const Program by_itself, place(n.program, alone));
    n.alone = by_itself.arena_bytes;
    PITH_TRY(n.program, place(n.program, options, &n.memory));
    options.state_base += state_bytes(n.program);
    PITH_TRY(n.file, write_program(n.program, codec));
    PITH_TRY(const std::unique_ptr<Engine> engine, pith_engine(n.file, n.name, {}));
    PITH_TRY(const std::vector<double> seconds, engine->operator_seconds(3));
    n.micros = std::max<int64_t>(1, std::llround(1e6 * std::accumulate(seconds.begin(), seconds.end(), 0.0)));
  }
  return all;
}

void print_schedule(const Schedule& s, const std::vector<Network>& all) {
  fmt::print("every {} us: {} runs, {:.0f} % of the time\n", s.round, s.slots.size(), 100 * s.busy);
  for (size_t i = 0; i < all.size(); ++i) fmt::print("  {}: done {} us after its period begins, at the latest\n", all[i].name, s.latency[i]);
  for (size_t i = 0; i < std::min<size_t>(s.slots.size(), 20); ++i) fmt::print("  {:>10} us  {}\n", s.slots[i].start, all[s.slots[i].task].name);
  if (s.slots.size() > 20) fmt::print("  ... {} more\n", s.slots.size() - 20);
}

Result<void> share(const Flags& f, const Global& global) {
  if (f.models.size() < 2) return usage_error("one network shares with nobody; give two or more .pith files");
  if (f.crops != 0 && f.every.size() != 1) return usage_error("--crops goes with one --every: the period of the first network, in which the others run on each crop");
  if (f.crops == 0 && !f.every.empty() && f.every.size() != f.models.size()) return usage_error(fmt::format("--every gives {} periods for {} networks; give one for each", f.every.size(), f.models.size()));
  PITH_TRY(const std::vector<Network> all, place_together(f));
  int64_t arena = 0, largest = 0;
  for (const Network& n : all) arena = std::max(arena, n.program.arena_bytes), largest = std::max(largest, n.alone);
  std::filesystem::create_directories(f.folder);
  nlohmann::json networks = nlohmann::json::array();
  for (const Network& n : all) {
    const std::string path = (std::filesystem::path(f.folder) / n.name).string();
    PITH_CHECK_OK(write_file(path, n.file));
    networks.push_back({{"output", path}, {"arena_bytes", n.program.arena_bytes}, {"alone_bytes", n.alone}, {"state_bytes", state_bytes(n.program)}, {"micros", n.micros}});
    if (!global.json) fmt::print("{}: {} bytes of the arena ({} alone), {} of them state, {} us here\n", path, n.program.arena_bytes, n.alone, state_bytes(n.program), n.micros);
  }
  nlohmann::json body = {{"arena_bytes", arena}, {"largest_bytes", largest}, {"networks", networks}};
  if (!global.json) fmt::print("one arena of {} bytes, {:.3f} times the largest network's own\n", arena, static_cast<double>(arena) / static_cast<double>(largest));
  if (!f.every.empty()) {
    std::vector<Task> tasks;
    for (size_t i = 0; i < all.size(); ++i) tasks.push_back({all[i].name, std::llround(f.every[f.crops != 0 ? 0 : i] * 1000), all[i].micros});
    PITH_TRY(const Schedule s, f.crops != 0 ? schedule_cascade(tasks, f.crops) : schedule_tasks(tasks));
    nlohmann::json slots = nlohmann::json::array();
    for (const Slot& slot : s.slots) slots.push_back({{"network", all[slot.task].name}, {"start_us", slot.start}, {"end_us", slot.end}});
    body["schedule"] = {{"round_us", s.round}, {"busy", s.busy}, {"latency_us", s.latency}, {"slots", slots}};
    if (!global.json) print_schedule(s, all);
  }
  if (global.json) print_json("share", body);
  return {};
}

}  // namespace

void add_share(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "share", "place several networks in one arena, to run one after the other (C: pith_instance_create_shared)",
                            "  pith share detector.pith classifier.pith --output-dir both/ --rows --ram least\n  pith share detector.pith classifier.pith --output-dir both/ --every 100 --every 40\n  pith share detector.pith classifier.pith --output-dir both/ --every 200 --crops 8");
  verb->add_option("models", f.models, ".pith files")->required();
  verb->add_option("--output-dir", f.folder, "folder for the files under their own names")->required();
  verb->add_option("--every", f.every, "for each network in turn: it runs once in so many milliseconds; shows when each runs, by the times measured here, or which deadline is missed")->allow_extra_args(false);
  verb->add_option("--crops", f.crops, "a cascade: once in --every milliseconds the first network runs, then all others on each of up to so many boxes that it found (pith run --crops)");
  add_placing_flags(verb, f.placing);
  verb->add_option("--codec", f.codec, "smallest, balanced or fastest")->capture_default_str();
  verb->callback([&global = c.global, &action = c.action] { action = [&global] { return share(f, global); }; });
}

}  // namespace pith::cli
