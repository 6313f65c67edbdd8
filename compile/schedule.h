// Which network runs when, where several share one arena and one processor.
//
// A network runs to its end once it has begun (what it holds in the arena would be lost otherwise), so the schedule is
// earliest deadline first without interruption (Jeffay, Stanat and Martel 1991, "On non-preemptive scheduling of periodic
// and sporadic tasks"): whenever the processor is free, of the networks whose period has begun the one whose period ends
// first. A deadline is the end of the period. The schedule repeats after the least common multiple of the periods. In a cascade
// (a detector, then a classifier on each crop) the others run as often as the first finds something, at most so many times.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace pith {

struct Task {
  std::string name;
  int64_t period = 0, time = 0;  // microseconds: between its starts, and of one run (the worst)
};

struct Slot {
  size_t task = 0;
  int64_t start = 0, end = 0;  // microseconds
};

struct Schedule {
  std::vector<Slot> slots;       // of one round, by time
  int64_t round = 0;             // microseconds until it repeats
  std::vector<int64_t> latency;  // of each task: from the start of its period to its end, the worst of the round
  double busy = 0;               // share of the round
};

// Error kDoesNotFit names the task that misses its deadline first, when, and by how much; kUsage: a period or time that
// isn't positive, or a round of more than 100,000 runs.
Result<Schedule> schedule_tasks(const std::vector<Task>& tasks);

// A cascade: the first network runs once in its period, then all others on each of `crops` things that it found, one after
// the other. One round; latencies count from the beginning of the period. Error kDoesNotFit: the last ends after the period,
// with the number of crops for which there is time; kUsage as above, or crops outside 1..100,000.
Result<Schedule> schedule_cascade(const std::vector<Task>& tasks, int64_t crops);

}  // namespace pith
