// The memory of a compiled network for people and for programs: one HTML page, the same as JSON, and a trace for
// Perfetto.
//
// Why: who has to fit a network into a device wants to see what takes the memory, when, and what each exchange of space
// for time gained. Everything shown is planned; only the time axis of page and trace is measured: each operator on this
// machine, one thread, median of a few runs on zeros. With a target, the virtual chip says which banks are awake when.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "compile/compile.h"
#include "program/program.h"

namespace CLI {
class App;
}

namespace pith::cli {

struct ReportFlags {
  std::string html, json, trace, target;
  bool wanted() const { return !html.empty() || !json.empty() || !trace.empty(); }
};
void add_report_flags(CLI::App* verb, ReportFlags& flags);

// `program` may have names of tensors, which the file has not; `memory` may be null (a file that was compiled earlier).
struct ReportSubject {
  std::string title;
  const Program& program;
  const std::vector<uint8_t>& file;
  const WrittenSizes& sizes;
  const MemoryReport* memory = nullptr;
};
Result<void> write_reports(const ReportFlags& flags, const ReportSubject& subject);

// Bytes of the constants that each operator is the first to read, as they are coded in the file.
std::vector<int64_t> coded_bytes(const Program& program, const WrittenSizes& sizes);

// Banks awake, asleep and off over the operators of a placed program, by the virtual chip (power.cpp).
Result<nlohmann::json> power_json(const Program& program, const std::string& target, const std::string& title);

// The page around a report in JSON (report_page.cpp).
std::string report_page(const std::string& title, const std::string& json);

}  // namespace pith::cli
