// `pith bench`: how long an inference takes, and how much memory it needs.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "base/random.h"
#include "cli/cli.h"
#include "cli/engine.h"

namespace pith::cli {
namespace {

struct Flags {
  std::string model, format = "md", counts;
  EngineOptions engine;
  int repetitions = 50, warmup = 5;
  bool no_warmup = false;
};

double now_ms() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Result<void> bench(const Flags& f, const Global& global) {
  const double before = now_ms();
  PITH_TRY(const std::unique_ptr<Engine> engine, open_engine(f.model, f.engine));
  const double load_ms = now_ms() - before;
  if (f.repetitions < 1) return usage_error("-r takes at least 1");
  Random random(global.seed);
  std::vector<Array> inputs;
  for (const Port& port : engine->inputs()) {
    Array a = make_array(port.whole ? ArrayType::kI32 : ArrayType::kF32, port.dims);
    if (!port.whole) {
      for (float& x : a.as<float>()) x = static_cast<float>(random.uniform());
    }
    inputs.push_back(std::move(a));
  }
  const auto counted = std::find_if(engine->inputs().begin(), engine->inputs().end(), [&](const Port& port) { return port.name == f.counts; });
  if (!f.counts.empty() && (counted == engine->inputs().end() || !counted->whole)) return usage_error(fmt::format("'{}' has no input of integers named '{}'; --counts takes one", f.model, f.counts));
  const auto count_to = [&](int run) {
    if (f.counts.empty()) return;
    for (int32_t& x : inputs[static_cast<size_t>(counted - engine->inputs().begin())].as<int32_t>()) x = run;
  };
  for (int i = 0; i < (f.no_warmup ? 0 : f.warmup); ++i) PITH_CHECK_OK(engine->run(inputs));
  engine->reset();
  std::vector<double> times;
  for (int i = 0; i < f.repetitions; ++i) {
    count_to(i);
    const double start = now_ms();
    PITH_CHECK_OK(engine->run(inputs));
    times.push_back(now_ms() - start);
  }
  std::sort(times.begin(), times.end());
  const auto at = [&](double q) { return times[std::min(times.size() - 1, static_cast<size_t>(q * static_cast<double>(times.size())))]; };
  double sum = 0;
  for (double t : times) sum += t;
  const double average = sum / static_cast<double>(times.size()), median = at(0.5);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const Memory m = engine->memory();
  if (global.json || f.format == "json") {
    print_json("bench", {{"model", f.model}, {"target", engine->kind()}, {"threads", f.engine.threads}, {"memory_mode", f.engine.memory}, {"repetitions", f.repetitions},
                         {"metrics", {{"min_ms", times.front()}, {"median_ms", median}, {"avg_ms", average}, {"p95_ms", at(0.95)}, {"max_ms", times.back()}, {"inferences_per_s", 1000 / median},
                                      {"load_ms", load_ms}, {"peak_rss_kb", usage.ru_maxrss}}},
                         {"memory", {{"file_bytes", m.file}, {"model_bytes", m.model}, {"instance_bytes", m.instance}, {"arena_bytes", m.arena}}}});
  } else if (f.format == "csv") {
    fmt::print("model,target,threads,memory_mode,min_ms,median_ms,avg_ms,p95_ms,max_ms,load_ms,peak_rss_kb\n{},{},{},{},{:.4f},{:.4f},{:.4f},{:.4f},{:.4f},{:.3f},{}\n", f.model, engine->kind(),
               f.engine.threads, f.engine.memory, times.front(), median, average, at(0.95), times.back(), load_ms, usage.ru_maxrss);
  } else {
    fmt::print("{} on {}, {} thread(s), {} runs\n", f.model, engine->kind(), f.engine.threads, f.repetitions);
    fmt::print("| min ms | median ms | avg ms | p95 ms | max ms | inferences/s | load ms | model | instance |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    fmt::print("| {:.3f} | {:.3f} | {:.3f} | {:.3f} | {:.3f} | {:.1f} | {:.1f} | {} | {} |\n", times.front(), median, average, at(0.95), times.back(), 1000 / median, load_ms,
               bytes_text(static_cast<int64_t>(m.model)), bytes_text(static_cast<int64_t>(m.instance)));
  }
  return {};
}

}  // namespace

void add_bench(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "bench", "measure the time of an inference", "  pith bench model.pith -t 2 -r 100\n  pith bench model.pith --memory smallest --json\n  pith bench decoder.pith --counts position -r 256");
  verb->add_option("model", f.model, ".pith (or .onnx, through the float interpreter)")->required();
  verb->add_option("-r,--repetitions", f.repetitions, "measured runs")->capture_default_str();
  verb->add_option("--warmup", f.warmup, "runs before measuring")->capture_default_str();
  verb->add_flag("--no-warmup", f.no_warmup, "measure from the first run on");
  verb->add_option("--counts", f.counts, "an input of integers that counts the measured runs from 0: a decoder's `position`");
  add_engine_flags(verb, f.engine);
  verb->add_option("--format", f.format, "md, csv or json")->capture_default_str()->check(CLI::IsMember({"md", "csv", "json"}));
  verb->callback([&global = c.global, &action = c.action] { action = [&global] { return bench(f, global); }; });
}

}  // namespace pith::cli
