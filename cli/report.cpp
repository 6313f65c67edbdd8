// See report.h.
#include "cli/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/engine.h"
#include "compile/moves.h"
#include "pith/pith.h"
#include "program/schema.h"

namespace pith::cli {
namespace {

using nlohmann::json;
constexpr int kTimedRuns = 5;

// Whom memory serves: the picture shows one giving way to the next.
std::string owner(const std::string& kind) {
  if (kind == "input") return "frame";
  if (kind == "output" || kind == "post") return "result";
  return "network";
}

// Which tensors hold rows in coded form.
std::vector<char> in_coded_form(const Program& p) {
  std::vector<char> coded(p.tensors.size(), 0);
  for (const ProgramOp& op : p.ops) {
    if (op.opcode == PITH_OPCODE_EncodeRows || op.opcode == PITH_OPCODE_EncodeLiftedRows) coded[static_cast<size_t>(root_of(p, op.outputs[0]))] = 1;
  }
  return coded;
}

std::string buffer_name(const Program& p, const StorageInterval& s) {
  if (!s.name.empty()) return s.name;
  for (const auto* ports : {&p.inputs, &p.outputs}) {
    for (const ProgramPort& port : *ports)
      if (port.tensor == s.tensor) return port.name;
  }
  return fmt::format("t{}", s.tensor);
}

json operators_json(const ReportSubject& s, const std::vector<double>& seconds) {
  const Program& p = s.program;
  const std::vector<int64_t> coded = coded_bytes(p, s.sizes), occupied = occupied_bytes(p);
  json all = json::array();
  double at = 0;
  for (size_t i = 0; i < p.ops.size(); ++i) {
    const ProgramOp& op = p.ops[i];
    const bool has_output = !op.outputs.empty() && op.outputs[0] != kNone;
    const ProgramTensor* out = has_output ? &p.tensors[static_cast<size_t>(op.outputs[0])] : nullptr;
    all.push_back({{"op", format::kOpcodeNames[op.opcode]},
                   {"name", out ? out->name : ""},
                   {"output", out ? out->dims : std::vector<int32_t>{}},
                   {"macs", op_macs(p, op)},
                   {"coded_bytes", coded[i]},
                   {"scratch_bytes", scratch_bytes(p, op)},
                   {"bytes_in_use", occupied[i]}});
    if (i >= seconds.size()) continue;  // nothing was measured
    all.back()["start_us"] = at;
    all.back()["us"] = seconds[i] * 1e6;
    at += seconds[i] * 1e6;
  }
  return all;
}

json modes_json(const std::vector<uint8_t>& file) {
  json modes = json::array();
  for (const auto& [mode, name, extra] :
       {std::tuple(PITH_MODE_SMALLEST, "smallest", file.size()), std::tuple(PITH_MODE_BALANCED, "balanced", file.size()), std::tuple(PITH_MODE_FASTEST, "fastest", size_t{0})}) {
    pith_sizes sizes;
    if (pith_probe(file.data(), file.size(), mode, 1, &sizes) != PITH_OK) continue;
    modes.push_back({{"mode", name},
                     {"file_bytes", extra},
                     {"model_bytes", sizes.model_bytes},
                     {"instance_bytes", sizes.instance_bytes},
                     {"together_bytes", extra + sizes.model_bytes + sizes.instance_bytes}});
  }
  return modes;
}

json report_json(const ReportSubject& s, const std::vector<double>& seconds) {
  const Program& p = s.program;
  json buffers = json::array();
  const std::vector<char> coded = in_coded_form(p);
  for (const StorageInterval& b : storage_intervals(p))
    buffers.push_back({{"name", buffer_name(p, b)},
                       {"kind", b.tensor != kNone && coded[static_cast<size_t>(b.tensor)] ? "coded" : b.kind},
                       {"owner", owner(b.kind)},
                       {"first", b.first},
                       {"last", b.last},
                       {"offset", b.offset},
                       {"bytes", b.bytes}});
  const std::vector<int64_t> occupied = occupied_bytes(p);
  const auto top = std::max_element(occupied.begin(), occupied.end());
  json peak = {{"step", top == occupied.end() ? 0 : top - occupied.begin()},
               {"bytes_in_use", top == occupied.end() ? 0 : *top}};
  json all = {{"schema_version", 1},
              {"kind", "memory"},
              {"model", s.title},
              {"bytes", s.file.size()},
              {"arena_bytes", p.arena_bytes},
              {"peak", peak},
              {"modes", modes_json(s.file)},
              {"operators", operators_json(s, seconds)},
              {"buffers", buffers},
              {"moves", json::array()}};
  if (s.memory) {
    all["lower_bound"] = s.memory->lower_bound;
    all["float32_peak"] = s.memory->float32_peak;
    all["coded"] = json::array();
    for (const CodedActivation& c : s.memory->coded) all["coded"].push_back({{"name", c.name}, {"values", c.values}, {"bytes", c.bytes}, {"lifted", !c.lifting.empty()}});
    all["remade"] = json::array();
    for (const RemadeTensor& r : s.memory->remade) all["remade"].push_back({{"name", r.name}, {"bytes", r.bytes}, {"macs", r.macs}, {"operators", r.operators}});
    for (const MemoryMove& m : s.memory->moves)
      all["moves"].push_back({{"kind", "bands of rows"},
                              {"first", m.first},
                              {"last", m.last},
                              {"bands", m.bands},
                              {"layers", m.layers},
                              {"borders", m.borders.empty() ? "kept" : m.borders + " made again"},
                              {"bytes_before", m.bytes_before},
                              {"bytes_after", m.bytes_after},
                              {"macs", m.macs},
                              {"operators", m.operators}});
  }
  return all;
}

// Trace Event format (ui.perfetto.dev): a slice per operator, and the bytes of each owner as counters, over real time.
json trace_json(const json& report) {
  json events = {{{"ph", "M"}, {"name", "process_name"}, {"pid", 1}, {"args", {{"name", report["model"]}}}},
                 {{"ph", "M"}, {"name", "thread_name"}, {"pid", 1}, {"tid", 0}, {"args", {{"name", "operators"}}}}};
  const json& ops = report["operators"];
  for (size_t i = 0; i < ops.size(); ++i) {
    const json& op = ops[i];
    events.push_back(
        {{"ph", "X"},
         {"pid", 1},
         {"tid", 0},
         {"name", fmt::format("{} {} {}", i, op["op"].get<std::string>(), op["name"].get<std::string>())},
         {"ts", op["start_us"]},
         {"dur", op["us"]},
         {"args", {{"macs", op["macs"]}, {"coded_bytes", op["coded_bytes"]}, {"bytes_in_use", op["bytes_in_use"]}}}});
    json bytes = {{"frame", 0}, {"network", 0}, {"result", 0}};
    for (const json& b : report["buffers"]) {
      if (b["first"] > i || b["last"] < i) continue;
      json& sum = bytes[b["owner"].get<std::string>()];
      sum = sum.get<int64_t>() + b["bytes"].get<int64_t>();
    }
    events.push_back({{"ph", "C"}, {"pid", 1}, {"name", "buffers, bytes"}, {"ts", op["start_us"]}, {"args", bytes}});
    events.push_back({{"ph", "C"},
                      {"pid", 1},
                      {"name", "arena in use, bytes"},
                      {"ts", op["start_us"]},
                      {"args", {{"bytes", op["bytes_in_use"]}}}});
  }
  return {{"displayTimeUnit", "ms"}, {"traceEvents", events}};
}

}  // namespace

void add_report_flags(CLI::App* verb, ReportFlags& f) {
  verb->add_option("--report", f.html,
                   "write one HTML page: memory over time by address, what makes the peak, what each exchange of space "
                   "for time gained");
  verb->add_option("--report-json", f.json, "the same as JSON, with what is planned only");
  verb->add_option("--target", f.target, "of the report: a chip (ergo, ergo2 or a file, see pith chip), whose banks are shown awake, asleep and off");
  verb->add_option("--trace", f.trace, "write a trace for ui.perfetto.dev: operators and memory over measured time");
}

std::vector<int64_t> coded_bytes(const Program& p, const WrittenSizes& sizes) {
  std::vector<int64_t> bytes(p.ops.size(), 0);
  std::vector<bool> counted(p.constants.size(), false);
  for (size_t i = 0; i < p.ops.size(); ++i) {
    for (int32_t id : p.ops[i].inputs) {
      if (!is_constant(id) || counted[static_cast<size_t>(id - kConstantBase)]) continue;
      counted[static_cast<size_t>(id - kConstantBase)] = true;
      bytes[i] += sizes.constants[static_cast<size_t>(id - kConstantBase)];
    }
  }
  return bytes;
}

Result<void> write_reports(const ReportFlags& flags, const ReportSubject& subject) {
  if (!flags.wanted()) return {};
  std::vector<double> seconds;
  if (!flags.html.empty() || !flags.trace.empty()) {
    PITH_TRY(const std::unique_ptr<Engine> engine, pith_engine(subject.file, subject.title, {}));
    PITH_TRY(seconds, engine->operator_seconds(kTimedRuns));
  }
  json report = report_json(subject, seconds);
  if (!flags.target.empty()) {
    PITH_TRY(report["power"], power_json(subject.program, flags.target, subject.title));
  }
  if (!flags.json.empty()) PITH_CHECK_OK(write_file(flags.json, report.dump(1) + "\n"));
  if (!flags.trace.empty()) PITH_CHECK_OK(write_file(flags.trace, trace_json(report).dump() + "\n"));
  if (!flags.html.empty()) PITH_CHECK_OK(write_file(flags.html, report_page(subject.title, report.dump())));
  return {};
}

}  // namespace pith::cli
