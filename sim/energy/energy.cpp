#include "sim/energy/energy.h"

#include <algorithm>
#include <set>

namespace pith::sim {

const char* component_name(int component) {
  constexpr const char* names[kComponents] = {"adders", "registers", "memory", "wires", "results", "vector", "matmul", "float", "cpu", "dma", "camera", "clock", "leakage", "base"};
  return names[component];
}

Energy dynamic_energy(const Counts& c, const chip::Device& d, double factor, double volt) {
  constexpr double femto = 1e-15, pico = 1e-12;
  Energy e;
  const auto set = [&](Component k, double joules) { e.joules[static_cast<size_t>(k)] = joules; };
  set(Component::kAdders, c.toggled_adds * (d.energy_add + d.energy_select) * femto);
  set(Component::kRegisters, c.toggled_bits * d.energy_register_bit * femto);
  set(Component::kMemory, (c.read_bytes * d.energy_sram_read + c.write_bytes * d.energy_sram_write) * pico);
  set(Component::kWires, c.toggled_bytes * 8 * d.energy_wire * d.wire_mm() * pico);
  set(Component::kResults, c.results * d.energy_requantize * pico);
  set(Component::kVector, c.vector_ops * d.energy_vector * pico);
  set(Component::kMatmul, c.matmul_macs * d.energy_mac * pico);
  set(Component::kFloat, c.float_ops * d.energy_float_op * pico);
  set(Component::kCpu, c.cpu_cycles * d.energy_cpu_cycle * pico);
  set(Component::kDma, c.dma_bytes * d.energy_dma * pico);
  set(Component::kCamera, c.camera_pixels * d.energy_camera_pixel * pico);
  set(Component::kClock, (d.energy_clock_factor - 1) * e.total());
  e.joules[static_cast<size_t>(Component::kCamera)] += c.camera_bits * d.energy_camera_bit * pico;
  const double scale = factor * (volt / d.clock_voltage) * (volt / d.clock_voltage);
  for (double& j : e.joules) j *= scale;
  return e;
}

double leakage_joules(const BankTime& t, const chip::Device& d) {
  const double mib = d.memory_bank / 1024;
  return (t.active * d.leakage_active + t.asleep * d.leakage_asleep + t.off * d.leakage_off) * mib * 1e-3;
}

std::vector<BankStep> bank_steps(const Work& work, const Timing& timing, const chip::Device& d, const std::vector<Span>& kept) {
  // a tensor's memory is alive from its first writer's start to its last reader's end, operator by operator
  struct Use {
    Span span;
    double from, to;
    bool touched;
  };
  std::vector<Use> uses;
  for (size_t i = 0; i < work.ops.size(); ++i) {
    const OpTime& t = timing.ops[i];
    for (const Span& s : work.ops[i].writes) {
      double last = t.end;
      for (size_t j = i + 1; j < work.ops.size(); ++j) {
        const auto same = [&](const Span& r) { return r.overlaps(s); };
        if (std::any_of(work.ops[j].reads.begin(), work.ops[j].reads.end(), same)) last = std::max(last, timing.ops[j].end);
        if (std::any_of(work.ops[j].writes.begin(), work.ops[j].writes.end(), same)) break;  // what is there now is another's
      }
      uses.push_back({s, t.start, last, false});
      uses.push_back({s, t.start, t.end, true});
    }
    for (const Span& s : work.ops[i].reads) uses.push_back({s, t.start, t.end, true});
    uses.push_back({work.ops[i].weights, t.start, t.end, true});
  }
  for (const Span& s : kept) uses.push_back({s, 0, timing.cycles, false});
  std::set<double> moments = {0, timing.cycles};
  for (const OpTime& t : timing.ops) moments.insert(t.start), moments.insert(t.end);
  std::vector<BankStep> steps;
  std::vector<uint8_t> state(static_cast<size_t>(d.banks()));
  for (auto it = moments.begin(); std::next(it) != moments.end(); ++it) {
    BankStep step{*it, *std::next(it), 0, 0};
    if (step.end <= step.start) continue;
    std::fill(state.begin(), state.end(), 0);
    for (const Use& u : uses) {
      if (u.from > step.start || u.to < step.end || u.span.end <= u.span.begin) continue;
      for (int64_t b = u.span.begin / d.bank_bytes(); b <= (u.span.end - 1) / d.bank_bytes() && b < d.banks(); ++b)
        state[static_cast<size_t>(b)] = std::max<uint8_t>(state[static_cast<size_t>(b)], u.touched ? 2 : 1);
    }
    step.active = static_cast<int>(std::count(state.begin(), state.end(), 2));
    step.asleep = static_cast<int>(std::count(state.begin(), state.end(), 1));
    steps.push_back(step);
  }
  return steps;
}

}  // namespace pith::sim
