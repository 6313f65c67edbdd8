// The virtual chip as a whole: a program's time and counts on a device, and what they mean at a clock, a voltage and a
// frame rate.
//
// Cycles and counts depend on program and device alone, so they are made once (`prepare`); clocks, frame rates, power caps
// and calibrations only scale them (`evaluate`).
#pragma once

#include <optional>

#include "sim/energy/energy.h"

namespace pith::sim {

struct Prepared {
  std::string name;
  Work work;
  Timing timing;
  std::vector<BankStep> banks;
  Counts counts;            // of one inference, without camera and post-processing
  double output_cycles = 0; // CPU time of post-processing
  bool fits = true;
  std::string why_not;      // when it doesn't fit
};
// Memory that doesn't suffice is no error here: `fits` and `why_not` say so.
Result<Prepared> prepare(const Program& program, const chip::Device& device, const std::string& name, const WorkOptions& options = {});

struct Camera {
  double width = 0, height = 0, fps = 0;
};

struct Stream {  // how often a network runs
  double fps = 0;  // 0: flat out
};

struct Setting {
  chip::OperatingPoint point;  // MHz after calibration, V
  std::optional<Camera> camera;
  std::optional<Camera> second = {};  // on the device's second pipeline
};

// The device's operating points with the calibrated clock; the last whose clock is at most the nominal one is the default.
std::vector<chip::OperatingPoint> operating_points(const chip::Device& device, const chip::Calibration& calibration);
chip::OperatingPoint nominal_point(const chip::Device& device, const chip::Calibration& calibration);

// One network on its own at some rate.
struct Outcome {
  double latency = 0;   // s, of the network
  double post = 0;      // s, of the CPU afterwards, overlapping with the next inference
  double most = 0;      // inferences/s, flat out
  double fps = 0;       // at which energies are stated
  bool keeps_up = true; // most >= fps
  Energy energy;        // J of one period, calibrated; components sum to the total
  Energy bottom_up;     // the same with energy factor 1
  double milliwatts = 0, bottom_up_milliwatts = 0;
  double per_watt = 0;  // inferences/s/W
  std::vector<Energy> layers;  // events only, calibrated
};
Outcome evaluate(const Prepared& network, const chip::Device& device, const chip::Calibration& calibration, const Setting& setting, const Stream& stream);

// Several networks on one chip, each at its own rate; the memory holds all weights and the largest arena.
struct Shared {
  double busy = 0;         // share of the time that the clusters' schedule is taken
  double milliwatts = 0;
  bool fits = true, deadlines_met = true;
  std::string why_not;
  std::vector<double> worst_latency;  // s: its own and the longest other, which isn't interrupted
};
Shared share_chip(const std::vector<const Prepared*>& networks, const std::vector<double>& fps, const chip::Device& device, const chip::Calibration& calibration, const Setting& setting);

// Power when nothing runs: deep sleep with the weights kept.
double sleep_milliwatts(const std::vector<const Prepared*>& networks, const chip::Device& device, const chip::Calibration& calibration);

// A camera stream through its pipeline, line by line: the fullest that the buffer gets, and whether it overflows.
struct CameraResult {
  bool possible = true;     // within the pipeline's largest picture and rate
  std::string why_not;
  double pixel_rate = 0;    // pixels/s that arrive
  double fullest = 0;       // bytes in the buffer
  double bytes_per_cycle = 0;  // written to memory while a frame arrives
  bool overflows = false;
  std::vector<double> levels;  // most bytes in the buffer at each line
};
// `pipeline`: 0 or 1, whose limits hold.
CameraResult simulate_camera(const Camera& camera, double stored_bytes, const chip::Device& device, double mhz, int pipeline = 0);

// clock from inferences/s; energy factor and base power from two powers at two rates. The measurements are of `network`.
struct Measurement {
  double rate = 0, milliwatts = 0;  // flat out
  double fps = 0, fps_milliwatts = 0;
};
chip::Calibration calibrate(const Prepared& network, const chip::Device& device, const Measurement& measured);

}  // namespace pith::sim
