// Which banks of a chip's memory are awake during each operator of a placed program: the schedule annotated with power.
//
// Why: memory that holds nothing can be switched off, and memory that waits can sleep; a plan decides both. The chip is a
// description of chip/, the times and energies are the virtual chip's own (sim/), so the two can't differ.
#include <algorithm>

#include "cli/report.h"
#include "sim/chip.h"

namespace pith::cli {
namespace {

using nlohmann::json;

// Runs of banks that lie in any of these spans: [first, last) pairs, ascending.
json bank_runs(std::vector<sim::Span> spans, const chip::Device& d) {
  std::sort(spans.begin(), spans.end(), [](const sim::Span& a, const sim::Span& b) { return a.begin < b.begin; });
  std::vector<std::pair<int64_t, int64_t>> runs;
  for (const sim::Span& s : spans) {
    if (s.end <= s.begin) continue;
    const int64_t first = s.begin / d.bank_bytes(), last = (s.end - 1) / d.bank_bytes() + 1;
    if (!runs.empty() && first <= runs.back().second) {
      runs.back().second = std::max(runs.back().second, last);
    } else {
      runs.emplace_back(first, last);
    }
  }
  json all = json::array();
  for (const auto& [first, last] : runs) all.push_back({first, last});
  return all;
}

double microjoules(const sim::Energy& e) { return e.total() * 1e6; }

}  // namespace

Result<json> power_json(const Program& p, const std::string& target, const std::string& title) {
  PITH_TRY(const chip::Device d, chip::load_device(target));
  PITH_TRY(const chip::Calibration c, chip::load_calibration(""));
  PITH_TRY(const sim::Prepared n, sim::prepare(p, d, title));
  const sim::Setting setting{sim::nominal_point(d, c), {}, {}};
  const sim::Outcome o = sim::evaluate(n, d, c, setting, {0});
  const double us = 1 / setting.point.mhz;
  const std::vector<StorageInterval> alive = storage_intervals(p);
  json operators = json::array(), steps = json::array(), energy;
  for (size_t i = 0; i < p.ops.size(); ++i) {
    const sim::OpWork& w = n.work.ops[i];
    std::vector<sim::Span> touched = w.reads, held = {{n.work.memory.arena, n.work.memory.total}};
    touched.insert(touched.end(), w.writes.begin(), w.writes.end());
    touched.push_back(w.weights);
    for (const StorageInterval& s : alive)
      if (s.first <= static_cast<int64_t>(i) && s.last >= static_cast<int64_t>(i)) held.push_back({s.offset, s.offset + s.bytes});
    operators.push_back({{"unit", sim::unit_kind_name(w.unit)}, {"start_us", n.timing.ops[i].start * us}, {"us", (n.timing.ops[i].end - n.timing.ops[i].start) * us},
                         {"uJ", microjoules(o.layers[i])}, {"awake", bank_runs(touched, d)}, {"held", bank_runs(held, d)}});
  }
  for (const sim::BankStep& s : n.banks) steps.push_back({{"start_us", s.start * us}, {"us", (s.end - s.start) * us}, {"awake", s.active}, {"asleep", s.asleep}, {"off", d.banks() - s.active - s.asleep}});
  for (int k = 0; k < sim::kComponents; ++k) energy[sim::component_name(k)] = o.energy.joules[static_cast<size_t>(k)] * 1e6;
  return json{{"target", d.name}, {"MHz", setting.point.mhz}, {"V", setting.point.volt}, {"banks", d.banks()}, {"bank_bytes", d.bank_bytes()}, {"fits", n.fits}, {"latency_ms", o.latency * 1e3},
              {"mW", o.milliwatts}, {"energy_uJ", energy}, {"operators", operators}, {"steps", steps}};
}

}  // namespace pith::cli
