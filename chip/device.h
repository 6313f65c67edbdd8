// A device: what the virtual chip is made of, as data.
//
// Why: figures of chips are worth as much as what stands behind each constant, so a device is a file (chip/devices/*.yaml)
// in which every constant carries its unit, its kind (published, literature, fitted, measured, assumed) and its source, and
// nothing is left to a default. constants.inc lists what a file must state. The devices that ship are built in; any other
// is a path.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pith::chip {

enum class Kind { kPublished, kLiterature, kFitted, kMeasured, kAssumed };  // measured: on our own models
const char* kind_name(Kind kind);

struct Origin {
  Kind kind = Kind::kAssumed;
  std::string source;
};

struct OperatingPoint {
  double mhz = 0, volt = 0;
};

struct Device {
  std::string name, summary;
#define PITH_CHIP(section, name, ...) double section##_##name = 0;
#include "chip/constants.inc"
#undef PITH_CHIP
  std::vector<OperatingPoint> points;  // rising; relative to the nominal clock they scale with the calibration
  std::vector<Origin> origins;         // one per row of constants.inc

  int64_t memory_bytes() const { return static_cast<int64_t>(memory_network * 1024); }
  int64_t bank_bytes() const { return static_cast<int64_t>(memory_bank * 1024); }
  int64_t banks() const { return memory_bytes() / bank_bytes(); }
  bool unified() const { return memory_cpu == 0; }
  double memory_mm2() const { return memory_area * (memory_network + memory_cpu) / 1024; }
  // Mean way between memory and a cluster, mm: half the side of the memory as a square.
  double wire_mm() const;
};

// The three constants that are fitted, on YOLOv5-S only, with the record of the fit (chip/devices/calibration.yaml).
struct Calibration {
  double clock_mhz = 0;      // nominal clock
  double energy_factor = 1;  // of all event energies
  double base_mw = 0;        // always on, of a device with base_share 1
  std::string record;
};

// A row of constants.inc, for printing, sweeping and tests.
struct Row {
  const char *section, *name, *unit, *meaning;
  double lowest, highest;
  double Device::*member;
};
const std::vector<Row>& rows();

// `target`: the name of a built-in device, or a path to a YAML file. Errors name the constant and what it should be.
Result<Device> load_device(const std::string& target);
Result<Device> parse_device(std::string_view yaml, const std::string& path);
Result<Calibration> load_calibration(const std::string& path);  // "" = the built-in one
Result<Calibration> parse_calibration(std::string_view yaml, const std::string& path);
std::vector<std::string> built_in_devices();

// "cores", "memory.network" or "sram": sets a constant; the error lists near names. Units as in constants.inc.
Result<void> set_constant(Device& device, const std::string& name, double value);

// What must hold between constants (banks divide the memory, sets divide the banks, slots divide 8 bits ...).
Result<void> check_device(const Device& device);

}  // namespace pith::chip
