// See retrain_run.h.
#include "cli/retrain_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/log.h"

namespace pith::cli {
namespace {

std::atomic<bool> g_stop{false};
void on_interrupt(int) { g_stop = true; }

Result<double> seconds_of(const std::string& text) {
  char unit = 's';
  double value = 0;
  char rest = 0;
  const int read = std::sscanf(text.c_str(), "%lf%c%c", &value, &unit, &rest);
  if (read < 1 || read > 2 || value <= 0 || (unit != 's' && unit != 'm' && unit != 'h')) return usage_error(fmt::format("--time '{}' isn't a time; give 90s, 30m or 2h", text));
  return value * (unit == 'h' ? 3600 : unit == 'm' ? 60 : 1);
}

}  // namespace

StopOnInterrupt::StopOnInterrupt() : before_(std::signal(SIGINT, on_interrupt)) { g_stop = false; }
StopOnInterrupt::~StopOnInterrupt() { std::signal(SIGINT, before_); }

const std::atomic<bool>& stop_asked() { return g_stop; }

Result<train::TrainOptions> train_options(const RetrainFlags& f, uint64_t seed) {
  train::TrainOptions t;
  PITH_TRY(t.place, train::place_from_environment());
  if (!f.time.empty()) {
    PITH_TRY(t.seconds, seconds_of(f.time));
  }
  t.temperature = f.temperature > 0 ? f.temperature : 2, t.label_weight = f.label_weight, t.batch = f.batch, t.steps = f.steps, t.rate = f.rate, t.step_rate = f.step_rate;
  t.shift = f.shift, t.flip = f.flip, t.variants = f.variants, t.seed = seed, t.threads = f.threads, t.device = f.device, t.ramp = f.ramp, t.settle = f.settle;
  t.layerwise = f.layerwise, t.features = f.features, t.mix = f.mix, t.gain = f.gain, t.noise = f.noise, t.zoom = f.zoom, t.validation = 512;
  if (f.lambda > 0) t.lambda = f.lambda;
  return t;
}

void tell_choice(const train::Status& s) {
  if (s.validation > 0)
    log_info(fmt::format("on samples held apart: distortion {:.5f}, of the moving average {:.5f}, of the better one with its biases at the original's means {:.5f}", s.validation, s.validation_average, s.validation_recentred));
}

void Teller::operator()(const train::Status& s) {
  const bool terminal = isatty(2) != 0;
  const double now = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  if (now - told_ < (terminal ? 0.5 : 30)) return;
  told_ = now;
  if (first_ < 0) first_ = s.share;
  const double left = s.share > first_ + 1e-4 ? now / (s.share - first_) * (1 - s.share) : 0;
  const std::string line = fmt::format("retraining {:5.1f} %: distortion {:.5f}, {:.0f} bytes of weights, {:.1f} % nonzero, lambda {:.1e}, step {}, {:.0f} min left", 100 * s.share, s.distortion,
                                       s.bits / 8, 100 * s.nonzero, s.lambda, s.step, left / 60);
  if (terminal) {
    std::fprintf(stderr, "\r%s\033[K", line.c_str());
  } else {
    log_info(line);
  }
}

}  // namespace pith::cli
