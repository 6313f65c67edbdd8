// See calibrate.h.
#include "micro/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"

namespace pith {

using ir::Op;

void Histogram::widen(double magnitude) {
  if (range_ == 0) {
    range_ = std::exp2(std::ceil(std::log2(magnitude)));
    bins_.assign(kBins, 0.0);
  }
  while (magnitude > range_) {  // halve the resolution: bin i and its neighbour become one
    std::vector<double> merged(kBins, 0.0);
    for (int i = 0; i < kBins; ++i) merged[static_cast<size_t>(kBins / 4 + i / 2)] += bins_[static_cast<size_t>(i)];
    bins_ = std::move(merged);
    range_ *= 2;
  }
}

// A moment much louder than the usual one counts by its own loudness, so that a few don't set the steps of all the
// others; usual and quiet ones count alike.
double Histogram::vote(double power) {
  if (power <= 0) return 1;
  log_power_ += std::log(power);
  ++voices_;
  const double usual = std::exp(log_power_ / voices_);
  return usual / (usual + power);
}

void Histogram::add(std::span<const float> values, bool stream) {
  float low = 0, high = 0;
  double energy = 0;
  for (float x : values) {
    if (!(std::abs(x) < 1e30f)) {
      nan_ = true;
      return;
    }
    low = std::min(low, x);
    high = std::max(high, x);
    energy += static_cast<double>(x) * x;
  }
  minimum_ = std::min<double>(minimum_, low);
  maximum_ = std::max<double>(maximum_, high);
  const double weight = stream ? vote(energy / std::max<double>(1, static_cast<double>(values.size()))) : 1;
  count_ += weight * static_cast<double>(values.size());
  const double magnitude = std::max(-static_cast<double>(low), static_cast<double>(high));
  if (magnitude > 0) widen(std::max(magnitude, 1e-12));
  if (range_ == 0) return;
  const float factor = static_cast<float>(kBins / 2 / range_);
  for (float x : values) {
    if (x == 0) continue;  // lies on every grid
    const int bin = static_cast<int>(x * factor + kBins / 2);
    bins_[static_cast<size_t>(std::clamp(bin, 0, kBins - 1))] += weight;
  }
}

namespace {

double through(const ir::Activation* function, double x) { return function ? numerics::apply_unary(function->function, x, function->a, function->b) : x; }

}  // namespace

std::vector<Histogram::Seen> Histogram::seen(const ir::Activation* function) const {
  const double width = 2 * range_ / kBins;
  std::vector<Seen> found;
  for (int i = 0; i < kBins && range_ > 0; ++i) {
    const double n = bins_[static_cast<size_t>(i)], x = -range_ + (i + 0.5) * width;
    if (n == 0) continue;
    const double slope = (through(function, x + 0.5 * width) - through(function, x - 0.5 * width)) / width;
    found.push_back({n, x, through(function, x), slope * slope});
  }
  return found;
}

// Inside: uniform rounding noise, as the function passes it on; outside: also the distance from what the end of the range
// gives, whose square counts `clipped` times.
double Histogram::error(const std::vector<Seen>& seen, numerics::Affine a, const ir::Activation* function, double clipped) {
  const double scale = numerics::scale_value(a.scale_code), low = -a.zero_point * scale, high = (255 - a.zero_point) * scale;
  const double at_low = through(function, low), at_high = through(function, high), noise = scale * scale / 12;
  double sum = 0;
  for (const Seen& s : seen) {
    const double beyond = s.x < low ? s.y - at_low : s.x > high ? s.y - at_high : 0;
    sum += s.count * (clipped * beyond * beyond + s.slope2 * noise);
  }
  return sum;
}

double Histogram::signal_to_noise(numerics::Affine a) const {
  const std::vector<Seen> all = seen(nullptr);
  const double noise = error(all, a, nullptr, 1);
  double power = 0;
  for (const Seen& s : all) power += s.count * s.x * s.x;
  return noise <= 0 ? 200 : 10 * std::log10(std::max(power, 1e-30) / noise);
}

double Histogram::clipped(numerics::Affine a) const {
  if (range_ == 0 || count_ == 0) return 0;
  const double scale = numerics::scale_value(a.scale_code), width = 2 * range_ / kBins;
  const double low = (-a.zero_point - 0.5) * scale - width, high = (255.5 - a.zero_point) * scale + width;
  double sum = 0;
  for (int i = 0; i < kBins; ++i) {
    const double x = -range_ + (i + 0.5) * width;
    if (x < low || x > high) sum += bins_[static_cast<size_t>(i)];
  }
  return sum / count_;
}

namespace {

// The finest grid that covers [low, high] (low <= 0 <= high) with zero on it.
numerics::Affine covering(double low, double high) {
  const double span = std::max(high - low, 1e-9);
  int code = numerics::scale_code_at_least(span / 255);
  for (;; ++code) {
    const double scale = numerics::scale_value(code);
    const int zero = std::clamp(static_cast<int>(std::lround(-low / scale)), 0, 255);
    if (zero * scale >= -low - scale / 2 && (255 - zero) * scale >= high - scale / 2) return {static_cast<int16_t>(code), static_cast<uint8_t>(zero)};
  }
}

}  // namespace

numerics::Affine Histogram::choose(RangeMethod method, double percentile, const ir::Activation* function) const {
  if (range_ == 0) return {-100, 0};  // always zero
  double low = minimum_, high = maximum_;
  if (method == RangeMethod::kPercentile) {
    const double tail = count_ * (1 - percentile / 100) / (low < 0 ? 2 : 1), width = 2 * range_ / kBins;
    double below = 0, above = 0;
    for (int i = 0; i < kBins && low < 0; ++i) {
      if ((below += bins_[static_cast<size_t>(i)]) <= tail) low = std::min(0.0, -range_ + (i + 1) * width);
    }
    for (int i = kBins; i-- > 0 && high > 0;) {
      if ((above += bins_[static_cast<size_t>(i)]) <= tail) high = std::max(0.0, -range_ + i * width);
    }
  }
  numerics::Affine best = covering(low, high);
  if (method != RangeMethod::kMse) return best;
  const std::vector<Seen> all = seen(function);
  const int most = function ? 48 : 24;  // sixteenths of an octave: functions that are flat at an end need little of it
  const double clipping = function ? kClipped : 1;
  double least = error(all, best, function, clipping);
  for (int shrink_low = 0; shrink_low <= (low < 0 ? most : 0); shrink_low += 2) {
    for (int shrink_high = 0; shrink_high <= (high > 0 ? most : 0); shrink_high += 2) {
      const numerics::Affine a = covering(low * std::exp2(-shrink_low / 16.0), high * std::exp2(-shrink_high / 16.0));
      const double e = error(all, a, function, clipping);
      if (e < least) {
        least = e;
        best = a;
      }
    }
  }
  return best;
}

int channel_axis(const ir::Node& n, size_t rank) {
  return n.op == Op::kConv || n.op == Op::kConvTranspose ? 1 : static_cast<int>(rank) - 1;
}

bool is_weighted(const ir::Graph& g, const ir::Node& n) {
  switch (n.op) {
    case Op::kConv: case Op::kConvTranspose:
      return g.value(n.inputs[1]).is_constant() && !g.value(n.inputs[0]).is_constant();
    case Op::kGemm: case Op::kMatMul:
      return g.value(n.inputs[1]).is_constant() && g.value(n.inputs[1]).shape.size() == 2 && !g.value(n.inputs[0]).is_constant();
    default:
      return false;
  }
}

namespace {

// What one run leaves is what the next begins with.
void carry_state(const ir::Graph& g, const std::vector<ir::Tensor>& outputs, std::vector<ir::Tensor>& inputs) {
  for (const auto& [in, out] : g.state) {
    const auto to = std::find(g.inputs.begin(), g.inputs.end(), in), from = std::find(g.outputs.begin(), g.outputs.end(), out);
    inputs[static_cast<size_t>(to - g.inputs.begin())] = outputs[static_cast<size_t>(from - g.outputs.begin())];
  }
}

}  // namespace

Result<Calibration> calibrate(const ir::Graph& g, const std::vector<std::vector<ir::Tensor>>& samples) {
  Calibration c;
  c.values.resize(g.values.size());
  std::map<ir::ValueId, int> means;  // values whose channel means are wanted, and their channel axis
  std::map<ir::ValueId, std::vector<const ir::Node*>> products;
  for (const ir::Node& n : g.nodes) {
    if (is_weighted(g, n)) means[n.inputs[0]] = channel_axis(n, g.value(n.inputs[0]).shape.size());
    if (gathers_patches(g, n)) products[n.inputs[0]].push_back(&n);
  }
  ir::InterpretOptions options;
  options.observe = [&](ir::ValueId id, const ir::Tensor& t) {
    if (t.dtype() != ir::DType::kF32) return;
    c.values[static_cast<size_t>(id)].add(t.as<float>(), !g.state.empty());
    if (products.count(id) != 0) {
      for (const ir::Node* n : products.at(id)) add_patches(g, *n, t, c.samples, c.patches[{id, n->inputs[1]}]);
    }
    const auto wanted = means.find(id);
    if (wanted == means.end()) return;
    const ir::Shape& s = t.shape();
    const size_t axis = static_cast<size_t>(wanted->second);
    int64_t inner = 1;
    for (size_t d = axis + 1; d < s.size(); ++d) inner *= s[d];
    std::vector<double>& sums = c.channel_means[id];
    sums.resize(static_cast<size_t>(s[axis]), 0.0);
    const auto x = t.as<float>();
    const double share = 1.0 / (static_cast<double>(x.size()) / static_cast<double>(s[axis]));
    for (size_t i = 0; i < x.size(); i += static_cast<size_t>(inner)) {
      double sum = 0;
      for (int64_t k = 0; k < inner; ++k) sum += x[i + static_cast<size_t>(k)];
      sums[(i / static_cast<size_t>(inner)) % sums.size()] += sum * share;
    }
  };
  Progress bar("calibrating", samples.size());
  std::vector<ir::Tensor> previous;
  for (std::vector<ir::Tensor> sample : samples) {
    if (!previous.empty()) carry_state(g, previous, sample);
    const auto outputs = ir::interpret(g, sample, options);
    if (!outputs.ok()) return outputs.error();
    previous = *outputs;
    ++c.samples;
    bar.step();
  }
  for (auto& [id, sums] : c.channel_means) {
    for (double& s : sums) s /= std::max<double>(1, static_cast<double>(c.samples));
  }
  const std::vector<int> made_by = ir::producers(g);
  for (size_t i = 0; i < c.values.size(); ++i) {
    if (!c.values[i].saw_nan()) continue;
    const std::string node = made_by[i] < 0 ? "an input" : fmt::format("node '{}'", g.nodes[static_cast<size_t>(made_by[i])].name);
    return usage_error(fmt::format("calibration: value '{}' ({}) holds NaN or infinity; check the weights and the preprocessing", g.values[i].name, node));
  }
  return c;
}

}  // namespace pith
