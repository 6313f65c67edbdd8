// Energy: counts times constants, plus leakage by bank state and time, plus what is always on.
//
// The bottom-up figure (factor 1) stands beside the calibrated one; both are sums of the same components.
#pragma once

#include <array>
#include <vector>

#include "sim/timing/engine.h"

namespace pith::sim {

enum class Component { kAdders, kRegisters, kMemory, kWires, kResults, kVector, kMatmul, kFloat, kCpu, kDma, kCamera, kClock, kLeakage, kBase };
inline constexpr int kComponents = 14;
const char* component_name(int component);

struct Energy {
  std::array<double, kComponents> joules{};
  double total() const {
    double sum = 0;
    for (double j : joules) sum += j;
    return sum;
  }
  Energy& operator+=(const Energy& o) {
    for (size_t i = 0; i < joules.size(); ++i) joules[i] += o.joules[i];
    return *this;
  }
};

// Energy of events; `volt` scales it by its square. Leakage and base are left 0.
Energy dynamic_energy(const Counts& counts, const chip::Device& device, double factor, double volt);

// Banks by state over one frame.
struct BankTime {
  double active = 0, asleep = 0, off = 0;  // bank seconds
};
struct BankStep {  // between two events of operators, cycles from the frame's beginning
  double start = 0, end = 0;
  int active = 0, asleep = 0;
};
std::vector<BankStep> bank_steps(const Work& work, const Timing& timing, const chip::Device& device, const std::vector<Span>& kept);
double leakage_joules(const BankTime& time, const chip::Device& device);

}  // namespace pith::sim
