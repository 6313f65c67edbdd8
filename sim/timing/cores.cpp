#include "sim/timing/cores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pith::sim {
namespace {

struct Mapping {
  int cores_by_filter = 1;          // the rest of the cluster's cores take other positions
  bool clusters_by_filter = false;  // or clusters take other positions
  double cycles = 0, read_bytes = 0;
};

// Groups of filters [first, last) that run side by side on cores_by_filter cores, window by window in step.
struct Round {
  double passes = 0;        // sum over windows of the most passes of any group
  double input_bytes = 0;   // of a position: windows that have any weight
  double window_inputs = 0; // inputs registered per position, passes counted
  double weight_bytes = 0, digits = 0, windows = 0;
  int64_t filters = 0;
};

Round round_of(const Layer& l, int64_t first, int64_t last, int64_t filters_per_core) {
  Round r;
  last = std::min(last, l.plan.groups);
  for (int64_t w = 0; w < l.plan.windows; ++w) {
    uint16_t most = 0;
    for (int64_t g = first; g < last; ++g) most = std::max(most, l.plan.passes[static_cast<size_t>(g * l.plan.windows + w)]);
    r.passes += most;
    r.windows += most > 0;
    r.input_bytes += most > 0 ? l.plan.inputs[static_cast<size_t>(w)] * l.reuse * l.byte : 0;
    r.window_inputs += static_cast<double>(most) * l.plan.inputs[static_cast<size_t>(w)];
  }
  for (int64_t g = first; g < last; ++g) {
    r.weight_bytes += static_cast<double>(l.plan.bytes[static_cast<size_t>(g)]);
    r.digits += static_cast<double>(l.plan.digits[static_cast<size_t>(g)]);
  }
  r.filters = std::min(l.filters, last * filters_per_core) - first * filters_per_core;
  return r;
}

// Calls body(cluster, round, positions of each core that takes positions, how many such cores are busy) for every job.
template <typename Body>
void each_job(const Layer& l, const chip::Device& d, const Mapping& m, const std::vector<Round>& rounds, const Body& body) {
  const int64_t clusters = static_cast<int64_t>(d.compute_clusters), cores = static_cast<int64_t>(d.compute_cores);
  const int64_t by_position = cores / m.cores_by_filter;
  const int64_t block = static_cast<int64_t>(d.compute_partial_positions) * by_position;
  for (int64_t c = 0; c < clusters; ++c) {
    const int64_t begin = m.clusters_by_filter ? 0 : l.positions * c / clusters, end = m.clusters_by_filter ? l.positions : l.positions * (c + 1) / clusters;
    if (begin == end) continue;
    const int64_t blocks = (end - begin + block - 1) / block;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t n = (end - begin) * (b + 1) / blocks - (end - begin) * b / blocks;
      for (size_t r = 0; r < rounds.size(); ++r) {
        if (m.clusters_by_filter && static_cast<int64_t>(r) % clusters != c) continue;
        body(c, rounds[r], n, by_position);
      }
    }
  }
}

double job_cycles(const Layer& l, const chip::Device& d, const Round& r, int64_t positions, int64_t by_position) {
  const double each = std::ceil(static_cast<double>(positions) / static_cast<double>(by_position));
  return r.passes * l.slots * each + d.compute_fill_cycles;
}

// Bytes that a job reads: cores at different positions need different inputs, cores with different filters share them.
double job_reads(const Round& r, int64_t positions) { return r.input_bytes * static_cast<double>(positions); }

std::vector<Round> rounds_of(const Layer& l, const chip::Device& d, int cores_by_filter) {
  std::vector<Round> rounds;
  for (int64_t g = 0; g < l.plan.groups; g += cores_by_filter) rounds.push_back(round_of(l, g, g + cores_by_filter, static_cast<int64_t>(d.compute_filters)));
  return rounds;
}

// What the mapping takes if nothing outside the cluster is in the way: the busiest cluster, its bus and vector unit; and
// what it reads.
void cost(const Layer& l, const chip::Device& d, Mapping& m) {
  const std::vector<Round> rounds = rounds_of(l, d, m.cores_by_filter);
  std::vector<double> cycles(static_cast<size_t>(d.compute_clusters));
  each_job(l, d, m, rounds, [&](int64_t c, const Round& r, int64_t n, int64_t by_position) {
    const double bus = (job_reads(r, n) + r.weight_bytes) / d.memory_read_bus;
    const double results = static_cast<double>(n * r.filters);
    m.read_bytes += job_reads(r, n) + r.weight_bytes;
    cycles[static_cast<size_t>(c)] += std::max({job_cycles(l, d, r, n, by_position), bus, results / d.compute_vector_lanes, results * l.byte / d.memory_write_bus});
  });
  m.cycles = *std::max_element(cycles.begin(), cycles.end());
}

// Fewer cycles; of those that are equal within a thousandth the one that reads less.
bool better(const Mapping& a, const Mapping& b) {
  if (std::abs(a.cycles - b.cycles) > 1e-3 * b.cycles) return a.cycles < b.cycles;
  return a.read_bytes < b.read_bytes;
}

}  // namespace

void map_layer(const Layer& l, const chip::Device& d, OpWork& w) {
  Mapping best;
  best.cycles = -1;
  const int cores = static_cast<int>(d.compute_cores);
  for (int by_filter = 1; by_filter <= cores; ++by_filter) {
    if (cores % by_filter != 0) continue;
    for (const bool clusters_by_filter : {false, true}) {
      Mapping m{by_filter, clusters_by_filter, 0, 0};
      cost(l, d, m);
      if (best.cycles < 0 || better(m, best)) best = m;
    }
  }
  w.mapping = fmt::format("{} filters x {} positions; clusters by {}", best.cores_by_filter, cores / best.cores_by_filter, best.clusters_by_filter ? "filter" : "position");
  const std::vector<Round> rounds = rounds_of(l, d, best.cores_by_filter);
  const double slot_bits = d.compute_slot, filters = d.compute_filters;
  const double written = l.transposed_writes > 0 ? l.transposed_writes / static_cast<double>(l.filters * l.positions) : 1;
  each_job(l, d, best, rounds, [&](int64_t c, const Round& r, int64_t n, int64_t by_position) {
    const double positions = static_cast<double>(n), results = positions * static_cast<double>(r.filters) * written;
    const double weights = r.weight_bytes;  // broadcast to the cores that take other positions
    w.jobs.push_back({static_cast<int>(c), job_cycles(l, d, r, n, by_position), job_reads(r, n), weights, results * l.byte, results});
    w.counts.adds += r.digits * positions * l.slots;
    w.counts.toggled_adds += r.digits * positions * l.slots * l.in.adds;
    // every core registers its window; every filter its accumulator; weights once a job
    const double input_bits = positions * l.slots * r.window_inputs * slot_bits * best.cores_by_filter;
    const double other_bits = positions * l.slots * r.passes * best.cores_by_filter * filters * d.compute_partial_bits + weights * 8 * static_cast<double>(by_position);
    w.counts.register_bits += input_bits + other_bits;
    w.counts.toggled_bits += input_bits * l.in.inputs + other_bits;
    w.counts.read_bytes += job_reads(r, n) + weights;
    w.counts.write_bytes += results * l.byte;
    w.counts.toggled_bytes += job_reads(r, n) * l.in.inputs + weights + results * l.byte * l.out.inputs;
    w.counts.results += results;
  });
}

}  // namespace pith::sim
