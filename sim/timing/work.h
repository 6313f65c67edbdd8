// A Program as work for a device: each operator becomes jobs on units, with the cycles a job takes when nothing is in its
// way and what it draws from shared resources meanwhile.
//
// Convolutions and dense layers go to cores. A cluster's cores either take different filters of the same inputs (which a
// bus then carries once) or different positions; clusters share filters or positions likewise; the mapping with the
// fewest cycles is taken. A job is a block of positions (as many as partial sums are held for) for one round of filters,
// and its cycles follow from the weights (weights.h). Everything else goes to vector units, the activation x activation
// unit, the DMA engine or the CPU; rows of an input come through the camera pipeline, no earlier than they arrive.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "chip/device.h"
#include "program/program.h"
#include "sim/timing/counts.h"
#include "sim/timing/weights.h"

namespace pith::sim {

enum class UnitKind { kCores, kVector, kMatmul, kFloat, kDma, kCpu, kCamera };
const char* unit_kind_name(UnitKind k);

// A range of on-chip memory, bytes.
struct Span {
  int64_t begin = 0, end = 0;
  bool overlaps(const Span& o) const { return begin < o.end && o.begin < end; }
};

struct Job {
  int cluster = -1;      // -1: the only unit of its kind (DMA, CPU, camera pipeline)
  double cycles = 0;     // at full speed
  double read_bytes = 0, weight_bytes = 0, write_bytes = 0;  // over the whole job; weights beside the activations
  double results = 0;    // requantised by the cluster's vector unit meanwhile
  double not_before = 0; // cycle at which its data have arrived from outside
};

struct OpWork {
  std::string name;  // opcode, and what it makes
  int opcode = 0;
  UnitKind unit = UnitKind::kCores;
  std::string mapping;
  std::vector<Job> jobs;
  Counts counts;
  std::vector<Span> reads, writes;  // in memory
  Span weights;                     // in memory; empty where there are none
  int64_t macs = 0, weight_count = 0, nonzero = 0, digits = 0;  // weights: with their first use, bands share them
};

struct MemoryMap {
  int64_t arena = 0, weights = 0, total = 0;  // bytes: arena from 0, weights behind it
  std::vector<Span> weight_of_op;
};

struct WorkOptions {
  int activation_bits = 8;  // 4: a hypothesis about what the makers ran, see docs/chip.md; values are those of 8 bits
  double camera_frames = 0;  // that arrive per cycle while the network runs; inputs by rows then come no faster
  bool copies_ride = true;   // on their producers, where they can (copies.h)
};

struct Work {
  std::vector<OpWork> ops;
  MemoryMap memory;
  double output_elements = 0, input_bytes = 0;  // of ports that lie in memory whole
  double row_bytes = 0;                         // of inputs that arrive by rows
  std::vector<Span> inputs, outputs;  // where the program's own lie in memory
};

// Error kUnsupported names operators that the device has no unit for.
Result<Work> plan_work(const Program& program, const chip::Device& device, const WorkOptions& options = {});

}  // namespace pith::sim
