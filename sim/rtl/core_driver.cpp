#include "sim/rtl/core_driver.h"

#include <algorithm>
#include <cstdlib>

namespace pith::sim {
namespace {

// Signed powers of two of a weight, least first: the non-adjacent form.
struct Digit {
  int plane, sign;
};
std::vector<Digit> digits_of(int32_t w) {
  std::vector<Digit> digits;
  for (int plane = 0; w != 0; ++plane, w /= 2) {
    if (w % 2 == 0) continue;
    const int sign = (w & 3) == 1 ? 1 : -1;
    digits.push_back({plane, sign});
    w -= sign;
  }
  return digits;
}

int sign_at(int32_t w, int plane) {
  for (const Digit& d : digits_of(w)) {
    if (d.plane == plane) return d.sign;
  }
  return 0;
}

template <typename Wide>
void put_bits(Wide& to, int at, int bits, uint32_t value) {
  for (int i = 0; i < bits; ++i) {
    const int bit = at + i;
    const uint32_t mask = uint32_t{1} << (bit % 32);
    to[bit / 32] = (value >> i & 1) ? (to[bit / 32] | mask) : (to[bit / 32] & ~mask);
  }
}

}  // namespace

bool fits_partial(const CoreFilter& f) {
  int64_t most = 0, least = 0;
  for (int32_t w : f.weights) (w > 0 ? most : least) += int64_t{255} * w;
  const int64_t limit = int64_t{1} << (kCorePartialBits - 1);
  return most < limit && least >= -limit;
}

std::vector<CoreDriver::Pass> CoreDriver::passes_of(const CoreJob& job) const {
  std::vector<Pass> all;
  const int length = static_cast<int>(job.filters[0].weights.size());
  for (int begin = 0, window = 0; begin < length; begin += kCoreWindow, ++window) {
    std::vector<Pass> passes;
    for (size_t f = 0; f < job.filters.size(); ++f) {
      size_t next = 0;
      for (int plane = 0; plane < 9; ++plane) {
        std::vector<int32_t> selected;
        for (int i = begin; i < std::min(length, begin + kCoreWindow); ++i) {
          if (sign_at(job.filters[f].weights[static_cast<size_t>(i)], plane) != 0) selected.push_back(i - begin);
        }
        for (auto& seats : seat_inputs(selected, device_)) {
          if (next == passes.size()) passes.push_back({window, {}, {}});
          passes[next].seats[f] = std::move(seats);
          passes[next++].plane[f] = plane;
        }
      }
    }
    all.insert(all.end(), passes.begin(), passes.end());
  }
  return all;
}

void CoreDriver::clock() {
  core_->clk = 0;
  core_->eval();
  core_->clk = 1;
  core_->eval();
}

void CoreDriver::load(const CoreJob& job, const Pass& pass, int filter) {
  const size_t f = static_cast<size_t>(filter);
  uint64_t used = 0, negative = 0;
  for (int i = 0; i < 4; ++i) core_->load_choice[i] = 0;
  for (const Seat& s : pass.seats[f]) {
    const int32_t w = job.filters[f].weights[static_cast<size_t>(pass.window * kCoreWindow + s.input)];
    used |= uint64_t{1} << s.multiplexer;
    if (sign_at(w, pass.plane[f]) < 0) negative |= uint64_t{1} << s.multiplexer;
    put_bits(core_->load_choice, 3 * s.multiplexer, 3, static_cast<uint32_t>(s.choice));
  }
  core_->load = 1;
  core_->load_filter = static_cast<uint8_t>(filter);
  core_->load_used = used;
  core_->load_negative = negative;
  core_->load_plane = static_cast<uint8_t>(pass.plane[f]);
}

void CoreDriver::configure(const CoreJob& job) {
  core_->reset = 1;
  core_->valid = core_->swap = core_->first = core_->last = core_->load = core_->configure = core_->table_set = 0;
  for (int i = 0; i < 20; ++i) clock();
  core_->reset = 0;
  for (size_t f = 0; f < job.filters.size(); ++f) {
    const CoreFilter& filter = job.filters[f];
    int64_t share = 0;
    for (int32_t w : filter.weights) share += int64_t{job.in_zero_point} * w;
    core_->configure = 1;
    core_->set_filter = static_cast<uint8_t>(f);
    core_->set_bias = static_cast<uint32_t>(filter.bias - static_cast<int32_t>(share));
    core_->set_mantissa = static_cast<uint16_t>(filter.factor.mantissa);
    core_->set_shift = static_cast<uint8_t>(filter.factor.shift);
    clock();
  }
  core_->configure = 0;
  core_->zero_point = static_cast<uint8_t>(job.out_zero_point);
  core_->low = static_cast<uint8_t>(job.low);
  core_->high = static_cast<uint8_t>(job.high);
  for (int i = 0; i < 256; ++i) {
    core_->table_set = 1;
    core_->table_at = static_cast<uint8_t>(i);
    core_->table_value = job.table[static_cast<size_t>(i)];
    clock();
  }
  core_->table_set = 0;
}

CoreResult CoreDriver::run(const CoreJob& job) {
  CoreResult result;
  const std::vector<Pass> passes = passes_of(job);
  const size_t positions = job.inputs.size();
  result.outputs.resize(positions);
  if (passes.empty() || positions < 2) return result;  // nothing to sum, or too little time to load weights behind
  configure(job);
  for (int f = 0; f < kCoreFilters; ++f) load(job, passes[0], f), clock();
  core_->load = 0;
  size_t done = 0;
  const auto step = [&] {
    clock();
    ++result.cycles;
    if (!core_->out_valid) return;
    for (int f = 0; f < kCoreFilters; ++f)
      result.outputs[core_->out_position][static_cast<size_t>(f)] = static_cast<uint8_t>(core_->out >> (8 * f));
    ++done;
  };
  for (size_t p = 0; p < passes.size(); ++p) {
    int to_load = p + 1 < passes.size() ? 0 : kCoreFilters;
    for (size_t at = 0; at < positions; ++at) {
      for (int slot = 0; slot < 2; ++slot) {
        core_->valid = 1;
        core_->swap = at == 0 && slot == 0;
        core_->first = p == 0 && slot == 0;
        core_->last = p + 1 == passes.size() && slot == 1;
        core_->position = static_cast<uint8_t>(at);
        core_->high_slot = static_cast<uint8_t>(slot);
        const std::vector<uint8_t>& codes = job.inputs[at];
        for (int i = 0; i < kCoreWindow; ++i) {
          const size_t input = static_cast<size_t>(passes[p].window * kCoreWindow + i);
          put_bits(core_->window, 4 * i, 4, input < codes.size() ? (codes[input] >> (4 * slot)) & 15u : 0);
        }
        core_->load = 0;
        if (to_load < kCoreFilters) load(job, passes[p + 1], to_load++);
        step();
        result.toggles.cycles += 1;
      }
    }
  }
  core_->valid = core_->load = 0;
  while (done < positions && result.cycles < (int64_t{1} << 32)) step();
  ++result.cycles;  // in which the last result is taken
  result.toggles.inputs = static_cast<double>(core_->toggled_inputs);
  result.toggles.selected = static_cast<double>(core_->toggled_selected);
  result.toggles.trees = static_cast<double>(core_->toggled_trees);
  result.toggles.partial = static_cast<double>(core_->toggled_partial);
  return result;
}

}  // namespace pith::sim
