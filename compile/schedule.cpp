// See schedule.h.
#include "compile/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace pith {

Result<Schedule> schedule_tasks(const std::vector<Task>& tasks) {
  constexpr int64_t kMostRuns = 100'000;
  Schedule s;
  s.round = 1;
  for (const Task& t : tasks) {
    if (t.period < 1 || t.time < 1) return usage_error(fmt::format("network '{}' has a period of {} us and takes {} us; both must be positive", t.name, t.period, t.time));
    const int64_t factor = t.period / std::gcd(s.round, t.period);
    if (factor > INT64_MAX / 4 / s.round) return usage_error("the periods have no common multiple within reach; choose rounder ones");
    s.round *= factor;
    s.busy += static_cast<double>(t.time) / static_cast<double>(t.period);
  }
  int64_t runs = 0;
  for (const Task& t : tasks) runs += std::min(s.round / t.period, kMostRuns);
  if (runs > kMostRuns) return usage_error(fmt::format("the schedule repeats only after {} runs or more; choose rounder periods", kMostRuns));
  std::vector<int64_t> done(tasks.size(), 0);  // runs of each
  s.latency.assign(tasks.size(), 0);
  for (int64_t now = 0; runs > 0; --runs) {
    size_t best = tasks.size();
    int64_t next = INT64_MAX;
    const auto begin = [&](size_t i) { return done[i] * tasks[i].period; };
    for (size_t i = 0; i < tasks.size(); ++i)
      if (begin(i) < s.round) next = std::min(next, begin(i));
    now = std::max(now, next);
    for (size_t i = 0; i < tasks.size(); ++i) {
      if (begin(i) > now || begin(i) >= s.round) continue;
      if (best == tasks.size() || begin(i) + tasks[i].period < begin(best) + tasks[best].period) best = i;
    }
    const Task& t = tasks[best];
    const int64_t end = now + t.time, late = end - begin(best) - t.period;
    if (late > 0)
      return error(ErrorCode::kDoesNotFit, fmt::format("network '{}' ends {} us after its deadline at {} us ({:.0f} % of the time is asked for); give it a longer period, or the others shorter runs", t.name, late,
                                                       begin(best) + t.period, 100 * s.busy));
    s.latency[best] = std::max(s.latency[best], end - begin(best));
    s.slots.push_back({best, now, end});
    ++done[best];
    now = end;
  }
  return s;
}

Result<Schedule> schedule_cascade(const std::vector<Task>& tasks, int64_t crops) {
  constexpr int64_t kMostCrops = 100'000;
  if (tasks.size() < 2) return usage_error("a cascade takes two networks or more");
  if (crops < 1 || crops > kMostCrops) return usage_error(fmt::format("a cascade of {} crops; 1 to {} are possible", crops, kMostCrops));
  for (const Task& t : tasks)
    if (t.time < 1) return usage_error(fmt::format("network '{}' takes {} us; that must be positive", t.name, t.time));
  const Task& first = tasks[0];
  if (first.period < 1) return usage_error(fmt::format("network '{}' has a period of {} us; it must be positive", first.name, first.period));
  Schedule s;
  s.round = first.period;
  s.latency.assign(tasks.size(), 0);
  int64_t now = 0;
  const auto run = [&](size_t task) {
    s.slots.push_back({task, now, now + tasks[task].time});
    s.latency[task] = now += tasks[task].time;
  };
  run(0);
  for (int64_t crop = 0; crop < crops; ++crop)
    for (size_t i = 1; i < tasks.size(); ++i) run(i);
  s.busy = static_cast<double>(now) / static_cast<double>(s.round);
  if (now > s.round) {
    const int64_t each = (now - first.time) / crops, enough = std::max<int64_t>(0, (s.round - first.time) / each);
    return error(ErrorCode::kDoesNotFit, fmt::format("network '{}' ends {} us after its deadline at {} us with {} crops; there is time for {}, or give '{}' a longer period", tasks.back().name, now - s.round, s.round, crops, enough, first.name));
  }
  return s;
}

}  // namespace pith
