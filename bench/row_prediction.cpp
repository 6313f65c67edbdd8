// Would rows in coded form take fewer bits if a channel were predicted from another one, too? Measured on the codec's
// own steps.
//
//   pith-row-prediction MODEL.pith SAMPLES [PICTURES]      MODEL with activations in coded form (pith compile
//   --activation-bits)
//
// The codec (numerics/row_model.h) predicts each value within its channel: from the left neighbour, the zero point, or
// the middle of both. A transform across channels that loses nothing and keeps zeros is a lifting step: channel c also
// looks at one earlier channel r(c) of the same pixel, which is decoded already, through a multiplier in quarters; both
// are chosen beforehand for each channel, or none, on every other picture by the bits that the codec then takes there.
// Measured on the rest, four ways to use what r(c) shows, each with the bits of its side information (2 bytes a
// channel):
//
//   gradient   left + m (r - left of r), where that has been nearer of late than the three predictions (a fourth of
//   them) residual   the prediction + m (r - prediction of r), likewise context    the size of r's number as one
//   quarter or half of what is expected of c's: rate alone, the prediction stays best       whichever of these a
//   channel takes fewest bits with bound      the same with no side information counted, where r may even be a later
//   channel, which no decoder could do:
//              what another order could gain at most
//
// One CSV line: tensors, values, bits a value as they are, percent of channels that look at another, and what each way
// saves in percent, a tensor using it only where that helps.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>

#include "base/file.h"
#include "bench/first_input.h"
#include "coding/decode/activation_rows.h"
#include "sim/functional/functional.h"

namespace pith {
namespace {

using numerics::RowChannel;
using numerics::RowExpectation;
using numerics::RowModel;

constexpr int kSideBits = 16;  // of a channel that looks at another: which one, the multiplier, the way

enum Way { kAlone, kGradient, kResidual, kContext };

struct Choice {
  Way way = kAlone;
  int32_t reference = 0;
  int multiplier = 0;  // quarters; of kContext the ratio of the numbers, 4 * the share of r's
  int share = 0;       // quarters of the level that r's number makes
};

// A row and what the codec makes of it; planes by channel.
struct Row {
  int32_t width = 0, channels = 0;
  int step = 0;
  uint8_t zero = 0;
  std::vector<uint8_t> values;  // channel by channel
  std::vector<int16_t> decoded, predicted, number;
  std::vector<RowChannel> first;  // after the first column
  std::vector<int64_t> first_bits;

  size_t at(int32_t channel, int32_t x) const {
    return static_cast<size_t>(channel) * static_cast<size_t>(width) + static_cast<size_t>(x);
  }
};

int quarters(int multiplier, int difference) { return (multiplier * difference + 2) >> 2; }

// The bits of a channel of a row behind its first column; `seen` has what is known of its reference, `to` takes what
// becomes of this one (may be the same row).
int64_t walk(const Row& seen, int32_t channel, const Choice& choice, Row* to) {
  RowChannel state = seen.first[static_cast<size_t>(channel)];
  RowModel model(&state, seen.step, seen.zero);
  int cross = std::min({state.zero, state.middle, state.left});  // how far the prediction from r was off, in sixteenths
  int64_t bits = 0;
  int left = seen.decoded[seen.at(channel, 0)];
  for (int32_t x = 1; x < seen.width; ++x) {
    RowExpectation e = model.expect(0, false, left);
    const size_t i = seen.at(channel, x), r = seen.at(choice.reference, x);
    int from_reference = e.prediction;
    if (choice.way == kGradient)
      from_reference = left + quarters(choice.multiplier, seen.decoded[r] - seen.decoded[r - 1]);
    if (choice.way == kResidual)
      from_reference = e.prediction + quarters(choice.multiplier, seen.decoded[r] - seen.predicted[r]);
    from_reference = std::clamp(from_reference, 0, 255);
    if ((choice.way == kGradient || choice.way == kResidual) &&
        cross < std::min({state.zero, state.middle, state.left})) {
      RowChannel exact{};  // all predictions 0 off: the first of them, the zero point, is taken
      exact.level = state.level;
      e = RowModel(&exact, seen.step, static_cast<uint8_t>(from_reference)).expect(0, false, from_reference);
    }
    if (choice.way == kContext) {
      const int other = std::min<int>(seen.number[r], 63) * 4 * choice.multiplier;
      const int level = (state.level * (4 - choice.share) + std::min(other, 63 * 16) * choice.share) >> 2,
                t = level + (level >> 2);
      e.parameter = t > 0 ? 31 - __builtin_clz(static_cast<unsigned>((t - 1) >> 4) | 1) : 0;
    }
    const bool down = numerics::row_rounds_down(x, channel, seen.values[i - 1], left);
    const int number = model.number(e, seen.values[i], down), value = model.value(e, number);
    bits += numerics::row_number_bits(number, e.parameter);
    cross += (std::abs(value - from_reference) * 16 - cross) >> 3;
    model.learn(0, false, left, value, number);
    if (to)
      to->decoded[i] = static_cast<int16_t>(value), to->predicted[i] = static_cast<int16_t>(e.prediction),
      to->number[i] = static_cast<int16_t>(number);
    left = value;
  }
  return bits;
}

Row make_row(const uint8_t* values, int32_t width, int32_t channels, uint8_t zero, int64_t bytes) {
  Row row;
  row.width = width, row.channels = channels, row.zero = zero;
  std::vector<uint8_t> decoded(static_cast<size_t>(channels)), coded(static_cast<size_t>(bytes));
  row.first.resize(static_cast<size_t>(channels));
  row.step = coding::encode_activation_row(values, zero, width, channels, row.first.data(), decoded.data(),
                                           coded.data(), bytes);
  const size_t size = static_cast<size_t>(width) * static_cast<size_t>(channels);
  row.values.resize(size), row.decoded.assign(size, zero), row.predicted.assign(size, zero), row.number.assign(size, 0);
  for (int32_t x = 0; x < width; ++x)
    for (int32_t c = 0; c < channels; ++c) row.values[row.at(c, x)] = values[x * channels + c];
  if (row.step == numerics::kRowFlat) return row;
  row.first_bits.assign(static_cast<size_t>(channels), 0);
  int32_t channel = 0;
  coding::walk_activation_row(
      values, row.step, zero, 1, channels, row.first.data(), decoded.data(), [&](int number, int parameter) {
        row.first_bits[static_cast<size_t>(channel++)] = numerics::row_number_bits(number, parameter);
        return true;
      });
  for (int32_t c = 0; c < channels; ++c) {
    row.decoded[row.at(c, 0)] = decoded[static_cast<size_t>(c)];
    walk(row, c, {}, &row);
  }
  return row;
}

struct Tensor {
  std::array<std::vector<Row>, 2> rows;  // to choose on, to measure on
  std::array<int, 2> pictures{};
};

// Moments of what channels show at the same places: slopes and correlations of steps from pixel to pixel, or of
// numbers.
struct Moments {
  Moments(const std::vector<Row>& rows, bool numbers)
      : channels(rows[0].channels), products(static_cast<size_t>(channels) * static_cast<size_t>(channels)) {
    int64_t places = 0;
    for (const Row& row : rows) places += row.width - 1;
    const int64_t every = std::max<int64_t>(1, places / 4000);
    int64_t place = 0;
    std::vector<float> v(static_cast<size_t>(channels));
    for (const Row& row : rows) {
      for (int32_t x = 1; x < row.width; ++x) {
        if (place++ % every != 0) continue;
        for (int32_t c = 0; c < channels; ++c)
          v[static_cast<size_t>(c)] = static_cast<float>(
              numbers ? row.number[row.at(c, x)] : row.decoded[row.at(c, x)] - row.decoded[row.at(c, x - 1)]);
        for (int32_t c = 0; c < channels; ++c)
          for (int32_t r = 0; r < channels; ++r)
            products[static_cast<size_t>(c * channels + r)] += v[static_cast<size_t>(c)] * v[static_cast<size_t>(r)];
      }
    }
  }
  double at(int32_t c, int32_t r) const { return products[static_cast<size_t>(c * channels + r)]; }
  double correlation(int32_t c, int32_t r) const {
    return at(c, c) > 0 && at(r, r) > 0 ? std::abs(at(c, r)) / std::sqrt(at(c, c) * at(r, r)) : 0;
  }
  double slope(int32_t c, int32_t r) const { return at(r, r) > 0 ? at(c, r) / at(r, r) : 0; }
  // The channels that say most about c.
  std::vector<int32_t> best(int32_t c, bool any, size_t count) const {
    std::vector<int32_t> all(static_cast<size_t>(any ? channels : c));
    std::iota(all.begin(), all.end(), 0);
    std::erase(all, c);
    const size_t kept = std::min(count, all.size());
    std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end(),
                      [&](int32_t a, int32_t b) { return correlation(c, a) > correlation(c, b); });
    all.resize(kept);
    return all;
  }
  int32_t channels;
  std::vector<float> products;
};

using Choices =
    std::array<std::vector<Choice>, 4>;  // of each channel: by gradients, residuals, contexts, the best of them

// What takes a channel the fewest bits on some rows of the first half.
Choices choose(const Tensor& tensor, const Moments& steps, const Moments& numbers, bool bound) {
  constexpr size_t kRows = 96;
  const std::vector<Row>& rows = tensor.rows[0];
  const size_t every = (rows.size() + kRows - 1) / kRows;
  const int64_t side = bound ? 0 : int64_t{kSideBits} * tensor.pictures[0] / static_cast<int64_t>(every);
  Choices chosen;
  for (auto& c : chosen) c.resize(static_cast<size_t>(steps.channels));
  for (int32_t c = 0; c < steps.channels; ++c) {
    const auto bits_of = [&](const Choice& choice) {
      int64_t bits = choice.way == kAlone ? 0 : side;
      for (size_t i = 0; i < rows.size(); i += every)
        if (rows[i].step < numerics::kRowFlat) bits += walk(rows[i], c, choice, nullptr);
      return bits;
    };
    std::array<int64_t, 4> least;
    least.fill(bits_of({}));
    const auto consider = [&](const Choice& choice) {
      const int64_t bits = bits_of(choice);
      for (const size_t w : {static_cast<size_t>(choice.way) - 1, size_t{3}})
        if (bits < least[w]) least[w] = bits, chosen[w][static_cast<size_t>(c)] = choice;
    };
    for (const Way way : {kGradient, kResidual, kContext}) {
      const Moments& moments = way == kContext ? numbers : steps;
      for (int32_t r : moments.best(c, bound, 3)) {
        const int m = std::clamp(static_cast<int>(std::lround(4 * moments.slope(c, r))), -8, 8);
        if (m == 0) continue;
        consider({way, r, m, 1});
        if (way == kContext) consider({way, r, m, 2});
      }
    }
  }
  return chosen;
}

// All bits of rows behind their heads with these choices, and their side information.
int64_t measured_bits(const Tensor& tensor, const std::vector<Choice>& chosen) {
  int64_t bits = 0;
  for (const Choice& c : chosen) bits += c.way == kAlone ? 0 : int64_t{kSideBits} * tensor.pictures[1];
  for (const Row& plain : tensor.rows[1]) {
    if (plain.step == numerics::kRowFlat) continue;
    Row row = plain;
    for (int32_t c = 0; c < row.channels; ++c)
      bits += row.first_bits[static_cast<size_t>(c)] + walk(row, c, chosen[static_cast<size_t>(c)], &row);
  }
  return bits;
}

using Key = std::array<double, 4>;  // a tensor's parts have its scale, its zero point, its width and its channels

Result<void> read_rows(const Program& program, const SampleSet& samples, size_t pictures,
                       std::map<Key, Tensor>& tensors) {
  PITH_TRY(sim::Functional chip, sim::Functional::create(program));
  for (size_t picture = 0; picture < std::min(pictures, samples.size()); ++picture) {
    PITH_TRY(const std::vector<float> values, input_at(program, samples, picture));
    PITH_CHECK_OK(chip.set_input(0, values));
    std::map<Key, bool> seen;
    PITH_CHECK_OK(chip.run([&](size_t i, bool done) {
      const ProgramOp& op = program.ops[i];
      if (done || op.opcode != PITH_OPCODE_EncodeRows) return;
      const ProgramTensor& t = program.tensors[static_cast<size_t>(op.inputs[0])];
      const int64_t bytes = program.tensors[static_cast<size_t>(op.outputs[0])].dims[3];
      const Key key{double(t.affine.scale_code), double(t.affine.zero_point), double(t.dims[2]), double(t.dims[3])};
      Tensor& tensor = tensors[key];
      if (!std::exchange(seen[key], true)) ++tensor.pictures[picture % 2];
      for (int32_t r = 0; r < t.dims[1]; ++r)
        tensor.rows[picture % 2].push_back(make_row(chip.arena().data() + t.offset + int64_t{r} * t.dims[2] * t.dims[3],
                                                    t.dims[2], t.dims[3], static_cast<uint8_t>(t.affine.zero_point),
                                                    bytes));
    }));
  }
  return {};
}

Result<void> measure(const std::string& path, const std::string& samples_path, size_t pictures) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  PITH_TRY(const Program program, read_program(file));
  PITH_TRY(const SampleSet samples, SampleSet::open(samples_path));
  std::map<Key, Tensor> tensors;
  PITH_CHECK_OK(read_rows(program, samples, pictures, tensors));
  if (tensors.empty()) return usage_error(path + " codes no rows; compile it with --activation-bits");
  std::array<int64_t, 6> bits{};  // as they are, by ways, the bound
  int64_t values = 0, channels = 0, used = 0;
  for (const auto& [key, tensor] : tensors) {
    if (tensor.rows[0].empty() || tensor.rows[1].empty()) return usage_error("give at least two pictures");
    for (const Row& row : tensor.rows[1]) values += int64_t{row.width} * row.channels;
    const Moments steps(tensor.rows[0], false), numbers(tensor.rows[0], true);
    const int64_t plain = measured_bits(tensor, std::vector<Choice>(static_cast<size_t>(steps.channels)));
    std::array<int64_t, 6> of{plain};
    const Choices chosen = choose(tensor, steps, numbers, false);
    for (size_t w = 0; w < chosen.size(); ++w) of[w + 1] = measured_bits(tensor, chosen[w]);
    channels += steps.channels,
        used += std::count_if(chosen[3].begin(), chosen[3].end(), [](const Choice& c) { return c.way != kAlone; });
    // In any order: channels look at what others become without looking at any.
    const std::vector<Choice> any = choose(tensor, steps, numbers, true)[3];
    for (const Row& row : tensor.rows[1]) {
      if (row.step == numerics::kRowFlat) continue;
      for (int32_t c = 0; c < row.channels; ++c)
        of[5] += row.first_bits[static_cast<size_t>(c)] + walk(row, c, any[static_cast<size_t>(c)], nullptr);
    }
    for (size_t i = 0; i < bits.size(); ++i) bits[i] += std::min(of[i], plain);
    fmt::print(stderr, "{} x {}: {} bits", key[2], key[3], plain);
    for (size_t i = 1; i < of.size(); ++i) fmt::print(stderr, ", {:.2f} %", 100 * (1 - double(of[i]) / double(plain)));
    fmt::print(stderr, "\n");
  }
  fmt::print("{},{},{:.3f},{:.1f}", tensors.size(), values, double(bits[0]) / double(values),
             100 * double(used) / double(channels));
  for (size_t i = 1; i < bits.size(); ++i) fmt::print(",{:.2f}", 100 * (1 - double(bits[i]) / double(bits[0])));
  fmt::print("\n");
  return {};
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: pith-row-prediction MODEL.pith SAMPLES [PICTURES]\n");
    return 2;
  }
  const auto done = pith::measure(argv[1], argv[2], argc == 4 ? static_cast<size_t>(std::atoi(argv[3])) : 6);
  if (!done.ok()) std::fprintf(stderr, "pith-row-prediction: %s\n", done.error().message.c_str());
  return done.ok() ? 0 : static_cast<int>(done.error().code);
}
