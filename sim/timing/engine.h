// Time: jobs of operators on units that share buses, bank sets and vector units.
//
// Method: event-driven, in cycles, without chance. Operators start in program order as soon as a command is fetched and no
// earlier operator that still runs reads or writes the same memory. A job that has its resources to itself proceeds at
// rate 1; where jobs together ask more of a resource than it gives, the most overloaded resource scales its users down,
// and so on until nothing is overloaded (the fluid sharing of network simulators; Casanova et al., SimGrid, 2014). Rates
// change only when a job begins or ends. Every cycle of every cluster is either work or a stall with a cause.
#pragma once

#include <array>
#include <vector>

#include "sim/timing/work.h"

namespace pith::sim {

enum class Stall { kReadBus, kWriteBus, kResults, kBanks, kImbalance, kVectorWork, kDma, kCpu, kCamera, kCommand };
inline constexpr int kStalls = 10;
const char* stall_name(int stall);

struct OpTime {
  double start = 0, end = 0;             // cycles
  double busy = 0;                       // cluster cycles of work on cores
  std::array<double, kStalls> stalls{};  // cluster cycles lost while this was the oldest operator in flight
};

struct Segment {  // of a unit's track
  int unit = 0, op = 0;
  double start = 0, end = 0;
};

struct Timing {
  double cycles = 0;
  std::vector<OpTime> ops;
  std::array<double, kStalls> stalls{};
  double busy = 0;  // cluster cycles
  std::vector<Segment> segments;
  std::vector<std::string> units;  // names of tracks
  int64_t events = 0;
};

// `background`: bytes a cycle that something else (a camera) writes to the end of the memory meanwhile.
Timing simulate(const Work& work, const chip::Device& device, double background = 0);

}  // namespace pith::sim
