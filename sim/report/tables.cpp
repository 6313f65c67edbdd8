// The CSV and the trace.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "program/format.h"
#include "sim/report/report.h"

namespace pith::sim {

std::string layers_csv(const Prepared& n, const Outcome& o) {
  std::string out = "index,operator,unit,mapping,macs,weights,nonzero,start_cycle,end_cycle,cluster_cycles_busy";
  for (int s = 0; s < kStalls; ++s) out += fmt::format(",stall_{}", stall_name(s));
#define PITH_SIM_HEADER(field, what) out += "," #field;
  PITH_SIM_COUNTS(PITH_SIM_HEADER)
#undef PITH_SIM_HEADER
  for (int c = 0; c < static_cast<int>(Component::kLeakage); ++c) out += fmt::format(",uJ_{}", component_name(c));
  out += ",uJ\n";
  for (size_t i = 0; i < n.work.ops.size(); ++i) {
    const OpWork& w = n.work.ops[i];
    const OpTime& t = n.timing.ops[i];
    out += fmt::format("{},{},{},{},{},{},{},{:.0f},{:.0f},{:.0f}", i, w.name, unit_kind_name(w.unit), w.mapping, w.macs, w.weight_count, w.nonzero, t.start, t.end, t.busy);
    for (double s : t.stalls) out += fmt::format(",{:.0f}", s);
#define PITH_SIM_VALUE(field, what) out += fmt::format(",{:.0f}", w.counts.field);
    PITH_SIM_COUNTS(PITH_SIM_VALUE)
#undef PITH_SIM_VALUE
    for (int c = 0; c < static_cast<int>(Component::kLeakage); ++c) out += fmt::format(",{:.4f}", o.layers[i].joules[static_cast<size_t>(c)] * 1e6);
    out += fmt::format(",{:.4f}\n", o.layers[i].total() * 1e6);
  }
  return out;
}

std::vector<Occupancy> occupancy(const Prepared& n, const Outcome& o, double hz) {
  std::vector<Occupancy> all;
  const auto seconds = [&](size_t op, bool end) { return (end ? n.timing.ops[op].end : n.timing.ops[op].start) / hz; };
  const size_t ops = n.work.ops.size();
  const auto last_use = [&](const Span& s, size_t from, double otherwise) {
    double last = otherwise;
    for (size_t j = from; j < ops; ++j) {
      const auto& w = n.work.ops[j];
      if (std::any_of(w.reads.begin(), w.reads.end(), [&](const Span& r) { return r.overlaps(s); })) last = std::max(last, seconds(j, true));
      if (std::any_of(w.writes.begin(), w.writes.end(), [&](const Span& x) { return x.overlaps(s); })) break;  // what is there now is another's
    }
    return last;
  };
  for (const Span& s : n.work.inputs) all.push_back({s, 0, last_use(s, 0, 0), 0, "frame"});
  for (size_t i = 0; i < ops; ++i) {
    for (const Span& s : n.work.ops[i].writes) {
      const bool output = std::any_of(n.work.outputs.begin(), n.work.outputs.end(), [&](const Span& x) { return x.begin == s.begin && x.end == s.end; }) &&
                          last_use(s, i + 1, seconds(i, true)) == seconds(i, true);
      const std::string name = fmt::format("{} {}", i, n.work.ops[i].name);
      all.push_back({s, seconds(i, false), output ? o.latency : last_use(s, i + 1, seconds(i, true)), n.work.ops[i].opcode == PITH_OPCODE_RowsIn ? 0 : 1, name});
      if (output) all.push_back({s, o.latency, o.latency + o.post, 2, name});
    }
  }
  return all;
}

namespace {

void event(std::string& out, const std::string& text) {
  if (out.back() != '[') out += ",\n";
  out += text;
}
void slice(std::string& out, const std::string& name, int track, double from, double to) {
  event(out, fmt::format(R"({{"ph":"X","name":"{}","pid":1,"tid":{},"ts":{:.3f},"dur":{:.3f}}})", name, track, from * 1e6, std::max(to - from, 0.0) * 1e6));
}
void counter(std::string& out, const std::string& name, double at, const std::string& values) {
  event(out, fmt::format(R"({{"ph":"C","name":"{}","pid":1,"ts":{:.3f},"args":{{{}}}}})", name, at * 1e6, values));
}

}  // namespace

std::string trace_json(const Prepared& n, const Outcome& o, const chip::Device& d, const chip::Calibration& calibration, const Setting& setting) {
  std::string out = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  const double hz = setting.point.mhz * 1e6, period = 1 / o.fps;
  event(out, fmt::format(R"({{"ph":"M","name":"process_name","pid":1,"args":{{"name":"{} on {}"}}}})", n.name, d.name));
  const int camera = static_cast<int>(n.timing.units.size()) - 1, cpu = camera - 1;
  for (int u = 0; u <= camera; ++u) event(out, fmt::format(R"({{"ph":"M","name":"thread_name","pid":1,"tid":{},"args":{{"name":"{}"}}}})", u, n.timing.units[static_cast<size_t>(u)]));
  for (const Segment& s : n.timing.segments) slice(out, fmt::format("{} {}", s.op, n.work.ops[static_cast<size_t>(s.op)].name), s.unit, s.start / hz, s.end / hz);
  slice(out, "post-processing", cpu, o.latency, o.latency + o.post);
  if (setting.camera && n.work.row_bytes == 0) slice(out, fmt::format("next frame, {:.0f}x{:.0f}", setting.camera->width, setting.camera->height), camera, 0, std::min(period, 1 / setting.camera->fps));
  const double base = calibration.base_mw * d.leakage_base_share, mib = d.memory_bank / 1024;
  for (const BankStep& s : n.banks) {
    double milliwatts = base + (s.active * d.leakage_active + s.asleep * d.leakage_asleep) * mib;
    for (size_t i = 0; i < n.timing.ops.size(); ++i) {
      const OpTime& t = n.timing.ops[i];
      if (t.start <= s.start && t.end >= s.end && t.end > t.start) milliwatts += o.layers[i].total() * 1e3 / ((t.end - t.start) / hz);
    }
    counter(out, "power", s.start / hz, fmt::format(R"("mW":{:.3f})", milliwatts));
    counter(out, "banks", s.start / hz, fmt::format(R"("active":{},"asleep":{})", s.active, s.asleep));
  }
  const double kept = std::ceil(static_cast<double>(n.work.memory.weights) / static_cast<double>(d.bank_bytes()));
  counter(out, "power", o.latency, fmt::format(R"("mW":{:.3f})", base + kept * d.leakage_asleep * mib));
  counter(out, "banks", o.latency, fmt::format(R"("active":0,"asleep":{:.0f})", kept));
  const std::vector<Occupancy> all = occupancy(n, o, hz);
  std::map<double, int> moments;
  for (const Occupancy& x : all) moments[x.from], moments[x.to];
  constexpr const char* owners[] = {"frame", "network", "cpu"};
  for (const auto& [at, unused] : moments) {
    double bytes[3] = {};
    for (const Occupancy& x : all) {
      if (x.from <= at && at < x.to) bytes[x.owner] += static_cast<double>(x.span.end - x.span.begin);
    }
    std::string values = fmt::format(R"("weights":{})", n.work.memory.weights);
    for (int k = 0; k < 3; ++k) values += fmt::format(R"(,"{}":{:.0f})", owners[k], bytes[k]);
    counter(out, "memory, bytes", at, values);
  }
  return out + "]}\n";
}

}  // namespace pith::sim
