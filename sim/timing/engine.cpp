#include "sim/timing/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>

namespace pith::sim {
namespace {

constexpr double kMoment = 1e-6;  // cycles that are no time

struct Demand {
  int resource;
  double per_cycle;
};

struct Active {
  int op = -1, unit = -1;
  double left = 0, rate = 1;
  Stall cause = Stall::kBanks;
  std::vector<Demand> demands;
};

class Engine {
 public:
  Engine(const Work& work, const chip::Device& d, double background) : work_(work), d_(d) {
    clusters_ = static_cast<int>(d.compute_clusters);
    sets_ = static_cast<int>(static_cast<double>(d.banks()) / d.memory_interleave);
    set_bytes_ = static_cast<int64_t>(d.memory_interleave) * d.bank_bytes();
    capacity_.assign(static_cast<size_t>(3 * clusters_ + sets_), d.memory_interleave * d.memory_bank_width / 8);
    for (int c = 0; c < clusters_; ++c) {
      capacity_[static_cast<size_t>(3 * c)] = d.memory_read_bus;
      capacity_[static_cast<size_t>(3 * c + 1)] = d.memory_write_bus;
      capacity_[static_cast<size_t>(3 * c + 2)] = d.compute_vector_lanes;
    }
    if (sets_ > 0) capacity_.back() = std::max(1.0, capacity_.back() - background);
    queues_.resize(static_cast<size_t>(2 * clusters_ + 3));
    running_.resize(queues_.size());
    for (int c = 0; c < clusters_; ++c) t_.units.push_back(fmt::format("cluster {} cores", c));
    for (int c = 0; c < clusters_; ++c) t_.units.push_back(fmt::format("cluster {} vector unit", c));
    t_.units.push_back("DMA");
    t_.units.push_back("CPU");
    t_.units.push_back("camera");
    t_.ops.resize(work.ops.size());
    jobs_left_.resize(work.ops.size());
    shares_.resize(work.ops.size());
  }

  Timing run() {
    while (finished_ < work_.ops.size()) {
      dispatch();
      start_jobs();
      share_resources();
      advance();
    }
    t_.cycles = now_;
    return std::move(t_);
  }

 private:
  // Which bank sets an operator's bytes lie in, as shares of 1.
  struct Shares {
    std::vector<std::pair<int, double>> read, write, weights;
  };
  std::vector<std::pair<int, double>> share_of(const std::vector<Span>& spans) const {
    double all = 0;
    for (const Span& s : spans) all += static_cast<double>(s.end - s.begin);
    std::vector<double> by_set(static_cast<size_t>(sets_));
    for (const Span& s : spans) {
      for (int64_t at = s.begin; at < s.end;) {
        const int64_t end = std::min(s.end, (at / set_bytes_ + 1) * set_bytes_);
        by_set[static_cast<size_t>(std::min<int64_t>(at / set_bytes_, sets_ - 1))] += static_cast<double>(end - at) / all;
        at = end;
      }
    }
    std::vector<std::pair<int, double>> shares;
    for (int s = 0; s < sets_; ++s) {
      if (by_set[static_cast<size_t>(s)] > 0) shares.emplace_back(3 * clusters_ + s, by_set[static_cast<size_t>(s)]);
    }
    return shares;
  }

  static bool conflict(const OpWork& a, const OpWork& b) {
    const auto any = [](const std::vector<Span>& x, const std::vector<Span>& y) {
      for (const Span& s : x) {
        for (const Span& u : y) {
          if (s.overlaps(u)) return true;
        }
      }
      return false;
    };
    return any(a.writes, b.reads) || any(a.reads, b.writes) || any(a.writes, b.writes);
  }

  int unit_of(const OpWork& op, const Job& job) const {
    if (op.unit == UnitKind::kDma) return 2 * clusters_;
    if (op.unit == UnitKind::kCpu) return 2 * clusters_ + 1;
    if (op.unit == UnitKind::kCamera) return 2 * clusters_ + 2;
    return op.unit == UnitKind::kCores ? job.cluster : clusters_ + job.cluster;
  }

  void dispatch() {
    // commands are fetched one after the other, ahead of their operators
    while (fetched_ < work_.ops.size() && waiting_.size() + flying_.size() < static_cast<size_t>(d_.compute_queue)) {
      fetch_end_ = std::max(fetch_end_, now_) + d_.compute_command_cycles;
      waiting_.push_back({fetched_++, fetch_end_});
    }
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      bool ready = it->second <= now_;
      for (size_t f : flying_) ready = ready && !conflict(work_.ops[f], work_.ops[it->first]);
      for (auto earlier = waiting_.begin(); earlier != it; ++earlier) ready = ready && !conflict(work_.ops[earlier->first], work_.ops[it->first]);
      if (!ready) {
        ++it;
        continue;
      }
      launch(it->first);
      it = waiting_.erase(it);
    }
  }

  void launch(size_t index) {
    const OpWork& op = work_.ops[index];
    t_.ops[index].start = now_;
    shares_[index] = {share_of(op.reads), share_of(op.writes), share_of({op.weights})};
    jobs_left_[index] = op.jobs.size();
    flying_.push_back(index);
    for (const Job& job : op.jobs) queues_[static_cast<size_t>(unit_of(op, job))].push_back({static_cast<int>(index), &job});
    if (op.jobs.empty()) finish(index);
  }

  void start_jobs() {
    for (size_t u = 0; u < queues_.size(); ++u) {
      if (running_[u].op >= 0 || queues_[u].empty() || queues_[u].front().second->not_before > now_ + kMoment) continue;
      const auto [index, job] = queues_[u].front();
      queues_[u].pop_front();
      Active& a = running_[u];
      a.op = index, a.unit = static_cast<int>(u), a.left = std::max(job->cycles, 1e-9);
      a.demands.clear();
      const auto draw = [&](int resource, double amount) {
        if (amount > 0) a.demands.push_back({resource, amount / a.left});
      };
      if (job->cluster >= 0) {
        draw(3 * job->cluster, job->read_bytes + job->weight_bytes);
        draw(3 * job->cluster + 1, job->write_bytes);
        draw(3 * job->cluster + 2, job->results);
      }
      for (const auto& [set, share] : shares_[static_cast<size_t>(index)].read) draw(set, job->read_bytes * share);
      for (const auto& [set, share] : shares_[static_cast<size_t>(index)].weights) draw(set, job->weight_bytes * share);
      for (const auto& [set, share] : shares_[static_cast<size_t>(index)].write) draw(set, job->write_bytes * share);
      changed_ = true;
      const bool joins = last_segment(u) && last_segment(u)->op == index && last_segment(u)->end == now_;
      if (!joins) {
        open_.resize(queues_.size(), SIZE_MAX);
        open_[u] = t_.segments.size();
        t_.segments.push_back({static_cast<int>(u), index, now_, now_});
      }
    }
  }

  Segment* last_segment(size_t u) { return u < open_.size() && open_[u] != SIZE_MAX ? &t_.segments[open_[u]] : nullptr; }

  void share_resources() {
    if (!changed_) return;
    changed_ = false;
    for (Active& a : running_) a.rate = 1;
    std::vector<double> load(capacity_.size());
    for (size_t pass = 0; pass <= capacity_.size(); ++pass) {
      std::fill(load.begin(), load.end(), 0);
      for (const Active& a : running_) {
        if (a.op < 0) continue;
        for (const Demand& m : a.demands) load[static_cast<size_t>(m.resource)] += a.rate * m.per_cycle;
      }
      size_t worst = 0;
      double most = 1 + 1e-9;
      for (size_t r = 0; r < load.size(); ++r) {
        if (load[r] / capacity_[r] > most) most = load[r] / capacity_[r], worst = r;
      }
      if (most <= 1 + 1e-9) break;
      const Stall cause = worst >= static_cast<size_t>(3 * clusters_) ? Stall::kBanks : worst % 3 == 0 ? Stall::kReadBus : worst % 3 == 1 ? Stall::kWriteBus : Stall::kResults;
      for (Active& a : running_) {
        const bool uses = a.op >= 0 && std::any_of(a.demands.begin(), a.demands.end(), [&](const Demand& m) { return m.resource == static_cast<int>(worst); });
        if (uses) a.rate /= most, a.cause = cause;
      }
    }
  }

  void advance() {
    double step = -1;
    for (const Active& a : running_) {
      if (a.op >= 0 && (step < 0 || a.left / a.rate < step)) step = a.left / a.rate;
    }
    for (const auto& [op, at] : waiting_) {
      if (at > now_ && (step < 0 || at - now_ < step)) step = at - now_;
    }
    const auto& camera = queues_.back();
    if (!camera.empty() && running_.back().op < 0) {
      const double wait = camera.front().second->not_before - now_;
      if (wait > kMoment && (step < 0 || wait < step)) step = wait;
    }
    if (step < 0) step = 0;  // only operators without jobs were launched
    account(step);
    now_ += step;
    ++t_.events;
    for (size_t u = 0; u < running_.size(); ++u) {
      Active& a = running_[u];
      if (a.op < 0) continue;
      a.left -= step * a.rate;
      last_segment(u)->end = now_;
      if (a.left > kMoment) continue;
      const size_t index = static_cast<size_t>(a.op);
      a.op = -1;
      changed_ = true;
      if (--jobs_left_[index] == 0) finish(index);
    }
  }

  void finish(size_t index) {
    t_.ops[index].end = now_;
    flying_.erase(std::find(flying_.begin(), flying_.end(), index));
    ++finished_;
  }

  // Every cluster's cores over the step: work, or a stall with its cause, charged to the oldest operator in flight.
  void account(double step) {
    if (step <= 0) return;
    const size_t oldest = !flying_.empty() ? *std::min_element(flying_.begin(), flying_.end()) : waiting_.empty() ? work_.ops.size() - 1 : waiting_.front().first;
    const bool dma = running_[static_cast<size_t>(2 * clusters_)].op >= 0, cpu = running_[static_cast<size_t>(2 * clusters_ + 1)].op >= 0;
    const bool camera = running_.back().op >= 0 || !queues_.back().empty();
    bool cores = false, vector = false;
    for (int c = 0; c < clusters_; ++c) {
      cores = cores || running_[static_cast<size_t>(c)].op >= 0;
      vector = vector || running_[static_cast<size_t>(clusters_ + c)].op >= 0;
    }
    const auto stall = [&](size_t op, Stall cause, double cycles) {
      t_.ops[op].stalls[static_cast<size_t>(cause)] += cycles;
      t_.stalls[static_cast<size_t>(cause)] += cycles;
    };
    for (int c = 0; c < clusters_; ++c) {
      const Active& a = running_[static_cast<size_t>(c)];
      if (a.op >= 0) {
        t_.ops[static_cast<size_t>(a.op)].busy += step * a.rate;
        t_.busy += step * a.rate;
        if (a.rate < 1) stall(static_cast<size_t>(a.op), a.cause, step * (1 - a.rate));
      } else {
        stall(oldest, cores ? Stall::kImbalance : vector ? Stall::kVectorWork : dma ? Stall::kDma : cpu ? Stall::kCpu : camera ? Stall::kCamera : Stall::kCommand, step);
      }
    }
  }

  const Work& work_;
  const chip::Device& d_;
  Timing t_;
  int clusters_ = 0, sets_ = 0;
  int64_t set_bytes_ = 0;
  std::vector<double> capacity_;
  std::vector<std::deque<std::pair<int, const Job*>>> queues_;
  std::vector<Active> running_;
  std::vector<size_t> open_, jobs_left_;
  std::vector<Shares> shares_;
  std::deque<std::pair<size_t, double>> waiting_;  // operator, when its command is there
  std::vector<size_t> flying_;
  size_t fetched_ = 0, finished_ = 0;
  double now_ = 0, fetch_end_ = 0;
  bool changed_ = true;
};

}  // namespace

const char* stall_name(int stall) {
  constexpr const char* names[kStalls] = {"read bus", "write bus", "results", "banks", "imbalance", "vector work", "dma", "cpu", "camera", "command"};
  return names[stall];
}

Timing simulate(const Work& work, const chip::Device& device, double background) { return Engine(work, device, background).run(); }

}  // namespace pith::sim
