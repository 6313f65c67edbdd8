#include "sim/timing/weights.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pith::sim {
namespace {

// Multiplexers as a forest of connected parts, each with room for as many inputs as it has multiplexers.
class Placement {
 public:
  explicit Placement(const chip::Device& d)
      : adders_(static_cast<int>(d.compute_adders)), per_(std::max(1, static_cast<int>(std::ceil(d.compute_window / d.compute_adders)))), parent_(static_cast<size_t>(adders_)), room_(parent_.size()) {}

  void clear() {
    std::iota(parent_.begin(), parent_.end(), 0);
    std::fill(room_.begin(), room_.end(), 1);
  }
  bool place(int input) {
    const int a = find(input % adders_), b = find((input / per_ + adders_ / 2) % adders_);
    const int room = a == b ? room_[static_cast<size_t>(a)] : room_[static_cast<size_t>(a)] + room_[static_cast<size_t>(b)];
    if (room == 0) return false;
    parent_[static_cast<size_t>(b)] = a;
    room_[static_cast<size_t>(a)] = room - 1;
    return true;
  }

 private:
  int find(int x) {
    while (parent_[static_cast<size_t>(x)] != x) x = parent_[static_cast<size_t>(x)] = parent_[static_cast<size_t>(parent_[static_cast<size_t>(x)])];
    return x;
  }
  int adders_, per_;
  std::vector<int> parent_, room_;
};

int passes_of(std::vector<int32_t>& selected, Placement& placement) {
  int passes = 0;
  std::vector<int32_t> left;
  while (!selected.empty()) {
    placement.clear();
    left.clear();
    for (int32_t input : selected) {
      if (!placement.place(input)) left.push_back(input);
    }
    selected.swap(left);
    ++passes;
  }
  return passes;
}

constexpr int kPlanes = 9;  // signed powers of two of weights up to +-127

// Appends `input` to the planes of w's non-adjacent form; returns how many.
int add_digits(int32_t w, int32_t input, std::vector<int32_t> (&planes)[kPlanes]) {
  int digits = 0;
  for (int plane = 0; w != 0 && plane < kPlanes; ++plane, w /= 2) {
    if (w % 2 == 0) continue;
    const int32_t digit = (w & 3) == 1 ? 1 : -1;
    planes[plane].push_back(input);
    w -= digit;
    ++digits;
  }
  return digits;
}

}  // namespace

int64_t WeightPlan::stored_bytes() const { return std::accumulate(bytes.begin(), bytes.end(), int64_t{0}); }

int count_passes(const std::vector<int32_t>& selected, const chip::Device& device) {
  Placement placement(device);
  std::vector<int32_t> copy = selected;
  return passes_of(copy, placement);
}

WeightPlan plan_weights(const ProgramConstant& k, int64_t rows, int64_t length, int64_t share, const chip::Device& d) {
  WeightPlan plan;
  const int64_t filters = static_cast<int64_t>(d.compute_filters), window = static_cast<int64_t>(d.compute_window);
  const int64_t select_bits = 1 + static_cast<int64_t>(std::ceil(std::log2(d.compute_choices)));
  const int64_t count_bits = static_cast<int64_t>(std::ceil(std::log2(d.compute_adders + 1)));
  const int64_t sets = share >= filters ? 1 : (std::min(filters, rows) + share - 1) / share;  // of inputs that a group sees
  const int64_t inputs = sets * length;
  plan.groups = (rows + filters - 1) / filters;
  plan.windows = (inputs + window - 1) / window;
  for (int64_t w = 0; w < plan.windows; ++w) plan.inputs.push_back(static_cast<int32_t>(std::min(window, inputs - w * window)));
  plan.passes.assign(static_cast<size_t>(plan.groups * plan.windows), 0);
  plan.weights = rows * length;
  Placement placement(d);
  for (int64_t g = 0; g < plan.groups; ++g) {
    int64_t digits = 0, bits = 0;
    for (int64_t f = g * filters; f < std::min(rows, (g + 1) * filters); ++f) {
      const int64_t first = sets == 1 ? 0 : (f / share - g * filters / share) * length;  // of its inputs in the group's
      for (int64_t w = 0; w < plan.windows; ++w) {
        std::vector<int32_t> planes[kPlanes];
        const int64_t begin = std::max(first, w * window), end = std::min(first + length, (w + 1) * window);
        int64_t here = 0;
        for (int64_t i = begin; i < end; ++i) {
          const int32_t value = k.integers[static_cast<size_t>(f * length + i - first)];
          if (value == 0) continue;
          ++plan.nonzero;
          here += add_digits(value, static_cast<int32_t>(i - w * window), planes);
        }
        int passes = 0;
        for (auto& plane : planes) passes += passes_of(plane, placement);
        plan.extra_passes += std::max(0, passes - 1);
        // a pass says which multiplexers are used by a bit for each, or by their numbers where they are few
        bits += count_bits + passes + std::min(passes * static_cast<int64_t>(d.compute_adders), here * count_bits) + here * select_bits;
        digits += here;
        uint16_t& most = plan.passes[static_cast<size_t>(g * plan.windows + w)];
        most = std::max(most, static_cast<uint16_t>(passes));
      }
    }
    plan.digits.push_back(digits);
    plan.bytes.push_back((bits + 7) / 8);
    plan.all_digits += digits;
  }
  return plan;
}

}  // namespace pith::sim
