// See row_lifting.h.
#include "cli/row_lifting.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "coding/decode/activation_rows.h"

namespace pith::cli {
namespace {

using coding::LiftedChannel;
using coding::LiftedRowModel;
using coding::RowChannel;
using numerics::kMostRowLift;

constexpr int64_t kSideBits = 24;

// Memory for a row's walk.
struct Walker {
  explicit Walker(const SampledRows& r, const std::vector<uint8_t>& given)
      : rows(r), lifting(given), state(static_cast<size_t>(r.channels)), lifted(state.size()), decoded(state.size()) {
    if (lifting.empty()) {  // the same numbers as without one
      lifting.resize(3 * state.size());
      std::fill_n(lifting.begin() + r.channels, r.channels, static_cast<uint8_t>(kMostRowLift));
    }
  }
  coding::LiftedRows form() { return {{lifting.data(), rows.channels}, rows.zero_point, rows.width, state.data(), lifted.data()}; }
  // The index of the finest step that fits.
  int step_of(size_t row, int64_t row_bytes) {
    if (row_bytes == 0) return 0;
    coded.resize(static_cast<size_t>(row_bytes));
    return form().encode(rows.row(row), decoded.data(), coded.data(), row_bytes);
  }
  // Of a row with step 1.
  int64_t exact_bits(size_t row) {
    int64_t bits = 0;
    form().walk(rows.row(row), 0, decoded.data(), [&](int number, int parameter) {
      bits += numerics::row_number_bits(number, parameter);
      return true;
    });
    return bits;
  }

  const SampledRows& rows;
  std::vector<uint8_t> lifting;
  std::vector<RowChannel> state;
  std::vector<LiftedChannel> lifted;
  std::vector<uint8_t> decoded, coded;
};

// A row as it is coded without a lifting, channel by channel.
struct Trace {
  int step_index;
  std::vector<uint8_t> given, decoded;
  std::vector<LiftedChannel> shown;
  std::vector<RowChannel> first;  // after the first column
};

Trace trace_of(const SampledRows& rows, size_t row, int64_t row_bytes) {
  Walker w(rows, {});
  const size_t size = rows.row_values(), channels = static_cast<size_t>(rows.channels), width = static_cast<size_t>(rows.width);
  Trace t{w.step_of(row, row_bytes), std::vector<uint8_t>(size), std::vector<uint8_t>(size), std::vector<LiftedChannel>(size), {}};
  if (t.step_index == numerics::kRowFlat) return t;
  size_t i = 0;
  const auto keep = [&](size_t value) {  // of the walk, when the next one is asked for
    const size_t c = value % channels, at = c * width + value / channels;
    t.decoded[at] = w.decoded[c], t.shown[at] = w.lifted[c];
    if (value == channels - 1) t.first = w.state;
  };
  w.form().walk(rows.row(row), t.step_index, w.decoded.data(), [&](int, int) {
    if (i > 0) keep(i - 1);
    ++i;
    return true;
  });
  keep(size - 1);
  for (size_t k = 0; k < size; ++k) t.given[k % channels * width + k / channels] = rows.row(row)[k];
  return t;
}

// The rows to choose on: the fullest ones, which say how many bytes all of them get without loss, or some everywhere.
std::vector<size_t> chosen_rows(const SampledRows& rows, size_t count, bool fullest) {
  constexpr size_t kRows = 96;
  std::vector<size_t> chosen;
  const size_t every = fullest ? 1 : std::max<size_t>(1, (count + kRows - 1) / kRows);
  for (size_t i = 0; i < count; i += every) chosen.push_back(i);
  if (!fullest) return chosen;
  Walker w(rows, {});
  std::vector<int64_t> bits;
  for (size_t i : chosen) bits.push_back(w.exact_bits(i));
  std::stable_sort(chosen.begin(), chosen.end(), [&](size_t a, size_t b) { return bits[a] > bits[b]; });
  chosen.resize(std::min(count, kRows));
  return chosen;
}

struct Choice {
  int32_t other = 0;
  int step = 0, size = 0;
};

// Bits of a channel behind the first column where it looks at another one.
int64_t bits_of(const Trace& t, const SampledRows& rows, int32_t channel, const Choice& choice) {
  if (t.step_index == numerics::kRowFlat) return 0;
  const size_t width = static_cast<size_t>(rows.width), own = static_cast<size_t>(channel) * width, other = static_cast<size_t>(choice.other) * width;
  const std::array<uint8_t, 6> bytes = {0, 1, kMostRowLift, static_cast<uint8_t>(kMostRowLift + choice.step), 0, static_cast<uint8_t>(choice.size)};
  std::array<RowChannel, 2> state = {t.first[static_cast<size_t>(channel)], t.first[static_cast<size_t>(channel)]};
  std::array<LiftedChannel, 2> lifted = {t.shown[own], t.shown[own]};
  LiftedRowModel model({bytes.data(), 2}, state.data(), lifted.data(), t.step_index, rows.zero_point);
  int64_t bits = 0;
  int left = t.decoded[own];
  for (size_t x = 1; x < width; ++x) {
    lifted[0] = t.shown[other + x];
    const auto e = model.expect(1, false, left);
    const int number = model.number(e, t.given[own + x], numerics::row_rounds_down(static_cast<int>(x), channel, t.given[own + x - 1], left)), value = model.value(e, number);
    bits += numerics::row_number_bits(number, e.parameter);
    model.learn(1, false, left, value, number);
    left = value;
  }
  return bits;
}

// Second moments of what channels show at the same pixels.
class Moments {
 public:
  template <typename Shown>
  Moments(const std::vector<Trace>& traces, const SampledRows& rows, const Shown& shown) : channels_(static_cast<size_t>(rows.channels)), sums_(channels_ * channels_) {
    const size_t width = static_cast<size_t>(rows.width), every = std::max<size_t>(1, traces.size() * width / kPixels);
    std::vector<float> v(channels_);
    size_t pixel = 0;
    for (const Trace& t : traces) {
      if (t.step_index == numerics::kRowFlat) continue;
      for (size_t x = 1; x < width; ++x) {
        if (pixel++ % every != 0) continue;
        for (size_t c = 0; c < channels_; ++c) v[c] = static_cast<float>(shown(t.shown[c * width + x]));
        for (size_t c = 0; c < channels_; ++c)
          for (size_t r = 0; r <= c; ++r) sums_[c * channels_ + r] += v[c] * v[r];
      }
    }
  }
  // Earlier channels that say most about c.
  std::vector<int32_t> best(int32_t c) const {
    std::vector<int32_t> all(static_cast<size_t>(c));
    std::iota(all.begin(), all.end(), 0);
    const size_t kept = std::min(kTried, all.size());
    std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end(), [&](int32_t a, int32_t b) { return explained(c, a) > explained(c, b); });
    all.resize(kept);
    return all;
  }
  // The multiplier of r's that is nearest to c's, in quarters.
  int quarters(int32_t c, int32_t r) const {
    return at(r, r) > 0 ? static_cast<int>(std::clamp(std::lround(4 * at(c, r) / at(r, r)), -long{kMostRowLift}, long{kMostRowLift})) : 0;
  }

 private:
  static constexpr size_t kPixels = 4000, kTried = 3;
  float at(int32_t c, int32_t r) const { return sums_[static_cast<size_t>(c) * channels_ + static_cast<size_t>(r)]; }
  float explained(int32_t c, int32_t r) const { return at(r, r) > 0 ? at(c, r) * at(c, r) / at(r, r) : 0; }
  size_t channels_;
  std::vector<float> sums_;
};

}  // namespace

std::vector<uint8_t> fit_lifting(const SampledRows& rows, size_t count, int64_t row_bytes) {
  const size_t channels = static_cast<size_t>(rows.channels);
  std::vector<Trace> traces;
  for (size_t i : chosen_rows(rows, count, row_bytes == 0)) traces.push_back(trace_of(rows, i, row_bytes));
  const Moments steps(traces, rows, [](const LiftedChannel& l) { return l.step; }), sizes(traces, rows, [](const LiftedChannel& l) { return l.size; });
  const int64_t side = kSideBits * static_cast<int64_t>(traces.size()) / std::max(1, rows.height);
  std::vector<uint8_t> lifting(3 * channels);
  std::fill_n(lifting.begin() + rows.channels, rows.channels, static_cast<uint8_t>(kMostRowLift));
  bool any = false;
  for (int32_t c = 1; c < rows.channels; ++c) {
    const auto all_bits = [&](const Choice& choice) {
      int64_t bits = 0;
      for (const Trace& t : traces) bits += bits_of(t, rows, c, choice);
      return bits;
    };
    int64_t least = all_bits({}) - side;
    Choice chosen;
    const auto consider = [&](const Choice& choice) {
      if (choice.step == 0 && choice.size == 0) return;
      if (const int64_t bits = all_bits(choice); bits < least) least = bits, chosen = choice;
    };
    std::vector<int32_t> others = steps.best(c);
    for (int32_t r : sizes.best(c))
      if (std::find(others.begin(), others.end(), r) == others.end()) others.push_back(r);
    for (int32_t r : others) {
      if (c - r > 255) continue;
      const int step = steps.quarters(c, r), size = sizes.quarters(c, r);
      consider({r, step, 0});
      if (size > 0) consider({r, 0, size});
      if (size > 0 && step != 0) consider({r, step, size});
    }
    if (chosen.step == 0 && chosen.size == 0) continue;
    any = true;
    const size_t at = static_cast<size_t>(c);
    lifting[at] = static_cast<uint8_t>(c - chosen.other), lifting[channels + at] = static_cast<uint8_t>(kMostRowLift + chosen.step), lifting[2 * channels + at] = static_cast<uint8_t>(chosen.size);
  }
  return any ? lifting : std::vector<uint8_t>{};
}

int64_t total_bits(const SampledRows& rows, const std::vector<uint8_t>& lifting) {
  Walker w(rows, lifting);
  int64_t bits = 0;
  for (size_t i = 0; i < rows.count(); ++i) bits += w.exact_bits(i);
  return bits;
}

int64_t most_bits(const SampledRows& rows, const std::vector<uint8_t>& lifting) {
  Walker w(rows, lifting);
  int64_t most = 0;
  for (size_t i = 0; i < rows.count(); ++i) most = std::max(most, w.exact_bits(i));
  return most;
}

double squared_error(const SampledRows& rows, size_t first, int64_t row_bytes, const std::vector<uint8_t>& lifting) {
  Walker w(rows, lifting);
  std::vector<uint8_t> values(rows.row_values());
  double sum = 0;
  for (size_t i = first; i < rows.count(); ++i) {
    w.step_of(i, row_bytes);
    w.form().decode(w.coded.data(), row_bytes, values.data());
    for (size_t k = 0; k < values.size(); ++k) {
      const double off = static_cast<double>(values[k]) - rows.row(i)[k];
      sum += off * off;
    }
  }
  return sum;
}

}  // namespace pith::cli
