// How much of a row in coded form stands still, and what products gain from that.
//
//   pith-row-changes MODEL.pith SAMPLES      MODEL with activations in coded form (pith compile --activation-bits)
//
// Runs the first sample. Of all values that are decoded: the share that equals the pixel before, or the zero point, one
// by one and in all four of neighbouring channels; and the time of the reference kernels for products with 64 channels
// of random weights, by changes against whole pixels (the least of five, all rows together).
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/file.h"
#include "base/random.h"
#include "bench/first_input.h"
#include "runtime/kernels/kernels.h"
#include "sim/functional/functional.h"

namespace pith {
namespace {

constexpr int kOutputs = 64;
constexpr int32_t kPixels = 12;

double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Shares {
  int64_t values = 0, quads = 0;
  std::array<int64_t, 2> same{}, same_quads{};  // as the pixel before, as the zero point
  std::array<double, 2> time{};                 // whole pixels, by changes

  void count(const uint8_t* row, int32_t width, int32_t channels, uint8_t zero) {
    for (int32_t i = 0; i < width * channels; i += channels) {
      for (int32_t c = 0; c < channels; ++c) {
        const int32_t left = i == 0 ? zero : row[i + c - channels];
        equal_[0] = (c % 4 == 0 || equal_[0]) && row[i + c] == left;
        equal_[1] = (c % 4 == 0 || equal_[1]) && row[i + c] == zero;
        same[0] += row[i + c] == left, same[1] += row[i + c] == zero, ++values;
        if (c % 4 < 3 && c + 1 < channels) continue;
        same_quads[0] += equal_[0], same_quads[1] += equal_[1], ++quads;
      }
    }
  }

  void multiply(const uint8_t* row, int32_t width, int32_t channels, uint8_t zero) {
    const int32_t quads_of_pixel = (channels + 3) / 4, offset = 0;
    std::vector<int8_t> weights(static_cast<size_t>(quads_of_pixel * 4 * kOutputs + 64));
    for (int8_t& w : weights) w = static_cast<int8_t>(random_.integer(-127, 127));
    std::array<runtime::Channels, kOutputs / runtime::kLanes> sets{};
    for (auto& s : sets)
      std::fill(std::begin(s.mantissa), std::end(s.mantissa), 16384),
          std::fill(std::begin(s.shift), std::end(s.shift), 24);
    std::vector<uint8_t> y(kPixels * kOutputs + 64);
    const int64_t block = int64_t{quads_of_pixel} * 64;
    std::array<double, 2> least{1e9, 1e9};
    for (int turn = 0; turn < 10; ++turn) {
      const double start = seconds();
      for (int32_t x = 0; x < width; x += kPixels) {
        const int32_t n = std::min(kPixels, width - x);
        const uint8_t* pixels = row + x * channels;
        const uint8_t* pointers[kPixels];
        for (int32_t i = 0; i < n; ++i) pointers[i] = pixels + i * channels;
        if (turn % 2 == 0)
          runtime::conv_u8_ref({pointers,
                                n,
                                1,
                                quads_of_pixel,
                                weights.data(),
                                block,
                                &offset,
                                sets.data(),
                                kOutputs,
                                true,
                                y.data(),
                                kOutputs,
                                {}});
        else
          runtime::conv_changes_u8_ref(
              {pixels, n, channels, zero, weights.data(), block, sets.data(), kOutputs, y.data(), kOutputs, {}});
      }
      double& best = least[static_cast<size_t>(turn % 2)];
      best = std::min(best, seconds() - start);
    }
    for (size_t i = 0; i < 2; ++i) time[i] += least[i];
  }

 private:
  bool equal_[2] = {};
  Random random_{1};
};

Result<void> measure(const std::string& path, const std::string& input_path) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  PITH_TRY(const Program program, read_program(file));
  PITH_TRY(sim::Functional chip, sim::Functional::create(program));
  PITH_TRY(const std::vector<float> input_values, first_input(program, input_path));
  PITH_CHECK_OK(chip.set_input(0, input_values));
  Shares s;
  PITH_CHECK_OK(chip.run([&](size_t i, bool done) {
    if (!done || program.ops[i].opcode != PITH_OPCODE_DecodeRows) return;
    const ProgramTensor& t = program.tensors[static_cast<size_t>(program.ops[i].outputs[0])];
    for (int32_t r = 0; r < t.dims[1]; ++r) {
      const uint8_t* row = chip.arena().data() + t.offset + int64_t{r} * t.dims[2] * t.dims[3];
      s.count(row, t.dims[2], t.dims[3], t.affine.zero_point);
      std::vector<uint8_t> copy(row, row + int64_t{t.dims[2]} * t.dims[3]);
      copy.resize(copy.size() + 64);  // kernels read beyond
      s.multiply(copy.data(), t.dims[2], t.dims[3], t.affine.zero_point);
    }
  }));
  if (s.values == 0) return usage_error(path + " decodes no rows; compile it with --activation-bits");
  const auto percent = [](int64_t a, int64_t all) { return 100.0 * static_cast<double>(a) / static_cast<double>(all); };
  fmt::print(
      "{} values; as the pixel before {:.1f} %, as the zero point {:.1f} %; four at once {:.1f} and {:.1f} %; by "
      "changes {:.2f} of the time of whole pixels\n",
      s.values, percent(s.same[0], s.values), percent(s.same[1], s.values), percent(s.same_quads[0], s.quads),
      percent(s.same_quads[1], s.quads), s.time[1] / s.time[0]);
  return {};
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: pith-row-changes MODEL.pith SAMPLES\n");
    return 2;
  }
  const auto done = pith::measure(argv[1], argv[2]);
  if (!done.ok()) std::fprintf(stderr, "pith-row-changes: %s\n", done.error().message.c_str());
  return done.ok() ? 0 : static_cast<int>(done.error().code);
}
