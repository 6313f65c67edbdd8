// What lifting across channels (numerics/row_lifting.h) makes of rows in coded form: bits, error, time.
//
//   pith-row-lifting MODEL.pith SAMPLES [PICTURES]      MODEL with activations in coded form (pith compile --activation-bits)
//
// Liftings are fitted on every other picture, as `pith compile --activation-lifting` does it, and measured on the rest. One CSV
// line: tensors, values; percent of channels that look at another one in the bytes that the file gives; bits a value without
// loss, and percent that lifting saves of them; percent that it takes off the squared error in the file's bytes, of
// each tensor and of all, 0 for tensors that it doesn't make better; nanoseconds a value, one thread, to
// encode and decode without a lifting (the fastest kernels here) and with one.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>

#include "base/file.h"
#include "bench/first_input.h"
#include "cli/row_lifting.h"
#include "coding/decode/activation_rows.h"
#include "runtime/kernels/kernels.h"
#include "sim/functional/functional.h"

namespace pith {
namespace {

using cli::SampledRows;

// Rows of a tensor on pictures to fit on, then on pictures to measure on.
struct Tensor {
  std::array<SampledRows, 2> rows;
  int64_t bytes = 0;
};
using Key = std::array<int, 4>;  // a tensor's parts have its scale, its zero point, its width and its channels

Result<void> read_rows(const Program& program, const SampleSet& samples, size_t pictures, std::map<Key, Tensor>& tensors) {
  PITH_TRY(sim::Functional chip, sim::Functional::create(program));
  for (size_t picture = 0; picture < std::min(pictures, samples.size()); ++picture) {
    PITH_TRY(const std::vector<float> values, input_at(program, samples, picture));
    PITH_CHECK_OK(chip.set_input(0, values));
    PITH_CHECK_OK(chip.run([&](size_t i, bool done) {
      const ProgramOp& op = program.ops[i];
      if (done || op.opcode != PITH_OPCODE_EncodeRows) return;
      const ProgramTensor& t = program.tensors[static_cast<size_t>(op.inputs[0])];
      Tensor& tensor = tensors[{t.affine.scale_code, t.affine.zero_point, t.dims[2], t.dims[3]}];
      tensor.bytes = program.tensors[static_cast<size_t>(op.outputs[0])].dims[3];
      SampledRows& rows = tensor.rows[picture % 2];
      rows.width = t.dims[2], rows.channels = t.dims[3], rows.zero_point = t.affine.zero_point;
      const uint8_t* from = chip.arena().data() + t.offset;
      rows.values.insert(rows.values.end(), from, from + static_cast<int64_t>(t.dims[1]) * static_cast<int64_t>(rows.row_values()));
    }));
  }
  for (auto& [key, tensor] : tensors)
    for (size_t k = 0; k < 2; ++k) tensor.rows[k].height = static_cast<int32_t>(tensor.rows[k].count() / ((pictures + 1 - k) / 2));
  return {};
}

// Nanoseconds of a processor that a function takes for some rows, least of three.
template <typename Run>
double nanoseconds(size_t rows, const Run& run) {
  double least = 1e30;
  for (int turn = 0; turn < 3; ++turn) {
    const std::clock_t start = std::clock();
    for (size_t i = 0; i < rows; ++i) run(i);
    least = std::min(least, 1e9 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return least;
}

// Encoding and decoding, without a lifting and with one; some rows of a tensor.
std::array<double, 4> times(const SampledRows& rows, int64_t bytes, const std::vector<uint8_t>& lifting) {
  constexpr size_t kSlack = 64;  // kernels read beyond
  const size_t count = std::min<size_t>(rows.count(), 64), channels = static_cast<size_t>(rows.channels);
  std::vector<coding::RowChannel> state(2 * channels + kSlack);
  std::vector<coding::LiftedChannel> lifted(channels);
  std::vector<uint8_t> values(rows.values.begin(), rows.values.begin() + static_cast<std::ptrdiff_t>(count * rows.row_values())), back(rows.row_values() + kSlack), before(channels);
  values.resize(values.size() + kSlack);
  const size_t stride = static_cast<size_t>(bytes) + kSlack;
  std::vector<uint8_t> coded(count * stride);
  const runtime::Kernels& kernels = runtime::kernels_of(runtime::best_isa());
  uint8_t* scratch = reinterpret_cast<uint8_t*>(state.data());
  const coding::LiftedRows form{{lifting.data(), rows.channels}, rows.zero_point, rows.width, state.data(), lifted.data()};
  const auto from = [&](size_t i) { return values.data() + i * rows.row_values(); };
  return {nanoseconds(count, [&](size_t i) { kernels.encode_row_u8({from(i), rows.width, rows.channels, rows.zero_point, scratch, coded.data() + i * stride, bytes}); }),
          nanoseconds(count, [&](size_t i) { kernels.decode_row_u8({coded.data() + i * stride, bytes, rows.width, rows.channels, rows.zero_point, scratch, back.data()}); }),
          nanoseconds(count, [&](size_t i) { form.encode(from(i), before.data(), coded.data() + i * stride, bytes); }),
          nanoseconds(count, [&](size_t i) { form.decode(coded.data() + i * stride, bytes, back.data()); })};
}

Result<void> measure(const std::string& path, const std::string& samples_path, size_t pictures) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  PITH_TRY(const Program program, read_program(file));
  PITH_TRY(const SampleSet samples, SampleSet::open(samples_path));
  pictures = std::min(pictures, samples.size());
  if (pictures < 2) return usage_error("give at least two pictures");
  std::map<Key, Tensor> tensors;
  PITH_CHECK_OK(read_rows(program, samples, pictures, tensors));
  if (tensors.empty()) return usage_error(path + " codes no rows without a lifting; compile it with --activation-bits");
  int64_t values = 0, timed = 0, bits = 0, lifted_bits = 0, channels = 0, used = 0;
  double share = 0, error = 0, lifted_error = 0;
  std::array<double, 4> ns{};
  for (const auto& [key, tensor] : tensors) {
    const auto& [fitted, rest] = tensor.rows;
    const int64_t plain = cli::total_bits(rest, {});
    const std::vector<uint8_t> exact = cli::fit_lifting(fitted, fitted.count(), 0), coarse = cli::fit_lifting(fitted, fitted.count(), tensor.bytes);
    values += static_cast<int64_t>(rest.values.size());
    bits += plain, lifted_bits += std::min(plain, cli::total_bits(rest, exact));
    const double off = cli::squared_error(rest, 0, tensor.bytes, {}), lifted_off = coarse.empty() ? off : std::min(off, cli::squared_error(rest, 0, tensor.bytes, coarse));
    error += off, lifted_error += lifted_off, share += off > 0 ? 1 - lifted_off / off : 0;
    channels += rest.channels;
    if (coarse.empty()) continue;
    used += std::count_if(coarse.begin(), coarse.begin() + rest.channels, [](uint8_t back) { return back != 0; });
    const std::array<double, 4> of = times(rest, tensor.bytes, coarse);
    for (size_t i = 0; i < ns.size(); ++i) ns[i] += of[i];
    timed += static_cast<int64_t>(std::min<size_t>(rest.count(), 64) * rest.row_values());
  }
  const auto percent = [](double part, double whole) { return whole > 0 ? 100 * part / whole : 0; };
  fmt::print("{},{},{:.1f},{:.3f},{:.2f},{:.2f},{:.2f}", tensors.size(), values, percent(static_cast<double>(used), static_cast<double>(channels)), static_cast<double>(bits) / static_cast<double>(values),
             percent(static_cast<double>(bits - lifted_bits), static_cast<double>(bits)), percent(share, static_cast<double>(tensors.size())), percent(error - lifted_error, error));
  for (double each : ns) fmt::print(",{:.1f}", each / static_cast<double>(std::max<int64_t>(1, timed)));
  fmt::print("\n");
  return {};
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: pith-row-lifting MODEL.pith SAMPLES [PICTURES]\n");
    return 2;
  }
  const auto done = pith::measure(argv[1], argv[2], argc == 4 ? static_cast<size_t>(std::atoi(argv[3])) : 6);
  if (!done.ok()) std::fprintf(stderr, "pith-row-lifting: %s\n", done.error().message.c_str());
  return done.ok() ? 0 : static_cast<int>(done.error().code);
}
