// What the parts of `pith chip` share.
#pragma once

#include "cli/cli.h"
#include "sim/report/report.h"

namespace pith::cli {

struct ChipNetwork {
  std::string name;
  Program program;
};
// A .pith file, or a structure by name with seeded weights.
Result<ChipNetwork> load_chip_network(const std::string& path);
Result<ChipNetwork> structure_network(const std::string& name, double density, int bits, uint64_t seed);

// "sram=4..16MB,cores=8..64": each constant with its values, doubling from the first to the last; "8,16" isn't a range.
struct SweepAxis {
  std::string name;
  std::vector<double> values;  // in the constant's unit
};
Result<std::vector<SweepAxis>> parse_sweep(const std::string& text);
// Every combination, on several threads.
Result<std::vector<sim::SweepPoint>> run_sweep(const ChipNetwork& network, const chip::Device& device, const chip::Calibration& calibration, const std::vector<SweepAxis>& axes, double fps,
                                               const sim::WorkOptions& options, int threads);

// The fit on YOLOv5-S as a calibration file; and everything that docs/chip.md shows, as CSV.
Result<std::string> fit_calibration(const chip::Device& device, double flat_out_mw, const Global& global);
Result<std::string> predictions_csv(const Global& global);

// Runs random inputs through the functional simulator and the runtime: kMismatch where 8-bit or integer results differ.
Result<std::string> check_against_runtime(const ChipNetwork& network, uint64_t seed);

}  // namespace pith::cli
