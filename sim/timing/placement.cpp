#include "sim/timing/placement.h"

#include <algorithm>
#include <cmath>

namespace pith::sim {
namespace {

class Seating {
 public:
  explicit Seating(const chip::Device& d)
      : adders_(static_cast<int>(d.compute_adders)),
        per_(static_cast<int>(std::ceil(d.compute_window / d.compute_adders))),
        taken_(static_cast<size_t>(adders_), Seat{-1, 0, 0}) {}

  bool seat(int32_t input) {
    seen_.assign(taken_.size(), false);
    return push(input);
  }
  std::vector<Seat> seats() const {
    std::vector<Seat> all;
    for (const Seat& s : taken_) {
      if (s.input >= 0) all.push_back(s);
    }
    return all;
  }

 private:
  bool push(int32_t input) {
    const Seat places[] = {{input, input % adders_, input / adders_},
                           {input, (input / per_ + adders_ / 2) % adders_, per_ + input % per_}};
    for (const Seat& place : places) {
      const size_t m = static_cast<size_t>(place.multiplexer);
      if (seen_[m]) continue;
      seen_[m] = true;
      if (taken_[m].input >= 0 && !push(taken_[m].input)) continue;
      taken_[m] = place;
      return true;
    }
    return false;
  }

  int adders_, per_;
  std::vector<Seat> taken_;
  std::vector<bool> seen_;
};

// One filter's weights in one window.
int64_t settle_window(int32_t* weights, int64_t count, const chip::Device& device) {
  Seating seating(device);
  std::vector<int32_t> left;
  for (int32_t i = 0; i < count; ++i) {
    if (weights[i] != 0 && !seating.seat(i)) left.push_back(i);
  }
  const int64_t moved = static_cast<int64_t>(left.size());
  int32_t free = 0;
  for (int32_t from : left) {
    const int32_t w = weights[from];
    weights[from] = 0;
    while (free < count && (weights[free] != 0 || free == from || !seating.seat(free))) ++free;
    if (free < count) weights[free++] = w;
  }
  return moved;
}

}  // namespace

int64_t settle_weights(Program& p, const chip::Device& device) {
  const int64_t window = static_cast<int64_t>(device.compute_window);
  int64_t moved = 0;
  for (const ProgramOp& op : p.ops) {
    const bool shared = op.opcode == PITH_OPCODE_Dense || op.opcode == PITH_OPCODE_CodedConv2d || (op.opcode == PITH_OPCODE_Conv2d && op.ints[8] == 1);
    if (!shared || !is_constant(op.inputs[1])) continue;
    ProgramConstant& k = p.constants[static_cast<size_t>(op.inputs[1] - kConstantBase)];
    if (k.dtype != PITH_I8 || k.bits != 2 || k.dims[0] == 0) continue;
    const int64_t length = static_cast<int64_t>(k.integers.size()) / k.dims[0];
    for (int64_t f = 0; f < k.dims[0]; ++f) {
      for (int64_t w = 0; w < length; w += window)
        moved += settle_window(k.integers.data() + f * length + w, std::min(window, length - w), device);
    }
  }
  return moved;
}

std::vector<std::vector<Seat>> seat_inputs(const std::vector<int32_t>& selected, const chip::Device& device) {
  std::vector<std::vector<Seat>> passes;
  std::vector<int32_t> waiting = selected;
  while (!waiting.empty()) {
    Seating seating(device);
    std::vector<int32_t> left;
    for (int32_t input : waiting) {
      if (!seating.seat(input)) left.push_back(input);
    }
    passes.push_back(seating.seats());
    waiting.swap(left);
  }
  return passes;
}

}  // namespace pith::sim
