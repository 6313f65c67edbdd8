// What people look at: a line per layer, a trace for Perfetto, memory over one frame, and the Pareto front of a sweep.
#pragma once

#include <string>
#include <vector>

#include "sim/chip.h"

namespace pith::sim {

// index, operator, unit, mapping, cycles, stalls by cause, counts, microjoules by component.
std::string layers_csv(const Prepared& network, const Outcome& outcome);

// JSON in the Trace Event format, which ui.perfetto.dev opens: a track for every unit, CPU and camera; counters for mW,
// memory by owner and banks awake.
std::string trace_json(const Prepared& network, const Outcome& outcome, const chip::Device& device, const chip::Calibration& calibration, const Setting& setting);

// Addresses over one frame: the frame gives way to the network, the network to the CPU, and the next frame arrives.
std::string memory_svg(const Prepared& network, const Outcome& outcome, const chip::Device& device, const Setting& setting);

// One frame by units: camera, clusters, DMA, CPU; with a camera also how full its buffer is.
std::string timeline_svg(const Prepared& network, const Outcome& outcome, const chip::Device& device, const Setting& setting);

struct SweepPoint {
  std::string label;
  double rate = 0, milliwatts = 0, area = 0;  // inferences/s flat out, mW, mm2 of SRAM
  bool fits = true, front = false;
};
// Marks the points that no other beats in rate, power and area together (those that fit).
void mark_front(std::vector<SweepPoint>& points);
std::string pareto_svg(const std::vector<SweepPoint>& points, const std::string& title);

// When an operator's memory is alive and whose it is, seconds from the network's start.
struct Occupancy {
  Span span;
  double from = 0, to = 0;
  int owner = 0;  // 0 frame, 1 network, 2 CPU, 3 weights
  std::string name;
};
std::vector<Occupancy> occupancy(const Prepared& network, const Outcome& outcome, double hz);

}  // namespace pith::sim
