// What the parts of `pith chip` share.
#pragma once

#include "cli/cli.h"
#include "compile/compile.h"
#include "sim/report/report.h"

namespace pith::cli {

struct ChipNetwork {
  std::string name;
  Program program;
};
// A .pith file, or a structure by name with seeded weights; `memory` as `pith compress --ram, --rows` take it. With
// `settle_on` ternary weights lie where training to that device's multiplexers would leave them (sim/timing/placement.h).
Result<ChipNetwork> load_chip_network(const std::string& path);
Result<ChipNetwork> structure_network(const std::string& name, double density, int bits, uint64_t seed, const chip::Device* settle_on, const CompileOptions& memory = {});

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

// Random inputs through the functional simulator and the runtime, its reference kernels and the best of this machine.
struct ChipCheck {
  std::string name;
  size_t whole = 0, real = 0;           // results: 8-bit or integer, float
  size_t different_reference = 0;       // results of any kind whose bits aren't the reference kernels'
  double worst_best = 0;                // largest difference of floats from the best kernels, relative above 1
};
// kMismatch where 8-bit or integer results differ from either, or floats by more than 1e-3.
Result<ChipCheck> check_against_runtime(const ChipNetwork& network, uint64_t seed);

}  // namespace pith::cli
