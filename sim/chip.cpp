#include "sim/chip.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pith::sim {
namespace {

double bank_mib(const chip::Device& d) { return d.memory_bank / 1024; }

// Bank seconds of one period: the network's steps, then sleep with the weights kept.
BankTime bank_time(const Prepared& n, const chip::Device& d, double hz, double period) {
  BankTime t;
  for (const BankStep& s : n.banks) {
    const double seconds = (s.end - s.start) / hz;
    t.active += s.active * seconds, t.asleep += s.asleep * seconds;
  }
  const double idle = std::max(0.0, period - n.timing.cycles / hz);
  const double kept = std::ceil(static_cast<double>(n.work.memory.weights) / static_cast<double>(d.bank_bytes()));
  t.asleep += idle * std::min(kept, static_cast<double>(d.banks()));
  t.off = std::max(0.0, static_cast<double>(d.banks()) * period - t.active - t.asleep);
  return t;
}

Counts camera_counts(const Camera& c, double seconds, const chip::Device& d) {
  Counts counts;
  counts.camera_pixels = c.width * c.height * c.fps * seconds;
  counts.camera_bits = counts.camera_pixels * d.camera_pixel_bits;
  return counts;
}

Energy& at(Energy& e, Component c, double joules) {
  e.joules[static_cast<size_t>(c)] += joules;
  return e;
}

}  // namespace

Result<Prepared> prepare(const Program& program, const chip::Device& device, const std::string& name, const WorkOptions& options) {
  Prepared n;
  n.name = name;
  PITH_TRY(n.work, plan_work(program, device, options));
  n.timing = simulate(n.work, device, options.camera_frames * n.work.input_bytes);
  std::vector<Span> kept = {{n.work.memory.arena, n.work.memory.arena + n.work.memory.weights}};
  n.banks = bank_steps(n.work, n.timing, device, kept);
  for (const OpWork& w : n.work.ops) n.counts += w.counts;
  n.counts.write_bytes += n.work.input_bytes, n.counts.toggled_bytes += n.work.input_bytes;  // the input arrives in memory
  n.output_cycles = n.work.output_elements * device.cpu_output_cycles;
  if (n.work.memory.total > device.memory_bytes()) {
    n.fits = false;
    n.why_not = fmt::format("'{}' needs {:.2f} MB on chip (weights {:.2f}, activations {:.2f}) and '{}' has {:.2f} MB", name, static_cast<double>(n.work.memory.total) / 1e6,
                            static_cast<double>(n.work.memory.weights) / 1e6, static_cast<double>(n.work.memory.arena) / 1e6, device.name, static_cast<double>(device.memory_bytes()) / 1e6);
  }
  return n;
}

std::vector<chip::OperatingPoint> operating_points(const chip::Device& device, const chip::Calibration& calibration) {
  std::vector<chip::OperatingPoint> points;
  for (const chip::OperatingPoint& p : device.points) points.push_back({p.mhz / device.clock_nominal * calibration.clock_mhz, p.volt});
  return points;
}

chip::OperatingPoint nominal_point(const chip::Device& device, const chip::Calibration& calibration) { return {calibration.clock_mhz, device.clock_voltage}; }

Outcome evaluate(const Prepared& n, const chip::Device& d, const chip::Calibration& calibration, const Setting& setting, const Stream& stream) {
  Outcome o;
  const double hz = setting.point.mhz * 1e6, volt = setting.point.volt;
  o.latency = n.timing.cycles / hz;
  o.post = n.output_cycles / hz;
  o.most = 1 / std::max(o.latency, o.post);
  o.fps = stream.fps > 0 ? stream.fps : o.most;
  o.keeps_up = o.most >= o.fps;
  const double period = 1 / o.fps;
  Counts counts = n.counts;
  counts.cpu_cycles += n.output_cycles;
  for (const auto& camera : {setting.camera, setting.second}) {
    if (camera) counts += camera_counts(*camera, period, d);
  }
  const double leakage = leakage_joules(bank_time(n, d, hz, period), d), base = calibration.base_mw * d.leakage_base_share * 1e-3 * period;
  o.energy = dynamic_energy(counts, d, calibration.energy_factor, volt);
  o.bottom_up = dynamic_energy(counts, d, 1, volt);
  for (Energy* e : {&o.energy, &o.bottom_up}) at(at(*e, Component::kLeakage, leakage), Component::kBase, e == &o.energy ? base : 0);
  o.milliwatts = o.energy.total() / period * 1e3;
  o.bottom_up_milliwatts = o.bottom_up.total() / period * 1e3;
  o.per_watt = o.fps / (o.milliwatts * 1e-3);
  for (const OpWork& w : n.work.ops) o.layers.push_back(dynamic_energy(w.counts, d, calibration.energy_factor, volt));
  return o;
}

Shared share_chip(const std::vector<const Prepared*>& networks, const std::vector<double>& fps, const chip::Device& d, const chip::Calibration& calibration, const Setting& setting) {
  Shared s;
  const double hz = setting.point.mhz * 1e6;
  int64_t weights = 0, arena = 0;
  double joules_a_second = 0, longest = 0;
  BankTime banks;
  for (size_t i = 0; i < networks.size(); ++i) {
    const Prepared& n = *networks[i];
    const double latency = n.timing.cycles / hz;
    weights += n.work.memory.weights, arena = std::max(arena, n.work.memory.arena);
    longest = std::max(longest, latency);
    s.busy += latency * fps[i];
    Counts counts = n.counts;
    counts.cpu_cycles += n.output_cycles;
    joules_a_second += fps[i] * dynamic_energy(counts, d, calibration.energy_factor, setting.point.volt).total();
    for (const BankStep& b : n.banks) banks.active += fps[i] * b.active * (b.end - b.start) / hz, banks.asleep += fps[i] * b.asleep * (b.end - b.start) / hz;
  }
  for (const auto& camera : {setting.camera, setting.second}) {
    if (camera) joules_a_second += dynamic_energy(camera_counts(*camera, 1, d), d, calibration.energy_factor, setting.point.volt).total();
  }
  banks.asleep += std::max(0.0, 1 - s.busy) * std::ceil(static_cast<double>(weights) / static_cast<double>(d.bank_bytes()));
  banks.off = std::max(0.0, static_cast<double>(d.banks()) - banks.active - banks.asleep);
  s.milliwatts = (joules_a_second + leakage_joules(banks, d)) * 1e3 + calibration.base_mw * d.leakage_base_share;
  for (size_t i = 0; i < networks.size(); ++i) {
    const double own = networks[i]->timing.cycles / hz;
    double other = 0;
    for (size_t j = 0; j < networks.size(); ++j) {
      if (j != i) other = std::max(other, networks[j]->timing.cycles / hz);
    }
    s.worst_latency.push_back(own + other);
    if (own + other > 1 / fps[i] || s.busy > 1) {
      s.deadlines_met = false;
      s.why_not = fmt::format("'{}' can miss its deadline: {:.1f} ms at worst, {:.1f} ms between frames, the schedule is {:.0f} % full; lower a frame rate", networks[i]->name, (own + other) * 1e3, 1e3 / fps[i],
                              100 * s.busy);
    }
  }
  if (weights + arena > d.memory_bytes()) {
    s.fits = false;
    s.why_not = fmt::format("together they need {:.2f} MB on chip and '{}' has {:.2f} MB", static_cast<double>(weights + arena) / 1e6, d.name, static_cast<double>(d.memory_bytes()) / 1e6);
  }
  return s;
}

double sleep_milliwatts(const std::vector<const Prepared*>& networks, const chip::Device& d, const chip::Calibration& calibration) {
  double kept = 0;
  for (const Prepared* n : networks) kept += std::ceil(static_cast<double>(n->work.memory.weights) / static_cast<double>(d.bank_bytes()));
  const double off = std::max(0.0, static_cast<double>(d.banks()) - kept);
  return calibration.base_mw * d.leakage_base_share * d.leakage_base_asleep + (kept * d.leakage_asleep + off * d.leakage_off) * bank_mib(d);
}

CameraResult simulate_camera(const Camera& c, double stored_bytes, const chip::Device& d, double mhz, int pipeline) {
  CameraResult r;
  const double width = pipeline == 0 ? d.camera_width : d.camera_second_width, height = pipeline == 0 ? d.camera_height : d.camera_second_height, fps = pipeline == 0 ? d.camera_fps : d.camera_second_fps;
  r.pixel_rate = c.width * c.height * c.fps;
  if (d.camera_pipelines < pipeline + 1) {
    r.possible = false;
    r.why_not = d.camera_pipelines < 1 ? fmt::format("'{}' has no camera", d.name) : fmt::format("'{}' has one camera pipeline", d.name);
  } else if (c.width * c.height > width * height || r.pixel_rate > width * height * fps * 1.000001) {
    r.possible = false;
    r.why_not = fmt::format("{:.0f}x{:.0f} at {:.0f}/s is beyond the {} pipeline of '{}' ({:.0f}x{:.0f} at {:.0f}/s)", c.width, c.height, c.fps, pipeline == 0 ? "first" : "second", d.name, width, height, fps);
  }
  // a line arrives in bursts at the wire's rate (blanking takes a tenth of the time) and drains at the pipeline's
  const double line_seconds = 1 / (c.height * c.fps) * 0.9, blank_seconds = line_seconds / 9, bytes = c.width * d.camera_pixel_bits / 8;
  const double drain = d.camera_pixel_rate * mhz * 1e6 * d.camera_pixel_bits / 8;
  double level = 0;
  for (double line = 0; line < c.height; ++line) {
    level = std::max(0.0, level + bytes - drain * line_seconds);
    r.levels.push_back(level + std::min(bytes, drain * d.memory_wake_cycles / (mhz * 1e6)));
    r.fullest = std::max(r.fullest, r.levels.back());
    level = std::max(0.0, level - drain * blank_seconds);
  }
  r.overflows = r.fullest > d.camera_fifo * 1024;
  r.bytes_per_cycle = stored_bytes * c.fps / (mhz * 1e6);
  return r;
}

chip::Calibration calibrate(const Prepared& n, const chip::Device& d, const Measurement& m) {
  chip::Calibration c;
  c.clock_mhz = m.rate * std::max(n.timing.cycles, n.output_cycles) * 1e-6;
  c.energy_factor = 1;
  c.base_mw = 0;
  // power = factor * events * rate + leakage(rate) + base: linear in factor and base
  const Setting setting{nominal_point(d, c), {}};
  const Outcome fast = evaluate(n, d, c, setting, {m.rate}), slow = evaluate(n, d, c, setting, {m.fps});
  const auto leakage = [](const Outcome& o) { return o.energy.joules[static_cast<size_t>(Component::kLeakage)] * o.fps * 1e3; };
  const double events_mj = (fast.energy.total() - fast.energy.joules[static_cast<size_t>(Component::kLeakage)]) * 1e3;
  c.energy_factor = ((m.milliwatts - leakage(fast)) - (m.fps_milliwatts - leakage(slow))) / ((m.rate - m.fps) * events_mj);
  c.base_mw = (m.fps_milliwatts - leakage(slow) - c.energy_factor * events_mj * m.fps) / d.leakage_base_share;
  return c;
}

}  // namespace pith::sim
