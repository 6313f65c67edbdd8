// See log.h.
#include "base/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <utility>

namespace pith {
namespace {

Verbosity verbosity = Verbosity::kNormal;
std::mutex mutex;
std::vector<std::string> kept;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void set_verbosity(Verbosity v) { verbosity = v; }

void log_info(const std::string& line) {
  if (verbosity != Verbosity::kQuiet) fmt::print(stderr, "{}\n", line);
}

void log_verbose(const std::string& line) {
  if (verbosity == Verbosity::kVerbose) fmt::print(stderr, "{}\n", line);
}

void log_warning(const std::string& line) {
  const std::lock_guard lock(mutex);
  if (std::find(kept.begin(), kept.end(), line) != kept.end()) return;
  kept.push_back(line);
  fmt::print(stderr, "warning: {}\n", line);
}

std::vector<std::string> take_warnings() {
  const std::lock_guard lock(mutex);
  return std::exchange(kept, {});
}

Progress::Progress(std::string title, size_t total)
    : title_(std::move(title)), total_(std::max<size_t>(total, 1)), started_(now()), terminal_(isatty(2) != 0) {}

Progress::~Progress() {
  if (terminal_ && drawn_ > 0) draw(true);
}

void Progress::step(size_t n) {
  done_ += n;
  if (terminal_ && verbosity != Verbosity::kQuiet && now() - drawn_ > 0.1) draw(false);
}

void Progress::draw(bool last) {
  drawn_ = now();
  const double part = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
  const double spent = drawn_ - started_;
  const int filled = static_cast<int>(part * 30);
  fmt::print(stderr, "\r{:<24} [{:<30}] {:3.0f} %  {:.0f} s", title_, std::string(static_cast<size_t>(filled), '#'),
             part * 100, last || part == 0 ? spent : spent / part - spent);
  fmt::print(stderr, "{}", last ? "\n" : " left ");
  std::fflush(stderr);
}

}  // namespace pith
